/* The processes of this machine, as /proc tells them. */
#ifndef IO_PROCESS_H
#define IO_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Stands in the environment of every command, and so in that of whatever it
 * starts: TOCSIN_JOB=<job>/<token of the process that started it>-<number>. */
#define PROCESS_MARK "TOCSIN_JOB"
#define PROCESS_MARK_MAX 256

struct process {
	pid_t pid, parent, group, session;
	bool dead;		/* a zombie */
	int64_t born;		/* ticks since boot, as process_ticks() counts */
};

/* Show them one by one.  -1 where /proc cannot be read (no descriptor). */
int process_each(void (*show)(void *arg, const struct process *), void *arg);

/* The mark in the environment with which PID was started, or "" (it has none,
 * has written over it, or is not ours to read).  Returns BUF. */
const char *process_mark(pid_t, char buf[PROCESS_MARK_MAX]);

/* Take the exit of a child that has ended; false: it has not. */
bool process_bury(pid_t);

int64_t process_ticks(void);		/* now */

#endif
