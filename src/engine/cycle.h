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
};

/* Make a cycle, or resume the one that stands still (with BUSY_WAIT then make
 * one all the same), and run it to its end in this process; then attempt the deliveries that are due. -1 with ERR. */
int cycle_run_local(const struct conf *, const struct cycle_request *, struct run_row *run,
    enum cycle_end *, struct err *);

#endif
