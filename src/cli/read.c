/* read.c - the definitions that a command names. */
#include "cli/read.h"
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "base/str.h"
#include "cli/cmd.h"
#include "model/model.h"

int
read_model(struct model *model, const struct call *call, bool (*known)(void *, enum kind,
    const char *), void *arg, struct str *warnings, struct err *err)
{
	struct str problems = STR_INIT;
	size_t n = 0;
	int rc = 0;

	for (size_t i = 0; i < call->n_arguments; i++)
		rc |= model_read(model, call->arguments[i], &problems);
	rc |= model_check(model, known, arg, &problems, warnings);
	if (rc) {
		for (const char *c = str_text(&problems); *c; c++)
			n += *c == '\n';
		fputs(str_text(&problems), stderr);
		err_set(err, "%zu problem%s found; nothing was done", n, n == 1 ? "" : "s");
	}
	str_done(&problems);
	return rc ? -1 : 0;
}
