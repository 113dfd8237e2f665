/* amqp_publish.c - messages out.
 *
 * A message waits at its queue until that is declared and the connection takes
 * more; then it is sent, persistent and mandatory, and stands in the list of
 * what was sent until the broker has confirmed it.  A message that nobody
 * confirms, or that comes back, is handed back to be sent again. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/conf.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "celery/job.h"
#include "celery/message.h"
#include "io/loop.h"
#include "wire/amqp_inner.h"

enum {
	WINDOW = 4096,			/* unconfirmed messages */
	AT_A_TIME = 64,			/* of a longer row; the broker is at work meanwhile */
};
#define AFTER_NACK (SECOND / 4)

static void
end_parcel(struct parcel *p, bool ok)
{
	p->settled = true;
	if (p->confirmed)
		p->confirmed(p->arg, ok);
}

static void
parcel_free(struct parcel *p)
{
	posted_free(p->posted);
	free(p->why);
	free(p);
}

/* --- what can never be sent --- */

void
publish_give_up(struct wire *w, struct parcel *p, const struct err *err)
{
	p->why = xstrdup(err->message);
	vec_push(&w->hopeless, p);
	timer_start(w->tell, 0);
}

void
publish_tell_hopeless(void *arg)
{
	struct wire *w = arg;
	VEC(struct parcel *) told = { w->hopeless.at, w->hopeless.n, w->hopeless.room };

	/* Whoever hears of one may post the next. */
	w->hopeless.at = NULL;
	w->hopeless.n = w->hopeless.room = 0;
	for (size_t i = 0; i < told.n; i++) {
		struct err err;

		err_set(&err, "%s", told.at[i]->why);
		told.at[i]->hopeless(told.at[i]->arg, &err);
		parcel_free(told.at[i]);
	}
	vec_done(&told);
}

void
publish_queue_hopeless(struct wire *w, struct wire_queue *q, const struct err *err)
{
	size_t n = q->waiting.n - q->waiting.head;

	for (; n; n--) {
		struct parcel *p = fifo_first(&q->waiting);

		fifo_pop(&q->waiting);
		if (p->hopeless)
			publish_give_up(w, p, err);
		else
			vec_push(&q->waiting, p);
	}
}

/* What is meant is named in the broker's words; if it has other words, it is one
 * of those to any exchange.  The rest is sent again. */
void
publish_exchange_hopeless(struct wire *w, int code, const struct err *err)
{
	bool named = false;

	if (code != AMQP_NOT_FOUND && code != AMQP_ACCESS_REFUSED)
		return;
	for (size_t i = w->sent.head; i < w->sent.n; i++)
		named |= posted_is_named(w->sent.at[i], err->message);
	for (size_t i = w->sent.head; i < w->sent.n; i++) {
		struct parcel *p = w->sent.at[i], *copy;

		if (p->settled || !p->hopeless || !posted_has_exchange(p) ||
		    (named && !posted_is_named(p, err->message)))
			continue;
		p->settled = true;		/* its place in the list stays */
		copy = xcalloc(1, sizeof *copy);
		copy->confirmed = p->confirmed;
		copy->hopeless = p->hopeless;
		copy->arg = p->arg;
		publish_give_up(w, copy, err);
	}
}

/* --- sending --- */

static void
describe_job(const struct wire *w, const struct message *m, struct arena *arena,
    struct celery_envelope *e, amqp_basic_properties_t *props, struct amqp_message *out)
{
	struct celery_job job = { .task = (enum celery_task)m->kind,
		.installation = w->installation, .run = m->run,
		.event = m->event, .reaction = m->reaction };

	job.jobs.at = m->jobs.at;	/* lent */
	job.jobs.n = m->jobs.n;
	celery_job_encode(&job, (const char *const *)m->names.at, m->names.n, w->origin, e);
	properties_of_envelope(e, arena, props);
	out->body = e->body;
	out->len = e->body_len;
}

