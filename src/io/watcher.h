/* A small process beside this one, which kills its commands when it dies.
 *
 * It holds the read end of a pipe whose write end is ours: every command says
 * its process group there before it begins, we say when it has gone, and the
 * end of the pipe means that we are dead.  Then the watcher kills the groups
 * that are left, and whatever else bears our mark. */
#ifndef IO_WATCHER_H
#define IO_WATCHER_H

#include <stdbool.h>
#include <sys/types.h>

struct err;

/* The end to be inherited by a command that is about to start; starts the
 * watcher when there is none.  -1 with ERR (ERR_TEMPFAIL). */
int watcher_pipe(const char *program, const char *token, struct err *);
void watcher_add(pid_t group);
void watcher_forget(pid_t group);
/* Has the watcher itself died?  It is reaped; start another, and add to it. */
bool watcher_died(void);
bool watcher_is(pid_t);

/* The watcher's own life, on standard input. */
void watcher_live(const char *token);

#endif
