/* settle_decide.c - what the answers of a settling mean.
 *
 * Whose outcomes were stored is counted; of those who waited for them some are
 * decided at once and some skipped (the next round's outcomes), some fired; then
 * events move.  All that is needed for that is at hand.  What has come of it is
 * told when it is committed. */
#include "engine/settling.h"
#include <stdio.h>
#include <stdlib.h>
#include "base/err.h"
#include "base/log.h"
#include "engine/decide.h"

static void
count(struct settling *s, int64_t run, bool failed)
{
	size_t i;

	for (i = 0; i < s->counts.n; i++)
		if (s->counts.at[i].run == run)
			break;
	if (i == s->counts.n)
		vec_push(&s->counts, ((struct run_count){ run, 0, 0 }));
	s->counts.at[i].settled++;
	s->counts.at[i].failed += failed;
}

static void
count_ours(struct settling *s, struct stored *stored)
{
	/* Of several of one job, as two answers may be, one is stored: which of them
	 * the row tells. */
	const struct outcome *o = bsearch(stored, s->round.at, s->round.n,
	    sizeof *s->round.at, job_key_compare);

	count(s, o->key.run, stored->state == JOB_FAILED);
	if (stored->state == JOB_FAILED)
		vec_push(&s->failed, o->key);
	if (stored->state == JOB_DONE) {
		vec_push(&s->done[o->kind], o->key);
		settle_know(s, o, stored);
	}
}

/* An event of the round that was decided early was still waiting when the statement
 * looked for whom it counts down. */
static void
drop_settled_candidates(struct settling *s)
{
	struct settled *answer = &s->settled;
	size_t n = 0;

	for (size_t i = 0; i < answer->candidates.n; i++) {
		struct candidate *c = &answer->candidates.at[i];

		if (bsearch(&c->key, s->round.at, s->round.n, sizeof *s->round.at, job_key_compare))
			candidate_done(c);
		else
			answer->candidates.at[n++] = *c;
	}
	answer->candidates.n = n;
}

void
settle_count_round(struct worker *w)
{
	struct settling *s = w->settling;

	for (size_t i = 0; i < s->settled.ours.n; i++)
		count_ours(s, &s->settled.ours.at[i]);
	drop_settled_candidates(s);
	s->round.n = 0;
}

static struct outcome
waiting_outcome(const struct candidate *c)
{
	return (struct outcome){ .key = c->key, .kind = c->kind, .name = xstrdup(c->name),
		.fence = -1, .unsettled = c->unsettled, .succeeded = c->succeeded,
		.truth = TRUTH_UNKNOWN };
}

static void
skip(struct settling *s, const struct candidate *c)
{
	struct outcome o = waiting_outcome(c);

	o.state = JOB_SKIPPED;
	o.reason = c->stale ? REASON_EXPIRED : REASON_UPSTREAM;
	o.error = c->stale ? xasprintf("stale: %s", c->stale) : NULL;
	vec_push(&s->derived, o);
	vec_push(&s->round, o);
}

static instant
as_of(const struct settling *s, int64_t run)
{
	for (size_t i = 0; i < s->batch.n; i++)
		if (s->batch.at[i]->job.key.run == run)
			return s->batch.at[i]->job.as_of;
	return INSTANT_NEVER;
}

/* As if it had been claimed. */
static void
decide_at_once(struct settling *s, const struct version *v, const struct candidate *c)
{
	struct outcome o = waiting_outcome(c);
	struct claimed job = { .key = c->key, .kind = c->kind, .name = c->name,
		.as_of = as_of(s, c->key.run) };

	job.inputs.at = c->inputs.at;	/* lent */
	job.inputs.n = c->inputs.n;
	o.attempts = 1;
	decide(v, &job, &o);
	vec_push(&s->derived, o);
	vec_push(&s->round, o);
	s->at_once--;
}

