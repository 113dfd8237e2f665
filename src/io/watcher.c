/* watcher.c - both ends of the pipe between a process and its watcher.
 *
 * What goes through it are lines, "+1234" and "-1234"; a line is far shorter
 * than PIPE_BUF, so that lines of several writers never mix. */
#include "io/watcher.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/err.h"
#include "base/vec.h"
#include "io/process.h"

/* --- ours --- */

static struct {
	pid_t pid;		/* 0: none */
	int fd;
} watcher;

static int
spawn(const char *program, const char *token, int in)
{
	char *argv[] = { (char *)"tocsin", (char *)"__watch", (char *)token, NULL };
	char *none[] = { NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int rc;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	posix_spawnattr_init(&attr);
	/* In a session of its own: what kills us by group spares it. */
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID);
	rc = posix_spawn(&watcher.pid, program, &actions, &attr, argv, none);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	return rc;
}

int
watcher_pipe(const char *program, const char *token, struct err *err)
{
	int ends[2], rc;

	if (watcher.pid)
		return watcher.fd;
	if (pipe2(ends, O_CLOEXEC))
		return err_class(err, ERR_TEMPFAIL, "cannot start a process: %s",
		    strerror(errno));
	if ((rc = spawn(program, token, ends[0]))) {
		watcher.pid = 0;
		close(ends[0]);
		close(ends[1]);
		return err_class(err, ERR_TEMPFAIL, "cannot start a process: %s",
		    strerror(rc));
	}
	close(ends[0]);
	fcntl(ends[1], F_SETFL, O_NONBLOCK);
	watcher.fd = ends[1];
	return watcher.fd;
}

static void
say(char sign, pid_t group)
{
	char line[24];
	int n = snprintf(line, sizeof line, "%c%d\n", sign, (int)group);
	ssize_t written;

	if (!watcher.pid)
		return;
	do
		written = write(watcher.fd, line, (size_t)n);
	while (written < 0 && errno == EINTR);
	/* A watcher that does not listen any more is no use: have another.
	 * Its death comes back as a SIGCHLD. */
	if (written != n)
		kill(watcher.pid, SIGKILL);
}

void
watcher_add(pid_t group)
{
	say('+', group);
}

void
watcher_forget(pid_t group)
{
	say('-', group);
}

bool
watcher_died(void)
{
	if (!watcher.pid || !process_bury(watcher.pid))
		return false;
	close(watcher.fd);
	watcher.pid = 0;
	return true;
}

bool
watcher_is(pid_t pid)
{
	return pid == watcher.pid;
}

/* --- the watcher's --- */

struct groups {
	pid_t *at;
	size_t n, room;
};

static void
take_line(struct groups *groups, const char *line)
{
	pid_t group = (pid_t)atoi(line + 1);

	if (group <= 1)
		return;
	if (*line == '+') {
		vec_push(groups, group);
		return;
	}
	for (size_t i = 0; i < groups->n; i++)
		if (groups->at[i] == group)
			groups->at[i--] = groups->at[--groups->n];
}

struct hunt {
	const char *token;
	bool found;
};

static void
kill_marked(void *arg, const struct process *p)
{
	struct hunt *hunt = arg;
	char mark[PROCESS_MARK_MAX];

	if (!p->dead && p->pid != getpid() &&
	    strstr(process_mark(p->pid, mark), hunt->token)) {
		hunt->found = true;
		kill(p->pid, SIGKILL);
	}
}

void
watcher_live(const char *token)
{
	const struct timespec pause = { 0, 20 * 1000 * 1000 };
	struct groups groups = { 0 };
	FILE *in = fdopen(0, "r");
	char line[64];

	if (strlen(token) < 16)
		return;		/* every mark would match */
	prctl(PR_SET_NAME, "tocsin-watcher");
	for (int sig = 1; sig < 32; sig++)
		signal(sig, SIG_IGN);	/* it goes when its worker goes */
	while (in && fgets(line, sizeof line, in))
		take_line(&groups, line);

	for (size_t i = 0; i < groups.n; i++)
		kill(-groups.at[i], SIGKILL);
	/* Not only once: somebody may be forking while we look. */
	for (int round = 0; round < 50; round++) {
		struct hunt hunt = { token, false };

		if (process_each(kill_marked, &hunt) == 0 && !hunt.found)
			break;
		nanosleep(&pause, NULL);
	}
	vec_done(&groups);
}
