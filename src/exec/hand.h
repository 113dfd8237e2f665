/* What a hand (an executor) is to exec.c: two functions, and one call back.
 *
 * START begins the measurement and returns at once; what it keeps stands in
 * exec->own.  It ends with one exec_finish(), which may even come from START
 * itself.  KILL ends a measurement that has not finished, hard and silently.
 * The limits are the executor's to keep: only it knows how to cancel. */
#ifndef EXEC_HAND_H
#define EXEC_HAND_H

#include "exec/exec.h"

struct hand {
	void (*start)(struct exec *);
	void (*kill)(struct exec *);
	bool (*signal)(struct exec *, int signum);	/* NULL: it cannot be told anything */
};

extern const struct hand exec_sql, exec_shell, exec_celery;

struct hands {
	struct loop *loop;
	const struct conf *conf;
	bool allowed[EXECUTOR_COUNT];
	struct exec *first;		/* all that is under way */
	struct pool *pool;		/* of measuring connections (exec/pool.h) */
};

struct exec {
	struct hands *hands;
	const struct hand *hand;
	char *name, *key, *input;
	const struct variable *variable;
	instant now;
	void *own;
	struct exec_outcome outcome;
	struct timer *tell;		/* runs once the outcome is known */
	void (*finished)(void *, const struct exec_outcome *);
	void *arg;
	struct exec *next;
};

#define EXEC_MAX_ERROR 4096

/* The outcome: VALUE (JSON text, for REASON_OK) or ERROR; both are taken. */
void exec_finish(struct exec *, enum reason, char *value, char *error);
void exec_fail(struct exec *, enum reason, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* "soft time limit (1s) exceeded" */
void exec_fail_limit(struct exec *, bool hard);

#endif
