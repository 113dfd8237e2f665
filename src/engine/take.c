/* take.c - from a message to work under way.
 *
 * What the inbox holds is claimed in one statement, up to a batch; a claim that
 * does not come back has been somebody else's.  Variables are claimed only when
 * they can start at once.  Evidences and events are decided on the spot. */
#include "engine/take.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/conf.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "celery/answer.h"
#include "engine/ask.h"
#include "engine/decide.h"
#include "engine/hand_back.h"
#include "engine/pace.h"
#include "engine/panel.h"
#include "engine/publish.h"
#include "engine/request.h"
#include "engine/worker.h"
#include "io/pg.h"
#include "wire/letter.h"

static void
put_in_inbox(struct worker *w, struct slip slip)
{
	if (slip.from->kind == VARIABLE)
		vec_push(&w->variables, slip);
	else
		vec_push(&w->decisions, slip);
}

void
take_deliveries(struct worker *w)
{
	struct message *m;

	while ((m = w->set.transport->take(w->set.transport))) {
		if (m->letter && celery_is_answer(&m->letter->message)) {
			ask_take(w, m);
			continue;
		}
		if (m->letter) {
			requests_take(w->requests, m);
			continue;
		}
		panel_message_received(w, m);
		if (m->kind == REACTION) {
			deliver_take(w, m);
			continue;
		}
		failpoint("worker.on_delivery");
		for (size_t i = 0; i < m->jobs.n; i++)
			put_in_inbox(w, (struct slip){ { m->run, m->jobs.at[i] }, m });
		if (!m->jobs.n)
			w->set.transport->ack(w->set.transport, m);
	}
	pace_look(w->pace);
}

/* Variables that arrived before OLDEST and are in nobody's hands. */
static size_t
give_back(struct worker *w, span oldest)
{
	size_t n = 0;

	for (; w->variables_head < w->variables.n; w->variables_head++, n++) {
		struct message *m = w->variables.at[w->variables_head].from;

		if (m->open > 1 || m->arrived_at > oldest)
			break;
		w->set.transport->give_back(w->set.transport, m);
	}
	return n;
}

size_t
take_give_back_beyond(struct worker *w, size_t n)
{
	size_t given = 0, kept = 0;

	for (size_t i = 0; i < w->claimed.n; i++)
		if (w->claimed.at[i]->job.kind == VARIABLE && w->claimed.at[i]->version) {
			hand_back_add(w, w->claimed.at[i]);
			given++;
		} else
			w->claimed.at[kept++] = w->claimed.at[i];
	w->claimed.n = kept;
	for (; w->variables.n > w->variables_head + n; given++)
		w->set.transport->give_back(w->set.transport,
		    w->variables.at[--w->variables.n].from);
	return given;
}

void
take_give_back_all(struct worker *w)
{
	give_back(w, INT64_MAX);
}

void
take_give_back(struct worker *w)
{
	size_t n = give_back(w, clock_monotonic() - w->conf->consumer_timeout / 3);

	if (n)
		log_info("messages have waited for too long, they go back to the broker",
		    "messages", log_number((int64_t)n));
}

/* A message that came twice, or days after its cycle was over, is as good as none.
 * It is told of at 1, 2, 4, 8 ... */
static void
let_late_go(struct worker *w, const struct slip *slip)
{
	w->late++;
	if ((w->late & (w->late - 1)) == 0)
		log_info("messages ask for what is not to be done, they are dropped",
		    "queue", slip->from->queue, "cycle", log_number(slip->key.run),
		    "job", log_number(slip->key.id), "dropped", log_number((int64_t)w->late));
	publish_release(w, slip->from);
}

static bool
is_later(const struct claims *claims, struct job_key key)
{
	for (size_t i = 0; i < claims->later.n; i++)
		if (claims->later.at[i].run == key.run && claims->later.at[i].id == key.id)
			return true;
	return false;
}

/* Both the slips and the claims are in the order of their keys; a key that is
 * there twice (a doubled message) goes to its first slip. */
static void
sort_claims(struct worker *w, struct claims *claims)
{
	size_t c = 0;

	for (size_t i = 0; i < w->claiming.n; i++) {
		struct slip *slip = &w->claiming.at[i];
		struct flight *f;

		if (c == claims->n || claims->at[c].key.run != slip->key.run ||
		    claims->at[c].key.id != slip->key.id) {
			if (is_later(claims, slip->key))
				put_in_inbox(w, *slip);
			else
				let_late_go(w, slip);
			continue;
		}
		f = xcalloc(1, sizeof *f);
		f->worker = w;
		f->job = claims->at[c];
		f->from = slip->from;
		claims->at[c++] = (struct claimed){ 0 };
		vec_push(&w->claimed, f);
	}
}

