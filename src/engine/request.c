/* request.c - clients' tasks come, begin, and go back.
 *
 * What is ready begins as there are hands, in the order of arrival; one that has
 * to wait for its rate lets others pass.  Hands are shared with the variables of
 * cycles: see worker_free_hands(). */
#include "engine/request.h"
#include <stdlib.h>
#include <string.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/log.h"
#include "engine/panel.h"
#include "engine/request_inner.h"
#include "engine/worker.h"
#include "io/loop.h"
#include "wire/wire.h"

enum { ENDING_MOST = 10000 };
#define ENDING_BYTES ((size_t)64 * 1024 * 1024)

/* --- one request --- */

void
request_acknowledge(struct request *r)
{
	struct transport *t = r->of->worker->set.transport;

	if (r->from)
		t->ack(t, r->from);
	r->from = NULL;
}

size_t
request_bytes(const struct request *r)
{
	const struct celery_message *m = request_message(r);

	return sizeof *r + sizeof *r->letter + m->args.len + m->kwargs.len + m->callbacks.len +
	    m->errbacks.len + m->chain.len + m->chord.len;
}

void
request_free(struct request *r)
{
	request_kill(r);
	for (size_t i = 0; i < r->flows.n; i++) {
		canvas_done(&r->flows.at[i]->canvas);
		free(r->flows.at[i]->forget);
		free(r->flows.at[i]);
	}
	vec_done(&r->flows);
	registry_release(r->registry);
	letter_free(r->letter);
	free(r->queue);
	free(r->value);
	free(r->spent);
	free(r->type);
	free(r->module);
	free(r->message);
	free(r->children);
	free(r);
}

struct task_use *
use_get(struct requests *all, const char *name, bool builtin)
{
	const json_t *place = json_object_get(all->use_places, name);
	struct task_use *s;

	if (place)
		return all->uses.at[json_integer_value(place)];
	s = xcalloc(1, sizeof *s);
	s->name = xstrdup(name);
	s->builtin = builtin;
	s->rate = -1;
	json_object_set_new(all->use_places, name,
	    json_integer((json_int_t)all->uses.n));
	vec_push(&all->uses, s);
	return s;
}

/* Their results cannot be kept, or their followers not be sent: what is acknowledged
 * already is held back by nobody else. */
static bool
too_many_end(const struct requests *all)
{
	return all->ending.n >= ENDING_MOST || all->ending_bytes >= ENDING_BYTES;
}

/* --- they come --- */

static struct request *
request_new(struct requests *all, struct message *m)
{
	struct request *r = xcalloc(1, sizeof *r);

	r->of = all;
	r->from = m;
	r->letter = m->letter;		/* it is wanted after the acknowledgement */
	m->letter = NULL;
	r->queue = xstrdup(m->queue);
	r->received_at = clock_now();
	r->started_at = INSTANT_NEVER;
	return r;
}

/* True if its task is one of ours: that was so when the message was decoded, but
 * the settings may have changed since. */
static bool
find_task(struct request *r)
{
	const char *name = request_message(r)->task;

	if ((r->task = registry_find(r->of->registry, name)))
		r->registry = registry_hold(r->of->registry);
	else if (!(r->builtin = builtin_find(name)))
		return false;
	r->uses_hand = r->task || builtin_uses_hand(r->builtin);
	r->use = use_get(r->of, name, r->builtin != NULL);
	return true;
}

/* A stock worker leaves the chord that such a one is in waiting for ever. */
static void
fail_unregistered(struct request *r)
{
	request_fail_with(r, "NotRegistered", "celery.exceptions",
	    request_argument(request_message(r)->task));
}

static struct request *
find_same(const struct requests *all, const struct celery_message *m)
{
	const struct { struct request **at; size_t n; } lists[] = {
		{ all->reserved.at, all->reserved.n }, { all->active.at, all->active.n },
		{ all->ending.at, all->ending.n },
	};

	for (size_t l = 0; l < sizeof lists / sizeof lists[0]; l++)
		for (size_t i = 0; i < lists[l].n; i++) {
			const struct celery_message *other = request_message(lists[l].at[i]);

			if (other->retries == m->retries && !strcmp(other->id, m->id))
				return lists[l].at[i];
		}
	return NULL;
}

/* The connection was lost, and what we hold is delivered again: then it is this
 * message that is acknowledged in the end.  True: M is one of those. */
