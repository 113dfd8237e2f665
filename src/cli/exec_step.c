/* exec_step.c - what a command has to have set before it begins.
 *
 * Between fork and exec of a large process there is little that may be done
 * safely, and it holds up the loop.  So a worker only spawns itself; here, in
 * the same process id and with nothing inherited but three pipes, the rest is
 * done, and the shell takes over. */
#include "cli/exec_step.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "io/watcher.h"

#define WATCHER 3		/* the pipe to the watcher */

static void
tell_watcher(void)
{
	char line[24];
	int n = snprintf(line, sizeof line, "+%d\n", (int)getpid());

	/* A full pipe is a watcher that hangs: the worker will replace it, and
	 * names us to the next one. */
	signal(SIGPIPE, SIG_IGN);
	(void)!write(WATCHER, line, (size_t)n);
}

static void
close_the_rest(void)
{
	if (close_range(WATCHER, ~0U, 0) == 0)
		return;
	for (int fd = WATCHER; fd < 65536; fd++)
		close(fd);
}

static void
limit(int resource, rlim_t most)
{
	struct rlimit now;

	if (getrlimit(resource, &now))
		return;
	if (most < now.rlim_cur)
		now.rlim_cur = most;
	/* For good; a second later for SIGXCPU, which tells why, to come first. */
	most += resource == RLIMIT_CPU;
	if (most < now.rlim_max)
		now.rlim_max = most;
	setrlimit(resource, &now);
}

/* In the order in which io/child.c says them; 0 is none. */
static const int resources[] = { RLIMIT_AS, RLIMIT_FSIZE, RLIMIT_NOFILE, RLIMIT_NPROC, RLIMIT_CPU };

static void
limit_all(const char *limits)
{
	for (size_t i = 0; i < sizeof resources / sizeof resources[0]; i++) {
		char *end;
		unsigned long long most = strtoull(limits, &end, 10);

		if (most)
			limit(resources[i], (rlim_t)most);
		limits = end + (*end == ',');
	}
	limit(RLIMIT_CORE, 0);
}

static int
become_command(pid_t parent, const char *limits, const char *shell, const char *command)
{

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)	/* it died before we asked */
		return 1;
	tell_watcher();
	close_the_rest();
	umask(077);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	limit_all(limits);
	execl(shell, shell, "-c", command, (char *)NULL);
	fprintf(stderr, "tocsin: cannot run %s: %s\n", shell, strerror(errno));
	return 127;
}

bool
exec_step_is(int argc, char **argv)
{
	return argc > 1 && (!strcmp(argv[1], "__exec") || !strcmp(argv[1], "__watch"));
}

int
exec_step(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "__exec"))
		return become_command((pid_t)atoi(argv[2]), argv[3], argv[4], argv[5]);
	if (argc == 3 && !strcmp(argv[1], "__watch")) {
		watcher_live(argv[2]);
		return 0;
	}
	return 2;
}
