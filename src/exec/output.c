/* output.c - JSON or text?
 *
 * NaN, Infinity and half a JSON document are text, as anything else that does
 * not parse.  But a document that is JSON by its grammar and only too large for
 * our numbers must not turn into text silently: it is an error. */
#include "exec/output.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "celery/raw.h"
#include "celery/refusal.h"

/* Would TEXT be JSON if its numbers were small?  Every run of digits outside
 * of strings becomes a 1, which leaves the grammar alone. */
static bool
is_json_but_for_numbers(const char *text, size_t len)
{
	struct str s = STR_INIT;
	bool in_string = false, digit = false;
	json_t *v;

	for (size_t i = 0; i < len; i++) {
		bool was_digit = digit;

		digit = !in_string && text[i] >= '0' && text[i] <= '9';
		if (in_string && text[i] == '\\' && i + 1 < len) {
			str_add(&s, text + i++, 2);
			continue;
		}
		if (text[i] == '"')
			in_string = !in_string;
		if (!digit)
			str_putc(&s, text[i]);
		else if (!was_digit)
			str_putc(&s, '1');
	}
	v = json_loadb(str_text(&s), s.len, JSON_DECODE_ANY, NULL);
	str_done(&s);
	json_decref(v);
	return v != NULL;
}

/* 0: TEXT is no JSON at all. */
static int
check_refused(const json_error_t *e, const char *text, size_t len, struct err *err)
{
	switch (json_error_code(e)) {
	case json_error_numeric_overflow:
		if (!is_json_but_for_numbers(text, len))
			return 0;
		return err_set(err, "the output is JSON with a number that is too "
		    "large (integers have 64 bits)");
	case json_error_null_character:
	case json_error_null_byte_in_key:
		return err_set(err, "the output is JSON with a NUL character in it");
	case json_error_stack_overflow:
		return err_set(err, "the output is JSON that is nested too deep");
	default:
		return 0;
	}
}

static int
check_text(const char *text, size_t len, struct err *err)
{
	if (memchr(text, '\0', len))
		return err_set(err, "the output holds a NUL byte, so it is no text");
	if (!str_is_utf8(text, len))
		return err_set(err, "the output is not UTF-8");
	return 0;
}

static char *
as_text(const char *text, size_t len)
{
	struct str s = STR_INIT;

	while (len && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		len--;
	json_append_text(&s, text, len);
	return str_take(&s);
}

char *
output_value(const char *text, size_t len, struct err *err)
{
	struct str s = STR_INIT;
	json_error_t e;
	json_t *v;

	if (check_text(text, len, err))
		return NULL;
	if ((v = json_loadb(text, len, JSON_DECODE_ANY, &e))) {
		json_append(&s, v);
		json_decref(v);
		return str_take(&s);
	}
	if (check_refused(&e, text, len, err))
		return NULL;
	return as_text(text, len);
}

char *
output_raw(const char *text, size_t len, struct err *err)
{
	struct refusal why;
	struct raw value;

	if (check_text(text, len, err))
		return NULL;
	if (raw_check(text, len, &value, &why) == 0)
		return xstrndup(value.text, value.len);
	if (why.reason == REFUSED_JSON)
		return as_text(text, len);
	err_set(err, "the output is JSON, but %s", why.err.message);
	return NULL;
}
