/* remote.c - a worker among workers, for as long as its transport lives.
 *
 * Each line comes and goes.  Whenever one is there, what it needs is declared
 * anew (remote_place.c); then events and answers go out on the one
 * (remote_tell.c), and others are heard on the other (remote_hear.c).  What is
 * refused or deleted meanwhile begins once more, after a while. */
#include "wire/remote.h"
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "celery/control.h"
#include "io/loop.h"
#include "wire/remote_inner.h"

#define CLOCK_MOST (INT64_MAX / 2)

/* --- the clock --- */

const char *
remote_node(const struct remote *r)
{
	return r->node;
}

int64_t
remote_clock(const struct remote *r)
{
	return r->clock;
}

int64_t
remote_step_clock(struct remote *r)
{
	return ++r->clock;
}

/* Whoever lies about his clock shall not stop ours. */
void
remote_adjust_clock(struct remote *r, int64_t other)
{
	if (other > r->clock && other < CLOCK_MOST)
		r->clock = other;
	r->clock++;
}

/* --- coming and going --- */

void
remote_place_there(struct remote *r, struct places *places, const struct place *place)
{
	struct amqp_consumer consumer = { .queue = place->queue, .tag = place->tag, .no_ack = true };

	if (places == &r->in && place->queue && !(r->mingled && place->queue == r->mailbox)) {
		amqp_open_channel(r->wire->in.amqp, REMOTE);
		amqp_consume(r->wire->in.amqp, REMOTE, &consumer);
	}
}

/* Out: all is there that can be had. */
void
remote_places_done(struct remote *r, struct places *places)
{
	if (places != &r->out || r->left)
		return;
	amqp_open_channel(r->wire->out.amqp, REMOTE);
	tell_begin(r);
	hear_may_hello(r);
}

void
remote_ready(struct remote *r, const struct line *line)
{
	if (!r || r->left)
		return;
	if (line == &r->wire->in)
		hear_begin(r);
	places_begin(line == &r->wire->in ? &r->in : &r->out);
}

void
remote_lost(struct remote *r, const struct line *line)
{
	if (!r)
		return;
	if (line == &r->wire->in) {
		places_lost(&r->in);
		r->may_hello = false;
		return;
	}
	places_lost(&r->out);
	tell_lost(r);
}

void
remote_answered(struct remote *r, const struct line *line, const struct amqp_answer *answer)
{
	if (!r)
		return;
	if (answer->channel == REMOTE_ASKING)
		places_answered(line == &r->wire->in ? &r->in : &r->out, answer);
	else if (answer->asked == AMQP_BASIC_CONSUME_METHOD &&
	    answer->name.len == strlen(HELLO_TAG) &&
	    !memcmp(answer->name.bytes, HELLO_TAG, answer->name.len)) {
		r->may_hello = true;
		hear_may_hello(r);
	}
}

/* An exchange or a queue has gone, somebody has declared it otherwise, or we may
 * not use it: everything once more, after a while. */
void
remote_refused(struct remote *r, const struct line *line, int channel, int code,
    const struct err *err)
{
	struct places *places;

	if (!r)
		return;
	places = line == &r->wire->in ? &r->in : &r->out;
	if (channel == REMOTE_ASKING) {
		places_refused(places, code, err);
		return;
	}
	log_info("a channel of remote control was closed", "error", err->message);
	if (channel == REMOTE_ANSWERS) {
		/* One that is declared otherwise is used as it is the next time. */
		if (code != AMQP_PRECONDITION_FAILED) {
			tell_forget_exchange(r);
			places_forget(&r->out, CELERY_PIDBOX_REPLY);
		}
		return;
	}
	if (places == &r->out)
		r->telling = false;
	else
		r->may_hello = false;
	places_again(places);
}

/* The broker gives us no more of a queue of ours: somebody has deleted it.  A
 * consumer that is left must not be begun twice, so its channel ends. */
void
remote_cancelled(struct remote *r)
{
	if (!r)
		return;
	r->may_hello = false;
	amqp_close_channel(r->wire->in.amqp, REMOTE);
	places_again(&r->in);
}

void
remote_delivered(struct remote *r, const struct amqp_delivery *d)
{
	if (r && !r->left)
		hear_delivered(r, d);
}

bool
remote_has_mingled(const struct remote *r)
{
	return !r || !r->set.listens || r->mingled;
}

/* --- beginning and end --- */

static void
add_places(struct remote *r)
{
	const struct place events = { .exchange = CELERY_EVENT_EXCHANGE, .type = "topic",
		.durable = true };
	const struct place replies = { .exchange = CELERY_PIDBOX_REPLY, .type = "direct" };
	const struct place in[] = {
		{ .exchange = CELERY_PIDBOX, .type = "fanout" },
		{ .exchange = CELERY_PIDBOX, .queue = r->pidbox, .key = "", .expires = 10000,
		    .ttl = 300000, .tag = PIDBOX_TAG },
		events,
		{ .exchange = CELERY_EVENT_EXCHANGE, .queue = r->gossip, .key = "worker.#",
		    .expires = 60000, .ttl = 2000, .tag = GOSSIP_TAG },
		replies,
		{ .exchange = CELERY_PIDBOX_REPLY, .queue = r->mailbox, .key = r->oid,
		    .expires = 10000, .ttl = 300000, .tag = HELLO_TAG },
	};

	places_add(&r->out, &events);
	if (!r->set.listens)
		return;
	places_add(&r->out, &replies);
	for (size_t i = 0; i < sizeof in / sizeof in[0]; i++)
		places_add(&r->in, &in[i]);
}

struct remote *
remote_new(struct transport *transport, const struct remote_settings *set)
{
	struct wire *w = (struct wire *)transport;
	struct remote *r = xcalloc(1, sizeof *r);
	struct uuid oid = uuid_v4();

	r->set = *set;
	r->wire = w;
	r->node = xstrdup(set->node);
	uuid_format(&oid, r->oid);
	r->pidbox = xasprintf("%s." CELERY_PIDBOX, r->node);
	r->gossip = xasprintf(CELERY_EVENT_EXCHANGE ".%s", r->oid);
	r->mailbox = xasprintf("%s." CELERY_PIDBOX_REPLY, r->oid);
	tell_init(r);
	r->mingling = timer_new(w->loop, hear_mingling_over, r);
	places_init(&r->out, r, &w->out);
	places_init(&r->in, r, &w->in);
	add_places(r);
	w->remote = r;
	return r;
}

void
remote_free(struct remote *r)
{
	if (!r)
		return;
	r->wire->remote = NULL;
	tell_done(r);
	places_done(&r->out);
	places_done(&r->in);
	timer_free(r->mingling);
	free(r->node);
	free(r->pidbox);
	free(r->gossip);
	free(r->mailbox);
	free(r);
}
