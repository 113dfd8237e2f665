/* amqp_url.c - take the address of a broker to pieces. */
#include "io/amqp_url.h"
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/mem.h"

static int
nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* N bytes at S without their percent-encoding; NULL if it is wrong, or hides a
 * NUL. */
static char *
decode(const char *s, size_t n)
{
	char *text = xmalloc(n + 1), *to = text;

	for (const char *end = s + n; s < end; s++) {
		int high, low;

		if (*s != '%') {
			*to++ = *s;
			continue;
		}
		if (end - s < 3 || (high = nibble(s[1])) < 0 || (low = nibble(s[2])) < 0 ||
		    !(high | low)) {
			free(text);
			return NULL;
		}
		*to++ = (char)(high << 4 | low);
		s += 2;
	}
	*to = '\0';
	return text;
}

static char *
decode_or(const char *s, size_t n, const char *standard)
{
	return n ? decode(s, n) : xstrdup(standard);
}

static int
wrong(struct err *err, const char *what)
{
	return err_class(err, ERR_CONFIG, "the broker's address: %s", what);
}

static int
parse_port(const char *s, size_t n, int *port, struct err *err)
{
	int value = 0;

	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9' || value > 65535)
			return wrong(err, "the port is not a number from 1 to 65535");
		value = value * 10 + (s[i] - '0');
	}
	if (n && (value < 1 || value > 65535))
		return wrong(err, "the port is not a number from 1 to 65535");
	if (n)
		*port = value;
	return 0;
}

/* "host", "host:port", "[address]:port", up to END. */
static int
parse_host(const char *s, const char *end, struct amqp_url *url, struct err *err)
{
	const char *colon, *close;

	if (s < end && *s == '[') {
		close = memchr(s, ']', (size_t)(end - s));
		if (!close || (close + 1 < end && close[1] != ':'))
			return wrong(err, "an address in '[' must end in ']'");
		url->host = xstrndup(s + 1, (size_t)(close - s) - 1);
		colon = close + 1 < end ? close + 1 : NULL;
	} else {
		colon = memchr(s, ':', (size_t)(end - s));
		url->host = decode_or(s, (size_t)((colon ? colon : end) - s), "localhost");
	}
	if (!url->host || !*url->host)
		return wrong(err, "the host cannot be understood");
	return colon ? parse_port(colon + 1, (size_t)(end - colon) - 1, &url->port, err) : 0;
}

/* "user", "user:password", up to END. */
static int
parse_user(const char *s, const char *end, struct amqp_url *url, struct err *err)
{
	const char *colon = memchr(s, ':', (size_t)(end - s));

	url->user = decode(s, (size_t)((colon ? colon : end) - s));
	url->password = colon ? decode(colon + 1, (size_t)(end - colon) - 1) : xstrdup("");
	if (!url->user || !url->password)
		return wrong(err, "a '%' in the user or the password is not followed by two "
		    "hexadecimal digits");
	return 0;
}

static int
parse(const char *s, struct amqp_url *url, struct err *err)
{
	const char *end, *at;

	if (!strncmp(s, "amqps://", 8)) {
		url->tls = true;
		s += 8;
	} else if (!strncmp(s, "amqp://", 7)) {
		s += 7;
	} else {
		return wrong(err, "it must begin with amqp:// or amqps://");
	}
	url->port = url->tls ? 5671 : 5672;
	end = s + strcspn(s, "/?#");
	at = memrchr(s, '@', (size_t)(end - s));
	if (at && parse_user(s, at, url, err))
		return -1;
	if (!at) {
		/* A '/' in a password must be encoded. */
		if (strchr(end, '@'))
			return wrong(err, "'/', '?', '#' in the user or the password must be "
			    "percent-encoded");
		url->user = xstrdup("guest");
		url->password = xstrdup("guest");
	}
	if (parse_host(at ? at + 1 : s, end, url, err))
		return -1;
	if (*end == '/')
		end++;
	if (end[strcspn(end, "?#")])
		return wrong(err, "parameters after '?' or '#' are not known here");
	url->vhost = decode_or(end, strlen(end), "/");
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
