/* One settling between its two files: settle.c says and hears, settle_decide.c
 * knows what it means. */
#ifndef ENGINE_SETTLING_H
#define ENGINE_SETTLING_H

#include "engine/worker.h"

enum stage {
	IDLE,
	STORING,		/* a round of outcomes is under way */
	STORED,			/* its answer is there */
	FETCHING,		/* definitions that deciding needs */
	ENDING,			/* the last statements and the commit */
	ROLLING_BACK,
};

struct settling {
	enum stage stage;
	struct flights batch;
	size_t size;			/* how many of a batch to take at once */
	int tries;			/* of this batch, after deadlocks */
	struct ended before;		/* what a commit had fired that was not answered */
	/* Of the transaction: */
	bool first;			/* no round is answered yet */
	VEC(struct outcome) round;	/* lent from the batch, or skips */
	VEC(struct outcome) skipped;	/* all rounds' skips, owned */
	struct settled settled;		/* the present round's answer */
	VEC(struct job_key) fired;
	VEC(struct job_key) failed;	/* by us: the fence let them through */
	VEC(struct moved) moved;
	VEC(struct run_count) counts;
};

/* Once a round's answer is there, and all definitions that it needs. */
void settle_decide_round(struct worker *);
/* Once it is committed: what people want to know of it. */
void settle_tell(struct worker *, const struct ended *);

#endif
