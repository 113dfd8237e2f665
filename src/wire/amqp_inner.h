/* Between the files of the AMQP transport.  For nobody else.
 *
 *	amqp.c          the two connections, their back-off, their end
 *	amqp_queue.c    queues are declared before they are used
 *	amqp_publish.c  messages out: waiting, sent, confirmed
 *	amqp_post.c     those that are no jobs
 *	amqp_consume.c  messages in: decoded, handed over, acknowledged
 *	amqp_count.c    how many messages wait in a queue
 *	amqp_park.c     what cannot be understood
 *	amqp_table.c    AMQP's tables and JSON
 *	remote.c        a worker's remote control (see remote_inner.h)
 */
#ifndef WIRE_AMQP_INNER_H
#define WIRE_AMQP_INNER_H

#include <jansson.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/vec.h"
#include "celery/refusal.h"
#include "io/amqp.h"
#include "wire/amqp.h"
#include "wire/letter.h"

/* Channels; a refusal closes all but the first.  Those of remote control: to ask
 * for what it needs; for events, in and out; for answers. */
enum { WORK = 1, SCRATCH = 2, COUNTING = 3, REMOTE_ASKING = 4, REMOTE = 5, REMOTE_ANSWERS = 6 };

struct wire;

/* First in, first out; those before HEAD have gone. */
#define FIFO(T) struct { T *at; size_t n, room, head; }
#define fifo_is_empty(f) ((f)->head == (f)->n)
#define fifo_first(f) ((f)->at[(f)->head])
#define fifo_pop(f) do { \
	if (++(f)->head == (f)->n) \
		(f)->head = (f)->n = 0; \
	else if ((f)->head >= 1024 && (f)->head * 2 >= (f)->n) { \
		(f)->n -= (f)->head; \
		memmove((f)->at, (f)->at + (f)->head, (f)->n * sizeof *(f)->at); \
		(f)->head = 0; \
	} \
} while (0)

enum { CONSUMED_MOST = 200 };		/* queues that are consumed from */
enum { QUEUE_NAME_MOST = 200, AMQP_NAME_MOST = 255 };	/* bytes */

/* A message on its way out: a job's, lent; one that is parked; a post. */
struct parcel {
	struct wire_queue *queue;
	const struct message *message;
	struct parked *parked;
	struct posted *posted;
	void (*confirmed)(void *arg, bool ok);	/* NULL: nobody cares */
	void (*hopeless)(void *arg, const struct err *);	/* NULL: try for ever */
	char *why;			/* of one that is hopeless */
	void *arg;
	span sent_at;			/* monotonic */
	bool settled, returned;
};

/* Somebody who asks how long a queue is. */
struct counting {
	char *queue;
	void (*counted)(void *arg, int64_t n);
	void *arg;
};

/* How far a queue is declared on a connection.  What is refused is tried again
 * one step lower. */
enum queue_state {
	QUEUE_UNKNOWN,
	QUEUE_DECLARING,	/* with an exchange of its name */
	QUEUE_PLAIN,		/* without */
	QUEUE_PASSIVE,		/* it is somebody else's, and used as it is */
	QUEUE_KNOWN,
};

struct wire_queue {
	char *name;
	char *exchange, *type, *key;	/* it is bound so; NULL: to one of its name */
	enum queue_state state;
	bool plain;			/* never has an exchange */
	bool stopped;			/* is consumed from no more */
	bool alien;			/* no queue of ours: it is never declared */
	bool refused, held;		/* until the next try */
	/* Of those that are consumed from: its consumer, and the prefetch that counts for it. */
	enum { CONSUMER_NONE, CONSUMER_BEGINS, CONSUMER_BEGAN } consumer;
	uint16_t prefetch;
	FIFO(struct parcel *) waiting;
};

/* A connection, and the queues that are used on it. */
struct line {
	struct wire *wire;
	const char *what;		/* "publishing", for the log */
	struct amqp *amqp;
	struct timer *reconnect, *again;
	int failures;			/* in a row */
	bool up, was_up, over;
	struct err err;			/* why it is not up */
	bool failed;
	VEC(struct wire_queue *) queues;
	struct wire_queue *asking;	/* is being declared */
	struct err queue_err;
	bool queue_failed;
	void (*queue_known)(struct wire *, struct wire_queue *);
};

struct wire {
	struct transport transport;
	struct loop *loop;
	const struct conf *conf;
	struct uuid installation;
	char *name, *origin;
	bool (*registered)(void *arg, const char *task);
	void *arg;
	uint16_t prefetch;
	bool consumes, closing, no_more;
	struct line out, in;
	/* Out: */
	FIFO(struct parcel *) sent;	/* without a gap, from FIRST on */
	uint64_t first;
	struct timer *deadline;
	VEC(struct parcel *) hopeless;	/* to be told of */
	struct timer *tell;
	bool blocked;
	struct err blocked_err;
	span unblocked_at;
	const struct wire_queue *refusing;	/* a queue that takes no more, NULL: none */
	struct err refused_err;
	span refused_at;
	FIFO(struct counting) counting;
	bool count_asked;		/* of the first of them */
	struct timer *count_limit;
	/* In: */
	unsigned epoch;			/* of the consuming channel */
	FIFO(struct message *) arrived;
	VEC(struct message *) taken;	/* not acknowledged yet */
	VEC(struct parked *) parking;
	uint64_t foreign;
	struct remote *remote;		/* NULL: none */
};