/* Back to the inbox. */
static void
give_up_claim(struct worker *w)
{
	for (size_t i = 0; i < w->claiming.n; i++)
		put_in_inbox(w, w->claiming.at[i]);
	w->claiming.n = 0;
}

static void
claim_answered(void *arg, const struct pg_answer *answer)
{
	struct worker *w = arg;
	struct claims *claims;

	w->claim_asked = false;
	w->claiming_variables = 0;
	if (answer->err) {
		/* Claiming again what was claimed after all finds it running,
		 * and the lease guards it. */
		give_up_claim(w);
		worker_note_trouble(w, "claiming jobs", answer->err);
		return;
	}
	worker_note_success(w);
	if (worker_is_outdated(w, answer)) {
		give_up_claim(w);
		return;
	}
	claims = claim_read(answer);
	sort_claims(w, claims);
	claims_free(claims);
	w->claiming.n = 0;
	failpoint("worker.after_claim");
}

/* One that runs alone, or is about to. */
static bool
is_alone(const struct worker *w)
{
	bool alone = w->alone.n || w->running_alone;

	for (size_t i = 0; i < w->claimed.n; i++)
		alone |= w->claimed.at[i]->job.kind == VARIABLE && w->claimed.at[i]->job.alone;
	return alone;
}

static size_t
idle_hands(const struct worker *w)
{
	size_t busy = w->running.n + requests_active(w->requests),
	    all = (size_t)worker_concurrency(w);

	return busy < all ? all - busy : 0;
}

size_t
worker_free_hands(const struct worker *w)
{
	return is_alone(w) ? 0 : idle_hands(w);
}

size_t
worker_claimed_variables(const struct worker *w)
{
	size_t n = 0;

	for (size_t i = 0; i < w->claimed.n; i++)
		n += w->claimed.at[i]->job.kind == VARIABLE;
	return n;
}

/* How many variables to claim: for each hand one, and some more where they are quick;
 * then not until there is room for half of them, unless a hand would wait. */
static size_t
room_for_variables(const struct worker *w)
{
	size_t ahead = pace_ahead(w->pace), all = worker_free_hands(w) + ahead,
	    claimed = worker_claimed_variables(w) + w->claiming_variables,
	    room = claimed < all ? all - claimed : 0;

	return claimed > worker_free_hands(w) && room < ahead / 2 ? 0 : room;
}

/* As many decisions as make a batch, too. */
static void
claim_ready(struct worker *w)
{
	size_t free_slots = room_for_variables(w);
	VEC(struct job_key) keys = { 0 };

	if (w->claim_asked || w->waiting || is_alone(w))
		return;
	while (w->decisions.n && w->claiming.n < BATCH_MAX)
		vec_push(&w->claiming, w->decisions.at[--w->decisions.n]);
	for (; free_slots && w->variables_head < w->variables.n; free_slots--) {
		vec_push(&w->claiming, w->variables.at[w->variables_head++]);
		w->claiming_variables++;
	}
	if (w->variables_head == w->variables.n)
		w->variables_head = w->variables.n = 0;
	if (!w->claiming.n)
		return;
	qsort(w->claiming.at, w->claiming.n, sizeof *w->claiming.at, job_key_compare);
	for (size_t i = 0; i < w->claiming.n; i++)
		vec_push(&keys, w->claiming.at[i].key);
	w->claim_asked = true;
	claim_say(w->claims, keys.at, keys.n, w->claiming.n > w->claiming_variables, w->name,
	    w->conf->lease);
	pg_ask(w->claims, claim_answered, w);
	vec_done(&keys);
}

/* --- definitions --- */

static void
versions_answered(void *arg, const struct pg_answer *answer)
{
	struct worker *w = arg;

	if (answer->err) {
		w->versions_asked.n = 0;
		worker_note_trouble(w, "reading definitions", answer->err);
		return;
	}
	worker_note_success(w);
	versions_read(w->versions, answer->results[0]);
	/* What was asked for and did not come is not there; what was claimed
	 * since then is asked for next. */
	for (size_t i = 0; i < w->versions_asked.n; i++)
		versions_add_missing(w->versions, w->versions_asked.at[i]);
	w->versions_asked.n = 0;
}

