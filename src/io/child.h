/* A command with limits: a process group of its own, bounded output.
 *
 * It starts through the hidden step of this program (cli/exec_step.c:
 * parent-death signal, rlimits, then exec; same pid).  Its environment is just
 * what is given, and the mark.  When the leader has exited, the end of the
 * output is awaited for GRACE, then what is left of the group and of its
 * adopted descendants is killed.  ENDED comes when all of that has gone.
 *
 * Descendants that leave the group (setsid, daemons) become children of this
 * process when their parents end, for it is a subreaper.  Whose they are is
 * told by their session, else by their mark (io/process.h), else by their age:
 * one that is older than every command still running belonged to one that has
 * ended.  So a child of this process that was started neither here nor by
 * uv_spawn() is taken for adopted, unless it is older than
 * child_adopt_descendants(). */
#ifndef IO_CHILD_H
#define IO_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/clock.h"

struct child;
struct err;
struct loop;

/* Of each process of the command, as setrlimit(2) has them; 0: none of ours. */
struct child_limits {
	int64_t memory, file_size;	/* bytes: AS, FSIZE */
	int64_t files, processes;	/* NOFILE, NPROC: the latter of the user */
	span cpu;			/* CPU, in whole seconds */
};

struct child_settings {
	const char *shell;		/* "/bin/sh"; runs "shell -c command" */
	const char *command;
	const char *mark;		/* of the job, for people who look at processes */
	const char *const *environment;	/* "NAME=value", NULL at the end */
	const char *input;		/* on standard input, then its end */
	size_t input_len;
	span soft, hard;		/* 0: no such limit */
	span grace;
	size_t max_output;		/* of standard output; more is a failure */
	struct child_limits limits;
};

/* Of standard error only the end is kept; more than this is a failure too. */
#define CHILD_MAX_ERRORS ((size_t)64 * 1024 * 1024)

struct child_end {
	const struct child_settings *settings;	/* limits; its texts are gone */
	bool soft_limit, hard_limit;	/* which limit struck */
	bool too_large;			/* more than max_output */
	bool errors_too_large;		/* more than CHILD_MAX_ERRORS */
	int unread, errors_unread;	/* errno: why one of them cannot be read */
	int status;			/* exit status, or -1 */
	int signum;			/* the signal that ended it, or 0 */
	const char *output;		/* lent, NUL behind it */
	size_t output_len;
	const char *errors;		/* the end of standard error (4 KiB), NUL behind it */
	size_t errors_len;
};

/* Why that is a failure: "exit status 7: <end of standard error>", "soft time
 * limit (1s) exceeded" ..., at most CHILD_MAX_TEXT bytes, no NUL within; the
 * caller frees.  NULL: it is none. */
#define CHILD_MAX_TEXT 4096
char *child_failure(const struct child_end *);

/* NULL with ERR (ERR_TEMPFAIL: no process or descriptor is to be had now). */
struct child *child_start(struct loop *, const struct child_settings *,
    void (*ended)(void *arg, const struct child_end *), void *arg, struct err *);
/* SIGNUM to its group; what becomes of it ENDED tells. */
void child_signal(struct child *, int signum);

/* SIGKILL to all of it; ENDED does not come.  What has to be reaped is reaped
 * by the loop, or by loop_free(). */
void child_kill(struct child *);

/* Once in a daemon's life, before any child: become the subreaper, and ignore
 * SIGPIPE.  The first child_start() does it where nobody has. */
void child_adopt_descendants(void);

/* Which program has the hidden step, where it is not this one (in tests). */
void child_program(const char *path);

#endif
