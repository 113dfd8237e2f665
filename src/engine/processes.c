/* processes.c - the parent of a worker's processes.
 *
 * It forks them and waits for signals; that is all, so nothing that befalls a
 * worker can befall it.  There is no exec: a process that takes the place of
 * another has the settings that the parent has, whatever has become of the file
 * meanwhile.
 *
 *	signal to the parent	1st		2nd		3rd
 *	the children get	SIGTERM		SIGQUIT		SIGKILL
 *
 * A terminal and a service manager send their signals to the children as well.
 * So SIGTERM and SIGINT never mean more to a child than "stop when you can",
 * however often they come, and only SIGQUIT takes its grace away.
 *
 * An exit status that tells of a setting that is wrong would come again and
 * again: it ends all. */
#include "engine/processes.h"
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/uuid.h"

#define FIRST_WAIT (SECOND / 4)
#define LONGEST_WAIT (30 * SECOND)
#define A_WHILE (60 * SECOND)	/* one that has lived so long was no failure to start */

struct place {			/* of a process */
	pid_t pid;		/* 0: none now */
	instant started, due;	/* monotonic */
	int failures;		/* in a row */
	bool left;		/* for good */
};

struct parent {
	const struct processes_settings *set;
	struct place *places;
	pid_t pid;		/* ours */
	sigset_t before, ours;	/* masks */
	int stops;		/* how often we were told to */
	int status;		/* to exit with */
};

/* --- one process --- */

/* Each its own: they must not come back to a server all at once. */
static void
seed_jitter(void)
{
	struct uuid uuid = uuid_v4();
	unsigned seed;

	memcpy(&seed, uuid.bytes, sizeof seed);
	srandom(seed);
}

