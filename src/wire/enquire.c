/* enquire.c - say one thing to the broker, and hear what comes back.
 *
 *	the queue that it is for	declared on a channel of its own, for a
 *					refusal closes that; then we take it as it is
 *	the queue of the answers	made, bound, consumed
 *	said				with a confirm, before a deadline
 *	heard				until it is enough, or patience has an end
 *
 * A broker under an alarm reads from no publisher, and may then not read our asking
 * either: the deadline ends that too. */
#include "wire/enquire.h"
#include <stdlib.h>
#include <string.h>
#include "base/conf.h"
#include "base/log.h"
#include "base/str.h"
#include "celery/compress.h"
#include "celery/message.h"
#include "io/loop.h"
#include "wire/amqp_inner.h"
#include "wire/letter.h"

enum { SAYING = 1, DECLARING = 2 };
#define FAREWELL SECOND
#define LARGEST_ANSWER (64 * 1024 * 1024)

/* How the queue is declared; what is refused is tried one step lower. */
enum manner { AS_CELERY, QUEUE_ALONE, AS_IT_IS };

struct enquiring {
	const struct conf *conf;
	const struct enquiry *set;
	struct loop *loop;
	struct amqp *amqp;
	struct timer *limit;
	enum manner manner;
	int waiting;			/* answers to what was asked on a channel */
	bool declared, sent, said, over, leaving, failed;
	struct err *err;
};

static void
leave(struct enquiring *e)
{
	if (e->leaving)
		return;
	e->leaving = true;
	timer_stop(e->limit);
	amqp_close(e->amqp, FAREWELL);
}

static void
fail(struct enquiring *e, const struct err *err)
{
	if (!e->failed)
		*e->err = *err;
	e->failed = true;
	leave(e);
}

void
enquiry_end(struct enquiring *e)
{
	leave(e);
}

static void
out_of_time(void *arg)
{
	struct enquiring *e = arg;
	struct err err;

	if (!e->said) {
		err_class(&err, ERR_TEMPFAIL, "the broker has not confirmed it in time "
		    "(confirm_timeout)");
		fail(e, &err);
	}
	leave(e);
}

/* --- saying --- */

static void
say(struct enquiring *e)
{
	const struct post *post = e->set->post;
	struct arena arena = { 0 };
	amqp_basic_properties_t props = { 0 };
	struct amqp_message out = { .exchange = post->exchange, .routing_key = post->routing_key,
		.mandatory = post->mandatory, .properties = &props,
		.body = post->envelope->body, .len = post->envelope->body_len };
	struct err err;

	e->sent = true;
	properties_of_envelope(post->envelope, &arena, &props);
	amqp_want_confirms(e->amqp, SAYING);
	if (!amqp_publish(e->amqp, SAYING, &out, &err))
		fail(e, &err);
	arena_done(&arena);
}

static void
confirmed(void *arg, int channel, uint64_t tag, bool multiple, bool ack)
{
	struct enquiring *e = arg;
	struct err err;

	if (!ack) {
		err_class(&err, ERR_TEMPFAIL, "the broker does not take it: queue %.100s may have "
		    "reached its x-max-length", e->set->post->routing_key);
		fail(e, &err);
		return;
	}
	if (e->failed || e->said)
		return;
	e->said = true;
	if (!e->set->reply_queue || e->set->patience <= 0) {
		leave(e);
		return;
	}
	timer_start(e->limit, e->set->patience);
	if (e->set->said)
		e->set->said(e->set->arg, e->loop, e);
}

static void
returned(void *arg, const struct amqp_return *r)
{
	struct err err;

	err_class(&err, ERR_TEMPFAIL, "no queue takes it: %s", r->text);
	fail(arg, &err);
}

/* --- where the answers come to --- */

static void
make_reply_queue(struct enquiring *e)
{
	const struct enquiry *set = e->set;
	struct arena arena = { 0 };
	json_t *arguments = json_object();
	struct amqp_queue queue = { .name = set->reply_queue, .auto_delete = true };
	struct amqp_exchange exchange = { .name = set->reply_exchange, .type = "direct" };
	struct amqp_consumer consumer = { .queue = set->reply_queue, .tag = "answers",
		.no_ack = true };

	if (set->reply_expires)
		json_object_set_new(arguments, "x-expires", json_integer(set->reply_expires));
	if (set->reply_ttl)
		json_object_set_new(arguments, "x-message-ttl", json_integer(set->reply_ttl));
	queue.arguments = table_of_json(arguments, &arena);
	if (set->reply_exchange)
		amqp_declare_exchange(e->amqp, SAYING, &exchange);
	amqp_declare_queue(e->amqp, SAYING, &queue);
	if (set->reply_exchange)
		amqp_bind(e->amqp, SAYING, set->reply_queue, set->reply_exchange, set->reply_key);
	amqp_consume(e->amqp, SAYING, &consumer);
	e->waiting = set->reply_exchange ? 4 : 2;
	json_decref(arguments);
	arena_done(&arena);
}

/* --- where it goes to --- */