static bool
take_again(struct requests *all, struct message *m)
{
	struct transport *t = all->worker->set.transport;
	struct request *r = m->letter->redelivered && !m->letter->refused ?
	    find_same(all, &m->letter->message) : NULL;

	if (!r || (r->from && r->from->epoch == m->epoch))
		return false;
	if (r->from) {
		t->ack(t, r->from);	/* which is yesterday's */
		r->from = m;
	} else
		t->ack(t, m);		/* as it had been before */
	return true;
}

void
requests_take(struct requests *all, struct message *m)
{
	struct transport *t = all->worker->set.transport;
	struct request *r;
	instant now = clock_now();

	if (take_again(all, m))
		return;

	if (m->letter->refused && m->letter->refusal.reason != REFUSED_UNREGISTERED) {
		request_tell_refused(all, m->letter);
		t->ack(t, m);
		return;
	}
	if (m->letter->refused && too_many_end(all)) {
		t->ack(t, m);		/* it is parked, and in the log */
		return;
	}
	r = request_new(all, m);
	if (r->letter->refused || !find_task(r)) {
		fail_unregistered(r);
		return;
	}
	if (request_message(r)->expires <= now)
		request_end_revoked(r, "expired");
	else if (request_message(r)->eta > now && clock_isfinite(request_message(r)->eta)) {
		request_tell(r, REQUEST_RECEIVED);
		delay_take(r);
	} else if (revoke_has(all, request_message(r)->id))
		request_end_revoked(r, "revoked");
	else {
		r->state = REQUEST_RESERVED;
		request_tell(r, REQUEST_RECEIVED);
		vec_push(&all->reserved, r);
	}
}

/* --- they begin --- */

/* How long it has to wait for its rate; 0: it may begin, and has been counted. */
static span
wait_for_rate(struct request *r)
{
	double rate = use_rate(r->use, r->task);
	span now = clock_monotonic(), wait = r->use->next - now;

	if (!(rate > 0))
		return 0;
	if (wait > 0)
		return wait;
	r->use->next = now + (span)(SECOND / rate);
	return 0;
}

/* The broker takes back what is unacknowledged for too long, and all that is on
 * the channel with it. */
static bool
is_long(const struct request *r)
{
	const struct worker *w = r->of->worker;

	return r->task && r->how.hard > w->conf->consumer_timeout / 3;
}

static void
begin(struct request *r)
{
	struct requests *all = r->of;
	bool early = r->task && !r->task->acks_late;

	if (request_message(r)->expires <= clock_now()) {
		request_end_revoked(r, "expired");
		return;
	}
	if (revoke_has(all, request_message(r)->id)) {
		request_end_revoked(r, "revoked");
		return;
	}
	r->state = REQUEST_ACTIVE;
	r->started_at = clock_now();
	r->started = clock_monotonic();
	r->use->total++;
	vec_push(&all->active, r);
	request_limits(r);
	if (early || is_long(r))
		request_acknowledge(r);
	request_tell(r, REQUEST_STARTED);
	if (r->task && r->task->track_started)
		request_store_started(r);
	request_begin(r);
}

/* Not before it is known what is revoked. */
static void
begin_ready(struct requests *all)
{
	size_t hands = worker_free_hands(all->worker), kept = 0, n = all->reserved.n;
	span soonest = 0;

	if (!panel_has_mingled(all->worker->panel) || too_many_end(all))
		return;

	for (size_t i = 0; i < n; i++) {
		struct request *r = all->reserved.at[i];
		span wait = 0;

		if ((r->uses_hand && !hands) || (wait = wait_for_rate(r)) > 0) {
			if (wait > 0 && (!soonest || wait < soonest))
				soonest = wait;
			all->reserved.at[kept++] = r;
			continue;
		}
		hands -= r->uses_hand;
		begin(r);
	}
	all->reserved.n = kept;
	if (soonest)
		timer_start(all->rate, soonest);
}

/* What has waited for too long is for others; see take_give_back(). */
static void
give_back_old(struct requests *all)
{
	struct transport *t = all->worker->set.transport;
	span oldest = clock_monotonic() - all->worker->conf->consumer_timeout / 3;
	size_t kept = 0;

	for (size_t i = 0; i < all->reserved.n; i++) {
		struct request *r = all->reserved.at[i];

		if (r->from->arrived_at > oldest) {
			all->reserved.at[kept++] = r;
			continue;
		}
		r->from->letter = NULL;
		t->give_back(t, r->from);
		r->from = NULL;
		request_free(r);
	}
	all->reserved.n = kept;
}

