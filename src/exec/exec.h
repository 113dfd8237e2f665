/* How a value is computed: each executor answers "what is the value?".
 *
 * An executor cannot settle a job; it knows neither books nor messages.  All
 * of them work on the loop: start, then one call of FINISHED.  The soft limit
 * cancels (PQcancel, SIGTERM), the hard limit kills (connection closed, SIGKILL
 * to the group); both count from the start. */
#ifndef EXEC_EXEC_H
#define EXEC_EXEC_H

#include <stdbool.h>
#include <stddef.h>
#include "base/clock.h"
#include "model/model.h"

struct conf;
struct loop;
struct hands;			/* the executors of a process: pools, limits */
struct exec;			/* one measurement under way */

/* ALLOWED: which executors may be used here. */
struct hands *hands_new(struct loop *, const struct conf *,
    const bool allowed[EXECUTOR_COUNT]);
void hands_free(struct hands *);	/* kills what still runs */
/* "sql,shell,celery" into ALLOWED; "" or NULL leaves it as it is. */
int hands_parse_allowed(const char *list, bool allowed[EXECUTOR_COUNT], struct err *);

struct exec_task {
	const char *name;		/* of the variable, for messages */
	const struct variable *variable;	/* lent until FINISHED */
	instant now;			/* T */
	const char *key;		/* of the job: marks its processes */
	/* A Celery client's task: its arguments as JSON.  What a command answers may
	 * then be any JSON that Python reads.  NULL: those of the variable. */
	const char *input;
};

struct exec_outcome {
	enum reason reason;		/* REASON_OK, or why it failed */
	char *value;			/* JSON text, at most max_value bytes; lent until FINISHED returns */
	char *error;			/* what went wrong, at most 4 KiB; lent until FINISHED returns */
};

/* FINISHED is called once, from the loop, never from exec_start() itself. */
struct exec *exec_start(struct hands *, const struct exec_task *,
    void (*finished)(void *arg, const struct exec_outcome *), void *arg);
/* Send its process group a signal, or cancel its query: FINISHED tells the end.
 * False: there is nothing that could be told, kill it. */
bool exec_signal(struct exec *, int signum);
/* End it now, hard; FINISHED is not called any more. */
void exec_kill(struct exec *);

#endif
