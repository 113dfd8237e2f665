/* string.c - escapes in string literals, as Python has them. */
#include "expr/string.h"
#include <stdint.h>
#include <string.h>
#include "base/arena.h"
#include "base/err.h"
#include "expr/lex.h"

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static size_t
put_utf8(char *to, uint32_t c)
{
	if (c < 0x80) {
		to[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		to[0] = (char)(0xc0 | c >> 6);
		to[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		to[0] = (char)(0xe0 | c >> 12);
		to[1] = (char)(0x80 | (c >> 6 & 0x3f));
		to[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	to[0] = (char)(0xf0 | c >> 18);
	to[1] = (char)(0x80 | (c >> 12 & 0x3f));
	to[2] = (char)(0x80 | (c >> 6 & 0x3f));
	to[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* N hexadecimal digits at S. */
static int
read_hex(const char *s, const char *end, int n, uint32_t *c)
{
	*c = 0;
	for (int i = 0; i < n; i++) {
		if (s + i >= end || hex_digit(s[i]) < 0)
			return -1;
		*c = *c << 4 | (uint32_t)hex_digit(s[i]);
	}
	return 0;
}

static int
read_octal(const char *s, const char *end, uint32_t *c)
{
	int n = 0;

	for (*c = 0; n < 3 && s + n < end && s[n] >= '0' && s[n] <= '7'; n++)
		*c = *c * 8 + (uint32_t)(s[n] - '0');
	return n;
}

/* The escape after a backslash at S.  *USED bytes of it make *WROTE bytes at
 * TO, never more than it was long.  An unknown one keeps its backslash. */
static int
undo_escape(const char *s, const char *end, char *to, size_t *used, size_t *wrote,
    const struct token *t, struct err *err)
{
	static const char letters[] = "\\'\"abfnrtv", meant[] = "\\'\"\a\b\f\n\r\t\v";
	const char *found = *s ? strchr(letters, *s) : NULL;
	int digits = *s == 'x' ? 2 : *s == 'u' ? 4 : *s == 'U' ? 8 : 0;
	uint32_t c;

	*used = 1;
	*wrote = 0;
	if (*s == '\n')
		return 0;
	if (*s == 'N')
		return err_at(err, t->line, t->column,
		    "\\N{...} is not part of the expression language; use \\u or the character");
	if (found) {
		to[0] = meant[found - letters];
		*wrote = 1;
		return 0;
	}
	if (digits) {
		if (read_hex(s + 1, end, digits, &c))
			return err_at(err, t->line, t->column,
			    "\\%c takes %d hexadecimal digits", *s, digits);
		if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
			return err_at(err, t->line, t->column,
			    "\\%c%.*s is not a character", *s, digits, s + 1);
		*used = 1 + (size_t)digits;
		*wrote = put_utf8(to, c);
		return 0;
	}
	if (*s >= '0' && *s <= '7') {
		*used = (size_t)read_octal(s, end, &c);
		*wrote = put_utf8(to, c);
		return 0;
	}
	to[0] = '\\';
	to[1] = *s;
	*wrote = 2;
	return 0;
}

int
string_read(struct arena *arena, const char *text, size_t n, bool raw, struct token *t,
    struct err *err)
{
	const char *s = text, *end = text + n;
	char *to = arena_alloc(arena, n + 1);
	size_t used, wrote;

	t->text = to;
	while (s < end) {
		if (*s != '\\' || raw) {
			*to++ = *s++;
			continue;
		}
		if (undo_escape(s + 1, end, to, &used, &wrote, t, err))
			return -1;
		s += 1 + used;
		to += wrote;
	}
	*to = '\0';
	t->n = (size_t)(to - t->text);
	return 0;
}
