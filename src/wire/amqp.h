/* The transport that reaches other machines: Celery messages over AMQP.
 *
 * Two connections, for a broker under an alarm reads from no publisher: one
 * publishes, one consumes.  They come back by themselves, with back-off; what
 * was not confirmed when one broke is handed back to be sent again, and what
 * was delivered and not acknowledged the broker delivers again.
 *
 * A queue is declared as Celery does it (exchange Q, direct; queue Q; both
 * durable) before it is first used on a connection; one that was declared
 * otherwise by somebody is used as it is.  A message of another installation
 * is dropped; one that cannot be understood goes to "Q.parked", with the reason
 * in its headers. */
#ifndef WIRE_AMQP_H
#define WIRE_AMQP_H

#include <stddef.h>
#include <stdint.h>
#include "base/uuid.h"
#include "wire/wire.h"

struct conf;
struct err;
struct loop;

struct amqp_wire {
	struct uuid installation;	/* ours */
	const char *name;		/* of the connections, in the broker's listings */
	const char *const *queues;	/* to consume from; N of them, none: publish only */
	size_t n_queues;
	uint16_t prefetch;		/* unacknowledged messages, of each queue */
	/* Is TASK one that is done here for clients?  NULL: none is, and their
	 * messages are parked. */
	bool (*registered)(void *arg, const char *task);
	void *arg;
};

/* NULL with ERR (ERR_CONFIG) if the broker's address is wrong.  CONF is lent,
 * the rest copied. */
struct transport *transport_amqp(struct loop *, const struct conf *,
    const struct amqp_wire *, struct err *);

/* As many unacknowledged messages from now on. */
void transport_amqp_prefetch(struct transport *, uint16_t);

uint16_t transport_amqp_prefetch_count(const struct transport *);

/* A queue that is consumed from, and what it is bound to. */
struct amqp_source {
	const char *queue;
	const char *exchange, *type, *routing_key;	/* NULL: as Celery has it */
};

/* Consume from another queue as well, or from one no more.  -1 with ERR: there
 * are too many already, or a name is too long. */
int transport_amqp_add_consumer(struct transport *, const struct amqp_source *, struct err *);
void transport_amqp_cancel_consumer(struct transport *, const char *queue);
void transport_amqp_each_consumer(const struct transport *,
    void (*each)(void *arg, const struct amqp_source *), void *arg);

/* Has the publishing connection ever been ready? */
bool transport_amqp_connected(const struct transport *);

#endif
