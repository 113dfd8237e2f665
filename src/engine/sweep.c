/* sweep.c - find again what was lost.
 *
 *	look into the books	is there anything that may have lost its message?
 *	ask the broker		how many messages wait in those queues
 *	sweep			stamp and send again; leases that have run out
 *
 * A message that waits in its queue is not lost: nobody takes it, and more of
 * them would help nobody.  What cannot be counted at present is not sent again;
 * a lease that has run out is, for its message is known to be gone. */
#include "engine/sweep.h"
#include <stdlib.h>
#include <string.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "engine/lease.h"
#include "engine/publish.h"
#include "engine/take.h"
#include "engine/worker.h"
#include "io/loop.h"
#include "io/pg.h"
#include "store/migrate.h"
#include "store/run.h"
#include "store/sweep.h"

struct sweeping {
	struct worker *worker;
	bool under_way, seen_all;
	VEC(struct queue_count) queues;
	size_t counted;
};

struct sweeping *
sweeping_new(struct worker *w)
{
	struct sweeping *s = xcalloc(1, sizeof *s);

	s->worker = w;
	return s;
}

static void
forget_queues(struct sweeping *s)
{
	for (size_t i = 0; i < s->queues.n; i++)
		free(s->queues.at[i].queue);
	s->queues.n = s->counted = 0;
}

void
sweeping_free(struct sweeping *s)
{
	forget_queues(s);
	vec_done(&s->queues);
	free(s);
}

bool
sweep_is_over(const struct sweeping *s)
{
	return !s->under_way;
}

bool
sweep_has_seen_all(const struct sweeping *s)
{
	return s->seen_all;
}

/* Deliveries are everybody's, so who sweeps one run alone leaves them alone. */
static bool
sweeps_deliveries(const struct worker *w)
{
	return !w->set.only_run;
}

static void
end(struct sweeping *s)
{
	forget_queues(s);
	s->under_way = false;
	timer_start(s->worker->sweep, s->worker->conf->sweep);
	loop_nudge(s->worker->loop);
}

static void
fail(struct sweeping *s, const struct err *err)
{
	worker_note_trouble(s->worker, "sweeping", err);
	s->seen_all = false;
	end(s);
}

/* --- the sweep itself --- */

static void
settle_lost(struct worker *w, struct outcome *lost)
{
	struct flight *f = xcalloc(1, sizeof *f);

	f->worker = w;
	f->outcome = *lost;
	f->job.key = lost->key;
	f->job.fence = lost->fence;
	f->job.name = xstrdup(lost->name);
	*lost = (struct outcome){ 0 };
	vec_push(&w->finished, f);
}

static void
swept(void *arg, const struct pg_answer *answer)
{
	struct sweeping *s = arg;
	struct worker *w = s->worker;
	struct swept swept = { 0 };
	struct delivery_keys deliveries = { 0 };

	if (answer->err) {
		fail(s, answer->err);
		return;
	}
	worker_note_success(w);
	sweep_read(answer, &swept);
	if (sweeps_deliveries(w))
		delivery_read_keys(answer->results[answer->n - 1], &deliveries);
	if (swept.again.n) {
		failpoint("sweep.before_publish");
		log_warn("jobs are sent again", "jobs", log_number((int64_t)swept.again.n));
		publish_jobs(w, swept.again.at, swept.again.n, NULL, NULL);
	}
	if (deliveries.n) {
		log_info("deliveries are sent again", "deliveries",
		    log_number((int64_t)deliveries.n));
		publish_deliveries(w, &deliveries);
	}
	for (size_t i = 0; i < swept.lost.n; i++)
		settle_lost(w, &swept.lost.at[i]);
	swept_done(&swept);
	delivery_keys_done(&deliveries);
	end(s);
}

/* Unknown: more than there can be. */
static int64_t
messages_of(const struct sweeping *s, const char *queue)
{
	for (size_t i = 0; i < s->queues.n; i++)
		if (!strcmp(s->queues.at[i].queue, queue) && s->queues.at[i].messages >= 0)
			return s->queues.at[i].messages;
	return INT64_MAX;
}

static void
sweep(struct sweeping *s)
{
	struct worker *w = s->worker;

	s->seen_all = true;
	for (size_t i = 0; i < s->queues.n; i++)
		s->seen_all &= s->queues.at[i].messages >= 0;
	sweep_say(w->claims, w->set.only_run, w->conf->lease, s->queues.at, s->queues.n);
	if (sweeps_deliveries(w)) {
		delivery_say_lost(w->claims, (int)w->conf->delivery_attempts);
		delivery_say_again(w->claims, w->conf->lease, messages_of(s, w->conf->queue));
	}
	pg_ask(w->claims, swept, s);
}

/* --- before it --- */

static void
counted(void *arg, int64_t messages)
{
	struct sweeping *s = arg;

	/* They are answered in the order in which they were asked. */
	s->queues.at[s->counted++].messages = messages;
	if (s->counted == s->queues.n)
		sweep(s);
}

static void
add_queue(struct sweeping *s, const char *queue)
{
	for (size_t i = 0; i < s->queues.n; i++)
		if (!strcmp(s->queues.at[i].queue, queue))
			return;
	vec_push(&s->queues, ((struct queue_count){ xstrdup(queue), -1 }));
}

static void
looked(void *arg, const struct pg_answer *answer)
{
	struct sweeping *s = arg;
	struct worker *w = s->worker;
	struct transport *t = w->set.transport;
	const PGresult *queues = answer->results[0];

	if (answer->err) {
		fail(s, answer->err);
		return;
	}
	if (worker_is_outdated(w, answer)) {
		end(s);
		return;
	}
	for (int i = 0; i < PQntuples(queues); i++)
		add_queue(s, PQgetvalue(queues, i, 0));
	if (sweeps_deliveries(w) && !strcmp(PQgetvalue(answer->results[1], 0, 0), "t"))
		add_queue(s, w->conf->queue);
	if (!s->queues.n) {
		sweep(s);
		return;
	}
	for (size_t i = 0; i < s->queues.n; i++)
		t->count(t, s->queues.at[i].queue, counted, s);
}

/* A prepared statement keeps its plan, and one that was made when there were a
 * few jobs would go on to read all of them when there are many. */
static void
plan_anew(struct pg *pg)
{
	pg_say(pg, "discard plans", 0, NULL);
	pg_ask(pg, NULL, NULL);
}

/* The books are where people look, and who runs no worker sees no log. */
static void
tell_trouble(struct worker *w)
{
	struct transport *t = w->set.transport;
	const struct err *why = t->trouble(t);

	if (w->set.only_run || (!why && !w->told_trouble))
		return;
	run_say_trouble(w->claims, why ? why->message : NULL);
	pg_ask(w->claims, NULL, NULL);
	w->told_trouble = why;
}

void
sweep_begin(void *arg)
{
	struct worker *w = arg;
	struct sweeping *s = w->sweeping;

	if (s->under_way || w->stopping)
		return;
	s->under_way = true;
	if (!w->set.only_run) {
		deliver_look_again(w);
		take_give_back(w);
	}
	/* Ours first: after an outage they may have run out as all others. */
	if (!w->renewing.n)
		lease_renew(w);
	plan_anew(w->claims);
	plan_anew(w->books);
	tell_trouble(w);
	sweep_say_look(w->claims, w->set.only_run, w->conf->lease);
	if (sweeps_deliveries(w))
		delivery_say_wait(w->claims);
	migrate_say_version(w->claims);
	pg_ask(w->claims, looked, s);
}
