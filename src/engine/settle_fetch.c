/* settle_fetch.c - what a settling has not at hand is asked for, in its transaction.
 *
 * Definitions and facts are asked for together.  Then the stage goes on that needed
 * them, and what is still not there will not come: a definition that is not in the
 * books counts as broken, and facts are read as often as the stage may. */
#include <stdlib.h>
#include "engine/decide.h"
#include "engine/settling.h"
#include "io/pg.h"

static void
need(void *arg, int64_t id)
{
	struct worker *w = arg;
	struct version *v = versions_hold(w->versions, id);

	if (!v)
		vec_push(&w->settling->asked, id);
	versions_release(w->versions, v);
}

/* Definitions that are not at hand are to be asked for: of what may be decided at once,
 * of events that may be decided early or without an input, of those that have just been,
 * and of what a signal tells. */
static void
need_versions(struct worker *w)
{
	struct settling *s = w->settling;
	const struct settled *answer = &s->settled;

	for (size_t i = 0; i < answer->candidates.n; i++)
		if (i < s->at_once || decide_needs_definition(&answer->candidates.at[i]))
			need(w, answer->candidates.at[i].version);
	for (size_t i = 0; i < answer->standings.n; i++)
		need(w, answer->standings.at[i].version);
	if (s->stage == MOVED)
		settle_each_reason_version(s, need, w);
}

static void
fetched(void *arg, const struct pg_answer *answer)
{
	struct worker *w = arg;
	struct settling *s = w->settling;

	if (answer->err) {
		settle_fail(w, answer);
		return;
	}
	if (s->reads) {
		settle_read_facts(answer->results[0], &s->settled);
		settle_keep_facts(s);
	}
	if (s->asked.n)
		versions_read(w->versions, answer->results[s->reads]);
	for (size_t i = 0; i < s->asked.n; i++)
		versions_add_missing(w->versions, s->asked.at[i]);
	s->asked.n = 0;
	s->stage = s->then;
}

static struct wanted_facts
find_wanted(struct worker *w)
{
	struct settling *s = w->settling;
	struct wanted_facts wanted = { 0 };

	if (!s->may_read)
		return wanted;
	if (s->stage == STORED)
		settle_want_inputs(w, &wanted);
	else if (s->stage == MOVED)
		settle_want_reasons(s, &wanted);
	settle_sort_wanted(&wanted);
	return wanted;
}

bool
settle_have_all(struct worker *w)
{
	struct settling *s = w->settling;
	struct wanted_facts wanted = find_wanted(w);

	need_versions(w);
	if ((s->reads = wanted.n > 0)) {
		s->may_read--;
		settle_say_facts(w->books, wanted.at, wanted.n);
	}
	vec_done(&wanted);
	if (s->asked.n)
		claim_say_versions(w->books, s->asked.at, s->asked.n);
	if (!s->reads && !s->asked.n)
		return true;
	s->then = s->stage;
	s->stage = FETCHING;
	pg_ask(w->books, fetched, w);
	return false;
}
