/* Between the files of a worker's remote side.  For nobody else.
 *
 *	remote.c          comes and goes with the lines; the clock
 *	remote_place.c    exchanges and queues are declared, one after the other
 *	remote_tell.c     events and answers out, the beat
 *	remote_hear.c     requests, events of others, what they know of revoked tasks
 */
#ifndef WIRE_REMOTE_INNER_H
#define WIRE_REMOTE_INNER_H

#include "base/str.h"
#include "wire/amqp_inner.h"
#include "wire/remote.h"

/* Consumer tags. */
#define PIDBOX_TAG "pidbox"
#define GOSSIP_TAG "gossip"
#define HELLO_TAG "hello"

/* An exchange that is needed, or a queue that is bound to one. */
struct place {
	const char *exchange, *type;
	bool durable;			/* the exchange; our queues are transient */
	const char *queue, *key;	/* NULL: the exchange itself */
	int32_t expires, ttl;		/* of a queue, milliseconds */
	const char *tag;		/* of its consumer */
};

enum place_state { PLACE_WANTED, PLACE_THERE, PLACE_MISSING };
enum { PLACES_MOST = 6 };

/* How far the places of a line are declared.  What Celery's way is refused for is
 * used as it is; what cannot be had at all is done without. */
struct places {
	struct remote *remote;
	struct line *line;
	struct place at[PLACES_MOST];
	enum place_state state[PLACES_MOST];
	bool told[PLACES_MOST];		/* that it cannot be had */
	int deaths[PLACES_MOST];	/* of the connection, while it was asked for */
	size_t n, next;
	bool asking, passive;
	struct timer *again;
};

enum { ELECTIONS = 16 };

/* A message that waits for the broker. */
struct held {
	char *key;
	struct str body;
	uint64_t events;
};

struct remote {
	struct remote_settings set;
	struct wire *wire;
	char *node;
	char *pidbox, *gossip, *mailbox;	/* queues */
	char oid[UUID_TEXT], ticket[UUID_TEXT];
	char system[72];
	int64_t clock;
	bool wants_events, left;
	/* Out: */
	struct places out;
	bool telling;			/* the channel of events is open */
	struct str batch;		/* the events of this turn */
	uint64_t batched;
	FIFO(struct held) waiting;
	size_t waiting_bytes;
	uint64_t dropped, dropped_before;
	bool dropping;
	struct timer *beat;
	int utcoffset;
	instant offset_until;		/* when it is looked up again */
	char *elections[ELECTIONS];	/* that we have stood in, the last ones */
	size_t next_election;
	char *other_exchange;		/* of answers, the last that was declared besides ours */
	/* In: */
	struct places in;
	struct timer *mingling;
	bool mingled, may_hello, said_hello;
	uint64_t garbage;
};

/* remote.c */
void remote_adjust_clock(struct remote *, int64_t other);
void remote_place_there(struct remote *, struct places *, const struct place *);
void remote_places_done(struct remote *, struct places *);

/* remote_place.c */
void places_init(struct places *, struct remote *, struct line *);
void places_done(struct places *);
void places_add(struct places *, const struct place *);
void places_begin(struct places *);	/* all anew: the connection is there */
void places_again(struct places *);	/* the same in a while: something has gone */
bool places_has(const struct places *, const char *exchange);
void places_forget(struct places *, const char *exchange);	/* it is not there any more */
void places_answered(struct places *, const struct amqp_answer *);
void places_refused(struct places *, int code, const struct err *);
void places_lost(struct places *);	/* the connection has gone */

/* remote_tell.c */
void tell_init(struct remote *);	/* its settings and its wire are there */
void tell_done(struct remote *);
void tell_begin(struct remote *);	/* the places of the line out are there */
void tell_lost(struct remote *);	/* the connection has gone */
void tell_forget_exchange(struct remote *);	/* the other one, of answers */
void remote_tell_elect_ack(struct remote *, const char *id);
void remote_answer(struct remote *, const struct celery_control *, const struct str *value);
/* Now, or not at all. */
bool remote_publish(struct remote *, int channel, const char *exchange, const char *key,
    const json_t *headers, const struct str *body, int delivery_mode);

/* remote_hear.c */
void hear_begin(struct remote *);		/* the connection is there */
void hear_may_hello(struct remote *);	/* one more of what it takes is there */
void hear_mingling_over(void *remote);
void hear_delivered(struct remote *, const struct amqp_delivery *);

#endif
