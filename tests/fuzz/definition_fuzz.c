/* definition_fuzz.c - definitions of any bytes are read and checked, or refused
 * with at least one problem; what is refused by nobody can be decided with. */
#include <stdint.h>
#include <stdlib.h>
#include "base/err.h"
#include "base/str.h"
#include "graph/graph.h"
#include "model/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void
use_event(const struct event *e)
{
	struct event_standing standing = { .state = NOT_RAISING };
	instant next;
	struct err err;

	standing = event_evaluate(e, standing, TRUTH_TRUE, 1777777777 * SECOND);
	event_evaluate(e, standing, TRUTH_FALSE, 1777781377 * SECOND);
	if (!event_first_call(e, 0, 1777777777 * SECOND, &next, &err) && clock_isfinite(next))
		event_next_call(e, 0, next, &next, &err);
	if (!event_same_schedule(e, e))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct model *m = model_new();
	struct str problems = STR_INIT, warnings = STR_INIT;
	int rc = model_read_text(m, "fuzz.toml", (const char *)data, size, &problems);

	rc |= model_check(m, NULL, NULL, &problems, &warnings);
	if ((rc == 0) != (problems.len == 0))
		abort();
	for (size_t i = 0; rc == 0 && i < m->n; i++)
		if (m->at[i]->kind == EVENT)
			use_event(&m->at[i]->u.event);
	graph_free(model_graph(m));
	str_done(&problems);
	str_done(&warnings);
	model_free(m);
	return 0;
}
