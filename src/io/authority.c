/* authority.c - take "user:password@host:port" to pieces. */
#include "io/authority.h"
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

char *
authority_decode(const char *s, size_t n)
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

static int
wrong(struct err *err, const char *whose, const char *what)
{
	return err_class(err, ERR_CONFIG, "%s: %s", whose, what);
}

static int
parse_port(const char *s, size_t n, const char *whose, int *port, struct err *err)
{
	int value = 0;

	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9' || value > 65535)
			return wrong(err, whose, "the port is not a number from 1 to 65535");
		value = value * 10 + (s[i] - '0');
	}
	if (n && (value < 1 || value > 65535))
		return wrong(err, whose, "the port is not a number from 1 to 65535");
	*port = value;
	return 0;
}

/* "host", "host:port", "[address]:port", up to END. */
static int
parse_host(const char *s, const char *end, const char *whose, struct authority *a,
    struct err *err)
{
	const char *colon, *close;

	if (s < end && *s == '[') {
		close = memchr(s, ']', (size_t)(end - s));
		if (!close || (close + 1 < end && close[1] != ':'))
			return wrong(err, whose, "an address in '[' must end in ']'");
		a->host = xstrndup(s + 1, (size_t)(close - s) - 1);
		colon = close + 1 < end ? close + 1 : NULL;
	} else {
		size_t n;

		colon = memchr(s, ':', (size_t)(end - s));
		n = (size_t)((colon ? colon : end) - s);
		a->host = n ? authority_decode(s, n) : xstrdup("localhost");
	}
	if (!a->host || !*a->host)
		return wrong(err, whose, "the host cannot be understood");
	return colon ? parse_port(colon + 1, (size_t)(end - colon) - 1, whose, &a->port, err) : 0;
}

/* "user", "user:password", up to END. */
static int
parse_user(const char *s, const char *end, const char *whose, struct authority *a,
    struct err *err)
{
	const char *colon = memchr(s, ':', (size_t)(end - s));

	a->user = authority_decode(s, (size_t)((colon ? colon : end) - s));
	a->password = colon ? authority_decode(colon + 1, (size_t)(end - colon) - 1)
	    : xstrdup("");
	if (!a->user || !a->password)
		return wrong(err, whose, "a '%' in the user or the password is not followed by "
		    "two hexadecimal digits");
	return 0;
}

int
authority_parse(const char *text, const char *whose, struct authority *a, const char **rest,
    struct err *err)
{
	const char *end = text + strcspn(text, "/?#"),
	    *at = memrchr(text, '@', (size_t)(end - text));
	int rc = 0;

	*a = (struct authority){ 0 };
	*rest = end;
	if (at)
		rc = parse_user(text, at, whose, a, err);
	else if (strchr(end, '@'))	/* a '/' in a password must be encoded */
		rc = wrong(err, whose, "'/', '?', '#' in the user or the password must be "
		    "percent-encoded");
	if (!rc)
		rc = parse_host(at ? at + 1 : text, end, whose, a, err);
	if (rc)
		authority_done(a);
	return rc;
}

void
authority_done(struct authority *a)
{
	free(a->user);
	free(a->password);
	free(a->host);
	*a = (struct authority){ 0 };
}
