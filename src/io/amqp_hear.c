/* amqp_hear.c - what the broker says on a channel.
 *
 * A request stands in the channel's list until its answer comes: in AMQP the
 * number of the answer is that of the request plus one.  A message comes as a
 * method, a header, and as many pieces of body as it takes; it is put together
 * here and told when it is complete. */
#include <stdlib.h>
#include <string.h>
#include "io/amqp_inner.h"

/* --- messages coming in --- */

static amqp_bytes_t
lent(const struct bytes *b)
{
	/* An empty one has a place, too: NULL is a trap for whoever copies it. */
	return (amqp_bytes_t){ bytes_len(b), bytes_len(b) ? bytes_at(b) : (void *)"" };
}

static void
begin_message(struct channel *c, const struct frame *f)
{
	bytes_clear(&c->method);
	bytes_add(&c->method, f->payload.bytes, f->payload.len);
	c->incoming = WANT_HEADER;
}

static void
tell_delivery(struct amqp *a, int n, const amqp_basic_deliver_t *m,
    const amqp_basic_properties_t *properties)
{
	struct amqp_delivery d = { .channel = n, .consumer = m->consumer_tag,
		.tag = m->delivery_tag, .redelivered = m->redelivered,
		.exchange = m->exchange, .routing_key = m->routing_key,
		.properties = properties, .body = lent(&a->channels[n].body) };

	if (a->state == AMQP_READY)
		AMQP_TELL(a, delivered, &d);
}

static void
tell_return(struct amqp *a, int n, const amqp_basic_return_t *m,
    const amqp_basic_properties_t *properties)
{
	char *text = amqp_text(m->reply_text);
	struct amqp_return r = { .channel = n, .code = m->reply_code, .text = text,
		.exchange = m->exchange, .routing_key = m->routing_key,
		.properties = properties, .body = lent(&a->channels[n].body) };

	AMQP_TELL(a, returned, &r);
	free(text);
}

static int
end_message(struct amqp *a, int n, struct err *err)
{
	struct channel *c = &a->channels[n];
	amqp_basic_properties_t *properties = NULL;
	amqp_method_number_t number;
	void *said;

	c->incoming = NO_MESSAGE;
	if (frame_method(lent(&c->method), &a->pool, &number, &said))
		return amqp_broken(err, "a method cannot be decoded");
	if (frame_properties(lent(&c->header), &a->pool, &properties))
		properties = NULL;
	if (number == AMQP_BASIC_DELIVER_METHOD)
		tell_delivery(a, n, said, properties);
	else
		tell_return(a, n, said, properties);
	bytes_clear(&c->body);
	return 0;
}

static int
take_header(struct amqp *a, int n, const struct frame *f, struct err *err)
{
	struct channel *c = &a->channels[n];

	if (c->incoming != WANT_HEADER || frame_body_size(f->payload, &c->missing))
		return amqp_broken(err, "a header out of place");
	if (c->missing > a->largest_body)
		return err_class(err, ERR_TEMPFAIL,
		    "a message of %llu bytes; more than %zu are not taken",
		    (unsigned long long)c->missing, a->largest_body);
	bytes_clear(&c->header);
	bytes_add(&c->header, f->payload.bytes, f->payload.len);
	bytes_clear(&c->body);
	c->incoming = WANT_BODY;
	return c->missing ? 0 : end_message(a, n, err);
}

static int
take_body(struct amqp *a, int n, const struct frame *f, struct err *err)
{
	struct channel *c = &a->channels[n];

	if (c->incoming != WANT_BODY || f->payload.len > c->missing)
		return amqp_broken(err, "a body out of place");
	bytes_add(&c->body, f->payload.bytes, f->payload.len);
	c->missing -= f->payload.len;
	return c->missing ? 0 : end_message(a, n, err);
}

/* --- methods coming in --- */

/* Answers may overtake each other: a consumer's comes from the process of its
 * queue, most others from the channel's own.  Those of a kind keep their order,
 * or say whom they are about. */
static bool
take_asked(struct channel *c, amqp_method_number_t number)
{
	for (size_t i = 0; i < c->asked.n; i++)
		if (c->asked.at[i] == number) {
			memmove(c->asked.at + i, c->asked.at + i + 1,
			    (--c->asked.n - i) * sizeof *c->asked.at);
			return true;
		}
	return false;
}

static int
take_answer(struct amqp *a, int n, amqp_method_number_t number, const void *said,
    struct err *err)
{
	struct channel *c = &a->channels[n];
	struct amqp_answer answer = { .channel = n, .asked = number - 1 };

