/* scan.c - is this JSON, and within bounds?
 *
 * The whole text is read once, with the open arrays and objects on a stack of
 * our own, so that depth costs nothing but its limit.  The keys of the open
 * objects lie on a second stack; when an object closes, its own are sorted and
 * equal neighbours found. */
#include "celery/raw.h"
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
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

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
		if (s->at == s->end || !strchr("0123456789abcdefABCDEF", *s->at) || !*s->at)
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
		s->at = raw_skip_space(s->at, s->end);
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

	value->text = raw_skip_space(text, s.end);
	value->len = (size_t)(s.at - value->text);
	if (!rc && (s.at = raw_skip_space(s.at, s.end)) != s.end)
		rc = wrong(&s, "something after the value");
	vec_done(&s.keys);
	return rc;
}
