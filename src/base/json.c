/* json.c - JSON as one canonical text, and errors with a place.
 *
 * We write JSON ourselves because jansson writes 0.1 with seventeen digits, and
 * because its writer recurses.  Ours keeps the open arrays and objects on a
 * stack of its own.
 *
 * PostgreSQL's jsonb makes an integer of 1e+22, and one of 1e+300 that nobody
 * can read.  What is written for the books has all digits of a large real, and
 * a fraction: that is kept. */
#include "base/json.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/str.h"
#include "base/vec.h"

/* An array or object that has been opened and not closed yet. */
struct open {
	const json_t *value;
	void **members;		/* of an object: jansson's iterators, in order */
	size_t next, n;
};

static int
compare_keys(const void *a, const void *b)
{
	return strcmp(json_object_iter_key(*(void *const *)a),
	    json_object_iter_key(*(void *const *)b));
}

static struct open
open_container(const json_t *v, bool sorted)
{
	struct open o = { .value = v };
	json_t *object = (json_t *)v;	/* iterators ask for it; nothing changes */

	if (json_is_array(v)) {
		o.n = json_array_size(v);
		return o;
	}
	o.members = xcalloc(json_object_size(v), sizeof *o.members);
	for (void *i = json_object_iter(object); i; i = json_object_iter_next(object, i))
		o.members[o.n++] = i;
	if (sorted && o.n > 1)
		qsort(o.members, o.n, sizeof *o.members, compare_keys);
	return o;
}

static void
append_scalar(struct str *out, const json_t *v, bool for_books)
{
	char buf[JSON_REAL_TEXT];

	switch (json_typeof(v)) {
	case JSON_STRING:
		json_append_text(out, json_string_value(v), json_string_length(v));
		break;
	case JSON_INTEGER:
		str_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		break;
	case JSON_REAL:
		str_puts(out, for_books ? json_real_for_books(json_real_value(v), buf)
		    : json_format_real(json_real_value(v), buf));
		break;
	case JSON_TRUE:
		str_puts(out, "true");
		break;
	case JSON_FALSE:
		str_puts(out, "false");
		break;
	default:
		str_puts(out, "null");
	}
}

/* The next member of O, its comma and key already written; NULL at the end. */
static const json_t *
next_member(struct str *out, struct open *o)
{
	const char *key;
	void *member;

	if (o->next == o->n)
		return NULL;
	if (o->next > 0)
		str_putc(out, ',');
	if (!o->members)
		return json_array_get(o->value, o->next++);
	member = o->members[o->next++];
	key = json_object_iter_key(member);
	json_append_text(out, key, strlen(key));
	str_putc(out, ':');
	return json_object_iter_value(member);
}

static void
append(struct str *out, const json_t *v, bool sorted, bool for_books)
{
	VEC(struct open) stack = { 0 };

	for (;;) {
		if (json_is_array(v) || json_is_object(v)) {
			str_putc(out, json_is_array(v) ? '[' : '{');
			vec_push(&stack, open_container(v, sorted));
		} else
			append_scalar(out, v, for_books);
		for (v = NULL; stack.n > 0; stack.n--) {
			struct open *o = &stack.at[stack.n - 1];

			if ((v = next_member(out, o)))
				break;
			str_putc(out, json_is_array(o->value) ? ']' : '}');
			free(o->members);
		}
		if (!v)
			break;
	}
	vec_done(&stack);
}

char *
json_canonical(const json_t *v)
{
	struct str s = STR_INIT;

	append(&s, v, true, false);
	return str_take(&s);
}

char *
json_for_books(const json_t *v)
{
	struct str s = STR_INIT;

	append(&s, v, true, true);
	return str_take(&s);
}

void
json_append(struct str *out, const json_t *v)
{
	append(out, v, false, true);
}

void
json_append_text(struct str *out, const char *text, size_t len)
{
	static const char escapes[256] = { ['"'] = '"', ['\\'] = '\\', ['\b'] = 'b',
		['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't' };
	size_t n;

	str_grow(out, len + 2);
	str_putc(out, '"');
	for (; len > 0; text += n, len -= n) {
		unsigned char c = (unsigned char)*text;

		if ((n = str_char(text, len)) == 0) {
			str_puts(out, "\\ufffd");
			n = 1;
		} else if (escapes[c]) {
			str_putc(out, '\\');
			str_putc(out, escapes[c]);
		} else if (c < ' ')
			str_printf(out, "\\u%04x", c);
		else
			str_add(out, text, n);
	}
	str_putc(out, '"');
}

const char *
json_format_real(double x, char buf[JSON_REAL_TEXT])
{
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(buf, JSON_REAL_TEXT, "%.*g", digits, x);
		if (strtod(buf, NULL) == x)
			break;
	}
	if (!strpbrk(buf, ".en"))	/* "inf" and "nan" are no integers either */
		strcat(buf, ".0");
	return buf;
}

const char *
json_real_for_books(double x, char buf[JSON_REAL_TEXT])
{
	json_format_real(x, buf);
	if (strstr(buf, "e+"))
		snprintf(buf, JSON_REAL_TEXT, "%.1f", x);
	return buf;
}

json_t *
json_read(const char *text, size_t len, struct err *err)
{
	json_error_t e;
	json_t *v = json_loadb(text, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &e);

	if (!v)
		err_at(err, e.line > 0 ? e.line : 1, e.column > 0 ? e.column : 1,
		    "not JSON: %s", e.text);
	return v;
}

const char *
json_kind(const json_t *v)
{
	static const char *const kinds[] = {
		[JSON_OBJECT] = "object", [JSON_ARRAY] = "array",
		[JSON_STRING] = "string", [JSON_INTEGER] = "integer",
		[JSON_REAL] = "number", [JSON_TRUE] = "boolean",
		[JSON_FALSE] = "boolean", [JSON_NULL] = "null",
	};

	return v ? kinds[json_typeof(v)] : "nothing";
}
