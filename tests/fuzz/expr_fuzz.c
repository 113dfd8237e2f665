/* expr_fuzz.c - any text at all: the expression language answers with a value
 * or with an error that can be shown to a person.
 *
 * The input is an expression; after a NUL byte JSON may follow: the values of
 * its names. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/str.h"
#include "expr/expr.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static const char names_text[] =
	"{\"a\": 1, \"b\": 2.5, \"x\": null, \"s\": \"gr\\u00fc\\u00df\", \"xs\": [1, [2, \"3\"], {}],"
	" \"d\": {\"a\": {\"b\": [1, null]}, \"s\": \"t\"}, \"t\": true, \"n\": -9223372036854775808,"
	" \"when\": \"2026-05-01T09:00:00Z\"}";

static void
insist(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "expr_fuzz: %s\n", what);
	abort();
}

static const json_t *
lend(void *arg, const char *name)
{
	return json_object_get(arg, name);
}

static enum truth
truth_of(void *arg, const char *name)
{
	return (enum truth)((*name + *(unsigned *)arg) & 3);
}

static void
check_error(const struct err *err)
{
	size_t n = strlen(err->message);

	insist(n > 0, "an error without a message");
	insist(err->line >= 1 && err->column >= 1, "an error without a place");
	insist(str_is_utf8(err->message, n), "a message that is not UTF-8");
	for (size_t i = 0; i < n; i++)
		insist((unsigned char)err->message[i] >= ' ' && err->message[i] != 0x7f,
		    "a message with control characters");
}

static void
check_value(json_t *v)
{
	char *text = json_dumps(v, JSON_ENCODE_ANY);

	insist(text != NULL, "a value that is no JSON");
	free(text);
	json_decref(v);
}

static void
run_expression(const char *text, size_t n, json_t *names)
{
	struct expr_scope scope = { lend, names, 1777627815250000, NULL, 0 };
	struct err err = { 0 };
	struct expr *e = expr_parse(text, n, &err);
	json_t *v, *again;
	bool truth;

	if (!e) {
		check_error(&err);
		return;
	}
	v = expr_eval(e, &scope, &err);
	again = expr_eval(e, &scope, &err);
	if (!v)
		check_error(&err);
	insist(v ? json_equal(v, again) : !again, "two outcomes of one evaluation");
	json_decref(again);
	for (int op = EXPR_NO_OPERATOR; v && op <= EXPR_NOT_CONTAIN; op++) {
		json_t *value;

		if (expr_test(e, (enum expr_operator)op, op & 1 ? v : names, &scope,
		    &value, &truth, &err))
			check_error(&err);
		json_decref(value);
	}
	if (v)
		check_value(v);
	expr_free(e);
}

static void
run_event(const char *text, size_t n)
{
	struct err err = { 0 };
	struct expr *e = expr_parse_event(text, n, &err);

	if (!e)
		check_error(&err);
	for (unsigned seed = 0; e && seed < 4; seed++)
		insist(expr_decide(e, truth_of, &seed) <= TRUTH_OPEN, "no truth");
	expr_free(e);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data, *nul = memchr(data, '\0', size);
	size_t n = nul ? (size_t)(nul - text) : size;
	json_t *names = NULL;

	if (nul)
		names = json_loadb(nul + 1, size - n - 1, JSON_ALLOW_NUL, NULL);
	if (!json_is_object(names)) {
		json_decref(names);
		names = json_loads(names_text, 0, NULL);
	}
	run_expression(text, n, names);
	run_event(text, n);
	json_decref(names);
	return 0;
}
