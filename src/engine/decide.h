/* What an evidence or an event comes to: pure work between two reads. */
#ifndef ENGINE_DECIDE_H
#define ENGINE_DECIDE_H

#include "engine/versions.h"
#include "store/claim.h"
#include "store/settle.h"

/* Fill in state, reason, error, value and truth of OUT, of an evidence or an event. */
void decide(const struct version *, const struct claimed *, struct outcome *out);

/* May this waiting job be evaluated now (JOB_QUEUED), never (JOB_SKIPPED), or
 * not yet (JOB_WAITING)?  An event is ready as soon as its truth can no longer
 * change; one that says what unknown does to it may do without an input that
 * succeeded.  VERSION may be NULL where it is not needed. */
bool decide_needs_definition(const struct candidate *);
enum job_state decide_ready(const struct version *, const struct candidate *);

/* Where an event stands after its evaluation.  moved_done() is the caller's. */
int decide_move(const struct version *, const struct standing *, struct moved *,
    struct err *);

#endif
