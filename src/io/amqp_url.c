/* amqp_url.c - take the address of a broker to pieces. */
#include "io/amqp_url.h"
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/mem.h"
#include "io/authority.h"

static const char whose[] = "the broker's address";

static int
wrong(struct err *err, const char *what)
{
	return err_class(err, ERR_CONFIG, "%s: %s", whose, what);
}

/* What was not said is "guest"; a user without a password has an empty one. */
static void
take(struct amqp_url *url, const struct authority *a)
{
	url->user = a->user ? a->user : xstrdup("guest");
	url->password = a->password ? a->password : xstrdup("guest");
	url->host = a->host;
	url->port = a->port ? a->port : url->tls ? 5671 : 5672;
}

static int
parse(const char *s, struct amqp_url *url, struct err *err)
{
	struct authority authority;
	const char *rest;

	if (!strncmp(s, "amqps://", 8)) {
		url->tls = true;
		s += 8;
	} else if (!strncmp(s, "amqp://", 7)) {
		s += 7;
	} else {
		return wrong(err, "it must begin with amqp:// or amqps://");
	}
	if (authority_parse(s, whose, &authority, &rest, err))
		return -1;
	take(url, &authority);
	if (*rest == '/')
		rest++;
	if (rest[strcspn(rest, "?#")])
		return wrong(err, "parameters after '?' or '#' are not known here");
	url->vhost = *rest ? authority_decode(rest, strlen(rest)) : xstrdup("/");
	if (!url->vhost || strlen(url->vhost) > 255)
		return wrong(err, "the virtual host cannot be understood");
	return 0;
}

int
amqp_url_parse(const char *text, struct amqp_url *url, struct err *err)
{
	*url = (struct amqp_url){ 0 };
	if (parse(text, url, err) == 0)
		return 0;
	amqp_url_done(url);
	return -1;
}

void
amqp_url_done(struct amqp_url *url)
{
	free(url->host);
	free(url->user);
	free(url->password);
	free(url->vhost);
	*url = (struct amqp_url){ 0 };
}
