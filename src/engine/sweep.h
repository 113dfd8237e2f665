/* The sweep: leases that nobody renews, and messages that were lost. */
#ifndef ENGINE_SWEEP_H
#define ENGINE_SWEEP_H

#include <stdbool.h>

struct sweeping;
struct worker;

struct sweeping *sweeping_new(struct worker *);
void sweeping_free(struct sweeping *);

/* Of the worker's timer, or at once; nothing while one is under way.  It starts
 * the timer again when it is over. */
void sweep_begin(void *worker);
bool sweep_is_over(const struct sweeping *);
/* The last one that is over has found out all that it had to know of the broker:
 * what it left unsent was not lost. */
bool sweep_has_seen_all(const struct sweeping *);

#endif
