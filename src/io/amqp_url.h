/* The address of a broker: amqp://user:password@host:port/vhost, or amqps://.
 *
 * What is missing is amqp://guest:guest@localhost:5672/%2F (amqps: 5671).
 * Everything may be percent-encoded.  The virtual host is all that follows the
 * first '/' after the host; an empty one is "/", as Celery has it, so that
 * "amqp://host", "amqp://host/", "amqp://host//" and "amqp://host/%2F" are the
 * same.  Parameters ("?...") are refused: settings say these things. */
#ifndef IO_AMQP_URL_H
#define IO_AMQP_URL_H

#include <stdbool.h>

struct err;

struct amqp_url {
	bool tls;
	char *host;		/* without the brackets of an IPv6 address */
	int port;
	char *user, *password, *vhost;
};

/* -1 with ERR (ERR_CONFIG), which repeats nothing of the address; URL is then
 * empty. */
int amqp_url_parse(const char *text, struct amqp_url *, struct err *);
void amqp_url_done(struct amqp_url *);

#endif
