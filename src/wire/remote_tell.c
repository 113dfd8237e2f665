/* remote_tell.c - what a worker tells others.
 *
 * Events of one turn go out together.  None is waited for: they are transient,
 * not confirmed, and kept only while the broker does not take them, and of those
 * only so many.  A heartbeat is never kept; an old one is a lie. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "base/log.h"
#include "celery/control.h"
#include "celery/message.h"
#include "io/loop.h"
#include "wire/remote_inner.h"

#define BEAT (2 * SECOND)
#define FREQUENCY 2.0			/* the same, for those who read it */
enum {
	TRANSIENT = 1,			/* delivery_mode */
	BATCH_MOST = 100,		/* events in a message */
	WAITING_MOST = 1024 * 1024,	/* bytes that wait for the broker */
	ANSWER_MOST = 16 * 1024 * 1024,
};
#define LAST_CLOCK 100000		/* later than any candidate's */

/* --- sending --- */

bool
remote_publish(struct remote *r, int channel, const char *exchange, const char *key,
    const json_t *headers, const struct str *body, int delivery_mode)
{
	struct celery_envelope e = { .content_type = CELERY_CONTENT_TYPE,
		.content_encoding = CELERY_CONTENT_ENCODING,
		.delivery_mode = delivery_mode, .headers = (json_t *)headers };
	amqp_basic_properties_t props = { 0 };
	struct amqp_message out = { .exchange = exchange, .routing_key = key,
		.properties = &props, .body = str_text(body), .len = body->len };
	struct arena arena = { 0 };
	struct err err;
	bool sent = false;

	if (!r->wire->out.up || r->wire->closing || amqp_is_full(r->wire->out.amqp))
		return false;
	properties_of_envelope(&e, &arena, &props);
	sent = amqp_publish(r->wire->out.amqp, channel, &out, &err) > 0;
	arena_done(&arena);
	return sent;
}

static bool
publish_event(struct remote *r, const char *key, const struct str *body)
{
	json_t *headers;
	bool sent;

	if (!r->telling || !places_has(&r->out, CELERY_EVENT_EXCHANGE))
		return false;
	headers = json_pack("{s:s}", "hostname", r->node);
	sent = remote_publish(r, REMOTE, CELERY_EVENT_EXCHANGE, key, headers, body, TRANSIENT);
	json_decref(headers);
	return sent;
}

static void
drop(struct remote *r, uint64_t events)
{
	if (!r->dropping)
		log_warn("events are dropped, for the broker takes none");
	r->dropping = true;
	r->dropped += events;
}

static void
hold(struct remote *r, const char *key, struct str *body, uint64_t events)
{
	struct held h = { .events = events };

	if (r->waiting_bytes + body->len > WAITING_MOST) {
		drop(r, events);
		return;
	}
	r->waiting_bytes += body->len;
	h.key = xstrdup(key);
	str_add(&h.body, str_text(body), body->len);
	vec_push(&r->waiting, h);
}

static void
send_waiting(struct remote *r)
{
	while (!fifo_is_empty(&r->waiting)) {
		struct held h = fifo_first(&r->waiting);

		if (!publish_event(r, h.key, &h.body))
			return;
		fifo_pop(&r->waiting);
		r->waiting_bytes -= h.body.len;
		free(h.key);
		str_done(&h.body);
	}
	if (r->dropping)
		log_info("the broker takes events again", "dropped",
		    log_number((int64_t)(r->dropped - r->dropped_before)));
	r->dropping = false;
	r->dropped_before = r->dropped;
}

static void
send_batch(struct remote *r)
{
	if (!r->batched)
		return;
	str_putc(&r->batch, ']');
	send_waiting(r);
	if (r->telling && !places_has(&r->out, CELERY_EVENT_EXCHANGE))
		r->dropped += r->batched;	/* that there is none has been said */
	else if (!fifo_is_empty(&r->waiting) ||
	    !publish_event(r, CELERY_EVENT_BATCH, &r->batch))
		hold(r, CELERY_EVENT_BATCH, &r->batch, r->batched);
	str_clear(&r->batch);
	r->batched = 0;
}

/* --- events --- */

static void
describe_teller(struct remote *r, struct celery_teller *teller)
{
	teller->node = r->node;
	teller->pid = getpid();
	teller->clock = remote_step_clock(r);
	teller->at = clock_now();
	if (teller->at >= r->offset_until || teller->at < r->offset_until - MINUTE) {
		r->utcoffset = celery_event_utcoffset(teller->at);
		r->offset_until = teller->at + MINUTE;
	}
	teller->utcoffset = r->utcoffset;
}

static void
tell_worker(struct remote *r, enum celery_event event, double freq)
{
	struct celery_load load = { .freq = freq, .version = PACKAGE_VERSION, .system = r->system };
	struct celery_teller teller;
	struct str body = STR_INIT;

	if (getloadavg(load.average, 3) != 3)
		memset(load.average, 0, sizeof load.average);
	r->set.load(r->set.arg, &load);
	describe_teller(r, &teller);
	celery_event_worker(&body, event, &teller, &load);
	publish_event(r, celery_event_key(event), &body);
	str_done(&body);
}

static void
beat(void *arg)
{
	struct remote *r = arg;

	if (r->left)
		return;
	timer_start(r->beat, BEAT);
	tell_worker(r, EVENT_WORKER_HEARTBEAT, FREQUENCY);
}

