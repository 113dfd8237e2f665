/* What jobs have come to, written down: the statements of one settling.
 *
 * A settling is one transaction in two or more rounds on a connection of its
 * own.  settle_say_outcomes() locks the runs, stores outcomes, values, history
 * and standing columns, counts down, and asks what may be fired;
 * settle_say_end() queues what is fired, moves events, makes signals and
 * deliveries, closes runs, commits.  Between them the engine decides. */
#ifndef STORE_SETTLE_H
#define STORE_SETTLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/vec.h"
#include "model/model.h"
#include "store/claim.h"
#include "store/delivery.h"

struct outcome {
	struct job_key key;
	enum kind kind;
	char *name;
	int fence;			/* -1: a waiting job that is skipped */
	enum job_state state;		/* JOB_DONE, JOB_FAILED, JOB_SKIPPED */
	enum reason reason;
	char *error;
	char *value;			/* JSON text, or NULL */
	enum truth truth;
	char *note;			/* what else there is to say, or NULL */
	int attempts;			/* how often it was claimed; 0: never, or not known */
	bool is_answer;			/* of another's worker: only for what he was asked */
};
void outcome_done(struct outcome *);

/* A waiting job downstream of what has just settled, that may be ready. */
struct candidate {
	struct job_key key;
	enum kind kind;
	char *name;
	int64_t version;
	int unsettled;
	bool succeeded;
	char *stale;			/* of an evidence: its stale inputs, or NULL */
	VEC(struct input) inputs;	/* of an event that is not simply ready */
};

/* The row of an event whose job has just settled as done; locked. */
struct standing {
	struct job_key key;
	int64_t version;
	int event;			/* its id */
	struct event_standing before;
	bool same_schedule;		/* as when the run was planned */
	instant dtstart, as_of;
	enum truth truth;
};

struct settled {			/* what one round came to */
	VEC(struct job_key) ours;	/* outcomes that were stored; others came late */
	VEC(struct candidate) candidates;
	VEC(struct standing) standings;
};
void settled_done(struct settled *);

/* What follows belongs to the transaction that the first round began.  If the
 * connection was lost and made again meanwhile there is none, and these two fail
 * outside of one, and all behind them with them. */
enum { SETTLE_GUARD_STATEMENTS = 2 };
void settle_say_guard(struct pg *);

/* FIRST says begin and locks before. */
void settle_say_outcomes(struct pg *, const struct outcome *, size_t n, bool first);
void settle_read_outcomes(const struct pg_answer *, bool first, struct settled *);

struct moved {				/* an event, after its evaluation */
	struct job_key key;
	int event;
	int64_t version;
	struct event_standing after;
	bool keep_schedule;		/* leave next_call, hold and as_of alone */
	instant next_call;
	char *note;			/* about the hold, or NULL */
};
struct run_count {
	int64_t run;
	int settled, failed;
};
void moved_done(struct moved *);
/* Deliveries are sent again when nobody has taken them for a LEASE. */
void settle_say_end(struct pg *, const struct job_key *fired, size_t n_fired,
    const struct moved *, size_t n_moved, const struct run_count *, size_t n_counts,
    span lease);

struct fired_job {
	struct job_key key;
	enum kind kind;
	char *queue, *name;
};
struct fired_jobs {
	struct fired_job *at;
	size_t n, room;
};
struct run_end {
	int64_t run;
	enum run_state state;
	int unsettled, failed, jobs;
	span took;			/* since it was planned */
};
struct ended {
	struct fired_jobs fired;
	VEC(struct run_end) runs;
	struct delivery_keys deliveries;	/* that were made */
};
/* Where a former settling of these jobs was not answered: what it had fired, if
 * it was committed.  To be asked before they are settled again. */
void settle_say_fired_before(struct pg *, const struct job_key *, size_t n);
void settle_read_fired_before(const struct pg_answer *, struct ended *);

void fired_jobs_done(struct fired_jobs *);
void settle_read_end(const struct pg_answer *, struct ended *);
void ended_done(struct ended *);

#endif