static void
become_child(const struct parent *p)
{
	sigset_t mask = p->before;

	/* Our parent may have died before it could be told. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != p->pid)
		_exit(0);
	for (int sig = 1; sig < NSIG; sig++)
		if (sigismember(&p->ours, sig) == 1 && sig != SIGCHLD)
			sigaddset(&mask, sig);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	seed_jitter();
}

static span
wait_after(int failures)
{
	span wait = FIRST_WAIT << (failures < 8 ? failures : 8);

	if (wait > LONGEST_WAIT)
		wait = LONGEST_WAIT;
	return wait / 2 + (span)(random() % (wait / 2));
}

static void
try_later(struct place *place)
{
	if (clock_monotonic() - place->started >= A_WHILE)
		place->failures = 0;
	place->due = clock_monotonic() + wait_after(place->failures++);
}

/* True in the child. */
static bool
start(const struct parent *p, struct place *place)
{
	pid_t pid = fork();

	place->started = clock_monotonic();
	if (pid == 0) {
		become_child(p);
		return true;
	}
	if (pid < 0) {
		log_error("a worker process cannot be started, trying again",
		    "error", strerror(errno));
		try_later(place);
	} else
		place->pid = pid;
	return false;
}

/* In the child its number, from 1; else 0. */
static int
start_due(const struct parent *p)
{
	for (int i = 0; i < p->set->n; i++)
		if (!p->places[i].pid && !p->places[i].left &&
		    p->places[i].due <= clock_monotonic() && start(p, &p->places[i]))
			return i + 1;
	return 0;
}

/* --- all of them --- */

static void
send_all(const struct parent *p, int sig)
{
	for (int i = 0; i < p->set->n; i++)
		if (p->places[i].pid)
			kill(p->places[i].pid, sig);
}

static void
stop(struct parent *p)
{
	static const int means[] = { SIGTERM, SIGQUIT, SIGKILL };

	send_all(p, means[p->stops < 2 ? p->stops : 2]);
	p->stops++;
}

static int
count_alive(const struct parent *p)
{
	int n = 0;

	for (int i = 0; i < p->set->n; i++)
		n += p->places[i].pid != 0;
	return n;
}

static bool
all_have_left(const struct parent *p)
{
	for (int i = 0; i < p->set->n; i++)
		if (!p->places[i].left)
			return false;
	return true;
}

static void
replace(struct place *place, pid_t pid, int how)
{
	char signum[24], status[24];

	try_later(place);
	log_warn("a worker process has ended, another takes its place", "process",
	    log_number(pid),
	    "signal", WIFSIGNALED(how) ? log_format_number(signum, WTERMSIG(how)) : NULL,
	    "status", WIFEXITED(how) ? log_format_number(status, WEXITSTATUS(how)) : NULL,
	    "in_ms", log_number((place->due - clock_monotonic()) / 1000));
}

static bool
is_definite(int how)
{
	return WIFEXITED(how) && (WEXITSTATUS(how) == ERR_CONFIG || WEXITSTATUS(how) == ERR_USAGE);
}

static void
note_end(struct parent *p, struct place *place, int how)
{
	pid_t pid = place->pid;

	place->pid = 0;
	if (is_definite(how)) {
		if (!p->stops) {
			log_error("a worker process cannot work as it is set up, all are stopped",
			    "process", log_number(pid), "status", log_number(WEXITSTATUS(how)));
			stop(p);
		}
		p->status = WEXITSTATUS(how);
	} else if (WIFEXITED(how) && WEXITSTATUS(how) == PROCESS_LEFT)
		place->left = true;
	else if (!p->stops)
		replace(place, pid, how);
}

static void
reap(struct parent *p)
{
	pid_t pid;
	int how;

	while ((pid = waitpid(-1, &how, WNOHANG)) > 0)
		for (int i = 0; i < p->set->n; i++)
			if (p->places[i].pid == pid)
				note_end(p, &p->places[i], how);
}

/* Until the next one is due, at most a minute. */
static struct timespec
patience(const struct parent *p)
{
	span least = MINUTE;

	for (int i = 0; i < p->set->n && !p->stops; i++) {
		span left = p->places[i].due - clock_monotonic();

		if (!p->places[i].pid && !p->places[i].left && left < least)
			least = left > 0 ? left : 0;
	}
	return (struct timespec){ least / SECOND, (least % SECOND) * 1000 };
}

static void
take_signal(struct parent *p, int sig)
{
	switch (sig) {
	case SIGTERM:
	case SIGINT:
		if (!p->stops)
			log_info("stopping", "processes", log_number(count_alive(p)));
		stop(p);
		break;
	case SIGQUIT:
		p->stops = p->stops ? p->stops : 1;
		stop(p);
		break;
	case SIGHUP:
		if (p->set->reload(p->set->arg))
			send_all(p, SIGHUP);
		break;
	default:
		break;
	}
}

/* The parent's whole life.  In a child its number, else 0. */
static int
live(struct parent *p)
{
	for (;;) {
		struct timespec wait;
		int sig, child;

		reap(p);
		if ((p->stops || all_have_left(p)) && !count_alive(p))
			return 0;
		if (!p->stops && (child = start_due(p)))
			return child;
		wait = patience(p);
		if ((sig = sigtimedwait(&p->ours, NULL, &wait)) > 0)
			take_signal(p, sig);
	}
}

int
processes_run(const struct processes_settings *set, int *child)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGCHLD };
	struct parent p = { .set = set, .pid = getpid() };

	p.places = xcalloc((size_t)set->n, sizeof *p.places);
	sigemptyset(&p.ours);
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
		sigaddset(&p.ours, signals[i]);
	signal(SIGCHLD, SIG_DFL);	/* ignored, they would leave without a word */
	sigprocmask(SIG_BLOCK, &p.ours, &p.before);
	seed_jitter();
	log_info("worker processes are started", "processes", log_number(set->n));
	*child = live(&p);
	free(p.places);
	if (!*child) {
		log_info("stopped");
		sigprocmask(SIG_SETMASK, &p.before, NULL);
	}
	return p.status;
}
