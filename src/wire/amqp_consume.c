/* amqp_consume.c - messages in.
 *
 * Each queue has a consumer of its name.  It is never cancelled before the broker
 * has said that it began: a channel of RabbitMQ that reads the cancel first dies of
 * its own consume-ok, and the connection with it (INTERNAL_ERROR).  So what is
 * wanted otherwise meanwhile waits for that answer.
 *
 * What arrives is decoded at once: ours goes to the list that consume_take() hands
 * over, what belongs to another installation is dropped, the rest is parked.  An
 * acknowledgement counts only on the channel on which its message came: after a loss
 * the broker delivers the message again, and the old number would be somebody
 * else's. */
#include <inttypes.h>
#include <string.h>
#include "base/log.h"
#include "celery/answer.h"
#include "celery/job.h"
#include "celery/message.h"
#include "io/loop.h"
#include "wire/amqp_inner.h"

void
consume_begin(struct wire *w)
{
	w->epoch++;
	for (size_t i = 0; i < w->in.queues.n; i++)
		w->in.queues.at[i]->consumer = CONSUMER_NONE;
	amqp_qos(w->in.amqp, WORK, w->prefetch);
}

/* Let the consumer of Q be what is wanted now.  The prefetch counts for those that
 * begin after it was said, so one that began before begins again. */
void
consume_adjust(struct wire *w, struct wire_queue *q)
{
	struct amqp_consumer consumer = { .queue = q->name, .tag = q->name };
	bool wanted = q->state == QUEUE_KNOWN && !q->stopped && !w->no_more;

	if (!w->in.up || w->closing || q->consumer == CONSUMER_BEGINS)
		return;
	if (q->consumer == CONSUMER_BEGAN && (!wanted || q->prefetch != w->prefetch)) {
		amqp_cancel(w->in.amqp, WORK, q->name);
		q->consumer = CONSUMER_NONE;
	}
	if (q->consumer == CONSUMER_NONE && wanted) {
		amqp_consume(w->in.amqp, WORK, &consumer);
		q->consumer = CONSUMER_BEGINS;
		q->prefetch = w->prefetch;
	}
}

static void
adjust_all(struct wire *w)
{
	for (size_t i = 0; i < w->in.queues.n; i++)
		consume_adjust(w, w->in.queues.at[i]);
}

void
consume_change_prefetch(struct wire *w, uint16_t prefetch)
{
	if (w->prefetch == prefetch)
		return;
	w->prefetch = prefetch;
	if (w->in.up && !w->closing)
		amqp_qos(w->in.amqp, WORK, prefetch);
	adjust_all(w);
}

static bool
is_name(const char *name, size_t most)
{
	return !name || (*name && strlen(name) <= most);
}

int
consume_add_queue(struct wire *w, const struct amqp_source *source, struct err *err)
{
	struct wire_queue *q = queue_find(&w->in, source->queue);

	if (q && !q->stopped)
		return 0;
	if (!is_name(source->queue, QUEUE_NAME_MOST) || !is_name(source->exchange, AMQP_NAME_MOST) ||
	    !is_name(source->type, AMQP_NAME_MOST) ||
	    (source->routing_key && strlen(source->routing_key) > AMQP_NAME_MOST))
		return err_set(err, "the name of a queue has 1 to %d bytes, others up to %d",
		    QUEUE_NAME_MOST, AMQP_NAME_MOST);
	if (!q && w->in.queues.n >= CONSUMED_MOST)
		return err_set(err, "more than %d queues", CONSUMED_MOST);
	if (!q) {
		q = queue_get(&w->in, source->queue, false);
		q->exchange = xstrdup(source->exchange);
		q->type = xstrdup(source->type);
		q->key = xstrdup(source->routing_key);
	}
	q->stopped = false;
	consume_adjust(w, q);
	queue_declare_next(&w->in);
	return 0;
}

/* What it has delivered is done all the same. */
void
consume_stop_queue(struct wire *w, const char *name)
{
	struct wire_queue *q = queue_find(&w->in, name);

	if (!q || q->stopped)
		return;
	q->stopped = true;
	consume_adjust(w, q);
}

static struct wire_queue *
queue_of(struct wire *w, amqp_bytes_t consumer)
{
	for (size_t i = 0; i < w->in.queues.n; i++) {
		struct wire_queue *q = w->in.queues.at[i];

		if (strlen(q->name) == consumer.len &&
		    !memcmp(q->name, consumer.bytes, consumer.len))
			return q;
	}
	return NULL;
}

void
consume_began(struct wire *w, amqp_bytes_t consumer)
{
	struct wire_queue *q = queue_of(w, consumer);

	w->in.failures = 0;	/* we may: it was not refused */
	if (!q || q->consumer != CONSUMER_BEGINS)
		return;
	q->consumer = CONSUMER_BEGAN;
	consume_adjust(w, q);
}

void
consume_cancelled(struct wire *w, amqp_bytes_t consumer)
{
	struct wire_queue *q = queue_of(w, consumer);

	if (!q)
		return;
	if (q->consumer == CONSUMER_BEGAN)	/* else it was the one before that */
		q->consumer = CONSUMER_NONE;
	log_warn("the broker gives us no more of a queue, it is declared again", "queue", q->name);
	queue_forget(&w->in, q);
}

