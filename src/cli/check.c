/* check.c - lint definitions; no database needed. */
#include "cli/cmd.h"
#include <string.h>
#include "base/err.h"
#include "base/str.h"
#include "cli/read.h"
#include "model/model.h"

static int
run(struct call *call, struct err *err)
{
	struct model *model = model_new();
	struct str warnings = STR_INIT;
	size_t counts[KIND_COUNT] = { 0 };
	int rc = read_model(model, call, NULL, NULL, &warnings, err);

	if (!rc) {
		for (size_t i = 0; i < model->n; i++)
			counts[model->at[i]->kind]++;
		if (opts_has(call, "json"))
			printf("{\"variables\":%zu,\"evidences\":%zu,\"events\":%zu,"
			    "\"reactions\":%zu}\n", counts[VARIABLE], counts[EVIDENCE],
			    counts[EVENT], counts[REACTION]);
		else
			printf("%zu variables, %zu evidences, %zu events, %zu reactions: "
			    "all is well\n", counts[VARIABLE], counts[EVIDENCE],
			    counts[EVENT], counts[REACTION]);
		fputs(str_text(&warnings), stderr);
	}
	str_done(&warnings);
	model_free(model);
	return rc;
}

static const struct opt options[] = {
	{ "json", 'j', NULL, "print JSON" },
	{ NULL, 0, NULL, NULL },
};

const struct command cmd_check = {
	.name = "check",
	.synopsis = "FILE...",
	.summary = "lint definitions",
	.description = "Reads definitions (TOML files, or directories of them, or - for standard input)\n"
	    "and tells every problem as file:line:column: message. No database is needed.\n\n"
	    "Exit status: 0 all is well, 1 there are problems.",
	.least = 1,
	.most = ARGUMENTS_MANY,
	.options = options,
	.run = run,
};
