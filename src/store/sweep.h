/* The sweep: jobs whose lease has run out, and messages that were lost. */
#ifndef STORE_SWEEP_H
#define STORE_SWEEP_H

#include <stdint.h>
#include "base/clock.h"
#include "base/vec.h"
#include "store/settle.h"

enum { ATTEMPTS_MAX = 3 };	/* lost claims of one job, then it is failed */

struct swept {
	struct fired_jobs again;	/* to be sent again */
	VEC(struct outcome) lost;	/* to be settled as failed, reason lost */
};

/* Of RUN alone, or of every open run where it is 0.  Rows are taken with SKIP
 * LOCKED and stamped, so that of many sweepers one sends a job again. */
void sweep_say(struct pg *, int64_t run, span lease);
void sweep_read(const struct pg_answer *, struct swept *);
void swept_done(struct swept *);

#endif
