/* One settling between its files: settle.c says and hears, settle_decide.c knows
 * what it means, settle_inputs.c what candidates are decided from. */
#ifndef ENGINE_SETTLING_H
#define ENGINE_SETTLING_H

#include "engine/worker.h"

enum stage {
	IDLE,
	STORING,		/* a round of outcomes is under way */
	STORED,			/* its answer is there */
	STANDING,		/* all is stored: standing values and events' states */
	STOOD,			/* those are there */
	REASONING,		/* what decided the events that give a signal */
	FETCHING,		/* definitions and inputs that deciding needs */
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
	VEC(struct outcome) round;	/* in the order of their keys; lent from the batch or: */
	VEC(struct outcome) derived;	/* what was skipped or decided at once, owned */
	size_t at_once;			/* how many more may be decided */
	VEC(struct found_input) known;	/* done in this transaction, in the order of keys */
	bool asks_inputs, has_inputs;	/* of the present round's candidates */
	struct settled settled;		/* the present answer */
	VEC(struct fired) fired;
	VEC(struct job_key) done;	/* by us: the fence let them through */
	VEC(struct job_key) failed;	/* likewise */
	VEC(struct moved) moved;
	struct end_said said;
	VEC(struct run_count) counts;
};

/* A round's answer is there: whose outcomes were stored? */
void settle_count_round(struct worker *);
/* Once all definitions and inputs are there that it needs. */
void settle_decide_round(struct worker *);
/* Likewise with the states of events. */
void settle_move_events(struct worker *);

/* What is done: others may need it. */
void settle_know(struct settling *, const struct outcome *, const struct stored *);
/* The inputs of candidates that are not known, each once.  The array is the caller's. */
struct wanted_inputs {
	struct wanted_input *at;
	size_t n, room;
};
struct wanted_inputs settle_want_inputs(struct settling *);
/* Fill in the inputs of a candidate, lent from what is known and found. */
void settle_give_inputs(const struct settling *, struct candidate *);
/* Once it is committed: what people want to know of it. */
void settle_tell(struct worker *, const struct ended *);

#endif