static void
declare_target(struct enquiring *e)
{
	const char *name = e->set->post->routing_key;
	struct amqp_exchange exchange = { .name = name, .type = "direct", .durable = true },
	    fanout = { .name = e->set->fanout, .type = "fanout" };
	struct amqp_queue queue = { .name = name, .durable = true,
		.passive = e->manner == AS_IT_IS };

	amqp_open_channel(e->amqp, DECLARING);
	if (e->set->fanout) {
		fanout.passive = e->manner != AS_CELERY;
		amqp_declare_exchange(e->amqp, DECLARING, &fanout);
		e->waiting = 1;
		return;
	}
	if (e->manner == AS_CELERY)
		amqp_declare_exchange(e->amqp, DECLARING, &exchange);
	amqp_declare_queue(e->amqp, DECLARING, &queue);
	if (e->manner == AS_CELERY)
		amqp_bind(e->amqp, DECLARING, name, name, name);
	e->waiting = e->manner == AS_CELERY ? 3 : 1;
}

/* All that was asked is answered: what is next? */
static void
go_on(struct enquiring *e)
{
	if (!e->declared) {
		e->declared = true;
		if (e->set->reply_queue) {
			make_reply_queue(e);
			return;
		}
	}
	if (!e->sent)
		say(e);
}

static void
ready(void *arg)
{
	struct enquiring *e = arg;

	timer_start(e->limit, e->conf->confirm_timeout);
	if (e->set->post->declare || e->set->fanout)
		declare_target(e);
	else
		go_on(e);
}

static void
answered(void *arg, const struct amqp_answer *answer)
{
	struct enquiring *e = arg;

	switch (answer->asked) {
	case AMQP_EXCHANGE_DECLARE_METHOD:
	case AMQP_QUEUE_DECLARE_METHOD:
	case AMQP_QUEUE_BIND_METHOD:
	case AMQP_BASIC_CONSUME_METHOD:
		if (!e->leaving && --e->waiting == 0)
			go_on(e);
	default:
		break;
	}
}

static void
channel_closed(void *arg, int channel, int code, const struct err *why)
{
	struct enquiring *e = arg;
	struct err err = *why;

	if (channel == DECLARING && e->manner < AS_IT_IS && !e->leaving) {
		e->manner++;
		declare_target(e);
		return;
	}
	err.class = ERR_TEMPFAIL;
	fail(e, &err);
}

/* --- what comes back --- */

static void
tell(struct enquiring *e, const char *body, size_t len)
{
	if (e->set->heard(e->set->arg, body, len))
		leave(e);
}

static void
delivered(void *arg, const struct amqp_delivery *d)
{
	struct enquiring *e = arg;
	struct celery_envelope envelope = { 0 };
	struct arena arena = { 0 };
	struct refusal refusal;
	struct str body = STR_INIT;
	const char *how;

	if (e->leaving)
		return;
	if (consume_read_envelope(d, &arena, &envelope, &refusal))
		log_warn("an answer cannot be understood", "error", refusal.err.message);
	else if (!(how = json_string_value(json_object_get(envelope.headers, "compression"))))
		tell(e, envelope.body, envelope.body_len);
	else if (compress_unpack(how, envelope.body, envelope.body_len, LARGEST_ANSWER, &body,
	    &refusal))
		log_warn("an answer cannot be unpacked", "error", refusal.err.message);
	else
		tell(e, str_text(&body), body.len);
	json_decref(envelope.headers);
	str_done(&body);
	arena_done(&arena);
}

static void
closed(void *arg, const struct err *err)
{
	struct enquiring *e = arg;

	if (err && !e->leaving && !e->failed) {
		*e->err = *err;
		e->failed = true;
	}
	e->over = true;
}

static bool
turn(void *arg)
{
	return !((struct enquiring *)arg)->over;
}

int
enquire(const struct conf *conf, const struct enquiry *set, struct err *err)
{
	static const struct amqp_events events = { .ready = ready, .closed = closed,
		.channel_closed = channel_closed, .answered = answered, .delivered = delivered,
		.confirmed = confirmed, .returned = returned };
	struct amqp_settings settings = { .url = conf->broker_url, .name = set->name,
		.connect_timeout = conf->connect_timeout, .heartbeat = conf->heartbeat,
		.ca_file = conf->broker_ca, .largest_body = LARGEST_ANSWER };
	struct enquiring e = { .conf = conf, .set = set, .loop = loop_new(), .err = err };

	if (settings.heartbeat < 2 * SECOND)
		settings.heartbeat = 2 * SECOND;
	e.limit = timer_new(e.loop, out_of_time, &e);
	if ((e.amqp = amqp_new(e.loop, &settings, &events, &e, err))) {
		amqp_connect(e.amqp);
		loop_run(e.loop, turn, &e);
		if (set->left)
			set->left(set->arg);
		amqp_free(e.amqp);
	} else
		e.failed = true;
	timer_free(e.limit);
	loop_free(e.loop);
	return e.failed ? -1 : 0;
}
