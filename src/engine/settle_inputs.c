/* settle_inputs.c - what the candidates of a settling are decided from.
 *
 * What this transaction has done is at hand; the rest is read, each job once,
 * however many candidates it feeds.  Values are read as the books say them, which
 * is how every other worker will see them, and only for as many candidates as may be
 * decided at once: they are the first in the order of their keys. */
#include <stdlib.h>
#include "base/str.h"
#include "engine/settling.h"

void
settle_know(struct settling *s, const struct outcome *o, const struct stored *stored)
{
	struct found_input known = { .key = o->key, .is_large = stored->is_large };

	known.input.name = xstrdup(o->name);
	known.input.value = stored->value ? xstrdup(stored->value) : NULL;
	known.input.truth = o->truth;
	vec_push(&s->known, known);
}

static const struct found_input *
find(const struct found_input *at, size_t n, struct job_key key)
{
	return n ? bsearch(&key, at, n, sizeof *at, job_key_compare) : NULL;
}

struct wanted_inputs
settle_want_inputs(struct settling *s)
{
	struct settled *round = &s->settled;
	struct wanted_inputs wanted = { 0 };
	size_t n = 0;

	if (round->candidates.n)
		qsort(round->candidates.at, round->candidates.n, sizeof *round->candidates.at,
		    job_key_compare);
	if (s->known.n)
		qsort(s->known.at, s->known.n, sizeof *s->known.at, job_key_compare);
	for (size_t i = 0; i < round->candidates.n; i++) {
		const struct candidate *c = &round->candidates.at[i];

		for (size_t u = 0; u < c->upstream.n; u++) {
			struct wanted_input want = { { c->key.run, c->upstream.at[u] },
				i < s->at_once };

			if (!find(s->known.at, s->known.n, want.key))
				vec_push(&wanted, want);
		}
	}
	if (wanted.n)
		qsort(wanted.at, wanted.n, sizeof *wanted.at, job_key_compare);
	for (size_t i = 0; i < wanted.n; i++)
		if (n && !job_key_compare(&wanted.at[n - 1].key, &wanted.at[i].key))
			wanted.at[n - 1].value |= wanted.at[i].value;
		else
			wanted.at[n++] = wanted.at[i];
	wanted.n = n;
	return wanted;
}

static void
add_stale(struct candidate *c, const struct found_input *found)
{
	char *before = c->stale;

	c->stale = xasprintf("%s%s%s (as of %s)", before ? before : "", before ? ", " : "",
	    found->input.name, found->stale);
	free(before);
}

void
settle_give_inputs(const struct settling *s, struct candidate *c)
{
	const struct settled *round = &s->settled;

	c->has_values = true;
	for (size_t u = 0; u < c->upstream.n; u++) {
		struct job_key key = { c->key.run, c->upstream.at[u] };
		const struct found_input *found = find(s->known.at, s->known.n, key);

		if (!found)
			found = find(round->inputs.at, round->inputs.n, key);
		if (!found) {
			c->has_values = false;
			continue;
		}
		c->has_values &= !found->is_large;
		if (found->stale && c->kind == EVIDENCE)
			add_stale(c, found);
		vec_push(&c->inputs, found->input);
	}
}
