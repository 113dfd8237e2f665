/* amqp_channel.c - what is asked and told on a channel.
 *
 * Requests are sent at once and stand in a list until amqp_hear.c has heard
 * their answers. */
#include <stdlib.h>
#include "io/amqp_inner.h"
#include "io/socket.h"

void
channel_reset(struct channel *c)
{
	c->state = CHANNEL_CLOSED;
	c->asked.n = 0;
	c->published = 0;
	c->incoming = NO_MESSAGE;
	bytes_clear(&c->method);
	bytes_clear(&c->header);
	bytes_clear(&c->body);
}

void
channel_done(struct channel *c)
{
	channel_reset(c);
	vec_done(&c->asked);
	bytes_done(&c->method);
	bytes_done(&c->header);
	bytes_done(&c->body);
}

static struct channel *
channel_of(struct amqp *a, int n)
{
	if (n < 1 || n > AMQP_CHANNELS)
		abort();
	return &a->channels[n];
}

/* --- asking --- */

static bool
is_open(struct amqp *a, int n)
{
	struct channel *c = channel_of(a, n);

	return (a->state == AMQP_READY || a->state == AMQP_PREPARING) &&
	    (c->state == CHANNEL_OPEN || c->state == CHANNEL_OPENING);
}

static void
ask(struct amqp *a, int n, amqp_method_number_t number, void *says)
{
	if (!is_open(a, n))
		return;
	vec_push(&a->channels[n].asked, number);
	amqp_say(a, n, number, says);
}

static amqp_bytes_t
bytes_of(const char *text)
{
	return amqp_cstring_bytes(text ? text : "");
}

void
amqp_open_channel(struct amqp *a, int n)
{
	struct channel *c = channel_of(a, n);

	if ((a->state != AMQP_READY && a->state != AMQP_PREPARING) ||
	    c->state != CHANNEL_CLOSED)
		return;
	c->state = CHANNEL_OPENING;
	ask(a, n, AMQP_CHANNEL_OPEN_METHOD, &(amqp_channel_open_t){ 0 });
}

void
amqp_close_channel(struct amqp *a, int n)
{
	struct channel *c = channel_of(a, n);
	amqp_channel_close_t close = { .reply_code = AMQP_REPLY_SUCCESS };

	if (!is_open(a, n))
		return;
	/* What was asked before is not answered any more. */
	c->asked.n = 0;
	c->incoming = NO_MESSAGE;
	ask(a, n, AMQP_CHANNEL_CLOSE_METHOD, &close);
	c->state = CHANNEL_CLOSING;
}

void
amqp_declare_exchange(struct amqp *a, int n, const struct amqp_exchange *x)
{
	amqp_exchange_declare_t declare = { .exchange = bytes_of(x->name),
		.type = bytes_of(x->type), .passive = x->passive, .durable = x->durable,
		.auto_delete = x->auto_delete, .arguments = x->arguments };

	ask(a, n, AMQP_EXCHANGE_DECLARE_METHOD, &declare);
}

void
amqp_declare_queue(struct amqp *a, int n, const struct amqp_queue *q)
{
	amqp_queue_declare_t declare = { .queue = bytes_of(q->name), .passive = q->passive,
		.durable = q->durable, .exclusive = q->exclusive,
		.auto_delete = q->auto_delete, .arguments = q->arguments };

	ask(a, n, AMQP_QUEUE_DECLARE_METHOD, &declare);
}

void
amqp_bind(struct amqp *a, int n, const char *queue, const char *exchange,
    const char *routing_key)
{
	amqp_queue_bind_t bind = { .queue = bytes_of(queue), .exchange = bytes_of(exchange),
		.routing_key = bytes_of(routing_key) };

	ask(a, n, AMQP_QUEUE_BIND_METHOD, &bind);
}

void
amqp_purge(struct amqp *a, int n, const char *queue)
{
	ask(a, n, AMQP_QUEUE_PURGE_METHOD, &(amqp_queue_purge_t){ .queue = bytes_of(queue) });
}

