/* What a cycle has to do: the due events, and all that they need, as jobs. */
#ifndef STORE_PLAN_H
#define STORE_PLAN_H

#include <libpq-fe.h>
#include <stdint.h>

struct err;

/* Write the jobs of RUN, which is in the books, within the transaction that is open:
 * of AGENT's events that are due at the run's as_of or, if EVENTS (an array of
 * PostgreSQL, as text) is not NULL, of just these; QUEUE is for the variables that
 * name none.  0 with how many *JOBS that are, or -1 with ERR. */
int plan_write(PGconn *, int64_t run, const char *agent, const char *events,
    const char *queue, size_t *jobs, struct err *);

#endif
