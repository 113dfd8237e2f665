/* What jobs have come to, written down: the statements of one settling.
 *
 * A settling is one transaction in two or more rounds on a connection of its
 * own.  settle_say_outcomes() locks the runs, stores outcomes and history, counts
 * down, and asks what may be fired or decided at once; settle_say_facts() asks what
 * that is decided from; settle_say_standings() writes the standing values and asks
 * for those of events, behind outcomes or alone; settle_say_end() queues what is fired,
 * moves events, makes signals and deliveries, closes runs, commits.  Between them the
 * engine decides. */
#ifndef STORE_SETTLE_H
#define STORE_SETTLE_H

#include <libpq-fe.h>
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
	int fence;			/* -1: a waiting job, skipped or decided at once; */
	int unsettled;			/* then what has settled upstream: see candidate */
	bool succeeded;
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

struct job_ids {			/* of one run */
	int *at;
	size_t n, room;
};

/* An outcome that was stored. */
struct stored {			/* as the books say it */
	struct job_key key;
	char *name;
	int64_t version;
	enum job_state state;
	enum truth truth;
	struct job_ids upstream;
	char *value;			/* of one that is done: JSON text */
	bool is_large;			/* it has a value, but that is not told */
};

/* A waiting job downstream of what has just settled, that may be ready. */
struct candidate {
	struct job_key key;
	enum kind kind;
	char *name;
	int64_t version;
	int unsettled;			/* upstream; 0 is not in the books yet */
	bool succeeded;			/* one of them */
	struct job_ids upstream;
	/* What the engine makes of that: */
	VEC(struct input) inputs;	/* lent */
	bool rest_is_open;		/* an event's inputs that are not at hand */
	bool has_values;		/* of all, so that it can be decided */
	char *stale;			/* of an evidence: its stale inputs, or NULL */
};

/* A job as the books say it: what others are decided from, and what a signal
 * tells of it. */
struct fact {
	struct job_key key;
	enum kind kind;
	char *name;
	int64_t version;
	enum job_state state;
	int reason;			/* an enum reason, or -1: none yet */
	enum truth truth;		/* where it is open, that of an earlier run */
	char *value;			/* JSON text, or NULL */
	bool is_untold;			/* the value: too large, or not asked for */
	instant computed_at;		/* INSTANT_NEVER: it was not */
	char *stale;			/* as of when it is that, or NULL */
	char *note;			/* of an event; is not read */
	struct job_ids upstream;
};
void fact_done(struct fact *);

struct wanted_fact {
	struct job_key key;
	bool value;			/* the value, too */
};

struct fired {
	struct job_key key;
	bool succeeded;			/* something upstream */
	bool is_early;			/* though not all of that has settled */
};

/* The row of an event whose job has just settled as done; locked. */
struct standing {
	struct job_key key;
	int64_t version;
	int event;			/* its id */
	char *name;
	struct event_standing before;
	bool same_schedule;		/* as when the run was planned */
	instant dtstart, as_of;
	enum truth truth;
};

/* When what is settled of a run now is settled. */
struct run_instant {
	int64_t run;
	instant settled_at;
};

struct settled {			/* what one round came to */
	VEC(struct run_instant) runs;	/* told by the first */
	VEC(struct stored) ours;	/* others came late */
	VEC(struct candidate) candidates;
	VEC(struct fact) facts;		/* that were read, in the order of their keys */
	VEC(struct standing) standings;
};
void candidate_done(struct candidate *);
void settled_done(struct settled *);

/* What follows belongs to the transaction that the first round began.  If the
 * connection was lost and made again meanwhile there is none, and these two fail
 * outside of one, and all behind them with them. */
enum { SETTLE_GUARD_STATEMENTS = 2 };
void settle_say_guard(struct pg *);

/* SQL: the instant at which jobs of a run are settled.  Who began before another may
 * have had to wait for that one: it is not earlier. */
#define SETTLED_AT "greatest(now(), written_at)"

/* Statements (up to NULL) that take the runs and ids of these jobs. */
void settle_say_keys(struct pg *, const char *const *statements, const struct job_key *,
    size_t n);

/* FIRST says begin and locks before.  The outcomes of waiting jobs are WORKER's
 * work. */
void settle_say_outcomes(struct pg *, const struct outcome *, size_t n, bool first,
    const char *worker);
void settle_read_outcomes(const struct pg_answer *, bool first, struct settled *);

/* One statement.  What was read before stays. */
void settle_say_facts(struct pg *, const struct wanted_fact *, size_t n);
void settle_read_facts(const PGresult *, struct settled *);

struct job_keys {
	struct job_key *at;
	size_t n, room;
};
/* Of these jobs of a kind, those that this transaction has settled as done: one
 * statement.  That of events has an answer, if it is the last of its group. */
void settle_say_standings(struct pg *, enum kind, const struct job_key *, size_t n);
void settle_read_standings(const struct pg_answer *, struct settled *);

struct moved {				/* an event, after its evaluation */
	struct job_key key;
	int event;
	char *name;
	int64_t version;
	struct event_standing after;
	bool keep_schedule;		/* leave next_call, hold and as_of alone */
	instant next_call;
	char *note;			/* about the hold, or NULL */
	char *decided_by;		/* of its signal, JSON text; NULL: it gives none */
};
struct run_count {
	int64_t run;
	int settled, failed;
};
void moved_done(struct moved *);
/* Which results answer what; -1: it was not asked. */
struct end_said {
	int fired, deliveries, runs;
};
/* Deliveries are sent again when nobody has taken them for a LEASE. */
struct end_said settle_say_end(struct pg *, const struct fired *, size_t n_fired,
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
void settle_read_end(const struct pg_answer *, struct end_said, struct ended *);
void ended_done(struct ended *);

#endif