void
requests_turn(struct requests *all)
{
	if (!all || all->leaving)
		return;
	delay_turn(all);
	revoke_turn(all);
	if (!all->reserved.n || all->worker->stopping)
		return;
	give_back_old(all);
	begin_ready(all);
}

size_t
requests_active(const struct requests *all)
{
	size_t n = 0;

	for (size_t i = 0; all && i < all->active.n; i++)
		n += all->active.at[i]->uses_hand;
	return n;
}

bool
requests_know(const struct requests *all, const char *task)
{
	return registry_find(all->registry, task) || builtin_find(task);
}

bool
requests_have_tasks(const struct requests *all)
{
	return all && registry_count(all->registry);
}

/* --- beginning and end of it all --- */

static struct registry *
read_registry(const struct conf *conf, struct err *err)
{
	const struct task_defaults standard = { conf->acks_late, conf->track_started };

	return registry_new(conf->tasks, &standard, NULL, NULL, err);
}

void
requests_take_registry(struct requests *all)
{
	struct err err;
	struct registry *fresh = all ? read_registry(all->worker->conf, &err) : NULL;

	if (!fresh)
		return;		/* what was read was checked; there is nothing to say */
	registry_release(all->registry);
	all->registry = fresh;
}

static void
may_begin(void *arg)
{
	loop_nudge(((struct requests *)arg)->worker->loop);
}

struct requests *
requests_new(struct worker *w, struct err *err)
{
	struct requests *all = xcalloc(1, sizeof *all);

	all->worker = w;
	all->origin = wire_origin();
	all->use_places = json_object();
	all->rate = timer_new(w->loop, may_begin, all);
	delay_init(all);
	revoke_init(all);
	if ((all->registry = read_registry(w->conf, err)) &&
	    (all->backend = backend_open(w->loop, w->conf, NULL, w->set.transport, err)))
		return all;
	requests_free(all);
	return NULL;
}

/* Delivered again, for whoever is there. */
static void
give_back(struct request *r)
{
	struct transport *t = r->of->worker->set.transport;

	if (r->from)
		t->give_back(t, r->from);
	r->from = NULL;
	request_free(r);
}

static struct request *
take_active(struct requests *all, size_t i)
{
	struct request *r = all->active.at[i];

	all->active.at[i] = all->active.at[--all->active.n];
	return r;
}

/* Whoever waits for one whose message is gone is to be told. */
static void
give_up(struct request *r)
{
	request_kill(r);
	if (r->from)
		give_back(r);
	else
		request_fail(r, "WorkerLostError", "billiard.exceptions",
		    "the worker was stopped in the midst of it");
}

bool
requests_stop(struct requests *all, bool over)
{
	if (!all)
		return true;
	for (; all->reserved.n; all->reserved.n--)
		give_back(all->reserved.at[all->reserved.n - 1]);
	for (size_t i = all->active.n; over && i-- > 0; )
		if (!all->active.at[i]->waiting)	/* for the backend, which tells it */
			give_up(take_active(all, i));
	return !all->active.n && !all->ending.n && !all->delaying.n && !all->sending &&
	    !all->sent.n && !all->revoking.n && backend_is_idle(all->backend);
}

void
requests_leave(struct requests *all)
{
	if (!all)
		return;
	all->leaving = true;
	backend_free(all->backend);
	all->backend = NULL;
}

static void
free_list(struct request **at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		request_free(at[i]);
	free(at);
}

void
requests_free(struct requests *all)
{
	if (!all)
		return;
	requests_leave(all);
	free(all->origin);
	free_list(all->reserved.at, all->reserved.n);
	free_list(all->active.at, all->active.n);
	free_list(all->ending.at, all->ending.n);
	delay_done(all);
	revoke_done(all);
	for (size_t i = 0; i < all->uses.n; i++) {
		free(all->uses.at[i]->name);
		free(all->uses.at[i]->rate_text);
		free(all->uses.at[i]);
	}
	vec_done(&all->uses);
	json_decref(all->use_places);
	timer_free(all->rate);
	registry_release(all->registry);
	free(all);
}
