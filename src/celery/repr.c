/* repr.c - Celery's saferepr, over JSON text.
 *
 * saferepr is a stream of tokens, each subtracted from what is left of the
 * limit.  JSON has the same tokens in the same order, so no value is ever
 * decoded and nothing recurses: below the third level a container is skipped.
 * When nothing is left, ", ..." takes the place of the next token, and only the
 * closing of what is open still follows. */
#include "celery/repr.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/str.h"

#define LEVELS 3

struct writer {
	struct str *out;
	struct str token;
	long left;			/* characters */
	const char *closing[LEVELS];
	int level;
};

static long
count_chars(const struct str *s)
{
	long n = 0;

	for (size_t i = 0; i < s->len; i++)
		n += (s->text[i] & 0xc0) != 0x80;
	return n;
}

static void
put(struct writer *w)
{
	str_add(w->out, str_text(&w->token), w->token.len);
	w->left -= count_chars(&w->token);
	str_clear(&w->token);
}

static void
put_text(struct writer *w, const char *text)
{
	str_puts(&w->token, text);
	put(w);
}

/* Where N characters end. */
static size_t
bytes_of(const struct str *s, long n)
{
	size_t i = 0;

	for (; i < s->len; i++)
		if ((s->text[i] & 0xc0) != 0x80 && n-- == 0)
			break;
	return i;
}

/* As celery.utils.text.truncate: at the last space, where there is one. */
static void
truncate_token(struct writer *w)
{
	size_t n = bytes_of(&w->token, w->left);
	const char *space;

	if (count_chars(&w->token) < w->left)
		return;
	space = memrchr(str_text(&w->token), ' ', n);
	w->token.len = space ? (size_t)(space - w->token.text) : n;
	str_puts(&w->token, "...");
}

static void
put_truncated(struct writer *w)
{
	truncate_token(w);
	put(w);
}

/* Not Python's repr of a string: only the quote is escaped. */
static const char *
put_string(struct writer *w, const char *at, const char *end)
{
	const char *after = raw_skip(at, end), *last = after - 1;
	struct str text = STR_INIT;
	long n = 0;

	/* What is beyond the limit is not looked at. */
	for (at++; at < last && n <= w->left; n++)
		raw_put_char(&w->token, raw_char(&at));
	truncate_token(w);
	text = w->token;
	w->token = (struct str)STR_INIT;
	str_putc(&w->token, '\'');
	for (size_t i = 0; i < text.len; i++) {
		if (text.text[i] == '\'')
			str_putc(&w->token, '\\');
		str_putc(&w->token, text.text[i]);
	}
	str_putc(&w->token, '\'');
	str_done(&text);
	put(w);
	return after;
}

void
celery_repr_real(struct str *out, double x)
{
	char text[40], *digits = text + 1, *e;
	int exponent, n;

	if (!isfinite(x)) {
		str_puts(out, isnan(x) ? "nan" : x < 0 ? "-inf" : "inf");
		return;
	}
	if (signbit(x))
		str_putc(out, '-');
	for (int precision = 0; precision <= 16; precision++) {
		snprintf(text, sizeof text, "%.*e", precision, fabs(x));
		if (strtod(text, NULL) == fabs(x))
			break;
	}
	/* "d.ddde+XX" becomes the digits alone and the exponent. */
	e = strchr(text, 'e');
	exponent = atoi(e + 1);
	if (text[1] == '.')
		text[1] = text[0];
	else
		digits = text;
	n = (int)(e - digits);
	if (exponent < -4 || exponent >= 16) {
		str_printf(out, "%c%s%.*se%c%02d", digits[0], n > 1 ? "." : "", n - 1,
		    digits + 1, exponent < 0 ? '-' : '+', abs(exponent));
	} else if (exponent < 0) {
		str_printf(out, "0.%.*s%.*s", -exponent - 1, "0000", n, digits);
	} else {
		for (int i = 0; i < n || i <= exponent + 1; i++) {
			if (i == exponent + 1)
				str_putc(out, '.');
			str_putc(out, i < n ? digits[i] : '0');
		}
	}
}

static const char *
put_number(struct writer *w, const char *at, const char *end)
{
	const char *after = raw_skip(at, end);
	struct str number = STR_INIT;

	/* A colon or bracket may follow; strtod() stops there by itself, but
	 * not at the end of the text. */
	str_add(&number, at, (size_t)(after - at));
	if (!strcmp(str_text(&number), "-0"))
		str_puts(&w->token, "0");
	else if (strpbrk(str_text(&number), ".eEN") || strstr(str_text(&number), "Inf"))
		celery_repr_real(&w->token, strtod(str_text(&number), NULL));
	else
		str_add(&w->token, str_text(&number), number.len);
	str_done(&number);
	put_truncated(w);
	return after;
}

