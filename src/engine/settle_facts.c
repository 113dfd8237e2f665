/* settle_facts.c - what is decided in a settling is decided from this.
 *
 * What the transaction has done is at hand, and what this worker has seen to be
 * done before; the rest is read, each job once, however many candidates it feeds.
 * Values are what the books say, which is how every other worker will see them.
 * They are read only for as many candidates as may be decided at once: the first
 * in the order of their keys. */
#include <stdlib.h>
#include <string.h>
#include "base/str.h"
#include "engine/settling.h"

instant
settle_instant(const struct settling *s, int64_t run)
{
	for (size_t i = 0; i < s->runs.n; i++)
		if (s->runs.at[i].run == run)
			return s->runs.at[i].settled_at;
	return INSTANT_NEVER;
}

void
settle_know(struct settling *s, const struct outcome *o, struct stored *stored)
{
	struct fact f = { .key = stored->key, .kind = o->kind, .name = stored->name,
		.version = stored->version, .state = stored->state, .reason = REASON_OK,
		.truth = stored->truth, .value = stored->value, .is_untold = stored->is_large,
		.upstream = stored->upstream };

	stored->name = stored->value = NULL;
	stored->upstream = (struct job_ids){ 0 };
	f.computed_at = settle_instant(s, f.key.run);
	f.note = xstrdup(o->note);
	vec_push(&s->known, f);
}

void
settle_keep_facts(struct settling *s)
{
	struct settled *answer = &s->settled;
	size_t n = 0;

	for (size_t i = 0; i < answer->facts.n; i++) {
		struct fact *f = &answer->facts.at[i];

		if (f->state == JOB_DONE && !f->is_untold)
			vec_push(&s->known, *f);
		else
			answer->facts.at[n++] = *f;
	}
	answer->facts.n = n;
}

void
settle_remember(struct settling *s)
{
	for (size_t i = 0; i < s->known.n; i++)
		facts_take(s->facts, &s->known.at[i]);
}

static const struct fact *
find(const struct fact *at, size_t n, struct job_key key)
{
	return n ? bsearch(&key, at, n, sizeof *at, job_key_compare) : NULL;
}

const struct fact *
settle_find_fact(struct settling *s, struct job_key key)
{
	const struct fact *f;

	if (s->known_sorted < s->known.n)
		qsort(s->known.at, s->known.n, sizeof *s->known.at, job_key_compare);
	s->known_sorted = s->known.n;
	if (!(f = find(s->known.at, s->known.n, key)) && !(f = facts_find(s->facts, key)))
		f = find(s->settled.facts.at, s->settled.facts.n, key);
	return f;
}

/* --- what is to be read --- */

void
settle_want(struct settling *s, struct wanted_facts *wanted, struct job_key key, bool value)
{
	if (!settle_find_fact(s, key))
		vec_push(wanted, ((struct wanted_fact){ key, value }));
}

void
settle_sort_wanted(struct wanted_facts *wanted)
{
	size_t n = 0;

	if (wanted->n)
		qsort(wanted->at, wanted->n, sizeof *wanted->at, job_key_compare);
	for (size_t i = 0; i < wanted->n; i++)
		if (n && !job_key_compare(&wanted->at[n - 1].key, &wanted->at[i].key))
			wanted->at[n - 1].value |= wanted->at[i].value;
		else
			wanted->at[n++] = wanted->at[i];
	wanted->n = n;
}

/* --- candidates --- */

/* An event may be decided before all of its evidences have settled.  Where as many
 * are not at hand as have not settled it is those, and nothing need be read; what
 * they are called stands in the definition, if that has no other names. */
static bool
rest_is_open(struct worker *w, const struct candidate *c)
{
	struct version *v;
	const char *const *names;
	size_t unknown = 0;
	bool is;

	if (c->kind != EVENT || !c->unsettled)
		return false;
	for (size_t u = 0; u < c->upstream.n; u++)
		unknown += !settle_find_fact(w->settling,
		    (struct job_key){ c->key.run, c->upstream.at[u] });
	if (unknown != (size_t)c->unsettled)
		return false;
	v = versions_hold(w->versions, c->version);
	is = v && !v->broken && expr_names(v->u.event.expr, &names) == c->upstream.n;
	versions_release(w->versions, v);
	return is;
}

void
settle_want_inputs(struct worker *w, struct wanted_facts *wanted)
{
	struct settling *s = w->settling;
	struct settled *round = &s->settled;

	if (round->candidates.n)
		qsort(round->candidates.at, round->candidates.n, sizeof *round->candidates.at,
		    job_key_compare);
	for (size_t i = 0; i < round->candidates.n; i++) {
		struct candidate *c = &round->candidates.at[i];

		c->rest_is_open = rest_is_open(w, c);
		for (size_t u = 0; u < c->upstream.n && !c->rest_is_open; u++)
			settle_want(s, wanted, (struct job_key){ c->key.run, c->upstream.at[u] },
			    i < s->at_once);
	}
}

static void
add_stale(struct candidate *c, const struct fact *f)
{
	char *before = c->stale;

	c->stale = xasprintf("%s%s%s (as of %s)", before ? before : "", before ? ", " : "",
	    f->name, f->stale);
	free(before);
}

static enum truth
truth_now(const struct fact *f)
{
	return f->state == JOB_WAITING || f->state == JOB_QUEUED || f->state == JOB_RUNNING
	    ? TRUTH_OPEN : f->truth;
}

static void
add_open(struct candidate *c, const struct version *v)
{
	const char *const *names;
	size_t n = expr_names(v->u.event.expr, &names), known = c->inputs.n;

	for (size_t i = 0; i < n; i++) {
		size_t k = 0;

		while (k < known && strcmp(c->inputs.at[k].name, names[i]))
			k++;
		if (k == known)
			vec_push(&c->inputs, ((struct input){ (char *)names[i], NULL, TRUTH_OPEN }));
	}
}

void
settle_give_inputs(struct settling *s, struct candidate *c, const struct version *v)
{
	c->has_values = true;
	for (size_t u = 0; u < c->upstream.n; u++) {
		struct job_key key = { c->key.run, c->upstream.at[u] };
		const struct fact *f = settle_find_fact(s, key);

		if (!f) {
			c->has_values &= c->rest_is_open;
			continue;
		}
		if (f->kind == VARIABLE)
			c->has_values &= !f->is_untold;
		if (f->stale && c->kind == EVIDENCE)
			add_stale(c, f);
		vec_push(&c->inputs, ((struct input){ f->name,
		    f->kind == VARIABLE ? f->value : NULL, truth_now(f) }));
	}
	if (c->rest_is_open && v && !v->broken)
		add_open(c, v);
}