static void
move(struct worker *w, const struct standing *st)
{
	struct settling *s = w->settling;
	struct version *v = versions_hold(w->versions, st->version);
	struct moved m;
	struct err err;

	if (v && !v->broken) {
		if (decide_move(v, st, &m, &err)) {
			log_error("an event's next call cannot be computed", "event",
			    log_number(st->event), "error", err.message);
			m.keep_schedule = true;
			m.next_call = INSTANT_NEVER;
		}
		vec_push(&s->moved, m);
	}
	versions_release(w->versions, v);
}

static void
decide_candidate(struct worker *w, struct candidate *c)
{
	struct settling *s = w->settling;
	struct version *v = versions_hold(w->versions, c->version);

	settle_give_inputs(s, c, v);
	switch (decide_ready(v, c)) {
	case JOB_QUEUED:
		if (v && s->at_once && c->has_values)
			decide_at_once(s, v, c);
		else
			vec_push(&s->fired, ((struct fired){ c->key, c->succeeded,
			    c->unsettled > 0 }));
		break;
	case JOB_SKIPPED:
		skip(s, c);
		break;
	default:
		break;
	}
	versions_release(w->versions, v);
}

void
settle_decide_round(struct worker *w)
{
	struct settled *answer = &w->settling->settled;

	for (size_t i = 0; i < answer->candidates.n; i++)
		decide_candidate(w, &answer->candidates.at[i]);
	settled_done(answer);
}

void
settle_move_events(struct worker *w)
{
	struct settled *answer = &w->settling->settled;

	for (size_t i = 0; i < answer->standings.n; i++)
		move(w, &answer->standings.at[i]);
	settled_done(answer);
}

/* --- what is told of it --- */

static bool
has_failed(const struct settling *s, struct job_key key)
{
	for (size_t i = 0; i < s->failed.n; i++)
		if (s->failed.at[i].run == key.run && s->failed.at[i].id == key.id)
			return true;
	return false;
}

static void
log_failure(const struct settling *s, const struct outcome *o)
{
	if (o->state == JOB_FAILED && has_failed(s, o->key))
		log_warn("a job failed", "cycle", log_number(o->key.run),
		    "kind", kind_text(o->kind), "name", o->name,
		    "reason", reason_text(o->reason), "attempt", log_number(o->attempts),
		    "error", o->error);
}

static void
log_signal(const struct moved *m)
{
	if (m->after.action == RAISE || m->after.action == STOP_RAISING)
		log_info("signal", "event", m->name, "signal",
		    signal_text(m->after.action), "cycle", log_number(m->key.run));
}

static void
log_hold(const struct moved *m)
{
	if (m->note)
		log_warn("an event's hold did not go on", "event", m->name, "note",
		    m->note, "cycle", log_number(m->key.run));
}

static void
log_end(const struct run_end *end)
{
	char seconds[32];

	snprintf(seconds, sizeof seconds, "%.3f", (double)end->took / SECOND);
	log_info("cycle closed", "cycle", log_number(end->run), "state",
	    run_state_text(end->state), "jobs", log_number(end->jobs),
	    "failed", log_number(end->failed), "seconds", seconds);
}

void
settle_tell(struct worker *w, const struct ended *ended)
{
	struct settling *s = w->settling;

	for (size_t i = 0; i < s->batch.n; i++)
		log_failure(s, &s->batch.at[i]->outcome);
	for (size_t i = 0; i < s->derived.n; i++)
		log_failure(s, &s->derived.at[i]);
	for (size_t i = 0; i < s->moved.n && !w->set.run_changed; i++)
		log_signal(&s->moved.at[i]);
	for (size_t i = 0; i < s->moved.n; i++)
		log_hold(&s->moved.at[i]);
	for (size_t i = 0; i < ended->runs.n; i++) {
		const struct run_end *end = &ended->runs.at[i];

		if (w->set.run_changed)
			w->set.run_changed(w->set.arg, end);
		else if (end->unsettled == 0)
			log_end(end);
	}
}
