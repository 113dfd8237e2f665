/* Measuring connections, each lent to one measurement at a time.
 *
 * One that was lent is given back clean (nothing of the last measurement is
 * left in the session) or not at all.  Up to `concurrency` of them wait for
 * the next, and not for longer than a minute. */
#ifndef EXEC_POOL_H
#define EXEC_POOL_H

struct conf;
struct loop;
struct pg;
struct pool;

struct pool *pool_new(struct loop *, const struct conf *);
void pool_free(struct pool *);		/* and all that wait in it */

struct pg *pool_take(struct pool *);	/* connected or not; the caller's now */
/* Give it back, whatever transaction it is in: it is rolled back and cleaned. */
void pool_put(struct pool *, struct pg *);
/* Close it, even in the midst of something; nothing is called any more. */
void pool_drop(struct pool *, struct pg *);
/* Close those that wait: somebody else needs their descriptors. */
void pool_let_go(struct pool *);

#endif
