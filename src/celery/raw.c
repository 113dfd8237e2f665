/* raw.c - find our way in JSON without decoding it.
 *
 * raw_check() reads the whole text once, with the open arrays and objects on a
 * stack of its own, so that depth costs nothing but its limit.  The keys of the
 * open objects lie on a second stack; when an object closes, its own are sorted
 * and equal neighbours found.  After that the text can be trusted, and the
 * other functions do no more than skip. */
#include "celery/raw.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/str.h"
#include "base/vec.h"
#include "celery/refusal.h"

enum expecting { VALUE, VALUE_OR_END, KEY, KEY_OR_END, COLON, COMMA_OR_END };

struct scan {
	const char *start, *at, *end;
	struct refusal *refusal;
	enum expecting expecting;
	size_t values;
	int depth;
	char open[RAW_DEPTH_MAX];		/* '[' or '{' */
	size_t first_key[RAW_DEPTH_MAX];
	VEC(struct raw) keys;
};

static bool
is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int
hex_digit(char c)
{
	return is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 :
	    c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static const char *
skip_space(const char *at, const char *end)
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

/* --- the one reading of the whole text --- */

static int
wrong(struct scan *s, const char *what)
{
	return refuse(s->refusal, REFUSED_JSON, "not JSON: %s at byte %zu", what,
	    (size_t)(s->at - s->start));
}

/* AT stands behind a backslash. */
static int
scan_escape(struct scan *s)
{
	if (s->at == s->end || !strchr("\"\\/bfnrtu", *s->at) || !*s->at)
		return wrong(s, "an unknown escape");
	if (*s->at++ != 'u')
		return 0;
	for (int i = 0; i < 4; i++, s->at++)
		if (s->at == s->end || hex_digit(*s->at) < 0)
			return wrong(s, "\\u without four hexadecimal digits");
	return 0;
}

static int
scan_string(struct scan *s)
{
	size_t n;

	for (s->at++; s->at < s->end && *s->at != '"';) {
		if (*s->at == '\\') {
			s->at++;
			if (scan_escape(s))
				return -1;
			continue;
		}
		if ((unsigned char)*s->at < ' ')
			return wrong(s, "a control character in a string");
		n = str_char(s->at, (size_t)(s->end - s->at));
		if (n == 0)
			return wrong(s, "a byte that is not UTF-8");
		s->at += n;
	}
	if (s->at == s->end)
		return wrong(s, "a string without end");
	s->at++;
	return 0;
}

static bool
take_digits(struct scan *s)
{
	const char *first = s->at;

	while (s->at < s->end && is_digit(*s->at))
		s->at++;
	return s->at > first;
}

static bool
take(struct scan *s, const char *chars)
{
	if (s->at == s->end || !*s->at || !strchr(chars, *s->at))
		return false;
	s->at++;
	return true;
}

static bool
take_word(struct scan *s, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(s->end - s->at) < n || memcmp(s->at, word, n))
		return false;
	s->at += n;
	return true;
}

static int
scan_number(struct scan *s)
{
	if (take(s, "-") && take_word(s, "Infinity"))
		return 0;
	if (!take(s, "0") && !take_digits(s))
		return wrong(s, "no value");
	if (take(s, ".") && !take_digits(s))
		return wrong(s, "no digit behind the point");
	if (take(s, "eE")) {
		take(s, "+-");
		if (!take_digits(s))
			return wrong(s, "no digit in the exponent");
	}
	return 0;
}

static int
open_container(struct scan *s)
{
	if (s->depth == RAW_DEPTH_MAX)
		return refuse(s->refusal, REFUSED_DEPTH, "nested deeper than %d",
		    RAW_DEPTH_MAX);
	s->open[s->depth] = *s->at;
	s->first_key[s->depth++] = s->keys.n;
	s->expecting = *s->at++ == '[' ? VALUE_OR_END : KEY_OR_END;
	return 0;
}