/* The message id is its number: a return names it by that. */
static uint64_t
send(struct wire *w, struct parcel *p, bool with_headers, struct err *err)
{
	char number[24];
	amqp_basic_properties_t props = { 0 };
	struct amqp_message out = { .exchange = "", .routing_key = p->queue->name,
		.mandatory = true, .properties = &props };
	struct celery_envelope e = { 0 };
	struct arena arena = { 0 };
	uint64_t tag;

	if (p->message)
		describe_job(w, p->message, &arena, &e, &props, &out);
	else if (p->posted)
		posted_describe(p->posted, &arena, &props, &out);
	else
		parked_describe(p->parked, with_headers, &arena, &props, &out);
	snprintf(number, sizeof number, "%" PRIu64, w->first + (w->sent.n - w->sent.head));
	props._flags |= AMQP_BASIC_MESSAGE_ID_FLAG;
	props.message_id = amqp_cstring_bytes(number);
	tag = amqp_publish(w->out.amqp, WORK, &out, err);
	if (p->message)
		celery_envelope_done(&e);
	arena_done(&arena);
	return tag;
}

static bool
may_send(const struct wire *w)
{
	return w->out.up && !w->closing && !amqp_is_full(w->out.amqp) &&
	    w->sent.n - w->sent.head < WINDOW;
}

static void
flush_queue(struct wire *w, struct wire_queue *q)
{
	struct err err;
	int n = 0;

	while (!fifo_is_empty(&q->waiting) && q->state == QUEUE_KNOWN && !q->held && may_send(w)) {
		struct parcel *p = fifo_first(&q->waiting);

		failpoint("publish.sending");
		if (!send(w, p, true, &err) && (!p->parked || !send(w, p, false, &err))) {
			if (p->hopeless && err.class == ERR_GIVEN) {
				fifo_pop(&q->waiting);
				publish_give_up(w, p, &err);
				continue;
			}
			log_error("a message cannot be sent", "queue", q->name,
			    "error", err.message);
			q->held = true;
			timer_start(w->out.again, 30 * SECOND);
			return;
		}
		fifo_pop(&q->waiting);
		p->sent_at = clock_monotonic();
		if (fifo_is_empty(&w->sent))
			timer_start(w->deadline, w->conf->confirm_timeout);
		vec_push(&w->sent, p);
		if (++n % AT_A_TIME == 0)
			amqp_send_now(w->out.amqp);
	}
}

void
publish_flush(struct wire *w)
{
	for (size_t i = 0; i < w->out.queues.n && may_send(w); i++)
		flush_queue(w, w->out.queues.at[i]);
}

void
publish_queue_known(struct wire *w, struct wire_queue *q)
{
	flush_queue(w, q);
}

void
publish_parcel(struct wire *w, struct parcel *p)
{
	vec_push(&p->queue->waiting, p);
	if (p->queue->state == QUEUE_UNKNOWN)
		queue_declare_next(&w->out);
	flush_queue(w, p->queue);
}

void
publish_begin(struct wire *w)
{
	w->first = 1;
	amqp_want_confirms(w->out.amqp, WORK);
	publish_flush(w);		/* what goes to nobody's queue waits for none */
}

/* --- what becomes of it --- */

/* A nack.  A queue that refuses many messages is told of once. */
static void
refused(struct wire *w, struct wire_queue *q)
{
	q->held = true;
	timer_start(w->out.again, AFTER_NACK);
	w->refused_at = clock_monotonic();
	if (w->refusing == q)
		return;
	w->refusing = q;
	err_class(&w->refused_err, ERR_TEMPFAIL, "the broker refuses messages for queue %.100s, "
	    "which may have reached its x-max-length", q->name);
	log_warn("the broker refuses messages, trying again", "queue", q->name,
	    "error", w->refused_err.message);
}

/* The broker may confirm what came before after it has refused what came behind. */
static void
taken(struct wire *w, const struct parcel *p)
{
	if (w->refusing != p->queue || p->sent_at < w->refused_at)
		return;
	w->refusing = NULL;
	log_info("the broker takes messages again", "queue", p->queue->name);
}

