/* evaluate.c - many evaluations for a checking program, one JSON a line.
 *
 * In: {"e": expression, "names": {name: value}, "now": microseconds}.
 * Out: {"repr": Python's repr of the value} or {"error": message, "line",
 * "column"}. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/str.h"
#include "expr/eval.h"
#include "expr/expr.h"
#include "expr/value.h"
#include "expr/work.h"

static const json_t *
get(void *arg, const char *name)
{
	return json_object_get(arg, name);
}

static int
evaluate(const struct expr *e, const struct expr_scope *scope, struct str *repr, struct err *err)
{
	struct work w;
	struct value v;
	int rc;

	work_init(&w, scope, err);
	rc = eval_expr(&w, e, &v) || value_repr(&w, &v, repr) ? -1 : 0;
	work_done(&w);
	return rc;
}

static json_t *
answer(json_t *question)
{
	const char *text = json_string_value(json_object_get(question, "e"));
	struct expr_scope scope = { get, json_object_get(question, "names"),
		json_integer_value(json_object_get(question, "now")) };
	struct str repr = STR_INIT;
	struct err err = { 0 };
	struct expr *e = expr_parse(text, strlen(text), &err);
	json_t *reply;

	if (e && !evaluate(e, &scope, &repr, &err))
		reply = json_pack("{s:s%}", "repr", str_text(&repr), repr.len);
	else
		reply = json_pack("{s:s, s:i, s:i}", "error", err.message,
		    "line", err.line, "column", err.column);
	str_done(&repr);
	expr_free(e);
	return reply;
}

int
main(void)
{
	char *line = NULL;
	size_t room = 0;

	while (getline(&line, &room, stdin) > 0) {
		json_t *question = json_loads(line, JSON_ALLOW_NUL, NULL), *reply;

		if (!question) {
			fputs("evaluate: a line is not JSON\n", stderr);
			return 2;
		}
		reply = answer(question);
		json_dumpf(reply, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(reply);
		json_decref(question);
	}
	free(line);
	return 0;
}