/* amqp.c */
/* End the connection at once, for ERR; it will come again. */
void line_break(struct line *, const struct err *);

/* amqp_queue.c */
struct wire_queue *queue_find(struct line *, const char *name);
struct wire_queue *queue_get(struct line *, const char *name, bool plain);
void queue_forget(struct line *, struct wire_queue *);	/* declare it (again) */
void queue_forget_all(struct line *);	/* the connection is new, or has gone */
void queue_declare_next(struct line *);
void queue_answered(struct line *, const struct amqp_answer *);
void queue_refused(struct line *, int code, const struct err *);
void queue_try_again(struct line *);	/* those that were refused, or held */
void queue_free_all(struct line *);

/* amqp_publish.c */
void publish_parcel(struct wire *, struct parcel *);
void publish_begin(struct wire *);		/* the connection is ready */
void publish_flush(struct wire *);
void publish_queue_known(struct wire *, struct wire_queue *);
void publish_confirmed(struct wire *, uint64_t tag, bool multiple, bool ack);
void publish_returned(struct wire *, const struct amqp_return *);
void publish_blocked(struct wire *, const char *reason);
void publish_lost(struct wire *);		/* the connection has gone */
void publish_overdue(void *arg);
/* It can never be sent.  Told from the loop: whoever posts it hears nothing from within. */
void publish_give_up(struct wire *, struct parcel *, const struct err *);
void publish_tell_hopeless(void *arg);
/* There is no such queue, nor can there be. */
void publish_queue_hopeless(struct wire *, struct wire_queue *, const struct err *);
/* The broker has closed the channel for what was published to an exchange. */
void publish_exchange_hopeless(struct wire *, int code, const struct err *);
void publish_free(struct wire *);

/* amqp_post.c */
void publish_post(struct transport *, const struct post *,
    void (*confirmed)(void *arg, bool ok), void *arg);
void posted_describe(const struct posted *, struct arena *, amqp_basic_properties_t *,
    struct amqp_message *);
void posted_free(struct posted *);		/* NULL is fine */
bool posted_has_exchange(const struct parcel *);	/* which is not the default one */
bool posted_is_named(const struct parcel *, const char *error);	/* its exchange is */

/* amqp_consume.c */
/* An envelope lends from DELIVERY and ARENA; its headers are the caller's.  -1
 * with the reason. */
int consume_read_envelope(const struct amqp_delivery *, struct arena *,
    struct celery_envelope *, struct refusal *);
void consume_begin(struct wire *);
void consume_adjust(struct wire *, struct wire_queue *);
void consume_change_prefetch(struct wire *, uint16_t prefetch);
int consume_add_queue(struct wire *, const struct amqp_source *, struct err *);
void consume_stop_queue(struct wire *, const char *name);
void consume_began(struct wire *, amqp_bytes_t consumer);
void consume_cancelled(struct wire *, amqp_bytes_t consumer);
void consume_delivered(struct wire *, const struct amqp_delivery *);
void consume_lost(struct wire *);	/* deliveries of before are the broker's again */
struct message *consume_take(struct transport *);
void consume_ack(struct transport *, struct message *);
void consume_give_back(struct transport *, struct message *);
void consume_no_more(struct transport *);
void consume_ack_tag(struct wire *, unsigned epoch, uint64_t tag);
void consume_free(struct wire *);

/* remote.c; each of NULL as well */
void remote_ready(struct remote *, const struct line *);
void remote_lost(struct remote *, const struct line *);
void remote_answered(struct remote *, const struct line *, const struct amqp_answer *);
void remote_refused(struct remote *, const struct line *, int channel, int code,
    const struct err *);
void remote_delivered(struct remote *, const struct amqp_delivery *);
void remote_cancelled(struct remote *);

/* amqp_count.c */
void count_queue(struct transport *, const char *queue, void (*counted)(void *arg, int64_t n),
    void *arg);
void count_flush(struct wire *);		/* ask what was not asked yet */
void count_answered(struct wire *, const struct amqp_answer *);
void count_refused(struct wire *, int code, const struct err *);
void count_give_up(void *wire);			/* on all that were asked */
void count_free(struct wire *);

/* amqp_park.c */
void park(struct wire *, const char *queue, const struct amqp_delivery *,
    const struct refusal *);
/* The properties of a parked message, and its body. */
void parked_describe(const struct parked *, bool with_headers, struct arena *,
    amqp_basic_properties_t *, struct amqp_message *);
void park_free_all(struct wire *);

/* amqp_table.c */
amqp_table_t table_of_json(const json_t *object, struct arena *);
/* NULL: a name or a text is no UTF-8. */
json_t *table_to_json(const amqp_table_t *);
void properties_of_envelope(const struct celery_envelope *, struct arena *,
    amqp_basic_properties_t *);

#endif
