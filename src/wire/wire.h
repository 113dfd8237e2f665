/* Messages, and what carries them.
 *
 * A message names jobs of one run, or a delivery; it is a reminder, the rows are
 * the truth.
 * A transport publishes (and later confirms) messages, and hands over those
 * that arrive; each that was handed over is acknowledged once, when its effect
 * is committed and all that it caused is confirmed.  Nothing here knows the
 * books. */
#ifndef WIRE_WIRE_H
#define WIRE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/clock.h"
#include "base/vec.h"
#include "model/states.h"

struct err;
struct letter;
struct loop;
struct post;

struct message {
	/* VARIABLE: one job; EVIDENCE, EVENT: one or more; REACTION: a delivery */
	enum kind kind;
	int64_t run;
	VEC(int) jobs;
	VEC(char *) names;		/* of the first jobs, for people */
	char *event, *reaction;		/* of a REACTION: which delivery */
	char *shown;			/* what its sender shows of it, for people; or NULL */
	struct letter *letter;		/* a client's task instead (wire/letter.h); NULL: ours */
	char *queue;
	/* Of a message that was delivered: the transport's number of it, the
	 * connection on which it came, its place among those handed over. */
	uint64_t tag;
	unsigned epoch;
	size_t place;
	span arrived_at;		/* monotonic */
	size_t open;			/* jobs that are not settled yet; a delivery is one */
};
/* A message names at most so many of its jobs. */
enum { MESSAGE_NAMES = 5 };

struct message *message_new(enum kind, int64_t run, const char *queue);
struct message *message_new_delivery(int64_t run, const char *event, const char *reaction,
    const char *queue);
struct message *message_dup(const struct message *);
void message_free(struct message *);

/* A transport begins with this struct. */
struct transport {
	/* MESSAGE is lent until CONFIRMED, which is called once, from the loop or
	 * from free: true when it is safe, false when it must be sent again. */
	void (*publish)(struct transport *, const struct message *,
	    void (*confirmed)(void *arg, bool ok), void *arg);
	/* The same of something else than a job: of a client's task (wire/letter.h),
	 * copied before it returns.  CONFIRMED may be NULL. */
	void (*post)(struct transport *, const struct post *,
	    void (*confirmed)(void *arg, bool ok), void *arg);
	/* How many messages wait in QUEUE, in nobody's hands; COUNTED is told once,
	 * from the loop or from free.  One that is not there has 0; -1: it cannot
	 * be found out at present. */
	void (*count)(struct transport *, const char *queue,
	    void (*counted)(void *arg, int64_t n), void *arg);
	/* The next message that has arrived, or NULL; the caller's until ack. */
	struct message *(*take)(struct transport *);
	void (*ack)(struct transport *, struct message *);	/* takes it */
	/* Not acknowledged but returned, for anybody; takes it. */
	void (*give_back)(struct transport *, struct message *);
	/* Nothing more is taken: what has arrived, or arrives from now on, is returned. */
	void (*take_no_more)(struct transport *);
	/* What is wrong at present, lent; NULL: nothing is known to be. */
	const struct err *(*trouble)(struct transport *);
	/* Say goodbye: call it in each turn until it is true.  What was not
	 * acknowledged is delivered to others then. */
	bool (*close)(struct transport *);
	void (*free)(struct transport *);
};

/* Within the process: a queue, confirmed at once.  What is in it ends with the
 * process; the books remember. */
struct transport *transport_local(struct loop *);

/* "gen<pid>@<host>": whose message it is, for people.  The caller frees. */
char *wire_origin(void);

/* How many are open of a message that has just arrived. */
size_t message_count_open(const struct message *);

#endif
