/* url.c - find the passwords in an address.
 *
 * They stand in two places: "scheme://user:PASSWORD@host", and after
 * "password=" or "sslpassword=", be it in a query or in a conninfo string. */
#include "base/url.h"
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/str.h"

struct part {
	const char *at;
	size_t len;
};

/* The password of the authority that begins at S.  Up to the last '@': one
 * that was not encoded is hidden all the same. */
static struct part
in_authority(const char *s)
{
	const char *end = strstr(s, "://"), *colon, *at;
	struct part none = { NULL, 0 };
	size_t len = end ? (size_t)(end - s) : strcspn(s, "?#");

	if (!(at = memrchr(s, '@', len)) ||
	    !(colon = memchr(s, ':', (size_t)(at - s))))
		return none;
	return (struct part){ colon + 1, (size_t)(at - colon) - 1 };
}

/* The value after "password" at S, quoted or not. */
static struct part
after_equals(const char *s)
{
	const char *start;
	char quote = '\0';

	s += strspn(s, " \t");
	if (*s != '=')
		return (struct part){ NULL, 0 };
	s++;
	s += strspn(s, " \t");
	if (*s == '\'')
		quote = *s++;
	for (start = s; *s && !(quote ? *s == quote : strchr(" \t&", *s) != NULL); s++)
		if (*s == '\\' && s[1])
			s++;
	return (struct part){ start, (size_t)(s - start) };
}

static void
tell(struct part p, void (*seen)(const char *))
{
	char *raw = xstrndup(p.at, p.len), *to = raw;

	seen(raw);
	for (const char *from = raw; *from; )
		if (*from == '\\' && from[1]) {
			*to++ = from[1];
			from += 2;
		} else
			*to++ = *from++;
	if (*to) {
		*to = '\0';
		seen(raw);
	}
	free(raw);
}

/* A password that should have been encoded and was not: others will take it
 * to pieces at these, and name a piece in their message. */
static void
tell_pieces(struct part p, void (*seen)(const char *))
{
	for (size_t n; p.len > 0; p.at += n, p.len -= n) {
		char *piece;

		for (n = 0; n < p.len && !strchr(":/?#@[]&", p.at[n]); n++)
			;
		piece = xstrndup(p.at, n);
		seen(piece);
		free(piece);
		n += n < p.len;
	}
}

char *
url_hide(const char *s, void (*seen)(const char *password))
{
	struct str out = STR_INIT;

	while (*s) {
		struct part p = { NULL, 0 };
		size_t word = 1;

		if (!strncmp(s, "://", 3))
			p = in_authority(s + (word = 3));
		else if (!strncmp(s, "password", 8))
			p = after_equals(s + (word = 8));
		if (!p.at || p.len == 0) {
			str_add(&out, s, word);
			s += word;
			continue;
		}
		if (seen)
			tell(p, seen);
		if (seen && word == 3)
			tell_pieces(p, seen);
		str_add(&out, s, (size_t)(p.at - s));
		str_puts(&out, "***");
		s = p.at + p.len;
	}
	return str_take(&out);
}
