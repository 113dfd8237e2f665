/* Runs as rows: what is due, and all that it needs, planned in one transaction. */
#ifndef STORE_RUN_H
#define STORE_RUN_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/clock.h"
#include "model/states.h"
#include "store/settle.h"

struct err;
struct pg;

struct plan_request {
	const char *agent;
	const char *const *events;	/* just these, due or not; or NULL */
	size_t n_events;
	instant at;			/* T, or INSTANT_NEVER: the database's now */
	bool force;			/* T may lie in the future */
	const char *origin;		/* unique, or NULL */
	const char *queue;		/* the default queue */
};

/* A run as it stands. */
struct run_row {
	int64_t id;
	char agent[64];
	enum run_state state;
	instant as_of, created_at, finished_at;	/* INSTANT_NEVER: not finished */
	int jobs, unsettled, failed;
	bool stalled;			/* no claim, settling or renewal for a lease */
};

/* Make a cycle and all its jobs, committed when this returns 0.  Where the
 * agent has an open cycle already, *BUSY is set and nothing is made. */
int run_plan(PGconn *, const struct plan_request *, struct run_row *made, bool *busy,
    struct err *);

/* The agent's open cycle into *OPEN; 1 if there is one, 0 if not, -1. */
int run_find_open(PGconn *, const char *agent, span lease, struct run_row *open,
    struct err *);
/* The run that was made for ORIGIN; the same. */
int run_find_origin(PGconn *, const char *origin, span lease, struct run_row *, struct err *);

/* The queued jobs of a run, in their order: a fresh plan's first, or what a run
 * that stands still has to send again. */
int run_queued_jobs(PGconn *, int64_t run, struct fired_jobs *, struct err *);

/* Why it does not go on, as WHY tells, for people who ask; a run that is closed has
 * no trouble. */
int run_note_trouble(PGconn *, int64_t run, const char *why, struct err *);

/* On the loop: say the statement, and read what it answered. */
void run_say_started(struct pg *, int64_t run);		/* CREATED becomes STARTED */
void run_say_trouble(struct pg *, const char *why);	/* of all that are open; NULL: it is over */
void run_say_state(struct pg *, int64_t run);
int run_read_state(const PGresult *, struct run_row *);	/* 0, or -1: no such run */

#endif