void
publish_confirmed(struct wire *w, uint64_t tag, bool multiple, bool ack)
{
	size_t at = w->sent.head + (size_t)(tag - w->first);

	if (tag < w->first || at >= w->sent.n)
		return;
	/* Whoever is told may send more, which moves the list but not its order. */
	for (size_t i = multiple ? w->sent.head : at; i <= at; i++) {
		struct parcel *p = w->sent.at[i];

		if (p->settled)
			continue;
		if (ack)
			taken(w, p);
		else
			refused(w, p->queue);
		end_parcel(p, ack && !p->returned);
	}
	while (!fifo_is_empty(&w->sent) && fifo_first(&w->sent)->settled) {
		parcel_free(fifo_first(&w->sent));
		fifo_pop(&w->sent);
		w->first++;
	}
	publish_flush(w);
}

void
publish_returned(struct wire *w, const struct amqp_return *r)
{
	char number[24] = "";
	size_t n = r->properties ? r->properties->message_id.len : 0, at;
	uint64_t tag;

	if (n && n < sizeof number)
		memcpy(number, r->properties->message_id.bytes, n);
	tag = strtoull(number, NULL, 10);
	at = w->sent.head + (size_t)(tag - w->first);
	if (tag < w->first || at >= w->sent.n)
		return;
	w->sent.at[at]->returned = true;
	if (w->sent.at[at]->queue->alien)
		return;		/* whose it was has gone, and is told by the confirm */
	log_warn("a message came back, its queue is declared again",
	    "queue", w->sent.at[at]->queue->name, "error", r->text);
	queue_forget(&w->out, w->sent.at[at]->queue);
}

void
publish_blocked(struct wire *w, const char *reason)
{
	w->blocked = reason != NULL;
	if (reason) {
		log_warn("the broker takes no messages", "reason", reason);
		err_class(&w->blocked_err, ERR_TEMPFAIL, "the broker takes no messages: %s", reason);
		return;
	}
	log_info("the broker takes messages again");
	w->unblocked_at = clock_monotonic();
	if (!fifo_is_empty(&w->sent))
		timer_start(w->deadline, w->conf->confirm_timeout);
	publish_flush(w);
}

void
publish_lost(struct wire *w)
{
	timer_stop(w->deadline);
	w->blocked = false;
	w->refusing = NULL;
	while (!fifo_is_empty(&w->sent)) {
		struct parcel *p = fifo_first(&w->sent);

		fifo_pop(&w->sent);
		if (!p->settled)
			end_parcel(p, false);
		parcel_free(p);
	}
}

/* The oldest message has waited for its confirm for long enough, or nearly. */
void
publish_overdue(void *arg)
{
	struct wire *w = arg;
	span since, now = clock_monotonic();
	struct err err;

	if (fifo_is_empty(&w->sent) || w->blocked)
		return;
	since = fifo_first(&w->sent)->sent_at;
	if (since < w->unblocked_at)
		since = w->unblocked_at;
	if (now < since + w->conf->confirm_timeout) {
		timer_start(w->deadline, since + w->conf->confirm_timeout - now);
		return;
	}
	err_class(&err, ERR_TEMPFAIL, "the broker has not confirmed a message in time "
	    "(confirm_timeout)");
	line_break(&w->out, &err);
}

void
publish_free(struct wire *w)
{
	publish_lost(w);
	for (size_t i = 0; i < w->out.queues.n; i++) {
		struct wire_queue *q = w->out.queues.at[i];

		while (!fifo_is_empty(&q->waiting)) {
			end_parcel(fifo_first(&q->waiting), false);
			parcel_free(fifo_first(&q->waiting));
			fifo_pop(&q->waiting);
		}
	}
	for (size_t i = 0; i < w->hopeless.n; i++) {
		end_parcel(w->hopeless.at[i], false);
		parcel_free(w->hopeless.at[i]);
	}
	vec_done(&w->hopeless);
	vec_done(&w->sent);
	timer_free(w->deadline);
	timer_free(w->tell);
}
