/* Measuring connections, each lent to one measurement at a time.
 *
 * One that was lent is given back clean (nothing of the last measurement is
 * left in the session) or not at all.  Up to `concurrency` of them wait for
 * the next, and not for longer than a minute. */
#ifndef EXEC_POOL_H
#define EXEC_POOL_H

#include <stdbool.h>
#include "model/model.h"

/* What the server itself allows a statement in these sessions: more than our own
 * limit, for the day when nobody is here to cancel. */
#define POOL_TIMEOUT(hard) ((hard) + 2 * SECOND)
#define POOL_STATEMENT_TIMEOUT POOL_TIMEOUT(HARD_LIMIT)

struct conf;
struct loop;
struct pg;
struct pool;

struct pool *pool_new(struct loop *, const struct conf *);
void pool_free(struct pool *);		/* and all that wait in it */

struct pg *pool_take(struct pool *);	/* connected or not; the caller's now */
/* The last statements of a group: where all of it goes well the connection is clean. */
void pool_say_cleaning(struct pg *);
/* Give it back, CLEAN or in whatever transaction: then it is rolled back and cleaned. */
void pool_put(struct pool *, struct pg *, bool clean);
/* Close it, even in the midst of something; nothing is called any more. */
void pool_drop(struct pool *, struct pg *);
/* Close those that wait: somebody else needs their descriptors. */
void pool_let_go(struct pool *);

#endif
