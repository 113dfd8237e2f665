/* worker.c - the life of a worker.
 *
 * Callbacks move jobs from list to list; worker_turn() decides what is next.
 * What is ready in a turn is the batch: it is claimed in one statement and
 * settled in one transaction.  The order is: commit, publish, confirm,
 * acknowledge. */
#include "engine/worker.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/uuid.h"
#include "engine/decide.h"
#include "io/loop.h"
#include "io/pg.h"
#include "store/store.h"
#include "store/sweep.h"

/* --- messages out --- */

struct debt {			/* what is done when all of a batch is confirmed */
	size_t open;
	void (*done)(void *);
	void *arg;
};

struct sent {
	struct worker *worker;
	struct message *message;
	struct debt *debt;
};

static void
pay(struct debt *debt)
{
	if (--debt->open)
		return;
	if (debt->done)
		debt->done(debt->arg);
	free(debt);
}

static void
confirmed(void *arg, bool ok)
{
	struct sent *sent = arg;
	struct worker *w = sent->worker;

	w->unconfirmed--;
	if (!ok) {
		vec_push(&w->unsent, sent);
		return;
	}
	pay(sent->debt);
	message_free(sent->message);
	free(sent);
}

static void
publish_unsent(struct worker *w)
{
	struct transport *t = w->set.transport;

	for (size_t i = 0; i < w->unsent.n; i++) {
		w->unconfirmed++;
		t->publish(t, w->unsent.at[i]->message, confirmed, w->unsent.at[i]);
	}
	w->unsent.n = 0;
}

enum { MESSAGE_JOBS = 64 };	/* evidences or events of one message */

static bool
fits(const struct message *m, const struct fired_job *job)
{
	return m && job->kind != VARIABLE && m->kind == job->kind &&
	    m->run == job->key.run && m->jobs.n < MESSAGE_JOBS &&
	    !strcmp(m->queue, job->queue);
}

void
worker_publish(struct worker *w, const struct fired_job *jobs, size_t n,
    void (*done)(void *), void *arg)
{
	struct debt *debt = xcalloc(1, sizeof *debt);
	struct message *m = NULL;

	debt->open = 1;		/* ours, until all is said */
	debt->done = done;
	debt->arg = arg;
	for (size_t i = 0; i < n; i++) {
		if (!fits(m, &jobs[i])) {
			struct sent *sent = xcalloc(1, sizeof *sent);

			m = message_new(jobs[i].kind, jobs[i].key.run, jobs[i].queue);
			*sent = (struct sent){ w, m, debt };
			debt->open++;
			vec_push(&w->unsent, sent);
		}
		vec_push(&m->jobs, jobs[i].key.id);
	}
	pay(debt);
	publish_unsent(w);
	loop_nudge(w->loop);
}

void
worker_release_message(struct worker *w, struct message *m)
{
	if (m && --m->open == 0)
		w->set.transport->ack(w->set.transport, m);
}

/* --- trouble with the books --- */

static void
retry_now(void *arg)
{
	struct worker *w = arg;

	w->waiting = false;
}

void
worker_note_trouble(struct worker *w, const char *what, const struct err *err)
{
	span wait = SECOND / 4 << (w->failures < 5 ? w->failures : 5);

	if (!w->trouble_since)
		w->trouble_since = clock_monotonic();
	w->failures++;
	log_warn("the books cannot be used, trying again", "while", what,
	    "error", err->message, "failures", log_number(w->failures));
	w->waiting = true;
	/* Jitter, so that workers do not come back all at once. */
	timer_start(w->retry, wait / 2 + (span)(random() % (wait / 2)));
}

void
worker_note_success(struct worker *w)
{
	w->failures = 0;
	w->trouble_since = 0;
}

/* --- claiming --- */

void
flight_free(struct flight *f)
{
	if (f->exec)
		exec_kill(f->exec);
	versions_release(f->worker->versions, f->version);
	claimed_done(&f->job);
	outcome_done(&f->outcome);
	free(f);
}

