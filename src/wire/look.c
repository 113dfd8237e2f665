/* look.c - a short visit to the broker.
 *
 * The queues are asked for one by one on a channel of its own, for a queue that
 * is not there closes it. */
#include "wire/look.h"
#include "base/conf.h"
#include "base/err.h"
#include "io/amqp.h"
#include "io/loop.h"

enum { CHANNEL = 2, NOT_FOUND = 404 };
#define FAREWELL SECOND

struct visit {
	struct amqp *amqp;
	struct queue_look *queues;
	size_t n, next;
	bool over;
	struct err *err;
	int rc;
};

static void
leave(struct visit *v)
{
	amqp_close(v->amqp, FAREWELL);
}

static void
ask_next(struct visit *v)
{
	struct amqp_queue queue = { .passive = true };

	if (v->next == v->n) {
		leave(v);
		return;
	}
	queue.name = v->queues[v->next].name;
	amqp_open_channel(v->amqp, CHANNEL);
	amqp_declare_queue(v->amqp, CHANNEL, &queue);
}

static void
ready(void *arg)
{
	ask_next(arg);
}

static void
answered(void *arg, const struct amqp_answer *answer)
{
	struct visit *v = arg;
	struct queue_look *queue = &v->queues[v->next];

	if (answer->asked != AMQP_QUEUE_DECLARE_METHOD || v->next == v->n)
		return;
	queue->there = true;
	queue->messages = answer->messages;
	queue->consumers = answer->consumers;
	v->next++;
	ask_next(v);
}

static void
channel_closed(void *arg, int channel, int code, const struct err *err)
{
	struct visit *v = arg;

	(void)channel;
	if (v->next == v->n)
		return;
	if (code == NOT_FOUND) {
		v->next++;
		ask_next(v);
		return;
	}
	*v->err = *err;
	v->rc = -1;
	v->next = v->n;
	leave(v);
}

static void
closed(void *arg, const struct err *err)
{
	struct visit *v = arg;

	if (v->next < v->n && !v->rc && err) {
		*v->err = *err;
		v->rc = -1;
	}
	v->over = true;
}

static bool
turn(void *arg)
{
	return !((struct visit *)arg)->over;
}

int
queues_look(const struct conf *conf, span limit, struct queue_look *queues, size_t n,
    struct err *err)
{
	static const struct amqp_events events = { .ready = ready, .closed = closed,
		.channel_closed = channel_closed, .answered = answered };
	struct amqp_settings settings = { .url = conf->broker_url, .name = "tocsin look",
		.connect_timeout = limit < conf->connect_timeout ? limit : conf->connect_timeout,
		.heartbeat = conf->heartbeat, .ca_file = conf->broker_ca };
	struct visit v = { .queues = queues, .n = n, .err = err };
	struct loop *loop = loop_new();

	for (size_t i = 0; i < n; i++)
		queues[i].there = false;
	if ((v.amqp = amqp_new(loop, &settings, &events, &v, err))) {
		amqp_connect(v.amqp);
		loop_run(loop, turn, &v);
		amqp_free(v.amqp);
	} else
		v.rc = -1;
	loop_free(loop);
	return v.rc;
}
