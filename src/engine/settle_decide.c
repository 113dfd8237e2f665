/* settle_decide.c - what the answers of a settling mean.
 *
 * Whose outcomes were stored is counted; of those who waited for them some are
 * fired, some skipped (the next round's outcomes), and events move.  All that is
 * needed for that is at hand.  What has come of it is told when it is committed. */
#include "engine/settling.h"
#include <stdio.h>
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

static const struct outcome *
outcome_of(const struct settling *s, struct job_key key)
{
	for (size_t i = 0; i < s->round.n; i++)
		if (s->round.at[i].key.run == key.run && s->round.at[i].key.id == key.id)
			return &s->round.at[i];
	return NULL;
}

static void
skip(struct settling *s, struct candidate *c)
{
	struct outcome o = { .key = c->key, .kind = c->kind, .fence = -1,
		.state = JOB_SKIPPED, .truth = TRUTH_UNKNOWN,
		.reason = c->stale ? REASON_EXPIRED : REASON_UPSTREAM };

	o.name = xstrdup(c->name);
	o.error = c->stale ? xasprintf("stale: %s", c->stale) : NULL;
	vec_push(&s->skipped, o);
	vec_push(&s->round, o);
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

void
settle_decide_round(struct worker *w)
{
	struct settling *s = w->settling;
	struct settled *answer = &s->settled;

	for (size_t i = 0; i < answer->ours.n; i++) {
		const struct outcome *o = outcome_of(s, answer->ours.at[i]);

		count(s, o->key.run, o->state == JOB_FAILED);
		if (o->state == JOB_FAILED)
			vec_push(&s->failed, o->key);
	}
	s->round.n = 0;
	for (size_t i = 0; i < answer->candidates.n; i++) {
		struct candidate *c = &answer->candidates.at[i];
		struct version *v = decide_needs_definition(c)
		    ? versions_hold(w->versions, c->version) : NULL;

		switch (decide_ready(v, c)) {
		case JOB_QUEUED: vec_push(&s->fired, c->key); break;
		case JOB_SKIPPED: skip(s, c); break;
		default: break;
		}
		versions_release(w->versions, v);
	}
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

static const char *
name_of(const struct settling *s, const struct moved *m)
{
	for (size_t i = 0; i < s->batch.n; i++) {
		const struct outcome *o = &s->batch.at[i]->outcome;

		if (o->key.run == m->key.run && o->key.id == m->key.id)
			return o->name;
	}
	return "";
}

static void
log_signal(const struct settling *s, const struct moved *m)
{
	if (m->after.action == RAISE || m->after.action == STOP_RAISING)
		log_info("signal", "event", name_of(s, m), "signal",
		    signal_text(m->after.action), "cycle", log_number(m->key.run));
}

static void
log_hold(const struct settling *s, const struct moved *m)
{
	if (m->note)
		log_warn("an event's hold did not go on", "event", name_of(s, m), "note",
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
	for (size_t i = 0; i < s->moved.n && !w->set.run_changed; i++)
		log_signal(s, &s->moved.at[i]);
	for (size_t i = 0; i < s->moved.n; i++)
		log_hold(s, &s->moved.at[i]);
	for (size_t i = 0; i < ended->runs.n; i++) {
		const struct run_end *end = &ended->runs.at[i];

		if (w->set.run_changed)
			w->set.run_changed(w->set.arg, end);
		else if (end->unsettled == 0)
			log_end(end);
	}
}