/* --- decoding --- */

static const char *
text_of(const amqp_basic_properties_t *p, amqp_flags_t flag, amqp_bytes_t b, struct arena *arena)
{
	return p->_flags & flag ? arena_strndup(arena, b.len ? b.bytes : "", b.len) : NULL;
}

int
consume_read_envelope(const struct amqp_delivery *d, struct arena *arena,
    struct celery_envelope *e, struct refusal *refusal)
{
	const amqp_basic_properties_t *p = d->properties;

	if (!p)
		return refuse(refusal, REFUSED_UNKNOWN, "its header cannot be decoded");
	e->content_type = text_of(p, AMQP_BASIC_CONTENT_TYPE_FLAG, p->content_type, arena);
	e->content_encoding = text_of(p, AMQP_BASIC_CONTENT_ENCODING_FLAG,
	    p->content_encoding, arena);
	e->correlation_id = text_of(p, AMQP_BASIC_CORRELATION_ID_FLAG, p->correlation_id, arena);
	e->reply_to = text_of(p, AMQP_BASIC_REPLY_TO_FLAG, p->reply_to, arena);
	e->expiration = text_of(p, AMQP_BASIC_EXPIRATION_FLAG, p->expiration, arena);
	e->priority = p->_flags & AMQP_BASIC_PRIORITY_FLAG ? p->priority : -1;
	e->delivery_mode = p->_flags & AMQP_BASIC_DELIVERY_MODE_FLAG ? p->delivery_mode : -1;
	e->body = d->body.len ? d->body.bytes : "";
	e->body_len = d->body.len;
	if (p->_flags & AMQP_BASIC_HEADERS_FLAG && !(e->headers = table_to_json(&p->headers)))
		return refuse(refusal, REFUSED_UNKNOWN, "its headers are not UTF-8");
	return 0;
}

enum { SHOWN_MOST = 200 };		/* bytes of what a sender shows */

/* What a delivery is about: one of JOB and LETTER.  An answer to a question of
 * ours is a letter of this INSTALLATION. */
struct decoded {
	struct celery_job job;
	char *shown;
	struct letter *letter;
	bool is_ours;
	struct uuid installation;
	struct refusal refusal;
};

/* The letter of a client's task that is done here, or that cannot be: who waits
 * for its result is to be told. */
static void
keep_letter(const struct amqp_delivery *d, struct celery_message *m, struct decoded *decoded,
    bool refused)
{
	struct letter *letter = letter_new();

	letter->message = *m;
	celery_message_init(m);
	letter->refused = refused;
	letter->refusal = decoded->refusal;
	letter->exchange = xstrndup(d->exchange.bytes, d->exchange.len);
	letter->routing_key = xstrndup(d->routing_key.bytes, d->routing_key.len);
	letter->redelivered = d->redelivered;
	decoded->letter = letter;
}

static bool
is_ours(const char *task)
{
	int which = celery_task_find(task);

	return which >= 0 && which <= TASK_REACTION;
}

static int
decode_answer(const struct amqp_delivery *d, struct celery_message *m, struct decoded *decoded)
{
	struct celery_answer answer = { .job = -1 };
	int rc = celery_answer_decode(&answer, m, &decoded->refusal);

	decoded->is_ours = true;
	decoded->installation = answer.installation;
	celery_answer_done(&answer);
	if (!rc)
		keep_letter(d, m, decoded, false);
	return rc;
}

static int
decode_job(const struct celery_message *m, struct decoded *decoded)
{
	int rc = celery_job_decode(&decoded->job, m, &decoded->refusal);

	decoded->is_ours = true;
	decoded->installation = decoded->job.installation;
	decoded->shown = m->argsrepr ? xstrndup(m->argsrepr, SHOWN_MOST) : NULL;
	return rc;
}

/* -1 with the reason. */
static int
decode_message(const struct wire *w, const struct amqp_delivery *d,
    const struct celery_envelope *e, struct decoded *decoded)
{
	struct celery_message m;
	bool refused, ours;
	int rc = -1;

	celery_message_init(&m);
	refused = celery_decode(&m, e, &decoded->refusal);
	ours = m.task && (is_ours(m.task) || celery_is_answer(&m));
	if (!refused && celery_is_answer(&m))
		rc = decode_answer(d, &m, decoded);
	else if (!refused && ours)
		rc = decode_job(&m, decoded);
	else if (!refused && w->registered && w->registered(w->arg, m.task)) {
		keep_letter(d, &m, decoded, false);
		rc = 0;
	} else if (!refused)
		rc = refuse(&decoded->refusal, REFUSED_UNREGISTERED,
		    "no task '%.200s' is registered here", m.task);
	if (rc && m.id && !ours && w->registered)
		keep_letter(d, &m, decoded, true);
	celery_message_done(&m);
	return rc;
}

