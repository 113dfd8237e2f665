/* What is done about a signal: one attempt of one delivery.
 *
 * A reaction leaves the machine, so it is delivered at least once, with one
 * key.  An attempt has a time limit and one answer; the row of the delivery,
 * its retries and back-off belong to the engine. */
#ifndef REACT_REACT_H
#define REACT_REACT_H

#include <stdbool.h>
#include "model/model.h"

struct conf;
struct loop;
struct pg;
struct transport;
struct attempt;

struct react_task {
	const struct reaction *reaction;	/* lent until FINISHED */
	const char *event, *signal, *level;	/* the signal's text */
	const char *cycle;			/* the run's id */
	const char *key;			/* idempotency key */
	const char *payload;			/* the whole signal, as JSON */
};

/* BOOKS carries NOTIFY, BROKER (NULL: there is none) tasks.  ERROR is NULL when it
 * was delivered.  FINISHED is called once, from the loop, never from react_start()
 * itself; not BEGUN when the machine had nothing to begin with (no process, no
 * descriptor, no broker): that was no attempt, and ERROR says what is missing. */
struct attempt *react_start(struct loop *, const struct conf *, struct pg *books,
    struct transport *broker, const struct react_task *,
    void (*finished)(void *arg, const char *error, bool begun), void *arg);
void react_kill(struct attempt *);		/* FINISHED is not called any more */

#endif