static const char *
put_scalar(struct writer *w, const char *at, const char *end)
{
	static const char *const words[][2] = { { "true", "True" }, { "false", "False" },
		{ "null", "None" } };

	if (*at == '"')
		return put_string(w, at, end);
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (*at == *words[i][0]) {
			str_puts(&w->token, words[i][1]);
			put_truncated(w);
			return at + strlen(words[i][0]);
		}
	return put_number(w, at, end);
}

static const char *
put_token(struct writer *w, const char *at, const char *end)
{
	switch (*at) {
	case ',':
		put_text(w, ", ");
		return at + 1;
	case ':':
		put_text(w, ": ");
		return at + 1;
	case ']':
	case '}':
		put_text(w, w->closing[--w->level]);
		return at + 1;
	default:
		return put_scalar(w, at, end);
	}
}

/* The container at AT; false if nothing of it fits. */
static const char *
put_open(struct writer *w, const char *at, const char *end, bool tuple)
{
	struct raw value = { at, (size_t)(end - at) };

	if (w->level == LEVELS) {
		if (w->left <= 0)
			return NULL;
		str_puts(&w->token, *at == '[' ? "[...]" : "{...}");
		put_truncated(w);
		return raw_skip(at, end);
	}
	w->closing[w->level++] = *at == '{' ? "}" : !tuple ? "]" :
	    raw_count(value) == 1 ? ",)" : ")";
	if (w->left <= 0)
		return NULL;
	put_text(w, *at == '{' ? "{" : tuple ? "(" : "[");
	return at + 1;
}

/* NULL when the limit is reached. */
static const char *
step(struct writer *w, const char *at, const char *end, bool tuple)
{
	if (*at == '[' || *at == '{')
		return put_open(w, at, end, tuple);
	if (w->left > 0)
		return put_token(w, at, end);
	if (*at == ']' || *at == '}')
		w->level--;
	return NULL;
}

void
celery_repr(struct str *out, struct raw value, bool as_tuple, long limit)
{
	struct writer w = { .out = out, .left = limit };
	const char *at = value.text, *end = at + value.len;

	while (at && at < end)
		if ((at = step(&w, at, end, as_tuple && at == value.text)))
			at = raw_skip_space(at, end);
	if (!at)
		str_puts(out, ", ...");
	while (w.level > 0)
		str_puts(out, w.closing[--w.level]);
	str_done(&w.token);
}

/* --- exceptions --- */

static bool
holds(struct raw string, uint32_t wanted)
{
	const char *at = string.text + 1, *last = string.text + string.len - 1;

	while (at < last)
		if (raw_char(&at) == wanted)
			return true;
	return false;
}

/* One character as repr() has it.  What Python calls unprintable beyond Latin-1
 * stays as it is, but for halves of surrogates. */
static void
put_char(struct str *out, uint32_t c, uint32_t quote)
{
	static const char *const names[] = { ['\t'] = "\\t", ['\n'] = "\\n", ['\r'] = "\\r" };

	if (c == quote || c == '\\')
		str_printf(out, "\\%c", (int)c);
	else if (c < sizeof names / sizeof names[0] && names[c])
		str_puts(out, names[c]);
	else if (c < ' ' || (c >= 0x7f && c <= 0xa0) || c == 0xad)
		str_printf(out, "\\x%02x", (unsigned)c);
	else if (c >= 0xd800 && c <= 0xdfff)
		str_printf(out, "\\u%04x", (unsigned)c);
	else
		raw_put_char(out, c);
}

/* Python's own repr of a string, whose first LIMIT characters are told. */
static void
put_repr(struct str *out, struct raw string, long limit)
{
	const char *at = string.text + 1, *last = string.text + string.len - 1;
	uint32_t quote = holds(string, '\'') && !holds(string, '"') ? '"' : '\'';

	str_putc(out, (char)quote);
	for (; at < last && limit-- > 0;)
		put_char(out, raw_char(&at), quote);
	if (at < last)
		str_puts(out, "...");
	str_putc(out, (char)quote);
}

static void
put_argument(struct str *out, struct raw value)
{
	if (raw_kind(value) == '"')
		put_repr(out, value, CELERY_REPR_EXCEPTION_MAX);
	else
		celery_repr(out, value, false, CELERY_REPR_EXCEPTION_MAX);
}

void
celery_repr_exception(struct str *out, const char *type, struct raw args)
{
	struct raw_walk walk = raw_walk(args);
	struct raw key, member;
	bool first = true;

	str_printf(out, "%s(", type);
	if (raw_kind(args) == '[')
		for (; raw_next(&walk, &key, &member); first = false) {
			str_puts(out, first ? "" : ", ");
			put_argument(out, member);
		}
	else if (args.text && raw_kind(args) != 'n')
		put_argument(out, args);
	str_putc(out, ')');
}
