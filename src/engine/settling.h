/* One settling between its files: settle.c says and hears, settle_decide.c knows
 * what it means, settle_facts.c what that is decided from, settle_fetch.c gets it,
 * settle_reason.c knows what a signal tells of it. */
#ifndef ENGINE_SETTLING_H
#define ENGINE_SETTLING_H

#include "engine/facts.h"
#include "engine/worker.h"

enum stage {
	IDLE,
	STORING,		/* a round of outcomes is under way */
	STORED,			/* its answer is there */
	STANDING,		/* all is stored: the other standing values, and events' states */
	STOOD,			/* those are there */
	MOVED,			/* the events have moved; what is told of it? */
	FETCHING,		/* definitions and facts that the stage before needs */
	ENDING,			/* the last statements and the commit */
	ROLLING_BACK,
};

struct settling {
	enum stage stage;
	struct flights batch;
	size_t size;			/* how many of a batch to take at once */
	int tries;			/* of this batch, after deadlocks */
	struct ended before;		/* what a commit had fired that was not answered */
	struct facts *facts;		/* of former ones */
	unsigned connection;		/* that they were seen on */
	/* Of the transaction: */
	bool first;			/* no round is answered yet */
	VEC(struct outcome) round;	/* in the order of their keys; lent from the batch or: */
	VEC(struct outcome) derived;	/* what was skipped or decided at once, owned */
	size_t at_once;			/* how many more may be decided */
	VEC(struct run_instant) runs;
	VEC(struct fact) known;		/* done in this transaction, or found to be done */
	size_t known_sorted;		/* how many of them are in the order of their keys */
	int standing;			/* the first kind whose standing values are not said */
	bool with_standings;		/* those of events are said with the round */
	int may_read;			/* how often facts may still be read in this stage */
	bool reads;			/* they are, now */
	VEC(int64_t) asked;		/* versions that are asked for, now */
	enum stage then;		/* after FETCHING */
	struct settled settled;		/* the present answer */
	VEC(struct fired) fired;
	struct job_keys done[EVENT + 1];	/* by us, by kind: the fence let them through */
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

/* What is done: others may need it.  What STORED holds is taken. */
void settle_know(struct settling *, const struct outcome *, struct stored *);
/* What was read: what of that is done is known from now on. */
void settle_keep_facts(struct settling *);
/* Once it is committed: what was known is remembered. */
void settle_remember(struct settling *);
/* Known, remembered or read; lent while the transaction lasts.  NULL: none of that. */
const struct fact *settle_find_fact(struct settling *, struct job_key);
instant settle_instant(const struct settling *, int64_t run);

/* True when all is at hand that the stage needs; else it is asked for, within the
 * transaction, and the stage is FETCHING until that is there. */
bool settle_have_all(struct worker *);
/* The transaction has failed: it is rolled back, and the batch tried again. */
void settle_fail(struct worker *, const struct pg_answer *);

/* Facts to be read, each once.  The array is the caller's. */
struct wanted_facts {
	struct wanted_fact *at;
	size_t n, room;
};
/* Add it unless it is at hand; settle_sort_wanted() when all are. */
void settle_want(struct settling *, struct wanted_facts *, struct job_key, bool value);
void settle_sort_wanted(struct wanted_facts *);
/* What the candidates are decided from. */
void settle_want_inputs(struct worker *, struct wanted_facts *);
/* Fill in the inputs of a candidate, lent from facts and from its definition, which
 * may be NULL. */
void settle_give_inputs(struct settling *, struct candidate *, const struct version *);

/* What the events that give a signal were decided from, as far as that is at hand;
 * and the versions of definitions that tell of it, by EACH. */
void settle_want_reasons(struct settling *, struct wanted_facts *);
void settle_each_reason_version(struct settling *, void (*each)(void *arg, int64_t version),
    void *arg);
/* Fill in their decided_by. */
void settle_tell_reasons(struct worker *);
/* Once it is committed: what people want to know of it. */
void settle_tell(struct worker *, const struct ended *);

#endif
