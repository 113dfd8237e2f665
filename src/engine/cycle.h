/* A cycle, from its birth to its end. */
#ifndef ENGINE_CYCLE_H
#define ENGINE_CYCLE_H

#include <stdbool.h>
#include "model/states.h"
#include "store/run.h"

struct conf;
struct err;

enum if_busy { BUSY_SKIP, BUSY_FAIL, BUSY_WAIT };

struct cycle_request {
	struct plan_request plan;
	enum if_busy if_busy;
	bool allowed[EXECUTOR_COUNT];
	/* Told what happens, for a progress bar; may be NULL. */
	void (*progress)(void *arg, const struct run_row *);
	void *arg;
};

enum cycle_end {
	CYCLE_ENDED,		/* RUN is how it ended */
	CYCLE_RESUMED,		/* the same, of one that had stood still: none was made */
	CYCLE_BUSY,		/* RUN is the open cycle of this agent */
	CYCLE_KNOWN,		/* RUN was made when its origin asked before */
};

/* Make a cycle, or resume the one that stands still (with BUSY_WAIT then make
 * one all the same), and run it to its end in this process; then attempt the deliveries that are due. -1 with ERR. */
int cycle_run_local(const struct conf *, const struct cycle_request *, struct run_row *run,
    enum cycle_end *, struct err *);

/* Make a cycle, or resume the one that stands still, and publish its first
 * messages: when the broker has confirmed them it is STARTED, and workers do
 * the rest.  WAIT: follow it to its end.  -1 with ERR, of class ERR_TEMPFAIL
 * when the broker cannot be reached; then the cycle stays open, and the next
 * call that finds it standing still resumes it. */
int cycle_run_remote(const struct conf *, const struct cycle_request *, bool wait,
    struct run_row *run, enum cycle_end *, struct err *);

/* Of both: the plan is committed, or the open cycle found, when this is 0. */
int cycle_make_or_find(PGconn *, const struct conf *, const struct cycle_request *,
    struct run_row *, enum cycle_end *, struct err *);
bool cycle_is_closed(enum run_state);

#endif
