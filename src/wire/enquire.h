/* A short visit to the broker: say one thing, and hear what comes back.
 *
 * For commands, which are not there for long and have no worker's transport: one
 * connection, in a loop of its own.  What is said is confirmed by the broker; the
 * queue for what comes back is made before that, and goes with us. */
#ifndef WIRE_ENQUIRE_H
#define WIRE_ENQUIRE_H

#include <stdbool.h>
#include <stdint.h>
#include "base/clock.h"

struct celery_envelope;
struct conf;
struct enquiring;
struct err;
struct loop;
struct post;

struct enquiry {
	const char *name;		/* of the connection, in the broker's listings */
	const struct post *post;	/* what is said (wire/letter.h) */
	const char *fanout;		/* a transient exchange that it goes to, or NULL */
	/* Where the answers come to; NULL: none are awaited. */
	const char *reply_queue;
	const char *reply_exchange;	/* a transient one, bound by the key; NULL: none */
	const char *reply_key;
	int64_t reply_expires, reply_ttl;	/* milliseconds, as Celery has them; 0: none */
	/* An answer, its body unpacked; true: no more are wanted. */
	bool (*heard)(void *arg, const char *body, size_t len);
	/* It was said and confirmed: who wants to listen elsewhere too may do so on
	 * LOOP, and call enquiry_end().  LEFT: the visit is over, whatever it came
	 * to.  May be NULL. */
	void (*said)(void *arg, struct loop *loop, struct enquiring *);
	void (*left)(void *arg);
	void *arg;
	span patience;			/* for answers, once it was said */
};

/* 0 when it was said, whether answers came or not; -1 with ERR (ERR_TEMPFAIL,
 * ERR_CONFIG). */
int enquire(const struct conf *, const struct enquiry *, struct err *);
void enquiry_end(struct enquiring *);

#endif
