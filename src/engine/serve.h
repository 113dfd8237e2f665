/* The worker as a daemon: consumes job messages until it is told to stop. */
#ifndef ENGINE_SERVE_H
#define ENGINE_SERVE_H

#include <stdbool.h>
#include <stddef.h>
#include "model/states.h"

struct conf;
struct err;

struct serve_settings {
	const struct conf *conf;
	const char *const *queues;
	size_t n_queues;
	bool allowed[EXECUTOR_COUNT];
	int process;			/* which of several, see processes.c: only SIGQUIT
					 * hurries it; 0: the only one */
	/* SIGHUP: change CONF in place.  False: nothing has changed. */
	bool (*reload)(void *arg);
	void *arg;
};

/* Returns 0 after SIGTERM, SIGINT or SIGQUIT; one of several that remote control has
 * stopped, PROCESS_LEFT.  Servers that are away are waited for;
 * -1 with ERR for what waiting does not mend. */
int worker_serve(const struct serve_settings *, struct err *);

#endif
