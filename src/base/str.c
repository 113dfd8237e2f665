/* str.c - text that grows, and small questions about text. */
#include "base/str.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"

void
str_done(struct str *s)
{
	free(s->text);
	*s = (struct str)STR_INIT;
}

void
str_clear(struct str *s)
{
	s->len = 0;
	if (s->text)
		s->text[0] = '\0';
}

const char *
str_text(const struct str *s)
{
	return s->text ? s->text : "";
}

char *
str_take(struct str *s)
{
	char *text = s->text ? s->text : xstrdup("");

	*s = (struct str)STR_INIT;
	return text;
}

void
str_grow(struct str *s, size_t more)
{
	size_t want = s->len + more + 1;

	if (want <= s->room)
		return;
	if (want < s->room * 2)
		want = s->room * 2;
	if (want < 64)
		want = 64;
	s->text = xreallocarray(s->text, want, 1);
	s->room = want;
	s->text[s->len] = '\0';
}

void
str_add(struct str *s, const void *bytes, size_t n)
{
	str_grow(s, n);
	if (n)
		memcpy(s->text + s->len, bytes, n);
	s->len += n;
	s->text[s->len] = '\0';
}

void
str_puts(struct str *s, const char *text)
{
	str_add(s, text, strlen(text));
}

void
str_putc(struct str *s, char c)
{
	str_add(s, &c, 1);
}

void
str_vprintf(struct str *s, const char *format, va_list ap)
{
	va_list again;
	int n;

	/* Most of it is short, and fits into the room that there is. */
	str_grow(s, 64);
	va_copy(again, ap);
	n = vsnprintf(s->text + s->len, s->room - s->len, format, again);
	va_end(again);
	if (n < 0) {
		s->text[s->len] = '\0';
		return;
	}
	if ((size_t)n >= s->room - s->len) {
		str_grow(s, (size_t)n);
		vsnprintf(s->text + s->len, (size_t)n + 1, format, ap);
	}
	s->len += (size_t)n;
}

void
str_printf(struct str *s, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	str_vprintf(s, format, ap);
	va_end(ap);
}

/* Optimal string alignment: insert, delete, replace, swap neighbours. */
static size_t
distance(const char *a, size_t n, const char *b, size_t m)
{
	size_t row[3][65], *prev = row[0], *cur = row[1], *older = row[2], *spare;

	for (size_t j = 0; j <= m; j++)
		prev[j] = j;
	for (size_t i = 1; i <= n; i++) {
		cur[0] = i;
		for (size_t j = 1; j <= m; j++) {
			size_t best = prev[j - 1] + (a[i - 1] != b[j - 1]);

			if (prev[j] + 1 < best)
				best = prev[j] + 1;
			if (cur[j - 1] + 1 < best)
				best = cur[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1] && older[j - 2] + 1 < best)
				best = older[j - 2] + 1;
			cur[j] = best;
		}
		spare = older;
		older = prev;
		prev = cur;
		cur = spare;
	}
	return prev[m];
}

const char *
str_nearest(const char *name, const char *const *candidates, size_t n)
{
	const char *best = NULL;
	size_t len = strlen(name), least = len < 4 ? 2 : len < 8 ? 3 : 4;

	if (len > 64)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		size_t m = strlen(candidates[i]), d;

		if (m > 64 || m + least <= len || len + least <= m)
			continue;
		d = distance(name, len, candidates[i], m);
		if (d < least && d < len) {
			least = d;
			best = candidates[i];
		}
	}
	return best;
}

size_t
str_char(const char *text, size_t len)
{
	const unsigned char *s = (const unsigned char *)text;
	unsigned char low = 0x80, high = 0xbf;
	size_t n;

	if (len == 0)
		return 0;
	if (*s < 0x80)
		return 1;
	if (*s >= 0xc2 && *s <= 0xdf)
		n = 2;
	else if (*s >= 0xe0 && *s <= 0xef)
		n = 3;
	else if (*s >= 0xf0 && *s <= 0xf4)
		n = 4;
	else
		return 0;
	/* The second byte shuts out overlong forms, surrogates, and what lies
	 * beyond U+10FFFF. */
	if (*s == 0xe0)
		low = 0xa0;
	else if (*s == 0xed)
		high = 0x9f;
	else if (*s == 0xf0)
		low = 0x90;
	else if (*s == 0xf4)
		high = 0x8f;
	if (len < n || s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if (s[i] < 0x80 || s[i] > 0xbf)
			return 0;
	return n;
}

bool
str_is_utf8(const char *s, size_t len)
{
	size_t n;

	for (; len > 0; s += n, len -= n)
		if (!(n = str_char(s, len)))
			return false;
	return true;
}

/* The number of the character of three bytes at TEXT, if it is one that ends a
 * line or turns its direction, so that what is seen is not what is there: U+200E,
 * U+200F, U+2028 to U+202E, U+2066 to U+2069; else 0. */
static unsigned
unseen(const char *text)
{
	unsigned c = ((unsigned)text[0] & 0xf) << 12 | ((unsigned)text[1] & 0x3f) << 6 |
	    ((unsigned)text[2] & 0x3f);

	return c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
	    (c >= 0x2066 && c <= 0x2069) ? c : 0;
}

void
str_visible(struct str *s, const char *text)
{
	size_t n, len = strlen(text);
	unsigned other;

	for (; len > 0; text += n, len -= n) {
		unsigned char c = (unsigned char)*text;

		n = str_char(text, len);
		if (c == '\n')
			str_puts(s, "\\n");
		else if (c == '\r')
			str_puts(s, "\\r");
		else if (c == '\t')
			str_puts(s, "\\t");
		else if (n == 0 || c < ' ' || c == 0x7f) {
			str_printf(s, "\\x%02x", c);
			n = 1;
		} else if (c == 0xc2 && (unsigned char)text[1] < 0xa0)	/* C1 */
			str_printf(s, "\\x%02x", (unsigned char)text[1]);
		else if (n == 3 && (other = unseen(text)))
			str_printf(s, "\\u%04x", other);
		else
			str_add(s, text, n);
	}
}

size_t
str_width(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;	/* where a character begins */
	return n;
}

void
str_clip(struct str *s, const char *text, size_t columns)
{
	const char *end = text;

	if (str_width(text) <= columns) {
		str_puts(s, text);
		return;
	}
	for (size_t n = 1; n < columns; n++)
		end += str_char(end, 4);
	str_add(s, text, (size_t)(end - text));
	if (columns > 0)
		str_puts(s, "\xe2\x80\xa6");
}

char *
str_clean(const char *text, size_t most)
{
	struct str s = STR_INIT;
	size_t len = strlen(text), n;

	for (size_t i = 0; i < len; i += n ? n : 1) {
		n = str_char(text + i, len - i);
		if (s.len + (n ? n : 3) > most)
			break;
		if (n)
			str_add(&s, text + i, n);
		else
			str_puts(&s, "\xef\xbf\xbd");
	}
	return str_take(&s);
}
