/* A command with limits: a process group of its own, bounded output.
 *
 * It starts through the hidden step of this program (cli/exec_step.c:
 * parent-death signal, rlimits, then exec; same pid).  Its environment is just
 * what is given.  When the leader has exited, the end of the output is awaited
 * for GRACE, then what is left of the group and of its adopted descendants is
 * killed. */
#ifndef IO_CHILD_H
#define IO_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include "base/clock.h"

struct child;
struct err;
struct loop;

struct child_settings {
	const char *shell;		/* "/bin/sh"; runs "shell -c command" */
	const char *command;
	const char *const *environment;	/* "NAME=value", NULL at the end */
	const char *input;		/* on standard input, then its end */
	size_t input_len;
	span soft, hard;		/* 0: no such limit */
	span grace;
	size_t max_output;		/* of standard output; more is a failure */
};

struct child_end {
	bool soft_limit, hard_limit;	/* which limit struck */
	bool too_large;			/* more than max_output */
	int status;			/* exit status, or -1 */
	int signum;			/* the signal that ended it, or 0 */
	const char *output;		/* lent, NUL behind it */
	size_t output_len;
	const char *errors;		/* the end of standard error (4 KiB) */
	size_t errors_len;
};

/* NULL with ERR (ERR_TEMPFAIL) where no process can be had. */
struct child *child_start(struct loop *, const struct child_settings *,
    void (*ended)(void *arg, const struct child_end *), void *arg, struct err *);
void child_kill(struct child *);	/* SIGKILL to all of it; ENDED does not come */

/* Once in a daemon's life, before any child: become the subreaper. */
void child_adopt_descendants(void);

#endif
