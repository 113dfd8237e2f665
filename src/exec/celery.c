/* celery.c - a variable computed by a task of somebody else's Celery worker.
 *
 * That is no measurement of this process: a worker asks, and any worker may get
 * the answer (engine/ask.c).  What comes here has no broker to ask, and nobody to
 * be answered by. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "exec/answer.h"
#include "exec/hand.h"

static void
celery_start(struct exec *exec)
{
	exec_fail(exec, REASON_REFUSED, "a task of Celery is asked for by workers: this process "
	    "has no queue that the answer could come to; run the cycle without --local");
}

static void
celery_kill(struct exec *exec)
{
	(void)exec;
}

const struct hand exec_celery = { celery_start, celery_kill };

/* --- what comes back --- */

static char *
fail(struct err *err, const char *why)
{
	err_set(err, "the result of the Celery task cannot be a value: %s", why);
	return NULL;
}

static char *
refuse(const json_error_t *e, struct err *err)
{
	switch (json_error_code(e)) {
	case json_error_numeric_overflow:
		return fail(err, "a number in it is too large (integers have 64 bits)");
	case json_error_null_character:
	case json_error_null_byte_in_key:
		return fail(err, "there is a NUL character in it");
	case json_error_stack_overflow:
		return fail(err, "it is nested too deep");
	case json_error_invalid_utf8:
		return fail(err, "there is half a character in it");
	default:	/* it is JSON for Python: that leaves NaN, Infinity, lone surrogates */
		return fail(err, strstr(e->text, "\\u") ? "there is half a character in it" :
		    "there is a NaN or an Infinity in it");
	}
}

static json_t *
whole(json_t *real)
{
	json_t *integer = json_integer((json_int_t)json_real_value(real));

	json_decref(real);
	return integer;
}

/* From 5.3 on Celery wraps what JSON has no word for, where it had written texts
 * before: {"__type__": "decimal", "__value__": "12.50"}.  A decimal is what SQL's
 * numeric is to us, the others are text. */
static json_t *
unwrap(const char *type, const json_t *value)
{
	const char *text = json_string_value(value), *hex = json_string_value(
	    json_object_get(value, "hex"));
	json_t *number;

	if (!strcmp(type, "decimal") && text && (number = json_loads(text, JSON_DECODE_ANY, NULL))) {
		if (json_is_real(number) && json_real_value(number) == rint(json_real_value(number)) &&
		    fabs(json_real_value(number)) < 1e15)
			number = whole(number);
		return number;
	}
	if (!strcmp(type, "uuid") && hex && strlen(hex) == 32)
		return json_sprintf("%.8s-%.4s-%.4s-%.4s-%s", hex, hex + 8, hex + 12, hex + 16,
		    hex + 20);
	if (text && (!strcmp(type, "datetime") || !strcmp(type, "date") || !strcmp(type, "time") ||
	    !strcmp(type, "decimal")))
		return json_string(text);
	return NULL;
}

/* V is taken; what it becomes is returned.  It is no deeper than RAW_DEPTH_MAX. */
static json_t *
unwrap_all(json_t *v)
{
	const char *type = json_string_value(json_object_get(v, "__type__")), *key;
	json_t *value = json_object_get(v, "__value__"), *member;
	size_t i;

	if (type && value && json_object_size(v) == 2 && (value = unwrap(type, value))) {
		json_decref(v);
		return value;
	}
	json_object_foreach(v, key, member)
		json_object_set_new(v, key, unwrap_all(json_incref(member)));
	json_array_foreach(v, i, member)
		json_array_set_new(v, i, unwrap_all(json_incref(member)));
	return v;
}

char *
answer_value(struct raw value, size_t most, struct err *err)
{
	struct str s = STR_INIT;
	json_error_t e;
	json_t *v;

	if (value.len > most) {
		err_set(err, "value larger than %zu bytes", most);
		return NULL;
	}
	if (!(v = json_loadb(value.text, value.len, JSON_DECODE_ANY, &e)))
		return refuse(&e, err);
	v = unwrap_all(v);
	json_append(&s, v);
	json_decref(v);
	return str_take(&s);
}
