/* amqp_queue.c - a queue is declared before it is used.
 *
 * One after the other, on a channel of their own, for a broker says no by
 * closing the channel.  First as Celery does it, with an exchange of the
 * queue's name; where somebody has declared the exchange otherwise, the queue
 * alone; where the queue is different too, it is enough that it is there. */
#include <string.h>
#include "base/log.h"
#include "io/loop.h"
#include "wire/amqp_inner.h"

#define TRY_AGAIN (2 * SECOND)

struct wire_queue *
queue_find(struct line *line, const char *name)
{
	for (size_t i = 0; i < line->queues.n; i++)
		if (!strcmp(line->queues.at[i]->name, name))
			return line->queues.at[i];
	return NULL;
}

struct wire_queue *
queue_get(struct line *line, const char *name, bool plain)
{
	struct wire_queue *q = queue_find(line, name);

	if (q)
		return q;
	q = xcalloc(1, sizeof *q);
	q->name = xstrdup(name);
	q->plain = plain;
	vec_push(&line->queues, q);
	return q;
}

static void
ask(struct line *line, struct wire_queue *q, enum queue_state how)
{
	const char *to = q->exchange ? q->exchange : q->name;
	struct amqp_exchange exchange = { .name = to, .type = q->type ? q->type : "direct",
		.durable = true };
	struct amqp_queue queue = { .name = q->name, .durable = true,
		.passive = how == QUEUE_PASSIVE };

	line->asking = q;
	q->state = how;
	amqp_open_channel(line->amqp, SCRATCH);
	if (how == QUEUE_DECLARING)
		amqp_declare_exchange(line->amqp, SCRATCH, &exchange);
	amqp_declare_queue(line->amqp, SCRATCH, &queue);
	if (how == QUEUE_DECLARING)
		amqp_bind(line->amqp, SCRATCH, q->name, to, q->key ? q->key : q->name);
}

void
queue_declare_next(struct line *line)
{
	if (line->asking || !line->up)
		return;
	for (size_t i = 0; i < line->queues.n; i++) {
		struct wire_queue *q = line->queues.at[i];

		if (q->state == QUEUE_UNKNOWN && !q->refused && !q->stopped && !q->alien) {
			ask(line, q, q->plain ? QUEUE_PLAIN : QUEUE_DECLARING);
			return;
		}
	}
}

void
queue_forget(struct line *line, struct wire_queue *q)
{
	if (q->state != QUEUE_KNOWN || q->alien)
		return;
	q->state = QUEUE_UNKNOWN;
	queue_declare_next(line);
}

void
queue_forget_all(struct line *line)
{
	line->asking = NULL;
	for (size_t i = 0; i < line->queues.n; i++) {
		if (!line->queues.at[i]->alien)
			line->queues.at[i]->state = QUEUE_UNKNOWN;
		line->queues.at[i]->refused = line->queues.at[i]->held = false;
	}
}

void
queue_answered(struct line *line, const struct amqp_answer *answer)
{
	struct wire_queue *q = line->asking;

	if (!q || answer->asked != (q->state == QUEUE_DECLARING ? AMQP_QUEUE_BIND_METHOD :
	    AMQP_QUEUE_DECLARE_METHOD))
		return;
	line->asking = NULL;
	line->queue_failed = false;
	q->state = QUEUE_KNOWN;
	line->queue_known(line->wire, q);
	queue_declare_next(line);
}

/* Declared otherwise, not allowed, locked: then it is there, or may be. */
static bool
may_be_there(int code)
{
	return code == AMQP_PRECONDITION_FAILED || code == AMQP_ACCESS_REFUSED ||
	    code == AMQP_RESOURCE_LOCKED;
}

/* Nobody but the broker itself, or somebody who may, can make it. */
static bool
is_hopeless(const struct wire_queue *q, int code)
{
	return code == AMQP_NOT_FOUND &&
	    (q->state == QUEUE_PASSIVE || !strncmp(q->name, "amq.", 4));
}

void
queue_refused(struct line *line, int code, const struct err *err)
{
	struct wire_queue *q = line->asking;

	line->asking = NULL;
	if (q && q->state < QUEUE_PASSIVE && may_be_there(code)) {
		log_info("a queue is declared otherwise by somebody, trying to use it as it is",
		    "queue", q->name, "error", err->message);
		ask(line, q, (enum queue_state)(q->state + 1));
		return;
	}
	if (q) {
		log_warn("a queue cannot be declared", "queue", q->name, "error", err->message);
		if (line == &line->wire->out && is_hopeless(q, code))
			publish_queue_hopeless(line->wire, q, err);
		line->queue_err = *err;
		err_wrap(&line->queue_err, "queue %.100s", q->name);
		line->queue_failed = true;
		q->state = QUEUE_UNKNOWN;
		q->refused = true;
		timer_start(line->again, TRY_AGAIN);
	}
	queue_declare_next(line);
}

void
queue_try_again(struct line *line)
{
	for (size_t i = 0; i < line->queues.n; i++)
		line->queues.at[i]->refused = line->queues.at[i]->held = false;
	queue_declare_next(line);
}

void
queue_free_all(struct line *line)
{
	for (size_t i = 0; i < line->queues.n; i++) {
		struct wire_queue *q = line->queues.at[i];

		vec_done(&q->waiting);
		free(q->name);
		free(q->exchange);
		free(q->type);
		free(q->key);
		free(q);
	}
	vec_done(&line->queues);
}