	if (!take_asked(c, answer.asked))
		return amqp_broken(err, "an answer to what was not asked");
	switch (number) {
	case AMQP_CHANNEL_OPEN_OK_METHOD:
		c->state = CHANNEL_OPEN;
		break;
	case AMQP_CHANNEL_CLOSE_OK_METHOD:
		channel_reset(c);
		break;
	case AMQP_QUEUE_DECLARE_OK_METHOD: {
		const amqp_queue_declare_ok_t *ok = said;

		answer.name = ok->queue;
		answer.messages = ok->message_count;
		answer.consumers = ok->consumer_count;
		break;
	}
	case AMQP_QUEUE_PURGE_OK_METHOD:
		answer.messages = ((const amqp_queue_purge_ok_t *)said)->message_count;
		break;
	case AMQP_QUEUE_DELETE_OK_METHOD:
		answer.messages = ((const amqp_queue_delete_ok_t *)said)->message_count;
		break;
	case AMQP_BASIC_CONSUME_OK_METHOD:
		answer.name = ((const amqp_basic_consume_ok_t *)said)->consumer_tag;
		break;
	case AMQP_BASIC_CANCEL_OK_METHOD:
		answer.name = ((const amqp_basic_cancel_ok_t *)said)->consumer_tag;
		break;
	}
	if (a->state == AMQP_PREPARING && number == AMQP_CHANNEL_OPEN_OK_METHOD)
		amqp_became_ready(a);
	else
		AMQP_TELL(a, answered, &answer);
	return 0;
}

static int
closed_by_broker(struct amqp *a, int n, const amqp_channel_close_t *close, struct err *err)
{
	bool told = a->channels[n].state != CHANNEL_CLOSING;
	char *text = amqp_text(close->reply_text);
	struct err why;

	amqp_say(a, n, AMQP_CHANNEL_CLOSE_OK_METHOD, &(amqp_channel_close_ok_t){ 0 });
	err_set(&why, "%s (code %d)", text, close->reply_code);
	free(text);
	if (a->state == AMQP_PREPARING) {
		*err = why;
		err->class = ERR_TEMPFAIL;
		return -1;
	}
	/* Our own close has crossed theirs, and they answer it all the same. */
	if (!told)
		return 0;
	channel_reset(&a->channels[n]);
	AMQP_TELL(a, channel_closed, n, close->reply_code, &why);
	return 0;
}

static void
cancelled_by_broker(struct amqp *a, int n, const amqp_basic_cancel_t *cancel)
{
	if (!cancel->nowait) {
		amqp_basic_cancel_ok_t ok = { .consumer_tag = cancel->consumer_tag };

		amqp_say(a, n, AMQP_BASIC_CANCEL_OK_METHOD, &ok);
	}
	AMQP_TELL(a, cancelled, n, cancel->consumer_tag);
}

static int
take_method(struct amqp *a, int n, const struct frame *f, struct err *err)
{
	struct channel *c = &a->channels[n];
	amqp_method_number_t number;
	void *said;

	if (c->incoming != NO_MESSAGE)
		return amqp_broken(err, "a message without its body");
	if (frame_method(f->payload, &a->pool, &number, &said))
		return amqp_broken(err, "a method cannot be decoded");
	/* Until our close is answered, the rest is of no interest. */
	if (c->state == CHANNEL_CLOSING && number != AMQP_CHANNEL_CLOSE_METHOD &&
	    number != AMQP_CHANNEL_CLOSE_OK_METHOD)
		return 0;
	switch (number) {
	case AMQP_BASIC_DELIVER_METHOD:
	case AMQP_BASIC_RETURN_METHOD:
		begin_message(c, f);
		return 0;
	case AMQP_BASIC_ACK_METHOD: {
		const amqp_basic_ack_t *ack = said;

		AMQP_TELL(a, confirmed, n, ack->delivery_tag, ack->multiple, true);
		return 0;
	}
	case AMQP_BASIC_NACK_METHOD: {
		const amqp_basic_nack_t *nack = said;

		AMQP_TELL(a, confirmed, n, nack->delivery_tag, nack->multiple, false);
		return 0;
	}
	case AMQP_BASIC_CANCEL_METHOD:
		cancelled_by_broker(a, n, said);
		return 0;
	case AMQP_CHANNEL_CLOSE_METHOD:
		return closed_by_broker(a, n, said, err);
	case AMQP_CHANNEL_FLOW_METHOD: {
		/* RabbitMQ stops us by not reading, never so. */
		amqp_channel_flow_ok_t ok = { .active = ((amqp_channel_flow_t *)said)->active };

		amqp_say(a, n, AMQP_CHANNEL_FLOW_OK_METHOD, &ok);
		return 0;
	}
	default:
		return take_answer(a, n, number, said, err);
	}
}

int
channel_take(struct amqp *a, int n, const struct frame *f, struct err *err)
{
	if (n > AMQP_CHANNELS || a->channels[n].state == CHANNEL_CLOSED)
		return amqp_broken(err, "a frame on a channel that is not open");
	if (a->channels[n].state == CHANNEL_CLOSING && f->type != FRAME_METHOD)
		return 0;
	switch (f->type) {
	case FRAME_METHOD:
		return take_method(a, n, f, err);
	case FRAME_HEADER:
		return take_header(a, n, f, err);
	case FRAME_BODY:
		return take_body(a, n, f, err);
	default:
		return amqp_broken(err, "a heartbeat on a channel");
	}
}
