/* How much work a worker keeps at hand, by how long a variable occupies it.
 *
 * Quick variables come in hundreds, so that many are settled in one transaction;
 * of slow ones nobody keeps more than he will soon begin, for another worker
 * might have a hand free.  Who says prefetch himself has said it all. */
#ifndef ENGINE_PACE_H
#define ENGINE_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/clock.h"

struct pace;
struct worker;

struct pace *pace_new(struct worker *);
void pace_free(struct pace *);

/* A variable has taken so long. */
void pace_note(struct pace *, span took);
/* How many variables may be claimed beyond those for which a hand is free. */
size_t pace_ahead(const struct pace *);
/* How many unacknowledged messages it wants of each queue, LEAST or more. */
uint16_t pace_prefetch(const struct pace *, uint16_t least);
/* Something has arrived: what it should not keep for long goes back, if it must. */
void pace_look(struct pace *);

#endif