void
amqp_delete_queue(struct amqp *a, int n, const char *queue)
{
	ask(a, n, AMQP_QUEUE_DELETE_METHOD, &(amqp_queue_delete_t){ .queue = bytes_of(queue) });
}

void
amqp_qos(struct amqp *a, int n, uint16_t prefetch)
{
	ask(a, n, AMQP_BASIC_QOS_METHOD, &(amqp_basic_qos_t){ .prefetch_count = prefetch });
}

void
amqp_consume(struct amqp *a, int n, const struct amqp_consumer *c)
{
	amqp_basic_consume_t consume = { .queue = bytes_of(c->queue),
		.consumer_tag = bytes_of(c->tag), .no_ack = c->no_ack,
		.exclusive = c->exclusive, .arguments = c->arguments };

	ask(a, n, AMQP_BASIC_CONSUME_METHOD, &consume);
}

void
amqp_cancel(struct amqp *a, int n, const char *tag)
{
	ask(a, n, AMQP_BASIC_CANCEL_METHOD,
	    &(amqp_basic_cancel_t){ .consumer_tag = bytes_of(tag) });
}

void
amqp_want_confirms(struct amqp *a, int n)
{
	if (is_open(a, n))
		a->channels[n].published = 0;
	ask(a, n, AMQP_CONFIRM_SELECT_METHOD, &(amqp_confirm_select_t){ 0 });
}

/* --- telling --- */

/* The body of a message, in pieces that fit into a frame. */
static size_t
put_body(const struct amqp *a, int n, uint8_t *to, const uint8_t *body, size_t len)
{
	size_t piece = a->frame_max - FRAME_OVERHEAD, written = 0;

	for (size_t at = 0; at < len; at += piece)
		written += (size_t)frame_put(to + written, FRAME_BODY, n, body + at,
		    len - at < piece ? len - at : piece);
	return written;
}

uint64_t
amqp_publish(struct amqp *a, int n, const struct amqp_message *m, struct err *err)
{
	size_t pieces = m->len / (a->frame_max - FRAME_OVERHEAD) + 1;
	amqp_basic_publish_t publish = { .exchange = bytes_of(m->exchange),
		.routing_key = bytes_of(m->routing_key), .mandatory = m->mandatory };
	int method, header;
	uint8_t *to;

	if (!is_open(a, n)) {
		err_class(err, ERR_TEMPFAIL, "the broker is not connected");
		return 0;
	}
	/* Nothing is committed, nor sent, before all of it has been encoded. */
	to = socket_reserve(a->socket, 2 * a->frame_max + m->len + pieces * FRAME_OVERHEAD);
	method = frame_put_method(to, a->frame_max, n, AMQP_BASIC_PUBLISH_METHOD, &publish);
	if (method < 0) {
		err_set(err, "the name of an exchange or a routing key is longer than 255 bytes");
		return 0;
	}
	header = frame_put_header(to + method, a->frame_max, n, m->properties, m->len);
	if (header < 0) {
		err_set(err, "the properties of a message do not fit into a frame of %zu bytes, "
		    "or one is longer than 255", a->frame_max);
		return 0;
	}
	socket_commit(a->socket, (size_t)(method + header) +
	    put_body(a, n, to + method + header, m->body, m->len));
	a->last_out = clock_monotonic();
	return ++a->channels[n].published;
}

static void
tell(struct amqp *a, int n, amqp_method_number_t number, void *says)
{
	if (is_open(a, n))
		amqp_say(a, n, number, says);
}

void
amqp_ack(struct amqp *a, int n, uint64_t tag, bool multiple)
{
	tell(a, n, AMQP_BASIC_ACK_METHOD,
	    &(amqp_basic_ack_t){ .delivery_tag = tag, .multiple = multiple });
}

void
amqp_nack(struct amqp *a, int n, uint64_t tag, bool multiple, bool requeue)
{
	tell(a, n, AMQP_BASIC_NACK_METHOD, &(amqp_basic_nack_t){ .delivery_tag = tag,
	    .multiple = multiple, .requeue = requeue });
}
