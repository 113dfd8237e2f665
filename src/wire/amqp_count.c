/* amqp_count.c - how many messages wait in a queue.
 *
 * Asked by declaring it passively, on a channel of its own, for a broker says
 * that there is no such queue by closing the channel.  So one question follows
 * the other.  They go over the publishing connection: while the broker takes no
 * messages it answers nothing there, and whoever asks, in order to publish, need
 * not know.  Nobody waits for longer than for a confirm. */
#include <stdlib.h>
#include <string.h>
#include "base/conf.h"
#include "base/log.h"
#include "io/loop.h"
#include "wire/amqp_inner.h"

static void
ask_first(struct wire *w)
{
	struct amqp_queue queue = { .passive = true, .durable = true };

	queue.name = fifo_first(&w->counting).queue;
	w->count_asked = true;
	amqp_open_channel(w->out.amqp, COUNTING);
	amqp_declare_queue(w->out.amqp, COUNTING, &queue);
}

/* Whoever is told may ask again. */
static void
tell_first(struct wire *w, int64_t n)
{
	struct counting c = fifo_first(&w->counting);

	fifo_pop(&w->counting);
	w->count_asked = false;
	c.counted(c.arg, n);
	free(c.queue);
}

static bool
may_ask(const struct wire *w)
{
	return w->out.up && !w->blocked && !w->closing;
}

void
count_flush(struct wire *w)
{
	if (w->count_asked || fifo_is_empty(&w->counting) || !may_ask(w))
		return;
	ask_first(w);
}

void
count_queue(struct transport *transport, const char *queue, void (*counted)(void *, int64_t),
    void *arg)
{
	struct wire *w = (struct wire *)transport;

	/* A connection that is only just being made is waited for. */
	if (fifo_is_empty(&w->counting))
		timer_start(w->count_limit, !may_ask(w) && w->out.was_up ? 0 :
		    w->conf->confirm_timeout);
	vec_push(&w->counting, ((struct counting){ xstrdup(queue), counted, arg }));
	count_flush(w);
}

void
count_answered(struct wire *w, const struct amqp_answer *answer)
{
	if (!w->count_asked || answer->asked != AMQP_QUEUE_DECLARE_METHOD)
		return;
	tell_first(w, answer->messages);
	count_flush(w);
}

/* There is none, or we may not look into it: then nobody can say that something
 * waits there. */
void
count_refused(struct wire *w, int code, const struct err *err)
{
	if (!w->count_asked)
		return;
	if (code != AMQP_NOT_FOUND)
		log_info("the messages of a queue cannot be counted", "queue",
		    fifo_first(&w->counting).queue, "error", err->message);
	tell_first(w, 0);
	count_flush(w);
}

/* All that are asked now: an answer that comes later must not be taken for that
 * of another question, so the channel ends with them. */
void
count_give_up(void *arg)
{
	struct wire *w = arg;
	struct counting *all = w->counting.at;
	size_t i = w->counting.head, n = w->counting.n;

	if (w->count_asked && w->out.up)
		amqp_close_channel(w->out.amqp, COUNTING);
	w->count_asked = false;
	w->counting.at = NULL;
	w->counting.n = w->counting.room = w->counting.head = 0;
	for (; i < n; i++) {
		all[i].counted(all[i].arg, -1);
		free(all[i].queue);
	}
	free(all);
}

void
count_free(struct wire *w)
{
	count_give_up(w);
	vec_done(&w->counting);
	timer_free(w->count_limit);
}
