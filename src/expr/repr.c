/* repr.c - values as text: Python's repr() and str(). */
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include "base/str.h"
#include "expr/moment.h"
#include "expr/number.h"
#include "expr/value.h"
#include "expr/work.h"

#define FLOAT_STEPS 8		/* finding the shortest digits takes a while */
#define LONGEST_SHOWN 100	/* characters of a value in a message */

/* What repr() escapes beyond ASCII: controls, formats, spaces, surrogates,
 * private use. */
static bool
is_hidden(uint32_t c)
{
	static const struct {
		uint32_t from, to;
	} ranges[] = {
		{ 0x7f, 0xa0 }, { 0xad, 0xad }, { 0x600, 0x605 }, { 0x61c, 0x61c },
		{ 0x6dd, 0x6dd }, { 0x70f, 0x70f }, { 0x890, 0x891 }, { 0x8e2, 0x8e2 },
		{ 0x1680, 0x1680 }, { 0x180e, 0x180e }, { 0x2000, 0x200f },
		{ 0x2028, 0x202f }, { 0x205f, 0x206f }, { 0x3000, 0x3000 },
		{ 0xd800, 0xf8ff }, { 0xfeff, 0xfeff }, { 0xfff0, 0xfffb },
		{ 0xfffe, 0xffff }, { 0xe0000, 0xe00ff }, { 0xf0000, 0x10ffff },
	};

	for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
		if (c >= ranges[i].from && c <= ranges[i].to)
			return true;
	return c < ' ';
}

/* The character at S, of valid UTF-8; its length comes back. */
static size_t
read_char(const char *s, size_t n, uint32_t *c)
{
	const unsigned char *u = (const unsigned char *)s;
	size_t len = *u < 0x80 ? 1 : *u < 0xe0 ? 2 : *u < 0xf0 ? 3 : 4;

	*c = len == 1 ? *u : *u & (0x7fu >> len);
	if (len > n)
		len = n;
	for (size_t i = 1; i < len; i++)
		*c = *c << 6 | (u[i] & 0x3f);
	return len;
}

static void
escape(struct str *s, uint32_t c)
{
	if (c == '\n' || c == '\r' || c == '\t')
		str_printf(s, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
	else if (c < 0x100)
		str_printf(s, "\\x%02" PRIx32, c);
	else if (c < 0x10000)
		str_printf(s, "\\u%04" PRIx32, c);
	else
		str_printf(s, "\\U%08" PRIx32, c);
}

static void
repr_text(const struct value *v, struct str *s)
{
	char quote = memchr(v->text, '\'', v->n) && !memchr(v->text, '"', v->n) ? '"' : '\'';
	size_t len;
	uint32_t c;

	str_putc(s, quote);
	for (size_t at = 0; at < v->n; at += len) {
		len = read_char(v->text + at, v->n - at, &c);
		if (c == (unsigned char)quote || c == '\\')
			str_putc(s, '\\');
		if (is_hidden(c))
			escape(s, c);
		else
			str_add(s, v->text + at, len);
	}
	str_putc(s, quote);
}

static int
repr_elements(struct work *w, const struct value *v, struct str *s)
{
	struct value item;

	str_putc(s, v->type == VALUE_LIST ? '[' : '(');
	for (size_t i = 0; i < v->n; i++) {
		if (i)
			str_puts(s, ", ");
		if (value_item(w, v, i, &item) || value_repr(w, &item, s))
			return -1;
	}
	if (v->type == VALUE_TUPLE && v->n == 1)
		str_putc(s, ',');
	str_putc(s, v->type == VALUE_LIST ? ']' : ')');
	return 0;
}

static int
repr_dict(struct work *w, const struct value *v, struct str *s)
{
	struct value_iter it;
	struct value key, item;
	int rc;

	str_putc(s, '{');
	if (value_iter_start(w, v, &it))
		return -1;
	while ((rc = value_iter_next(w, &it, &key)) == 1) {
		if (it.i > 1)
			str_puts(s, ", ");
		if (value_iter_item(w, &it, &item) || value_repr(w, &key, s))
			return -1;
		str_puts(s, ": ");
		if (value_repr(w, &item, s))
			return -1;
	}
	str_putc(s, '}');
	return rc;
}

static int
repr_container(struct work *w, const struct value *v, struct str *s)
{
	int rc;

	if (work_enter(w))
		return -1;
	rc = v->type == VALUE_DICT ? repr_dict(w, v, s) : repr_elements(w, v, s);
	work_leave(w);
	return rc;
}

int
value_repr(struct work *w, const struct value *v, struct str *s)
{
	char buf[NUMBER_TEXT];

	if (work_spend(w, 1))
		return -1;
	switch (v->type) {
	case VALUE_NONE: case VALUE_ABSENT:
		str_puts(s, "None");
		break;
	case VALUE_BOOL:
		str_puts(s, v->i ? "True" : "False");
		break;
	case VALUE_INT:
		str_printf(s, "%" PRId64, v->i);
		break;
	case VALUE_FLOAT:
		if (work_spend(w, FLOAT_STEPS))
			return -1;
		str_puts(s, number_write(v->f, buf));
		break;
	case VALUE_STR:
		if (work_spend_bytes(w, v->n))
			return -1;
		repr_text(v, s);
		break;
	case VALUE_LIST: case VALUE_TUPLE: case VALUE_DICT:
		if (repr_container(w, v, s))
			return -1;
		break;
	case VALUE_DATETIME: case VALUE_DATE: case VALUE_TIMEDELTA:
		moment_repr(v, s);
		break;
	}
	return work_size(w, s->len);
}

int
value_str(struct work *w, const struct value *v, struct str *s)
{
	switch (v->type) {
	case VALUE_STR:
		if (work_spend_bytes(w, v->n))
			return -1;
		str_add(s, v->text, v->n);
		return work_size(w, s->len);
	case VALUE_DATETIME: case VALUE_DATE: case VALUE_TIMEDELTA:
		moment_str(v, s);
		return 0;
	default:
		return value_repr(w, v, s);
	}
}

int
value_fail(struct work *w, const char *message, const struct value *v)
{
	struct str text = STR_INIT;
	size_t shown;

	if (!value_repr(w, v, &text)) {
		shown = value_char_at(str_text(&text), text.len, LONGEST_SHOWN);
		work_fail(w, "%s: %.*s%s", message, (int)shown, str_text(&text),
		    shown < text.len ? "..." : "");
	}
	str_done(&text);
	return -1;
}
