/* The address of a Redis server:
 *
 *	redis://[[user]:password@]host[:port][/database]
 *	rediss://...?ssl_ca_certs=FILE          with TLS
 *	redis+socket://[[user]:password@]/path/to/socket[?virtual_host=database]
 *
 * What is missing is localhost, 6379, database 0, and no login.  Of the
 * parameters that Celery's addresses may have after '?' these are known:
 * ssl_ca_certs, ssl_cert_reqs (which must say "required", as it is), and
 * virtual_host, the database. */
#ifndef IO_REDIS_URL_H
#define IO_REDIS_URL_H

#include <stdbool.h>

struct err;

struct redis_url {
	bool tls;
	char *host;
	int port;
	char *path;			/* of a socket in the file system, else NULL */
	char *user, *password;		/* NULL: none */
	char *ca_file;			/* NULL: not said */
	int database;
};

/* -1 with ERR (ERR_CONFIG), which repeats nothing of the address; URL is then
 * empty. */
int redis_url_parse(const char *text, struct redis_url *, struct err *);
void redis_url_done(struct redis_url *);

#endif
