/* spawn.c - start a command through the hidden step of the program.
 *
 * posix_spawn() and not fork(): a worker's memory is not copied, and what a
 * forked process may do before it execs is next to nothing. */
#include "io/spawn.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <unistd.h>
#include "base/vec.h"
#include "io/child.h"
#include "io/process.h"

/* A pipe with our end non-blocking, and neither where a standard descriptor
 * will be wanted. */
static int
make_pipe(int *ours, int *theirs, bool we_read)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		return -1;
	for (int i = 0; i < 2; i++)
		if (ends[i] <= 3) {
			int high = fcntl(ends[i], F_DUPFD_CLOEXEC, 4);

			if (high < 0) {
				close(ends[0]);
				close(ends[1]);
				return -1;
			}
			close(ends[i]);
			ends[i] = high;
		}
	*ours = ends[we_read ? 0 : 1];
	*theirs = ends[we_read ? 1 : 0];
	fcntl(*ours, F_SETFL, O_NONBLOCK);
	return 0;
}

static void
close_pipes(int ours[3], int theirs[3])
{
	for (int i = 0; i < 3; i++) {
		if (ours[i] >= 0)
			close(ours[i]);
		if (theirs[i] >= 0)
			close(theirs[i]);
		ours[i] = theirs[i] = -1;
	}
}

static int
make_pipes(int ours[3], int theirs[3])
{
	for (int i = 0; i < 3; i++)
		ours[i] = theirs[i] = -1;
	for (int i = 0; i < 3; i++)
		if (make_pipe(&ours[i], &theirs[i], i > 0)) {
			int why = errno;

			close_pipes(ours, theirs);
			return why;
		}
	return 0;
}

static int
spawn(const char *program, const struct child_settings *settings, const char *mark,
    const int fds[3], int watcher, pid_t *pid)
{
	VEC(char *) environment = { 0 };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t every, none;
	const struct child_limits *l = &settings->limits;
	char text[PROCESS_MARK_MAX + sizeof PROCESS_MARK];
	char parent[24], limits[128], *argv[] = { (char *)"tocsin", (char *)"__exec", parent,
		limits, (char *)settings->shell, (char *)settings->command, NULL };
	int rc;

	snprintf(text, sizeof text, PROCESS_MARK "=%s", mark);
	snprintf(parent, sizeof parent, "%d", (int)getpid());
	snprintf(limits, sizeof limits, "%lld,%lld,%lld,%lld,%lld", (long long)l->memory,
	    (long long)l->file_size, (long long)l->files, (long long)l->processes,
	    (long long)((l->cpu + SECOND - 1) / SECOND));
	for (size_t i = 0; settings->environment && settings->environment[i]; i++)
		vec_push(&environment, (char *)settings->environment[i]);
	vec_push(&environment, text);
	vec_push(&environment, NULL);
	sigfillset(&every);
	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	for (int i = 0; i < 3; i++)
		posix_spawn_file_actions_adddup2(&actions, fds[i], i);
	posix_spawn_file_actions_adddup2(&actions, watcher, 3);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID |
	    POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigdefault(&attr, &every);
	posix_spawnattr_setsigmask(&attr, &none);
	rc = posix_spawn(pid, program, &actions, &attr, argv, environment.at);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	vec_done(&environment);
	return rc;
}

int
spawn_command(const char *program, const struct child_settings *settings, const char *mark,
    int watcher, int ours[3], pid_t *pid)
{
	int theirs[3], rc = make_pipes(ours, theirs);

	if (rc)
		return rc;
	if ((rc = spawn(program, settings, mark, theirs, watcher, pid))) {
		close_pipes(ours, theirs);
		return rc;
	}
	for (int i = 0; i < 3; i++)
		close(theirs[i]);
	return 0;
}
