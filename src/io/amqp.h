/* One AMQP 0-9-1 connection on the loop, never blocking it.
 *
 * What is asked for and published goes into a buffer, and from there to the
 * broker once in each turn; what the broker says comes as events.  Publishing
 * into a connection that the broker does not read from therefore only fills
 * the buffer: ask amqp_is_full() first.  Publish and consume on two
 * connections, for a broker under an alarm reads from no publisher.
 *
 * amqp_connect() leads to `ready' and later to `closed', or to `closed' alone;
 * after that one may connect again: back-off is the caller's.  Names are
 * resolved on the loop, each address is tried, heartbeats go both ways, and a
 * silent broker is given up after two of them.
 *
 * All that is asked is answered, though not always in the order of asking.  A broker
 * says no by closing the channel: then `channel_closed' is the only answer to all
 * that was asked on it, and it may be opened again.  Calls on a channel that is not open are
 * ignored; its end has been told.  An amqp may be freed, and any call made,
 * within an event. */
#ifndef IO_AMQP_H
#define IO_AMQP_H

#include <amqp.h>
#include <amqp_framing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/clock.h"

struct amqp;
struct err;
struct loop;

enum { AMQP_CHANNELS = 8 };		/* 1 to 8; channel 1 is opened by connecting */

struct amqp_settings {
	const char *url;		/* see io/amqp_url.h */
	const char *name;		/* of the connection, in the broker's listings */
	span connect_timeout;		/* from amqp_connect() to `ready'; 0: 10 s */
	span heartbeat;			/* whole seconds; the broker may want less; 0: none */
	size_t high_water;		/* bytes not yet sent; 0: 4 MiB */
	size_t largest_body;		/* that may come in; a larger one closes; 0: 128 MiB */
	const char *ca_file;		/* for amqps; NULL: what the system trusts */
	bool tls_insecure;		/* verify neither certificate nor name */
};

/* All that is in these is lent until the event is over.  PROPERTIES is NULL
 * when the header of the message cannot be understood, or nests too deeply. */
struct amqp_delivery {
	int channel;
	amqp_bytes_t consumer;		/* its tag */
	uint64_t tag;
	bool redelivered;
	amqp_bytes_t exchange, routing_key;
	const amqp_basic_properties_t *properties;
	amqp_bytes_t body;
};

struct amqp_return {
	int channel;
	int code;			/* 312: no queue takes it */
	const char *text;
	amqp_bytes_t exchange, routing_key;
	const amqp_basic_properties_t *properties;
	amqp_bytes_t body;
};

struct amqp_answer {
	int channel;
	amqp_method_number_t asked;	/* AMQP_QUEUE_DECLARE_METHOD, ... */
	amqp_bytes_t name;		/* of the queue declared; the consumer's tag */
	uint32_t messages, consumers;	/* of it; messages purged or deleted */
};

/* Those that are NULL are not told. */
struct amqp_events {
	void (*ready)(void *arg);
	/* ERR is NULL after an amqp_close() that the broker has answered.  Class
	 * ERR_CONFIG: somebody has to mend a setting or the broker. */
	void (*closed)(void *arg, const struct err *);
	void (*channel_closed)(void *arg, int channel, int code, const struct err *);
	void (*answered)(void *arg, const struct amqp_answer *);
	void (*delivered)(void *arg, const struct amqp_delivery *);
	/* MULTIPLE: this one and all before it.  Not ACK: the broker lost it. */
	void (*confirmed)(void *arg, int channel, uint64_t tag, bool multiple, bool ack);
	void (*returned)(void *arg, const struct amqp_return *);	/* before its confirm */
	void (*cancelled)(void *arg, int channel, amqp_bytes_t consumer);	/* by the broker */
	void (*blocked)(void *arg, const char *reason);	/* NULL: no longer */
};

/* NULL with ERR (ERR_CONFIG) if the address is wrong.  Copies the settings,
 * keeps the events. */
struct amqp *amqp_new(struct loop *, const struct amqp_settings *,
    const struct amqp_events *, void *arg, struct err *);
void amqp_free(struct amqp *);		/* without a word to anybody; NULL is fine */

void amqp_connect(struct amqp *);	/* nothing if it is under way */
bool amqp_is_ready(const struct amqp *);
/* Say goodbye after all that was written; deliveries are not told any more, and
 * `closed' comes within LIMIT. */
void amqp_close(struct amqp *, span limit);

/* --- asking; each is answered --- */

struct amqp_exchange {
	const char *name, *type;	/* "direct", "fanout", "topic", ... */
	bool passive, durable, auto_delete;
	amqp_table_t arguments;
};

struct amqp_queue {
	const char *name;		/* "": the broker makes one up */
	bool passive, durable, exclusive, auto_delete;
	amqp_table_t arguments;
};

struct amqp_consumer {
	const char *queue, *tag;	/* tag "": the broker makes one up */
	bool no_ack, exclusive;
	amqp_table_t arguments;
};

void amqp_open_channel(struct amqp *, int channel);	/* nothing if it is open */
void amqp_close_channel(struct amqp *, int channel);
void amqp_declare_exchange(struct amqp *, int channel, const struct amqp_exchange *);
void amqp_declare_queue(struct amqp *, int channel, const struct amqp_queue *);
void amqp_bind(struct amqp *, int channel, const char *queue, const char *exchange,
    const char *routing_key);
void amqp_purge(struct amqp *, int channel, const char *queue);
void amqp_delete_queue(struct amqp *, int channel, const char *queue);
/* For consumers started on the channel from now on, each. */
void amqp_qos(struct amqp *, int channel, uint16_t prefetch);
void amqp_consume(struct amqp *, int channel, const struct amqp_consumer *);
void amqp_cancel(struct amqp *, int channel, const char *tag);
/* From now on what is published on the channel is confirmed; counts from 1. */
void amqp_want_confirms(struct amqp *, int channel);

/* --- telling --- */

struct amqp_message {
	const char *exchange, *routing_key;
	bool mandatory;			/* come back if no queue takes it */
	const amqp_basic_properties_t *properties;
	const void *body;
	size_t len;
};

/* The number by which it will be confirmed; 0 with ERR if the channel is not
 * open (ERR_TEMPFAIL), or the properties are larger than a frame or a name is
 * longer than 255 bytes (ERR_GIVEN).  Nothing has been sent then. */
uint64_t amqp_publish(struct amqp *, int channel, const struct amqp_message *, struct err *);
void amqp_ack(struct amqp *, int channel, uint64_t tag, bool multiple);
void amqp_nack(struct amqp *, int channel, uint64_t tag, bool multiple, bool requeue);

size_t amqp_backlog(const struct amqp *);	/* bytes not yet taken by the network */
/* Over the high-water mark, blocked by the broker, or not ready: publish later. */
bool amqp_is_full(const struct amqp *);
/* Do not wait until the loop waits: the broker may begin with what there is. */
void amqp_send_now(struct amqp *);
/* The largest frame that was agreed on; properties must fit into one. */
size_t amqp_frame_max(const struct amqp *);

#endif
