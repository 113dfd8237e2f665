/* The sweep: jobs whose lease has run out, and messages that were lost. */
#ifndef STORE_SWEEP_H
#define STORE_SWEEP_H

#include <stdint.h>
#include "base/clock.h"
#include "base/vec.h"
#include "store/settle.h"

enum { ATTEMPTS_MAX = 3 };	/* lost claims of one job, then it is failed */
/* A job that another's worker was asked for has lost nobody: when its answer is
 * overdue it is sent again without being made to run alone, and fails when it was
 * asked for ASKS_MAX times. */

struct swept {
	struct fired_jobs again;	/* to be sent again */
	VEC(struct outcome) lost;	/* to be settled as failed, reason lost */
};

/* Of RUN alone, or of every open run where it is 0: the queues of those jobs that
 * may have lost their message (the names are the first result). */
void sweep_say_look(struct pg *, int64_t run, span lease);

struct queue_count {
	char *queue;
	int64_t messages;		/* that wait there; -1: not known */
};

/* The sweep itself, three statements.  Queued jobs are sent again only where
 * fewer messages wait than their run has jobs queued, in queues that are known.
 * Rows are taken with SKIP LOCKED and stamped, so that of many sweepers one sends
 * a job again. */
enum { SWEEP_STATEMENTS = 3 };
void sweep_say(struct pg *, int64_t run, span lease, const struct queue_count *, size_t n);
void sweep_read(const struct pg_answer *, struct swept *);
void swept_done(struct swept *);

#endif