static int
scan_value(struct scan *s)
{
	static const char *const words[] = { "true", "false", "null", "NaN", "Infinity" };

	if (++s->values > RAW_VALUES_MAX)
		return refuse(s->refusal, REFUSED_COUNT, "more than %d values", RAW_VALUES_MAX);
	if (*s->at == '[' || *s->at == '{')
		return open_container(s);
	s->expecting = COMMA_OR_END;
	if (*s->at == '"')
		return scan_string(s);
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (take_word(s, words[i]))
			return 0;
	return scan_number(s);
}

/* By their characters, whatever the escapes: "a" is "\u0061". */
static int
compare_keys(const void *a, const void *b)
{
	const struct raw *x = a, *y = b;
	const char *s = x->text + 1, *s_end = x->text + x->len - 1;
	const char *t = y->text + 1, *t_end = y->text + y->len - 1;

	while (s < s_end && t < t_end) {
		uint32_t c = raw_char(&s), d = raw_char(&t);

		if (c != d)
			return c < d ? -1 : 1;
	}
	return (s < s_end) - (t < t_end);
}

static int
close_container(struct scan *s)
{
	size_t first = s->first_key[--s->depth], n = s->keys.n - first;
	struct raw *keys = s->keys.at + first;

	s->at++;
	s->keys.n = first;
	s->expecting = COMMA_OR_END;
	if (n < 2)
		return 0;
	qsort(keys, n, sizeof *keys, compare_keys);
	for (size_t i = 1; i < n; i++)
		if (!compare_keys(&keys[i - 1], &keys[i]))
			return refuse(s->refusal, REFUSED_DUPLICATE, "the key %.*s is there twice",
			    (int)(keys[i].len < 60 ? keys[i].len : 60), keys[i].text);
	return 0;
}

static int
scan_key(struct scan *s)
{
	struct raw key = { s->at, 0 };

	if (*s->at != '"')
		return wrong(s, "no key");
	if (scan_string(s))
		return -1;
	key.len = (size_t)(s->at - key.text);
	vec_push(&s->keys, key);
	s->expecting = COLON;
	return 0;
}

static int
scan_separator(struct scan *s, bool in_array)
{
	if (*s->at != (s->expecting == COLON ? ':' : ','))
		return wrong(s, s->expecting == COLON ? "no ':'" : "no ','");
	s->at++;
	s->expecting = s->expecting == COLON || in_array ? VALUE : KEY;
	return 0;
}

static int
scan_step(struct scan *s)
{
	bool in_array = s->depth > 0 && s->open[s->depth - 1] == '[';

	if (s->expecting != VALUE && s->expecting != KEY && s->expecting != COLON &&
	    *s->at == (in_array ? ']' : '}'))
		return close_container(s);
	switch (s->expecting) {
	case VALUE:
	case VALUE_OR_END:
		return scan_value(s);
	case KEY:
	case KEY_OR_END:
		return scan_key(s);
	default:
		return scan_separator(s, in_array);
	}
}

static int
scan_all(struct scan *s)
{
	do {
		s->at = skip_space(s->at, s->end);
		if (s->at == s->end)
			return wrong(s, "the end");
		if (scan_step(s))
			return -1;
	} while (s->depth > 0 || s->expecting != COMMA_OR_END);
	return 0;
}

int
raw_check(const char *text, size_t len, struct raw *value, struct refusal *refusal)
{
	struct scan s = { .start = text, .at = text, .end = text + len, .refusal = refusal };
	int rc = scan_all(&s);

	value->text = skip_space(text, s.end);
	value->len = (size_t)(s.at - value->text);
	if (!rc && (s.at = skip_space(s.at, s.end)) != s.end)
		rc = wrong(&s, "something after the value");
	vec_done(&s.keys);
	return rc;
}

/* --- text that is known to be good --- */

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
	const char *at = walk->at ? skip_space(walk->at, walk->end) : walk->end;

	*key = *member = (struct raw){ NULL, 0 };
	if (at == walk->end)
		return false;
	member->text = at;
	at = raw_skip(at, walk->end);
	member->len = (size_t)(at - member->text);
	at = skip_space(at, walk->end);
	if (at < walk->end && *at == ':') {
		*key = *member;
		member->text = skip_space(at + 1, walk->end);
		at = raw_skip(member->text, walk->end);
		member->len = (size_t)(at - member->text);
		at = skip_space(at, walk->end);
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
