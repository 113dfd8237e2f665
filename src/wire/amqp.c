/* amqp.c - the two connections of the AMQP transport.
 *
 * Each lives by itself: connecting, up, lost, and after a back-off connecting
 * again.  On a new connection nothing is declared and nothing consumed; what
 * was under way on the old one is settled as lost before. */
#include "wire/amqp.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/conf.h"
#include "base/log.h"
#include "io/loop.h"
#include "wire/amqp_inner.h"

#define BACK_OFF (SECOND / 4)
#define BACK_OFF_MOST (30 * SECOND)
#define FAREWELL (2 * SECOND)

static bool
is_out(const struct line *line)
{
	return line == &line->wire->out;
}

/* --- coming and going --- */

static void
connect_later(struct line *line)
{
	span wait = line->failures < 7 ? BACK_OFF << line->failures : BACK_OFF_MOST;

	line->failures++;
	/* Jitter, so that workers do not come back all at once. */
	timer_start(line->reconnect, wait / 2 + (span)(random() % (wait / 2)));
}

static void
connect_now(void *arg)
{
	struct line *line = arg;

	amqp_connect(line->amqp);
}

static void
ready(void *arg)
{
	struct line *line = arg;

	if (line->failures)
		log_info("the broker is there again", "for", line->what);
	line->failed = false;
	line->up = line->was_up = true;
	if (is_out(line)) {
		line->failures = 0;
		publish_begin(line->wire);
		count_flush(line->wire);
	} else
		consume_begin(line->wire);
	queue_declare_next(line);
	remote_ready(line->wire->remote, line);
}

static void
closed(void *arg, const struct err *err)
{
	struct line *line = arg;
	struct wire *w = line->wire;

	line->up = false;
	timer_stop(line->again);
	queue_forget_all(line);
	remote_lost(w->remote, line);
	if (is_out(line)) {
		publish_lost(w);
		if (line->was_up)
			count_give_up(w);
	} else
		consume_lost(w);
	if (w->closing) {
		line->over = true;
		return;
	}
	if (err) {
		line->err = *err;
		line->failed = true;
		log_line(line->was_up || w->consumes ? LEVEL_WARN : LEVEL_DEBUG,
		    "the broker cannot be used, trying again", "for", line->what,
		    "error", err->message, "failures", log_number(line->failures + 1));
	}
	connect_later(line);
}

/* The working channel is closed only if we or the broker are wrong about
 * something, or consumer_timeout has passed. */
static void
channel_closed(void *arg, int channel, int code, const struct err *err)
{
	struct line *line = arg;
	struct err why = *err;

	if (channel >= REMOTE_ASKING) {
		remote_refused(line->wire->remote, line, channel, code, err);
		return;
	}
	if (channel == COUNTING) {
		count_refused(line->wire, code, err);
		return;
	}
	if (channel == SCRATCH) {
		queue_refused(line, code, err);
		return;
	}
	if (is_out(line))
		publish_exchange_hopeless(line->wire, code, err);
	why.class = ERR_TEMPFAIL;
	line_break(line, &why);
}

static void
answered(void *arg, const struct amqp_answer *answer)
{
	struct line *line = arg;

	if (answer->channel >= REMOTE_ASKING)
		remote_answered(line->wire->remote, line, answer);
	else if (answer->channel == COUNTING)
		count_answered(line->wire, answer);
	else if (answer->channel == SCRATCH)
		queue_answered(line, answer);
	else if (answer->asked == AMQP_BASIC_CONSUME_METHOD)
		consume_began(line->wire, answer->name);
}

static void
delivered(void *arg, const struct amqp_delivery *d)
{
	struct wire *w = ((struct line *)arg)->wire;

	if (d->channel == REMOTE)
		remote_delivered(w->remote, d);
	else
		consume_delivered(w, d);
}

static void
confirmed(void *arg, int channel, uint64_t tag, bool multiple, bool ack)
{
	publish_confirmed(((struct line *)arg)->wire, tag, multiple, ack);
}

static void
returned(void *arg, const struct amqp_return *r)
{
	publish_returned(((struct line *)arg)->wire, r);
}

static void
cancelled(void *arg, int channel, amqp_bytes_t consumer)
{
	struct wire *w = ((struct line *)arg)->wire;

	if (channel == REMOTE)
		remote_cancelled(w->remote);
	else
		consume_cancelled(w, consumer);
}

static void
blocked(void *arg, const char *reason)
{
	struct line *line = arg;

	if (is_out(line))
		publish_blocked(line->wire, reason);
}

static const struct amqp_events events = { ready, closed, channel_closed, answered,
	delivered, confirmed, returned, cancelled, blocked };

static struct amqp *
connection(struct line *line, struct err *err)
{
	struct wire *w = line->wire;
	span heartbeat = w->conf->heartbeat;
	struct amqp_settings settings = { .url = w->conf->broker_url, .name = w->name,
		.connect_timeout = w->conf->connect_timeout,
		.ca_file = w->conf->broker_ca,
		.heartbeat = heartbeat < 2 * SECOND ? 2 * SECOND : heartbeat };

	return amqp_new(w->loop, &settings, &events, line, err);
}

void
line_break(struct line *line, const struct err *err)
{
	struct err ignored;

	amqp_free(line->amqp);
	line->amqp = connection(line, &ignored);	/* the address was good before */
	closed(line, err);
}