static void
put_in_inbox(struct worker *w, struct slip slip)
{
	if (slip.from->kind == VARIABLE)
		vec_push(&w->variables, slip);
	else
		vec_push(&w->decisions, slip);
}

static void
take_deliveries(struct worker *w)
{
	struct message *m;

	while ((m = w->set.transport->take(w->set.transport))) {
		for (size_t i = 0; i < m->jobs.n; i++)
			put_in_inbox(w, (struct slip){ { m->run, m->jobs.at[i] }, m });
		if (!m->jobs.n)
			w->set.transport->ack(w->set.transport, m);
	}
}

static int
by_key(const void *a, const void *b)
{
	const struct slip *x = a, *y = b;

	if (x->key.run != y->key.run)
		return x->key.run < y->key.run ? -1 : 1;
	return x->key.id < y->key.id ? -1 : x->key.id > y->key.id;
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
			worker_release_message(w, slip->from);
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

static void
claim_answered(void *arg, const struct pg_answer *answer)
{
	struct worker *w = arg;
	struct claims *claims;

	w->claim_asked = false;
	w->claiming_variables = 0;
	if (answer->err) {
		/* Back to the inbox: claiming again what was claimed after all
		 * finds it running, and the lease guards it. */
		for (size_t i = 0; i < w->claiming.n; i++)
			put_in_inbox(w, w->claiming.at[i]);
		w->claiming.n = 0;
		worker_note_trouble(w, "claiming jobs", answer->err);
		return;
	}
	worker_note_success(w);
	claims = claim_read(answer);
	sort_claims(w, claims);
	claims_free(claims);
	w->claiming.n = 0;
	failpoint("worker.after_claim");
}

/* As many variables as may run at once, as many decisions as make a batch. */
static void
claim_ready(struct worker *w)
{
	size_t busy = w->running.n + w->alone.n, room = (size_t)w->conf->concurrency,
	    free_slots;
	VEC(struct job_key) keys = { 0 };

	for (size_t i = 0; i < w->claimed.n; i++)
		busy += w->claimed.at[i]->job.kind == VARIABLE;
	free_slots = busy < room ? room - busy : 0;
	if (w->claim_asked || w->waiting || w->alone.n || w->running_alone)
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
	qsort(w->claiming.at, w->claiming.n, sizeof *w->claiming.at, by_key);
	for (size_t i = 0; i < w->claiming.n; i++)
		vec_push(&keys, w->claiming.at[i].key);
	w->claim_asked = true;
	claim_say(w->claims, keys.at, keys.n, w->name, w->conf->lease);
	pg_ask(w->claims, claim_answered, w);
	vec_done(&keys);
}

/* --- definitions --- */

static void
add_version(void *arg, int64_t id, enum kind kind, const char *body)
{
	versions_add(arg, id, kind, body);
}

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
	claim_read_versions(answer, add_version, w->versions);
	/* What was asked for and did not come is not there; what was claimed
	 * since then is asked for next. */
	for (size_t i = 0; i < w->versions_asked.n; i++)
		versions_add_missing(w->versions, w->versions_asked.at[i]);
	w->versions_asked.n = 0;
}

