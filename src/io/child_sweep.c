/* child_sweep.c - what commands leave behind is found, and goes.
 *
 * Adopted descendants are only killed as our own children, whose ids nobody else
 * can have meanwhile; what they leave becomes our child in turn, until a look at
 * /proc finds nothing more (a sweep).  Then the command is over. */
#include "io/child_inner.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <unistd.h>
#include <uv.h>
#include "io/loop.h"
#include "io/watcher.h"

#define SWEEP (10 * SECOND)	/* also keeps the loop waiting for SIGCHLD */

struct children children = { .program = "/proc/self/exe" };

void
child_program(const char *path)
{
	children.program = path;
}

void
child_adopt_descendants(void)
{
	uint64_t random = 0;

	if (children.adopting)
		return;
	children.adopting = process_ticks();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGPIPE, SIG_IGN);
	if (getrandom(&random, sizeof random, 0) != sizeof random)
		random = (uint64_t)clock_now() ^ (uint64_t)getpid() << 48;
	snprintf(children.token, sizeof children.token, "%016llx", (unsigned long long)random);
}

/* A sweep reads all of /proc: many children that end at once share one, and
 * sweeping takes at most a fifth of our time. */
void
children_sweep_in(span delay)
{
	span now = clock_monotonic(), at = now + delay;

	if (at < children.swept + 4 * children.took)
		at = children.swept + 4 * children.took;
	if (children.sweep_at && children.sweep_at <= at)
		return;
	children.sweep_at = at;
	timer_start(children.sweep, at - now);
}

static struct child *
owner_of(const struct process *p, const char *mark)
{
	for (struct child *c = children.first; c; c = c->next)
		if (p->group == c->pid || p->session == c->pid)
			return c;
	for (struct child *c = children.first; c; c = c->next)
		if (!strcmp(mark, c->mark))
			return c;
	return NULL;
}

/* Could P belong to a command that is still running? */
static bool
may_be_wanted(const struct process *p)
{
	for (struct child *c = children.first; c; c = c->next)
		if (!c->clearing && c->born <= p->born)
			return true;
	return false;
}

static void
find_pid(uv_handle_t *handle, void *arg)
{
	pid_t *pid = arg;

	if (handle->type == UV_PROCESS &&
	    uv_process_get_pid((uv_process_t *)handle) == *pid)
		*pid = 0;
}

static bool
is_somebody_elses(pid_t pid)
{
	uv_walk(loop_uv(children.loop), find_pid, &pid);
	return pid == 0 || watcher_is(pid);
}

static void
sweep_adopted(const struct process *p)
{
	char mark[PROCESS_MARK_MAX];
	struct child *owner;

	if (p->born < children.adopting || is_somebody_elses(p->pid))
		return;
	if (p->dead) {
		process_bury(p->pid);
		return;
	}
	process_mark(p->pid, mark);
	owner = owner_of(p, mark);
	if (owner ? !owner->clearing : !strstr(mark, children.token) && may_be_wanted(p))
		return;
	kill(p->pid, SIGKILL);
	if (p->group == p->pid)
		kill(-p->pid, SIGKILL);
	/* What it leaves comes to us: look again, whosever it was. */
	for (struct child *c = children.first; c; c = c->next)
		c->left |= c->clearing && (!owner || owner == c);
}

static void
sweep_one(void *arg, const struct process *p)
{
	struct child *c = children.first;

	while (c && c->pid != p->pid)
		c = c->next;
	if (c)
		return;			/* a leader: reaped by its own end */
	if (p->parent == getpid()) {
		sweep_adopted(p);
		return;
	}
	for (c = children.first; c; c = c->next)
		if (!p->dead && (p->group == c->pid || p->session == c->pid))
			c->left |= c->clearing;
}

void
children_close(void)
{
	if (children.first)
		return;
	loop_signal_free(children.sigchld);
	timer_free(children.sweep);
	children.sigchld = NULL;
	children.sweep = NULL;
	children.sweep_at = 0;
}

/* Take a child that has gone off the list.  One that cannot be killed (it
 * hangs in the kernel) is taken off too; a later sweep reaps it. */
static struct child *
take_gone(void)
{
	span now = clock_monotonic();

	for (struct child **at = &children.first, *c; (c = *at); at = &c->next)
		if (c->clearing && ((c->exited && !c->left) || now > c->given_up)) {
			*at = c->next;
			return c;
		}
	return NULL;
}

static void
sweep(void *arg)
{
	span began = clock_monotonic();
	bool clearing = false;
	struct child *gone;

	children.sweep_at = 0;
	children_note_exits();	/* a signal may be lost with a fault of libuv's own pipes */
	for (struct child *c = children.first; c; c = c->next)
		if (c->clearing) {
			kill(-c->pid, SIGKILL);
			c->left = false;
		}
	if (process_each(sweep_one, NULL))	/* no descriptor: not now */
		for (struct child *c = children.first; c; c = c->next)
			c->left = c->clearing;
	children.swept = clock_monotonic();
	children.took = children.swept - began;

	while ((gone = take_gone())) {
		watcher_forget(gone->pid);
		process_bury(gone->pid);
		child_over(gone);		/* may start another */
	}
	for (struct child *c = children.first; c; c = c->next)
		clearing |= c->clearing;
	children_close();
	if (children.first)
		children_sweep_in(clearing ? SECOND / 100 : SWEEP);
}

void
children_open(struct loop *loop, void (*somebody_died)(void *, int signum))
{
	child_adopt_descendants();
	if (children.sweep)
		return;
	children.loop = loop;
	children.sweep = timer_new(loop, sweep, NULL);
	children.sigchld = loop_on_signal(loop, SIGCHLD, somebody_died, NULL);
}

void
children_add(struct child *child)
{
	child->next = children.first;
	children.first = child;
	children_sweep_in(SWEEP);
}