void
remote_beat(struct remote *r, double freq)
{
	tell_worker(r, EVENT_WORKER_HEARTBEAT, freq);
}

static bool
has_stood(const struct remote *r, const char *id)
{
	for (size_t i = 0; i < ELECTIONS; i++)
		if (r->elections[i] && !strcmp(r->elections[i], id))
			return true;
	return false;
}

void
remote_stand(struct remote *r, const struct celery_election *election)
{
	struct celery_teller teller;
	struct str body = STR_INIT;
	char **place = &r->elections[r->next_election];

	if (has_stood(r, election->id))
		return;
	r->next_election = (r->next_election + 1) % ELECTIONS;
	free(*place);
	*place = xstrdup(election->id);
	describe_teller(r, &teller);
	teller.clock += LAST_CLOCK;	/* the lowest wins */
	celery_event_elect(&body, &teller, election);
	publish_event(r, celery_event_key(EVENT_WORKER_ELECT), &body);
	str_done(&body);
}

void
remote_tell_elect_ack(struct remote *r, const char *id)
{
	struct celery_teller teller;
	struct str body = STR_INIT;

	describe_teller(r, &teller);
	celery_event_elect_ack(&body, &teller, id);
	publish_event(r, celery_event_key(EVENT_WORKER_ELECT_ACK), &body);
	str_done(&body);
}

bool
remote_wants_events(const struct remote *r)
{
	return r && r->wants_events;
}

void
remote_want_events(struct remote *r, bool wanted)
{
	r->wants_events = wanted;
}

void
remote_tell_task(struct remote *r, enum celery_event event, const struct celery_task_event *e)
{
	struct celery_teller teller;

	describe_teller(r, &teller);
	str_puts(&r->batch, r->batched ? ", " : "[");
	celery_event_task(&r->batch, event, &teller, e);
	if (++r->batched >= BATCH_MOST)
		send_batch(r);
}

/* --- answers --- */

static bool
is_known_exchange(const struct remote *r, const char *exchange)
{
	return !*exchange || places_has(&r->out, exchange) ||
	    (r->other_exchange && !strcmp(r->other_exchange, exchange));
}

/* Whoever asks has declared it, and Celery's workers do it again. */
static void
know_exchange(struct remote *r, const char *name)
{
	struct amqp_exchange exchange = { .name = name, .type = "direct" };

	if (is_known_exchange(r, name))
		return;
	amqp_declare_exchange(r->wire->out.amqp, REMOTE_ANSWERS, &exchange);
	free(r->other_exchange);
	r->other_exchange = xstrdup(name);
}

void
remote_answer(struct remote *r, const struct celery_control *request, const struct str *value)
{
	struct str body = STR_INIT;
	json_t *headers = json_pack("{s:s?, s:I}", "ticket", request->ticket, "clock",
	    (json_int_t)remote_step_clock(r));
	struct raw raw = { str_text(value), value->len };

	if (value->len > ANSWER_MOST)
		raw = (struct raw){ "{\"error\": \"the answer is too long\"}", 35 };
	celery_control_reply(&body, r->node, raw);
	if (r->wire->out.up) {
		amqp_open_channel(r->wire->out.amqp, REMOTE_ANSWERS);
		know_exchange(r, request->reply_exchange);
	}
	if (!remote_publish(r, REMOTE_ANSWERS, request->reply_exchange, request->reply_key, headers,
	    &body, TRANSIENT))
		r->dropped++;
	json_decref(headers);
	str_done(&body);
}

/* --- coming and going --- */

void
tell_begin(struct remote *r)
{
	r->telling = true;
	tell_worker(r, EVENT_WORKER_ONLINE, FREQUENCY);
	timer_start(r->beat, BEAT);
	send_waiting(r);
}

void
tell_forget_exchange(struct remote *r)
{
	free(r->other_exchange);
	r->other_exchange = NULL;
}

void
tell_lost(struct remote *r)
{
	r->telling = false;
	timer_stop(r->beat);
	tell_forget_exchange(r);
}

void
remote_turn(struct remote *r)
{
	if (!r)
		return;
	send_batch(r);
	if (!fifo_is_empty(&r->waiting))
		send_waiting(r);
}

void
remote_leave(struct remote *r)
{
	if (!r || r->left)
		return;
	remote_turn(r);
	tell_worker(r, EVENT_WORKER_OFFLINE, FREQUENCY);
	r->left = true;
	timer_stop(r->beat);
}

uint64_t
remote_dropped(const struct remote *r)
{
	return r->dropped;
}

void
tell_init(struct remote *r)
{
	struct utsname host;

	snprintf(r->system, sizeof r->system, "%s", uname(&host) ? "" : host.sysname);
	r->wants_events = r->set.events;
	r->beat = timer_new(r->wire->loop, beat, r);
}

void
tell_done(struct remote *r)
{
	while (!fifo_is_empty(&r->waiting)) {
		free(fifo_first(&r->waiting).key);
		str_done(&fifo_first(&r->waiting).body);
		fifo_pop(&r->waiting);
	}
	vec_done(&r->waiting);
	timer_free(r->beat);
	str_done(&r->batch);
	for (size_t i = 0; i < ELECTIONS; i++)
		free(r->elections[i]);
	free(r->other_exchange);
}