static void
ask_versions(struct worker *w)
{
	bool asked = w->versions_asked.n > 0;

	for (size_t i = 0; i < w->claimed.n; i++) {
		struct flight *f = w->claimed.at[i];

		if (!f->version && !(f->version = versions_hold(w->versions, f->job.version)) &&
		    !asked && !w->waiting)
			vec_push(&w->versions_asked, f->job.version);
	}
	if (!asked && w->versions_asked.n) {
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
take_off(struct worker *w, struct flight *f)
{
	for (size_t i = 0; i < w->running.n; i++)
		if (w->running.at[i] == f) {
			w->running.at[i] = w->running.at[--w->running.n];
			break;
		}
}

static void
measured(void *arg, const struct exec_outcome *result)
{
	struct flight *f = arg;

	f->exec = NULL;
	take_off(f->worker, f);
	f->outcome.state = result->reason == REASON_OK ? JOB_DONE : JOB_FAILED;
	f->outcome.reason = result->reason;
	f->outcome.value = xstrdup(result->value);
	f->outcome.error = xstrdup(result->error);
	finish(f);
}

static void
measure(struct flight *f)
{
	char key[64];
	struct exec_task task = { f->job.name, &f->version->u.variable, f->job.as_of, key };

	snprintf(key, sizeof key, "%" PRId64 "-%d-%d", f->job.key.run, f->job.key.id,
	    f->job.fence);
	vec_push(&f->worker->running, f);
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
	o->truth = TRUTH_UNKNOWN;
	if (!f->job.active) {
		o->state = JOB_SKIPPED;
		o->reason = REASON_REFUSED;
		o->error = xstrdup("it is not active");
		finish(f);
	} else if (f->version->broken) {
		o->state = JOB_FAILED;
		o->reason = REASON_ERROR;
		o->error = xstrdup(f->version->broken);
		finish(f);
	} else if (f->job.kind == VARIABLE)
		measure(f);
	else {
		if (f->job.kind == EVIDENCE)
			decide_evidence(f->version, &f->job, o);
		else
			decide_event(f->version, &f->job, o);
		finish(f);
	}
}

/* A job whose last worker was lost runs alone, so that it cannot take others
 * with it: it waits until all else is settled, and nothing is claimed beside it. */
static void
start_alone(struct worker *w)
{
	if (w->running_alone && !w->running.n && !w->finished.n && settling_is_idle(w->settling))
		w->running_alone = false;
	if (w->running_alone || !w->alone.n || w->running.n || w->claimed.n || w->claim_asked ||
	    w->finished.n || !settling_is_idle(w->settling))
		return;
	w->running_alone = true;
	start(w->alone.at[--w->alone.n]);
}

static void
start_ready(struct worker *w)
{
	size_t kept = 0;

	claim_ready(w);
	ask_versions(w);
	for (size_t i = 0; i < w->claimed.n; i++) {
		struct flight *f = w->claimed.at[i];

		if (!f->version)
			w->claimed.at[kept++] = f;
		else if (f->job.alone && f->job.kind == VARIABLE)
			vec_push(&w->alone, f);
		else
			start(f);
	}
	w->claimed.n = kept;
	start_alone(w);
}

/* --- leases --- */

struct held_list {
	VEC(struct held) held;
};

static void
hold(void *arg, const struct flight *f)
{
	struct held_list *list = arg;

	vec_push(&list->held, ((struct held){ f->job.key, f->job.fence }));
}

static void
lost_lease(struct worker *w, struct flight *f)
{
	log_warn("a job was given to another worker", "job", f->job.name,
	    "run", log_number(f->job.key.run));
	take_off(w, f);
	worker_release_message(w, f->from);
	flight_free(f);
}

static void
renewed(void *arg, const struct pg_answer *answer)
{
	struct worker *w = arg;

	w->renew_asked = false;
	timer_start(w->renew, w->conf->lease / 3);
	if (answer->err) {
		worker_note_trouble(w, "renewing leases", answer->err);
		return;
	}
	for (size_t i = w->running.n; i-- > 0; ) {
		struct flight *f = w->running.at[i];
		struct held held = { f->job.key, f->job.fence };

		if (!claim_read_renewed(answer, &held))
			lost_lease(w, f);
	}
}

static void
renew_leases(void *arg)
{
	struct worker *w = arg;
	struct held_list list = { 0 };
	struct flights *lists[] = { &w->claimed, &w->alone, &w->running, &w->finished };

	for (size_t l = 0; l < 4; l++)
		for (size_t i = 0; i < lists[l]->n; i++)
			hold(&list, lists[l]->at[i]);
	settling_hold(w->settling, hold, &list);
	if (list.held.n && !w->renew_asked) {
		w->renew_asked = true;
		claim_say_renew(w->claims, list.held.at, list.held.n, w->conf->lease);
		pg_ask(w->claims, renewed, w);
	} else
		timer_start(w->renew, w->conf->lease / 3);
	vec_done(&list.held);
}

/* --- the sweep --- */

static void
swept(void *arg, const struct pg_answer *answer)
{
	struct worker *w = arg;
	struct swept swept = { 0 };

	w->sweep_asked = false;
	timer_start(w->sweep, w->conf->sweep);
	if (answer->err) {
		worker_note_trouble(w, "sweeping", answer->err);
		return;
	}
	sweep_read(answer, &swept);
	if (swept.again.n)
		log_warn("jobs are sent again", "jobs", log_number((int64_t)swept.again.n));
	if (swept.again.n)
		worker_publish(w, swept.again.at, swept.again.n, NULL, NULL);
	for (size_t i = 0; i < swept.lost.n; i++) {
		struct flight *f = xcalloc(1, sizeof *f);

		f->worker = w;
		f->outcome = swept.lost.at[i];
		f->job.key = f->outcome.key;
		f->job.fence = f->outcome.fence;
		f->job.name = xstrdup(f->outcome.name);
		swept.lost.at[i] = (struct outcome){ 0 };
		finish(f);
	}
	swept_done(&swept);
}

static void
sweep(void *arg)
{
	struct worker *w = arg;

	if (w->sweep_asked)
		return;
	w->sweep_asked = true;
	sweep_say(w->claims, w->set.only_run, w->conf->lease);
	pg_ask(w->claims, swept, w);
}

void
worker_sweep_now(struct worker *w)
{
	sweep(w);
}

/* --- its life --- */

void
worker_turn(struct worker *w)
{
	take_deliveries(w);
	start_ready(w);
	settle_finished(w);	/* one transaction; publishes what it fired */
	publish_unsent(w);
	deliver_due(w);
}

bool
worker_is_idle(const struct worker *w)
{
	return !w->decisions.n && w->variables_head == w->variables.n && !w->claim_asked &&
	    !w->claimed.n && !w->alone.n && !w->running.n && !w->finished.n &&
	    settling_is_idle(w->settling) && !w->unsent.n && !w->unconfirmed;
}

static void
name_worker(struct worker *w)
{
	struct uuid uuid = uuid_v4();
	char host[64] = "localhost", text[UUID_TEXT];

	gethostname(host, sizeof host - 1);
	snprintf(w->name, sizeof w->name, "%s:%ld:%.8s", host, (long)getpid(),
	    uuid_format(&uuid, text));
}

struct worker *
worker_new(const struct worker_settings *settings)
{
	struct worker *w = xcalloc(1, sizeof *w);
	struct pg_settings books = store_settings(settings->conf);

	w->set = *settings;
	w->loop = settings->loop;
	w->conf = settings->conf;
	name_worker(w);
	w->claims = pg_new(w->loop, &books);
	w->books = pg_new(w->loop, &books);
	w->hands = hands_new(w->loop, w->conf, w->set.allowed);
	w->versions = versions_new(65536);
	w->settling = settling_new();
	w->delivering = delivering_new(w);
	w->renew = timer_new(w->loop, renew_leases, w);
	w->sweep = timer_new(w->loop, sweep, w);
	w->retry = timer_new(w->loop, retry_now, w);
	timer_start(w->renew, w->conf->lease / 3);
	timer_start(w->sweep, w->conf->sweep);
	return w;
}

void
worker_free(struct worker *w)
{
	struct flights *lists[] = { &w->claimed, &w->alone, &w->running, &w->finished };

	for (size_t l = 0; l < 4; l++) {
		for (size_t i = 0; i < lists[l]->n; i++)
			flight_free(lists[l]->at[i]);
		vec_done(lists[l]);
	}
	delivering_free(w->delivering);
	pg_free(w->claims);
	pg_free(w->books);
	settling_free(w->settling);
	hands_free(w->hands);
	versions_free(w->versions);
	vec_done(&w->decisions);
	vec_done(&w->variables);
	vec_done(&w->claiming);
	vec_done(&w->unsent);
	vec_done(&w->versions_asked);
	timer_free(w->renew);
	timer_free(w->sweep);
	timer_free(w->retry);
	w->set.transport->free(w->set.transport);
	free(w);
}
