/* celery.c - a variable computed by a task of somebody else's Celery worker.
 *
 * That is no measurement of this process: a worker asks, and any worker may get
 * the answer (engine/ask.c).  What comes here has no broker to ask, and nobody to
 * be answered by. */
#include <jansson.h>
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
	json_append(&s, v);
	json_decref(v);
	return str_take(&s);
}