static void
ask_versions(struct worker *w)
{
	bool may_ask = !w->versions_asked.n && !w->waiting;

	for (size_t i = 0; i < w->claimed.n; i++) {
		struct flight *f = w->claimed.at[i];

		if (!f->version && !(f->version = versions_hold(w->versions, f->job.version)) &&
		    may_ask)
			vec_push(&w->versions_asked, f->job.version);
	}
	if (may_ask && w->versions_asked.n) {
		claim_say_versions(w->claims, w->versions_asked.at, w->versions_asked.n);
		pg_ask(w->claims, versions_answered, w);
	}
}

/* --- computing --- */

static void
finish(struct flight *f)
{
	vec_push(&f->worker->finished, f);
}

static void
measured(void *arg, const struct exec_outcome *result)
{
	struct flight *f = arg;

	f->exec = NULL;
	flight_land(f->worker, f);
	pace_note(f->worker->pace, clock_monotonic() - f->began_at);
	f->outcome.state = result->reason == REASON_OK ? JOB_DONE : JOB_FAILED;
	f->outcome.reason = result->reason;
	f->outcome.value = xstrdup(result->value);
	f->outcome.error = xstrdup(result->error);
	panel_job_ended(f->worker, f);
	finish(f);
}

static void
measure(struct flight *f)
{
	char key[64];
	struct exec_task task = { .name = f->job.name, .variable = &f->version->u.variable,
	    .now = f->job.as_of, .key = key };

	if (ask_can(f)) {
		ask_begin(f);
		return;
	}
	/* The broker keeps a delivery for a limited time only; from here on the
	 * lease guards this one. */
	if (f->from && f->version->u.variable.hard > f->worker->conf->consumer_timeout / 3) {
		f->queue = xstrdup(f->from->queue);
		publish_release(f->worker, f->from);
		f->from = NULL;
		failpoint("worker.after_ack");
	}
	snprintf(key, sizeof key, "%" PRId64 "-%d-%d", f->job.key.run, f->job.key.id,
	    f->job.fence);
	vec_push(&f->worker->running, f);
	f->started_at = clock_now();
	f->began_at = clock_monotonic();
	panel_job_started(f->worker, f);
	f->exec = exec_start(f->worker->hands, &task, measured, f);
}

static void
start(struct flight *f)
{
	struct outcome *o = &f->outcome;

	o->key = f->job.key;
	o->kind = f->job.kind;
	o->name = xstrdup(f->job.name);
	o->fence = f->job.fence;
	o->attempts = f->job.attempts;
	o->truth = TRUTH_UNKNOWN;
	if (!f->job.active) {
		o->state = JOB_SKIPPED;
		o->reason = REASON_REFUSED;
		o->error = xstrdup("it is not active");
		finish(f);
	} else if (f->job.kind == VARIABLE && !f->version->broken)
		measure(f);
	else {
		decide(f->version, &f->job, o);
		finish(f);
	}
}

/* A job whose last worker was lost runs alone, so that it cannot take others
 * with it: it waits until all else is settled, and nothing is claimed beside it,
 * its like least of all: each would lose an attempt by the other's fault. */
static void
start_alone(struct worker *w)
{
	if (w->running_alone && !w->running.n && !w->finished.n && settling_is_idle(w->settling))
		w->running_alone = false;
	if (w->running_alone || !w->alone.n || w->running.n || w->claimed.n || w->claim_asked ||
	    w->finished.n || requests_active(w->requests) || !settling_is_idle(w->settling))
		return;
	w->running_alone = true;
	start(w->alone.at[--w->alone.n]);
}

void
take_start_ready(struct worker *w)
{
	size_t kept = 0;

	claim_ready(w);
	ask_versions(w);
	for (size_t i = 0; i < w->claimed.n; i++) {
		struct flight *f = w->claimed.at[i];
		bool is_variable = f->job.kind == VARIABLE;

		if (f->version && f->job.alone && is_variable)
			vec_push(&w->alone, f);
		else if (f->version && (!is_variable || idle_hands(w)))
			start(f);
		else
			w->claimed.at[kept++] = f;
	}
	w->claimed.n = kept;
	start_alone(w);
}
