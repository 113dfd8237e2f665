/* Tasks of Celery's clients, as far as the books know of them: those that wait
 * for their eta, and those that are revoked. */
#ifndef STORE_TASK_H
#define STORE_TASK_H

#include <libpq-fe.h>
#include <stddef.h>
#include <stdint.h>
#include "base/clock.h"

struct pg;
struct pg_answer;

#define TASK_REVOKED_FOR (3 * HOUR)
#define TASK_REVOKED_MOST 50000

/* Texts are lent. */
struct delayed_task {
	int64_t id;			/* of its row; 0 of a new one */
	const char *task_id, *task, *queue;
	int64_t retries;
	instant due;
	const char *properties, *body;	/* the message: JSON, and its body */
};

/* Keep N of them; one that is there already stays as it is. */
void task_say_delay(struct pg *, const struct delayed_task *, size_t n);

/* Up to N that are due: nobody else gets them for a LEASE.  And the time until
 * the next one. */
void task_say_due(struct pg *, span lease, int n);
size_t task_count_due(const struct pg_answer *);
/* Its texts are the answer's. */
void task_read_due(const struct pg_answer *, size_t i, struct delayed_task *);
span task_read_next(const struct pg_answer *);		/* -1: there is none */

/* They are sent: not delayed any more. */
void task_say_sent(struct pg *, const int64_t *ids, size_t n);

/* Remember it, and forget those of long ago. */
void task_say_revoke(struct pg *, const char *const *ids, size_t n);
/* All that are remembered, the oldest first: the answer's first column. */
void task_say_revoked(struct pg *);

#endif