static void
try_again(void *arg)
{
	struct line *line = arg;

	queue_try_again(line);
	if (is_out(line))
		publish_flush(line->wire);
}

static int
line_init(struct line *line, struct wire *w, const char *what,
    void (*queue_known)(struct wire *, struct wire_queue *), struct err *err)
{
	line->wire = w;
	line->what = what;
	line->queue_known = queue_known;
	line->reconnect = timer_new(w->loop, connect_now, line);
	line->again = timer_new(w->loop, try_again, line);
	if (!(line->amqp = connection(line, err)))
		return -1;
	amqp_connect(line->amqp);
	return 0;
}

static void
line_done(struct line *line)
{
	amqp_free(line->amqp);
	queue_free_all(line);
	timer_free(line->reconnect);
	timer_free(line->again);
}

/* --- the transport --- */

static void
publish(struct transport *transport, const struct message *m, void (*done)(void *, bool),
    void *arg)
{
	struct wire *w = (struct wire *)transport;
	struct parcel *p = xcalloc(1, sizeof *p);

	p->queue = queue_get(&w->out, m->queue, false);
	p->message = m;
	p->confirmed = done;
	p->arg = arg;
	publish_parcel(w, p);
}

static const struct err *
trouble(struct transport *transport)
{
	const struct wire *w = (const struct wire *)transport;

	if (w->out.failed)
		return &w->out.err;
	if (w->blocked)
		return &w->blocked_err;
	if (w->refusing)
		return &w->refused_err;
	if (w->out.queue_failed)
		return &w->out.queue_err;
	if (w->consumes && w->in.failed)
		return &w->in.err;
	return w->consumes && w->in.queue_failed ? &w->in.queue_err : NULL;
}

static void
say_goodbye(struct line *line)
{
	timer_stop(line->reconnect);
	timer_stop(line->again);
	if (line->up)
		amqp_close(line->amqp, FAREWELL);
	else
		line->over = true;
}

static bool
close_lines(struct transport *transport)
{
	struct wire *w = (struct wire *)transport;

	if (!w->closing) {
		w->closing = true;
		say_goodbye(&w->out);
		if (w->consumes)
			say_goodbye(&w->in);
	}
	return w->out.over && (w->in.over || !w->consumes);
}

static void
wire_free(struct transport *transport)
{
	struct wire *w = (struct wire *)transport;

	w->closing = true;
	w->out.up = w->in.up = false;
	consume_free(w);	/* its deliveries are of yesterday: nothing is parked anew */
	publish_free(w);
	count_free(w);
	park_free_all(w);
	line_done(&w->out);
	if (w->consumes)
		line_done(&w->in);
	free(w->name);
	free(w->origin);
	free(w);
}

char *
wire_origin(void)
{
	char host[64] = "localhost";

	gethostname(host, sizeof host - 1);
	return xasprintf("gen%ld@%s", (long)getpid(), host);
}

struct transport *
transport_amqp(struct loop *loop, const struct conf *conf, const struct amqp_wire *set,
    struct err *err)
{
	struct wire *w = xcalloc(1, sizeof *w);

	w->transport = (struct transport){ publish, publish_post, count_queue, consume_take, consume_ack,
		consume_give_back, consume_no_more, trouble, close_lines, wire_free };
	w->loop = loop;
	w->conf = conf;
	w->installation = set->installation;
	w->name = xstrdup(set->name);
	w->origin = wire_origin();
	w->prefetch = set->prefetch;
	w->registered = set->registered;
	w->arg = set->arg;
	w->first = 1;
	w->deadline = timer_new(loop, publish_overdue, w);
	w->tell = timer_new(loop, publish_tell_hopeless, w);
	w->count_limit = timer_new(loop, count_give_up, w);
	if (line_init(&w->out, w, "publishing", publish_queue_known, err))
		goto fail;
	w->consumes = set->n_queues > 0;
	if (w->consumes && line_init(&w->in, w, "consuming", consume_adjust, err))
		goto fail;
	for (size_t i = 0; i < set->n_queues; i++)
		queue_get(&w->in, set->queues[i], false);
	return &w->transport;
fail:
	wire_free(&w->transport);
	return NULL;
}

void
transport_amqp_prefetch(struct transport *transport, uint16_t prefetch)
{
	consume_change_prefetch((struct wire *)transport, prefetch);
}

uint16_t
transport_amqp_prefetch_count(const struct transport *transport)
{
	return ((const struct wire *)transport)->prefetch;
}

int
transport_amqp_add_consumer(struct transport *transport, const struct amqp_source *source,
    struct err *err)
{
	return consume_add_queue((struct wire *)transport, source, err);
}

void
transport_amqp_cancel_consumer(struct transport *transport, const char *queue)
{
	consume_stop_queue((struct wire *)transport, queue);
}

void
transport_amqp_each_consumer(const struct transport *transport,
    void (*each)(void *, const struct amqp_source *), void *arg)
{
	const struct line *in = &((const struct wire *)transport)->in;

	for (size_t i = 0; i < in->queues.n; i++) {
		const struct wire_queue *q = in->queues.at[i];
		const struct amqp_source source = { q->name, q->exchange, q->type, q->key };

		if (!q->stopped)
			each(arg, &source);
	}
}

bool
transport_amqp_connected(const struct transport *transport)
{
	return ((const struct wire *)transport)->out.was_up;
}
