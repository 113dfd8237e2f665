/* Several processes that do the same work, and the one that watches them.
 *
 * The watching one, the parent, has no connections of its own.  A process that
 * ends without having been told to is replaced, with back-off; SIGTERM and
 * SIGINT to the parent stop all of them, as they stop one; SIGHUP is passed on.
 * When the parent dies they get SIGTERM. */
#ifndef ENGINE_PROCESSES_H
#define ENGINE_PROCESSES_H

#include <stdbool.h>

struct processes_settings {
	int n;
	/* SIGHUP has come; false: it is not passed on. */
	bool (*reload)(void *arg);
	void *arg;
};

/* A process that was told to leave by somebody else than the parent exits with
 * this, and is not replaced. */
enum { PROCESS_LEFT = 100 };

/* Returns many times: in each of the processes with its number in *CHILD, from 1,
 * and the status to be ignored; in the parent with the exit status, when all have left.  The
 * four signals SIGTERM, SIGINT, SIGQUIT and SIGHUP are blocked in a child: it
 * lets them come when it has its handlers (loop_let_signals()). */
int processes_run(const struct processes_settings *, int *child);

#endif
