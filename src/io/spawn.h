/* A command's first moment: pipes, and a process in a session of its own. */
#ifndef IO_SPAWN_H
#define IO_SPAWN_H

#include <sys/types.h>

struct child_settings;

/* PROGRAM has the hidden step, WATCHER is inherited by it, MARK stands in the
 * command's environment (io/process.h).  OURS are its input, output and errors at
 * our end, without blocking.  Returns 0, or errno's number. */
int spawn_command(const char *program, const struct child_settings *, const char *mark,
    int watcher, int ours[3], pid_t *);

#endif
