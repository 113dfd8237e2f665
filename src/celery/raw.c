/* raw.c - find our way in JSON that is known to be good, without decoding it.
 *
 * raw_check() has seen all of the text before (scan.c), so these functions do
 * no more than skip, and undo the escapes of the strings they are asked for. */
#include "celery/raw.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/str.h"

static bool
is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 :
	    c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

const char *
raw_skip_space(const char *at, const char *end)
{
	while (at < end && is_space(*at))
		at++;
	return at;
}

static uint32_t
hex4(const char *s)
{
	return (uint32_t)(hex_digit(s[0]) << 12 | hex_digit(s[1]) << 8 |
	    hex_digit(s[2]) << 4 | hex_digit(s[3]));
}

static bool
is_surrogate(uint32_t c, uint32_t first)
{
	return c >= first && c < first + 0x400;
}

static uint32_t
escaped_char(const char **at)
{
	static const char letters[] = "bfnrt", means[] = "\b\f\n\r\t";
	const char *letter, *s = *at;
	uint32_t c, low;

	if (*s != 'u') {
		*at = s + 1;
		letter = strchr(letters, *s);
		return (unsigned char)(letter ? means[letter - letters] : *s);
	}
	c = hex4(s + 1);
	*at = s += 5;
	if (!is_surrogate(c, 0xd800) || s[0] != '\\' || s[1] != 'u')
		return c;
	low = hex4(s + 2);
	if (!is_surrogate(low, 0xdc00))
		return c;
	*at = s + 6;
	return 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
}

uint32_t
raw_char(const char **at)
{
	const unsigned char *s = (const unsigned char *)*at;

	if (*s == '\\') {
		++*at;
		return escaped_char(at);
	}
	*at += *s < 0x80 ? 1 : *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : 4;
	if (*s < 0x80)
		return s[0];
	if (*s < 0xe0)
		return (s[0] & 0x1fu) << 6 | (s[1] & 0x3fu);
	if (*s < 0xf0)
		return (s[0] & 0x0fu) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu);
	return (s[0] & 0x07u) << 18 | (s[1] & 0x3fu) << 12 | (s[2] & 0x3fu) << 6 | (s[3] & 0x3fu);
}

void
raw_put_char(struct str *s, uint32_t c)
{
	if (c >= 0xd800 && c < 0xe000)
		c = 0xfffd;
	if (c < 0x80) {
		str_putc(s, (char)c);
		return;
	}
	if (c < 0x800)
		str_putc(s, (char)(0xc0 | c >> 6));
	else if (c < 0x10000)
		str_putc(s, (char)(0xe0 | c >> 12));
	else {
		str_putc(s, (char)(0xf0 | c >> 18));
		str_putc(s, (char)(0x80 | (c >> 12 & 0x3f)));
	}
	if (c >= 0x800)
		str_putc(s, (char)(0x80 | (c >> 6 & 0x3f)));
	str_putc(s, (char)(0x80 | (c & 0x3f)));
}

char
raw_kind(struct raw v)
{
	if (!v.text)
		return '\0';
	return strchr("{[\"tfn", *v.text) ? *v.text : '0';
}

static const char *
skip_string(const char *at)
{
	for (at++; *at != '"'; at++)
		if (*at == '\\')
			at++;
	return at + 1;
}

const char *
raw_skip(const char *at, const char *end)
{
	size_t depth = 0;

	for (; at < end; at++) {
		if (*at == '"')
			at = skip_string(at) - 1;
		else if (*at == '[' || *at == '{')
			depth++;
		else if (*at == ']' || *at == '}') {
			if (depth == 0)
				return at;	/* behind a number, or a word */
			depth--;
		} else if (depth > 0)
			continue;
		else if (*at == ',' || is_space(*at))
			return at;
		else
			continue;
		if (depth == 0)
			return at + 1;
	}
	return end;
}

struct raw_walk
raw_walk(struct raw v)
{
	if (raw_kind(v) != '[' && raw_kind(v) != '{')
		return (struct raw_walk){ NULL, NULL };
	return (struct raw_walk){ v.text + 1, v.text + v.len - 1 };
}

bool
raw_next(struct raw_walk *walk, struct raw *key, struct raw *member)
{
	const char *at = walk->at ? raw_skip_space(walk->at, walk->end) : walk->end;

	*key = *member = (struct raw){ NULL, 0 };
	if (at == walk->end)
		return false;
	member->text = at;
	at = raw_skip(at, walk->end);
	member->len = (size_t)(at - member->text);
	at = raw_skip_space(at, walk->end);
	if (at < walk->end && *at == ':') {
		*key = *member;
		member->text = raw_skip_space(at + 1, walk->end);
		at = raw_skip(member->text, walk->end);
		member->len = (size_t)(at - member->text);
		at = raw_skip_space(at, walk->end);
	}
	walk->at = at < walk->end ? at + 1 : at;	/* behind the comma */
	return true;
}

size_t
raw_count(struct raw v)
{
	struct raw_walk walk = raw_walk(v);
	struct raw key, member;
	size_t n = 0;

	while (raw_next(&walk, &key, &member))
		n++;
	return n;
}

struct raw
raw_get(struct raw object, const char *name)
{
	struct raw_walk walk = raw_walk(object);
	struct raw key, member;

	while (raw_next(&walk, &key, &member))
		if (key.text && raw_is(key, name))
			return member;
	return (struct raw){ NULL, 0 };
}

/* TEXT is ASCII. */
bool
raw_is(struct raw string, const char *text)
{
	const char *at = string.text + 1, *end = string.text + string.len - 1;

	while (at < end && *text)
		if (raw_char(&at) != (unsigned char)*text++)
			return false;
	return at == end && !*text;
}

bool
raw_string(struct raw string, struct str *out)
{
	const char *at = string.text + 1, *end = string.text + string.len - 1;

	while (at < end) {
		uint32_t c = raw_char(&at);

		if (c == 0 || (c >= 0xd800 && c < 0xe000))
			return false;
		raw_put_char(out, c);
	}
	return true;
}

int
raw_integer(struct raw v, int64_t *n)
{
	char digits[24], *end;

	if (raw_kind(v) != '0' || v.len >= sizeof digits)
		return -1;
	memcpy(digits, v.text, v.len);
	digits[v.len] = '\0';
	errno = 0;
	*n = strtoll(digits, &end, 10);
	return *end || errno ? -1 : 0;
}
