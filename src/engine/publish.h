/* Messages out, and the debts that are paid when they are confirmed. */
#ifndef ENGINE_PUBLISH_H
#define ENGINE_PUBLISH_H

#include <stddef.h>
#include "store/settle.h"
#include "wire/wire.h"

struct worker;

/* Send jobs (of the plan, of a settling, of the sweep).  When all are confirmed,
 * DONE is called (may be NULL); what is not confirmed is sent again.  SENT is
 * false when the worker ends before that. */
void publish_jobs(struct worker *, const struct fired_job *, size_t n,
    void (*done)(void *arg, bool sent), void *arg);
/* The same of deliveries, and of both, to the default queue. */
void publish_deliveries(struct worker *, const struct delivery_keys *);
void publish_ended(struct worker *, const struct ended *,
    void (*done)(void *arg, bool sent), void *arg);
void publish_unsent(struct worker *);
void publish_forget(struct worker *);	/* all of that: the worker ends */

/* One job of M is settled (or is none of ours): the last acknowledges M. */
void publish_release(struct worker *, struct message *m);

#endif
