/* remote_place.c - what remote control needs is declared, one after the other.
 *
 * On a channel of its own, for a broker says no by closing it.  First exactly as
 * Celery does, for arguments that differ are refused to whoever comes second;
 * where somebody has come before with others, it is enough that the thing is
 * there.
 *
 * A broker that has done away with queues of this kind (RabbitMQ 4.3: transient,
 * but not exclusive) does not close the channel but the connection, on which the
 * worker works.  So a queue that was asked for when a connection died is asked
 * for as an exclusive one on the next, and not at all on the one after that. */
#include <string.h>
#include "base/log.h"
#include "io/loop.h"
#include "wire/remote_inner.h"

#define TRY_AGAIN (2 * SECOND)

static void
begin_again(void *arg)
{
	struct places *p = arg;

	if (p->line->up && !p->line->wire->closing)
		places_begin(p);
}

void
places_init(struct places *p, struct remote *remote, struct line *line)
{
	p->remote = remote;
	p->line = line;
	p->again = timer_new(line->wire->loop, begin_again, p);
}

void
places_done(struct places *p)
{
	timer_free(p->again);
}

void
places_add(struct places *p, const struct place *place)
{
	p->at[p->n++] = *place;
}

bool
places_has(const struct places *p, const char *exchange)
{
	for (size_t i = 0; i < p->n; i++)
		if (!p->at[i].queue && !strcmp(p->at[i].exchange, exchange))
			return p->state[i] == PLACE_THERE;
	return false;
}

void
places_forget(struct places *p, const char *exchange)
{
	for (size_t i = 0; i < p->n; i++)
		if (!p->at[i].queue && !strcmp(p->at[i].exchange, exchange))
			p->state[i] = PLACE_MISSING;
}

/* --- asking --- */

static void
ask_exchange(struct places *p, const struct place *place)
{
	struct amqp_exchange exchange = { .name = place->exchange, .type = place->type,
		.durable = place->durable, .passive = p->passive };

	amqp_declare_exchange(p->line->amqp, REMOTE_ASKING, &exchange);
}

static void
ask_queue(struct places *p, const struct place *place, bool exclusive)
{
	amqp_table_entry_t arguments[] = {
		{ amqp_cstring_bytes("x-expires"),
		    { .kind = AMQP_FIELD_KIND_I32, .value.i32 = place->expires } },
		{ amqp_cstring_bytes("x-message-ttl"),
		    { .kind = AMQP_FIELD_KIND_I32, .value.i32 = place->ttl } },
	};
	struct amqp_queue queue = { .name = place->queue, .auto_delete = true,
		.passive = p->passive, .exclusive = exclusive,
		.arguments = { .num_entries = 2, .entries = arguments } };

	amqp_declare_queue(p->line->amqp, REMOTE_ASKING, &queue);
	amqp_bind(p->line->amqp, REMOTE_ASKING, place->queue, place->exchange, place->key);
}

/* A queue without its exchange, or one that kills connections, is let be. */
static bool
is_hopeless(struct places *p, size_t i)
{
	const struct place *place = &p->at[i];

	if (!place->queue)
		return false;
	if (!places_has(p, place->exchange))
		return true;
	if (p->deaths[i] < 2)
		return false;
	p->deaths[i] = 0;
	log_warn("a queue of remote control is done without, for the connection was lost "
	    "whenever it was declared", "queue", place->queue);
	return true;
}

static void
ask_next(struct places *p)
{
	while (p->next < p->n && !p->passive && is_hopeless(p, p->next))
		p->state[p->next++] = PLACE_MISSING;
	if (p->next == p->n) {
		remote_places_done(p->remote, p);
		return;
	}
	p->asking = true;
	amqp_open_channel(p->line->amqp, REMOTE_ASKING);
	if (p->at[p->next].queue)
		ask_queue(p, &p->at[p->next], p->deaths[p->next] > 0);
	else
		ask_exchange(p, &p->at[p->next]);
}

void
places_begin(struct places *p)
{
	timer_stop(p->again);
	if (p->asking)
		return;
	for (size_t i = 0; i < p->n; i++)
		p->state[i] = PLACE_WANTED;
	p->next = 0;
	p->passive = false;
	ask_next(p);
}

void
places_again(struct places *p)
{
	timer_start(p->again, TRY_AGAIN);
}

/* --- answers --- */

static void
go_on(struct places *p, enum place_state state)
{
	size_t i = p->next++;

	p->state[i] = state;
	p->deaths[i] = 0;
	p->asking = p->passive = false;
	if (state == PLACE_THERE) {
		p->told[i] = false;
		remote_place_there(p->remote, p, &p->at[i]);
	}
	ask_next(p);
}

void
places_answered(struct places *p, const struct amqp_answer *answer)
{
	const struct place *place = &p->at[p->next];

	if (!p->asking)
		return;
	if (place->queue && answer->asked == AMQP_QUEUE_DECLARE_METHOD && answer->consumers &&
	    !p->passive)
		log_warn("another worker has the name of this one (node_name); what is asked of "
		    "one of them reaches either", "queue", place->queue);
	if (answer->asked == (place->queue ? AMQP_QUEUE_BIND_METHOD :
	    AMQP_EXCHANGE_DECLARE_METHOD))
		go_on(p, PLACE_THERE);
}

/* Declared otherwise, not allowed, locked: then it is there, or may be. */
static bool
may_be_there(int code)
{
	return code == AMQP_PRECONDITION_FAILED || code == AMQP_ACCESS_REFUSED ||
	    code == AMQP_RESOURCE_LOCKED;
}

void
places_refused(struct places *p, int code, const struct err *err)
{
	const struct place *place = &p->at[p->next];

	if (!p->asking)
		return;
	p->asking = false;
	if (!p->passive && may_be_there(code)) {
		log_info("something of remote control is declared otherwise by somebody, trying to "
		    "use it as it is", place->queue ? "queue" : "exchange",
		    place->queue ? place->queue : place->exchange, "error", err->message);
		p->passive = true;
		ask_next(p);
		return;
	}
	if (!p->told[p->next])
		log_warn("remote control does without something", place->queue ? "queue" : "exchange",
		    place->queue ? place->queue : place->exchange, "error", err->message);
	p->told[p->next] = true;
	go_on(p, PLACE_MISSING);
}

void
places_lost(struct places *p)
{
	timer_stop(p->again);
	if (p->asking && p->at[p->next].queue)
		p->deaths[p->next]++;
	p->asking = false;
	for (size_t i = 0; i < p->n; i++)
		p->state[i] = PLACE_WANTED;
}
