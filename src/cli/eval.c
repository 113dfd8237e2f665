/* eval.c - evaluate an expression, print the value as JSON. */
#include "cli/cmd.h"
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "expr/expr.h"

static const json_t *
get(void *arg, const char *name)
{
	return json_object_get(arg, name);
}

/* NAME=JSON; text that is no JSON is a mistake, not a string. */
static int
read_name(json_t *names, const char *word, struct err *err)
{
	const char *equals = strchr(word, '=');
	char *name;
	json_t *value;
	int rc = -1;

	if (!equals)
		return err_class(err, ERR_USAGE, "'%s' should be NAME=JSON", word);
	name = xstrndup(word, (size_t)(equals - word));
	if (expr_check_name(name, err)) {
		err->class = ERR_USAGE;
	} else if (json_object_get(names, name)) {
		err_class(err, ERR_USAGE, "%s is given twice", name);
	} else if (!(value = json_read(equals + 1, strlen(equals + 1), err))) {
		char *why = xstrdup(err->message);

		err_class(err, ERR_USAGE, "%s: %s (a text needs quotes: %s='\"text\"')",
		    name, why, name);
		free(why);
	} else {
		json_object_set_new(names, name, value);
		rc = 0;
	}
	free(name);
	return rc;
}

static int
read_now(struct call *call, instant *now, struct err *err)
{
	*now = clock_now();
	if (!opts_has(call, "now"))
		return 0;
	if (clock_parse(opts_get(call, "now"), now, err)) {
		err->class = ERR_USAGE;
		return err_wrap(err, "--now");
	}
	if (!clock_isfinite(*now))
		return err_class(err, ERR_USAGE, "--now: 'now' is a finite time");
	return 0;
}

/* What an unknown name may have meant.  The caller frees. */
static const char **
list_names(json_t *names)
{
	const char **list = xcalloc(json_object_size(names) + 1, sizeof *list);
	size_t n = 0;
	const char *name;
	json_t *value;

	json_object_foreach(names, name, value)
		list[n++] = name;
	return list;
}

static int
run(struct call *call, struct err *err)
{
	const char *text = call->arguments[0];
	json_t *names = json_object(), *value = NULL;
	struct expr_scope scope = { .get = get, .arg = names };
	struct expr *expr = NULL;
	const char **known = NULL;
	int rc = -1;

	if (read_now(call, &scope.now, err))
		goto out;
	for (size_t i = 1; i < call->n_arguments; i++)
		if (read_name(names, call->arguments[i], err))
			goto out;
	scope.known = known = list_names(names);
	scope.n_known = json_object_size(names);
	if ((expr = expr_parse(text, strlen(text), err)) &&
	    (value = expr_eval(expr, &scope, err))) {
		char *json = json_canonical(value);

		puts(json);
		free(json);
		rc = 0;
	}
out:
	json_decref(value);
	json_decref(names);
	expr_free(expr);
	free(known);
	return rc;
}

static const struct opt options[] = {
	{ "now", 0, "TIME", "the value of 'now' (default: the clock)" },
	{ "json", 'j', NULL, "accepted for symmetry: the value is JSON anyway" },
	{ NULL, 0, NULL, NULL },
};

const struct command cmd_eval = {
	.name = "eval",
	.synopsis = "EXPR [NAME=JSON]...",
	.summary = "evaluate an expression, print the value as JSON",
	.description = "Evaluates an expression as an evidence would; no database is needed.\n"
	    "Names get their values from the arguments, as JSON:\n\n"
	    "  tocsin eval 'liquidity - due * 1.1' liquidity=1000 due=900",
	.least = 1,
	.most = ARGUMENTS_MANY,
	.options = options,
	.run = run,
};
