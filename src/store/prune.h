/* Forgetting: what ended before a day. */
#ifndef STORE_PRUNE_H
#define STORE_PRUNE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include "base/clock.h"

struct err;

struct pruned {
	instant before;			/* a midnight, UTC */
	int days;			/* partitions of history dropped */
	long runs, jobs, signals, deliveries, versions;
};

/* Remove what ended before now - AGE, in whole UTC days: history by partition,
 * the rest by ranges of the key; nothing of an open run nor of a pending
 * delivery.  DRY: count, and change nothing.  May be stopped and repeated. */
int prune(PGconn *, span age, bool dry, struct pruned *, struct err *);

#endif
