/* redis_url.c - take the address of a Redis server to pieces. */
#include "io/redis_url.h"
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/mem.h"
#include "io/authority.h"

#define DATABASE_MAX 65535

static const char whose[] = "the Redis server's address";

static int
wrong(struct err *err, const char *what)
{
	return err_class(err, ERR_CONFIG, "%s: %s", whose, what);
}

static int
parse_database(const char *s, size_t n, struct redis_url *url, struct err *err)
{
	int value = 0;

	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9' || value > DATABASE_MAX)
			return wrong(err, "the database is not a number");
		value = value * 10 + (s[i] - '0');
	}
	url->database = value;
	return value > DATABASE_MAX ? wrong(err, "the database is not a number") : 0;
}

/* Is the parameter, N bytes at S, called NAME?  Then its value. */
static const char *
value_of(const char *s, size_t n, const char *name, size_t *len)
{
	size_t k = strlen(name);

	if (n <= k || strncmp(s, name, k) || s[k] != '=')
		return NULL;
	*len = n - k - 1;
	return s + k + 1;
}

static bool
is_value(const char *v, size_t n, const char *text)
{
	return n == strlen(text) && !memcmp(v, text, n);
}

static int
parse_parameter(const char *s, size_t n, struct redis_url *url, struct err *err)
{
	const char *v;
	size_t len;

	if ((v = value_of(s, n, "virtual_host", &len))) {
		if (len && *v == '/') {
			v++;
			len--;
		}
		return parse_database(v, len, url, err);
	}
	if ((v = value_of(s, n, "ssl_cert_reqs", &len)))
		return is_value(v, len, "required") || is_value(v, len, "CERT_REQUIRED") ? 0 :
		    wrong(err, "ssl_cert_reqs must be \"required\": without that TLS "
		    "protects from nobody");
	if ((v = value_of(s, n, "ssl_ca_certs", &len))) {
		free(url->ca_file);
		url->ca_file = authority_decode(v, len);
		return url->ca_file && *url->ca_file ? 0 :
		    wrong(err, "ssl_ca_certs cannot be understood");
	}
	return wrong(err, "of the parameters after '?' only ssl_ca_certs, ssl_cert_reqs and "
	    "virtual_host are known here");
}

/* S is at the '?', or at the end. */
static int
parse_parameters(const char *s, struct redis_url *url, struct err *err)
{
	while (*s) {
		size_t n = strcspn(++s, "&");

		if (n && parse_parameter(s, n, url, err))
			return -1;
		s += n;
	}
	return 0;
}

/* The socket's path is absolute: what follows the authority, which is empty but
 * for the login. */
static int
parse_socket(const char *s, struct redis_url *url, struct err *err)
{
	size_t n = strcspn(s, "?");

	if (n < 2)
		return wrong(err, "the path of the socket is missing");
	url->path = authority_decode(s, n);
	if (!url->path)
		return wrong(err, "the path of the socket cannot be understood");
	return parse_parameters(s + n, url, err);
}

/* Without a user the password is the server's own, of the old AUTH. */
static void
take(struct redis_url *url, struct authority *a)
{
	if (a->user && *a->user) {
		url->user = a->user;
		a->user = NULL;
	}
	if (a->password && *a->password) {
		url->password = a->password;
		a->password = NULL;
	}
	url->host = a->host;
	a->host = NULL;
	url->port = a->port ? a->port : 6379;
	authority_done(a);
}

static int
parse(const char *s, struct redis_url *url, struct err *err)
{
	struct authority authority;
	const char *rest;
	bool is_socket = false;
	size_t n;

	if (!strncmp(s, "rediss://", 9)) {
		url->tls = true;
		s += 9;
	} else if (!strncmp(s, "redis://", 8)) {
		s += 8;
	} else if (!strncmp(s, "redis+socket://", 15)) {
		is_socket = true;
		s += 15;
	} else {
		return wrong(err, "it must begin with redis://, rediss:// or redis+socket://");
	}
	if (authority_parse(s, whose, &authority, &rest, err))
		return -1;
	take(url, &authority);
	if (url->user && !url->password)
		return wrong(err, "a user without a password; write redis://:password@... where "
		    "there is no user");
	if (is_socket)
		return parse_socket(rest, url, err);
	if (*rest == '/')
		rest++;
	n = strcspn(rest, "?");
	if (parse_database(rest, n, url, err))
		return -1;
	return parse_parameters(rest + n, url, err);
}

int
redis_url_parse(const char *text, struct redis_url *url, struct err *err)
{
	*url = (struct redis_url){ 0 };
	if (parse(text, url, err) == 0)
		return 0;
	redis_url_done(url);
	return -1;
}

void
redis_url_done(struct redis_url *url)
{
	free(url->host);
	free(url->path);
	free(url->user);
	free(url->password);
	free(url->ca_file);
	*url = (struct redis_url){ 0 };
}