static int
decode(const struct wire *w, const struct amqp_delivery *d, struct decoded *decoded)
{
	struct celery_envelope e = { 0 };
	struct arena arena = { 0 };
	int rc = -1;

	if (!consume_read_envelope(d, &arena, &e, &decoded->refusal))
		rc = decode_message(w, d, &e, decoded);
	json_decref(e.headers);
	arena_done(&arena);
	return rc;
}

/* Of another database, or of this one before it was made anew. */
static void
drop_foreign(struct wire *w, const char *queue, const struct uuid *installation, uint64_t tag)
{
	char uuid[UUID_TEXT];

	/* A queue full of them is told of at 1, 2, 4, 8 ... */
	w->foreign++;
	if ((w->foreign & (w->foreign - 1)) == 0)
		log_warn("messages of another installation are dropped", "queue", queue,
		    "installation", uuid_format(installation, uuid),
		    "dropped", log_number((int64_t)w->foreign));
	consume_ack_tag(w, w->epoch, tag);
}

static struct message *
message_of_job(const struct decoded *decoded, const char *queue)
{
	const struct celery_job *job = &decoded->job;
	struct message *m = message_new((enum kind)job->task, job->run, queue);

	m->shown = xstrdup(decoded->shown);
	for (size_t i = 0; i < job->jobs.n; i++)
		vec_push(&m->jobs, job->jobs.at[i]);
	m->event = xstrdup(job->event);
	m->reaction = xstrdup(job->reaction);
	return m;
}

static void
arrived(struct wire *w, struct message *m, uint64_t tag)
{
	m->tag = tag;
	m->epoch = w->epoch;
	m->arrived_at = clock_monotonic();
	vec_push(&w->arrived, m);
}

static void
letter_arrived(struct wire *w, const char *queue, struct letter *letter, uint64_t tag)
{
	struct message *m = message_new(KIND_COUNT, 0, queue);

	m->letter = letter;
	arrived(w, m, tag);
}

void
consume_delivered(struct wire *w, const struct amqp_delivery *d)
{
	struct wire_queue *q = queue_of(w, d->consumer);
	struct decoded decoded = { 0 };

	if (!q)
		return;
	if (w->no_more) {
		amqp_nack(w->in.amqp, WORK, d->tag, false, true);
		return;
	}
	if (decode(w, d, &decoded)) {
		park(w, q->name, d, &decoded.refusal);
		if (decoded.letter)
			letter_arrived(w, q->name, decoded.letter, 0);
	} else if (decoded.is_ours && !uuid_equal(&decoded.installation, &w->installation)) {
		drop_foreign(w, q->name, &decoded.installation, d->tag);
		letter_free(decoded.letter);
	} else if (decoded.letter)
		letter_arrived(w, q->name, decoded.letter, d->tag);
	else
		arrived(w, message_of_job(&decoded, q->name), d->tag);
	celery_job_done(&decoded.job);
	free(decoded.shown);
}

void
consume_lost(struct wire *w)
{
	w->epoch++;
	while (!fifo_is_empty(&w->arrived)) {
		message_free(fifo_first(&w->arrived));
		fifo_pop(&w->arrived);
	}
}

/* --- handing over --- */

struct message *
consume_take(struct transport *transport)
{
	struct wire *w = (struct wire *)transport;
	struct message *m;

	if (fifo_is_empty(&w->arrived))
		return NULL;
	m = fifo_first(&w->arrived);
	fifo_pop(&w->arrived);
	m->open = message_count_open(m);
	m->place = w->taken.n;
	vec_push(&w->taken, m);
	return m;
}

void
consume_ack_tag(struct wire *w, unsigned epoch, uint64_t tag)
{
	if (tag && epoch == w->epoch && w->in.up)
		amqp_ack(w->in.amqp, WORK, tag, false);
}

static void
forget(struct wire *w, struct message *m)
{
	struct message *last = w->taken.at[--w->taken.n];

	w->taken.at[last->place = m->place] = last;
	message_free(m);
}

void
consume_ack(struct transport *transport, struct message *m)
{
	struct wire *w = (struct wire *)transport;

	consume_ack_tag(w, m->epoch, m->tag);
	forget(w, m);
}

void
consume_give_back(struct transport *transport, struct message *m)
{
	struct wire *w = (struct wire *)transport;

	if (m->tag && m->epoch == w->epoch && w->in.up)
		amqp_nack(w->in.amqp, WORK, m->tag, false, true);
	forget(w, m);
}

void
consume_no_more(struct transport *transport)
{
	struct wire *w = (struct wire *)transport;

	w->no_more = true;
	adjust_all(w);
	while (!fifo_is_empty(&w->arrived)) {
		struct message *m = fifo_first(&w->arrived);

		fifo_pop(&w->arrived);
		if (m->tag && w->in.up)
			amqp_nack(w->in.amqp, WORK, m->tag, false, true);
		message_free(m);
	}
}

void
consume_free(struct wire *w)
{
	consume_lost(w);
	vec_done(&w->arrived);
	for (size_t i = 0; i < w->taken.n; i++)
		message_free(w->taken.at[i]);
	vec_done(&w->taken);
}
