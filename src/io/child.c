/* child.c - a command's life, from its start to the last of its descendants.
 *
 *	running ──► (leader has exited) draining ──► clearing ──► ended
 *	   └── hard limit, too much output, child_kill() ──┘
 *
 * The leader is reaped last: as long as it is a zombie its process id cannot
 * be given to anybody else, so killing the group is safe at any time.  Adopted
 * descendants are only killed as our own children, whose ids are just as safe;
 * what they leave becomes our child in turn, until a look at /proc finds
 * nothing more (a sweep). */
#include "io/child.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "io/loop.h"
#include "io/process.h"
#include "io/watcher.h"

#define KEPT_ERRORS 4096
#define SWEEP (10 * SECOND)	/* also keeps the loop waiting for SIGCHLD */
#define GIVE_UP (5 * SECOND)	/* on what even SIGKILL does not end */

struct end {			/* our end of a pipe */
	int fd;			/* -1: closed */
	struct watch *watch;
};

struct child {
	struct child *next;
	pid_t pid;		/* and process group, and session */
	int64_t born;		/* ticks, not later than the leader's own */
	char mark[PROCESS_MARK_MAX];
	struct end in, out, errs;
	char *input;
	size_t input_len, input_sent;
	struct str output, errors;
	size_t errors_seen;
	struct child_settings settings;	/* but for what it points at */
	struct timer *soft, *hard, *drain;
	bool exited;
	bool clearing;		/* all of it is to go */
	bool left;		/* ... and some of it is still there */
	span given_up;		/* when that takes too long (monotonic) */
	struct child_end end;
	void (*ended)(void *, const struct child_end *);	/* NULL: nobody asks */
	void *arg;
};

/* All children of this process; the handles exist while there is a child. */
static struct {
	struct loop *loop;
	struct child *first;
	struct loop_signal *sigchld;
	struct timer *sweep;
	span sweep_at;		/* 0: no sweep is due */
	span swept, took;	/* when the last one ended, how long it was */
} all;

static const char *program = "/proc/self/exe";
static char token[17];		/* ours, in every mark */
static int64_t adopting;	/* ticks; 0: we are no subreaper yet */
static unsigned long serial;

void
child_program(const char *path)
{
	program = path;
}

void
child_adopt_descendants(void)
{
	uint64_t random = 0;

	if (adopting)
		return;
	adopting = process_ticks();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGPIPE, SIG_IGN);
	if (getrandom(&random, sizeof random, 0) != sizeof random)
		random = (uint64_t)clock_now() ^ (uint64_t)getpid() << 48;
	snprintf(token, sizeof token, "%016llx", (unsigned long long)random);
}

/* --- sweeping --- */

/* A sweep reads all of /proc: many children that end at once share one, and
 * sweeping takes at most a fifth of our time. */
static void
sweep_in(span delay)
{
	span now = clock_monotonic(), at = now + delay;

	if (at < all.swept + 4 * all.took)
		at = all.swept + 4 * all.took;
	if (all.sweep_at && all.sweep_at <= at)
		return;
	all.sweep_at = at;
	timer_start(all.sweep, at - now);
}

static struct child *
owner_of(const struct process *p, const char *mark)
{
	for (struct child *c = all.first; c; c = c->next)
		if (p->group == c->pid || p->session == c->pid)
			return c;
	for (struct child *c = all.first; c; c = c->next)
		if (!strcmp(mark, c->mark))
			return c;
	return NULL;
}

/* Could P belong to a command that is still running? */
static bool
may_be_wanted(const struct process *p)
{
	for (struct child *c = all.first; c; c = c->next)
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
	uv_walk(loop_uv(all.loop), find_pid, &pid);
	return pid == 0 || watcher_is(pid);
}

static void
sweep_adopted(const struct process *p)
{
	char mark[PROCESS_MARK_MAX];
	struct child *owner;

	if (p->born < adopting || is_somebody_elses(p->pid))
		return;
	if (p->dead) {
		process_bury(p->pid);
		return;
	}
	process_mark(p->pid, mark);
	owner = owner_of(p, mark);
	if (owner ? !owner->clearing : !strstr(mark, token) && may_be_wanted(p))
		return;
	kill(p->pid, SIGKILL);
	if (p->group == p->pid)
		kill(-p->pid, SIGKILL);
	/* What it leaves comes to us: look again, whosever it was. */
	for (struct child *c = all.first; c; c = c->next)
		c->left |= c->clearing && (!owner || owner == c);
}

static void
sweep_one(void *arg, const struct process *p)
{
	struct child *c = all.first;

	while (c && c->pid != p->pid)
		c = c->next;
	if (c)
		return;			/* a leader: reaped by its own end */
	if (p->parent == getpid()) {
		sweep_adopted(p);
		return;
	}
	for (c = all.first; c; c = c->next)
		if (!p->dead && (p->group == c->pid || p->session == c->pid))
			c->left |= c->clearing;
}

static void
close_end(struct end *end)
{
	if (end->fd < 0)
		return;
	watch_free(end->watch);
	close(end->fd);
	end->watch = NULL;
	end->fd = -1;
}

static void
child_free(struct child *child)
{
	close_end(&child->in);
	close_end(&child->out);
	close_end(&child->errs);
	timer_free(child->soft);
	timer_free(child->hard);
	timer_free(child->drain);
	str_done(&child->output);
	str_done(&child->errors);
	free(child->input);
	free(child);
}

static void
tell_end(struct child *child)
{
	struct child_end *end = &child->end;
	size_t skip = child->errors.len > KEPT_ERRORS ?
	    child->errors.len - KEPT_ERRORS : 0;

	end->output = str_text(&child->output);
	end->output_len = child->output.len;
	end->errors = str_text(&child->errors) + skip;
	end->errors_len = child->errors.len - skip;
	if (child->ended)
		child->ended(child->arg, end);
}

/* Take a child that has gone off the list.  One that cannot be killed (it
 * hangs in the kernel) is taken off too; a later sweep reaps it. */
static struct child *
take_gone(void)
{
	span now = clock_monotonic();

	for (struct child **at = &all.first, *c; (c = *at); at = &c->next)
		if (c->clearing && ((c->exited && !c->left) || now > c->given_up)) {
			*at = c->next;
			return c;
		}
	return NULL;
}

static void
close_all(void)
{
	loop_signal_free(all.sigchld);
	timer_free(all.sweep);
	all.sigchld = NULL;
	all.sweep = NULL;
	all.sweep_at = 0;
}

static void
sweep(void *arg)
{
	span began = clock_monotonic();
	bool clearing = false;
	struct child *gone;

	all.sweep_at = 0;
	for (struct child *c = all.first; c; c = c->next)
		if (c->clearing) {
			kill(-c->pid, SIGKILL);
			c->left = false;
		}
	if (process_each(sweep_one, NULL))	/* no descriptor: not now */
		for (struct child *c = all.first; c; c = c->next)
			c->left = c->clearing;
	all.swept = clock_monotonic();
	all.took = all.swept - began;

	while ((gone = take_gone())) {
		watcher_forget(gone->pid);
		process_bury(gone->pid);
		tell_end(gone);			/* may start another */
		child_free(gone);
	}
	for (struct child *c = all.first; c; c = c->next)
		clearing |= c->clearing;
	if (!all.first)
		close_all();
	else
		sweep_in(clearing ? SECOND / 100 : SWEEP);
}

/* --- the life of one --- */

static void
clear(struct child *child)
{
	if (child->clearing)
		return;
	child->clearing = child->left = true;
	child->given_up = clock_monotonic() + GIVE_UP;
	kill(-child->pid, SIGKILL);
	close_end(&child->in);
	close_end(&child->out);
	close_end(&child->errs);
	timer_stop(child->soft);
	timer_stop(child->hard);
	timer_stop(child->drain);
	sweep_in(0);
}

/* The leader's exit and the end of both outputs, in whichever order. */
static void
look_for_end(struct child *child)
{
	if (child->exited && child->out.fd < 0 && child->errs.fd < 0)
		clear(child);
}

static void
take_output(struct child *child, const char *bytes, size_t n)
{
	if (child->output.len + n > child->settings.max_output) {
		child->end.too_large = true;
		clear(child);
		return;
	}
	str_add(&child->output, bytes, n);
}

static void
take_errors(struct child *child, const char *bytes, size_t n)
{
	struct str *s = &child->errors;

	if ((child->errors_seen += n) > CHILD_MAX_ERRORS) {
		child->end.errors_too_large = true;
		clear(child);
		return;
	}
	if (n > KEPT_ERRORS) {
		bytes += n - KEPT_ERRORS;
		n = KEPT_ERRORS;
	}
	if (s->len + n > 4 * KEPT_ERRORS) {
		memmove(s->text, s->text + s->len - KEPT_ERRORS, KEPT_ERRORS);
		s->len = KEPT_ERRORS;
	}
	str_add(s, bytes, n);
}

/* Read what there is, though not for ever: others want their turn. */
static void
drain_end(struct child *child, struct end *end,
    void (*take)(struct child *, const char *, size_t))
{
	char buf[16 * 1024];

	for (int i = 0; i < 16 && end->fd >= 0; i++) {
		ssize_t n = read(end->fd, buf, sizeof buf);

		if (n > 0)
			take(child, buf, (size_t)n);
		else if (n == 0 || (errno != EAGAIN && errno != EINTR))
			close_end(end);
		else if (errno == EAGAIN)
			return;
	}
}

static void
output_ready(void *arg, int events)
{
	struct child *child = arg;

	drain_end(child, &child->out, take_output);
	look_for_end(child);
}

static void
errors_ready(void *arg, int events)
{
	struct child *child = arg;

	drain_end(child, &child->errs, take_errors);
	look_for_end(child);
}

static void
input_ready(void *arg, int events)
{
	struct child *child = arg;
	ssize_t n = write(child->in.fd, child->input + child->input_sent,
	    child->input_len - child->input_sent);

	if (n > 0)
		child->input_sent += (size_t)n;
	/* A command need not read all of it (EPIPE), nor any. */
	if (child->input_sent == child->input_len ||
	    (n < 0 && errno != EAGAIN && errno != EINTR))
		close_end(&child->in);
}

static void
soft_limit(void *arg)
{
	struct child *child = arg;

	if (child->exited)
		return;
	child->end.soft_limit = true;
	/* To the group, not to the child: "sh -c" forks, and the orphan would
	 * hold our pipe open until its own time ran out. */
	kill(-child->pid, SIGTERM);
}

static void
hard_limit(void *arg)
{
	struct child *child = arg;

	if (!child->exited)
		child->end.hard_limit = true;
	clear(child);
}

static void
drained_enough(void *arg)
{
	struct child *child = arg;

	drain_end(child, &child->out, take_output);
	drain_end(child, &child->errs, take_errors);
	clear(child);
}

static bool
note_exit(struct child *child)
{
	siginfo_t info = { 0 };
	int rc;

	/* WNOWAIT: it stays a zombie, to keep the group's id ours. */
	do
		rc = waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT);
	while (rc && errno == EINTR);
	if (rc || info.si_pid == 0)
		return false;
	child->exited = true;
	child->end.status = info.si_code == CLD_EXITED ? info.si_status : -1;
	child->end.signum = info.si_code == CLD_EXITED ? 0 : info.si_status;
	timer_stop(child->soft);
	return true;
}

static void
somebody_died(void *arg, int signum)
{
	bool known = false;

	for (struct child *c = all.first; c; c = c->next) {
		if (c->exited || !note_exit(c))
			continue;
		known = true;
		if (c->clearing)
			sweep_in(0);
		else if (c->out.fd < 0 && c->errs.fd < 0)
			clear(c);
		else
			timer_start(c->drain, c->settings.grace);
	}
	if (watcher_died() && watcher_pipe(program, token, &(struct err){ 0 }) >= 0)
		for (struct child *c = all.first; c; c = c->next)
			watcher_add(c->pid);
	if (!known)
		sweep_in(SECOND / 5);	/* somebody adopted, perhaps */
}

void
child_kill(struct child *child)
{
	if (!child)
		return;
	child->ended = NULL;
	clear(child);
}

/* --- the start --- */

static void
open_all(struct loop *loop)
{
	child_adopt_descendants();
	if (all.sweep)
		return;
	all.loop = loop;
	all.sweep = timer_new(loop, sweep, NULL);
	all.sigchld = loop_on_signal(loop, SIGCHLD, somebody_died, NULL);
}

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
spawn(const struct child_settings *settings, const char *mark, const int fds[3],
    int watcher, pid_t *pid)
{
	VEC(char *) environment = { 0 };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t every, none;
	const struct child_limits *l = &settings->limits;
	char parent[24], limits[128], *argv[] = { (char *)"tocsin", (char *)"__exec", parent,
		limits, (char *)settings->shell, (char *)settings->command, NULL };
	int rc;

	snprintf(parent, sizeof parent, "%d", (int)getpid());
	snprintf(limits, sizeof limits, "%lld,%lld,%lld,%lld,%lld", (long long)l->memory,
	    (long long)l->file_size, (long long)l->files, (long long)l->processes,
	    (long long)((l->cpu + SECOND - 1) / SECOND));
	for (size_t i = 0; settings->environment && settings->environment[i]; i++)
		vec_push(&environment, (char *)settings->environment[i]);
	vec_push(&environment, (char *)mark);
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

static struct child *
child_new(struct loop *loop, const struct child_settings *settings)
{
	struct child *child = xcalloc(1, sizeof *child);

	child->in.fd = child->out.fd = child->errs.fd = -1;
	child->end.status = -1;
	child->settings = (struct child_settings){ .soft = settings->soft,
		.hard = settings->hard, .grace = settings->grace,
		.max_output = settings->max_output };
	child->end.settings = &child->settings;
	child->input_len = settings->input_len;
	child->input = xmalloc(settings->input_len);
	if (settings->input_len)
		memcpy(child->input, settings->input, settings->input_len);
	child->soft = timer_new(loop, soft_limit, child);
	child->hard = timer_new(loop, hard_limit, child);
	child->drain = timer_new(loop, drained_enough, child);
	snprintf(child->mark, sizeof child->mark, "%.200s/%s-%lu",
	    settings->mark ? settings->mark : "", token, ++serial);
	return child;
}

static int
watch_end(struct loop *loop, struct end *end, int fd, int events,
    void (*ready)(void *, int), struct child *child)
{
	end->fd = fd;
	if (!(end->watch = watch_new(loop, fd, ready, child)))
		return -1;
	watch_set(end->watch, events);
	return 0;
}

static int
watch_all(struct loop *loop, struct child *child, const int ours[3])
{
	int bad = 0;

	bad |= watch_end(loop, &child->in, ours[0], WATCH_WRITE, input_ready, child);
	bad |= watch_end(loop, &child->out, ours[1], WATCH_READ, output_ready, child);
	bad |= watch_end(loop, &child->errs, ours[2], WATCH_READ, errors_ready, child);
	if (child->input_len == 0)
		close_end(&child->in);
	return bad;
}

static int
begin(struct loop *loop, struct child *child, const struct child_settings *settings,
    struct err *err)
{
	char mark[PROCESS_MARK_MAX + sizeof PROCESS_MARK];
	int ours[3], theirs[3], watcher, rc;

	if ((watcher = watcher_pipe(program, token, err)) < 0)
		return -1;
	if ((rc = make_pipes(ours, theirs)))
		goto failed;
	snprintf(mark, sizeof mark, PROCESS_MARK "=%s", child->mark);
	child->born = process_ticks();
	if ((rc = spawn(settings, mark, theirs, watcher, &child->pid))) {
		close_pipes(ours, theirs);
		goto failed;
	}
	for (int i = 0; i < 3; i++)
		close(theirs[i]);
	child->next = all.first;
	all.first = child;
	sweep_in(SWEEP);
	if (watch_all(loop, child, ours)) {
		child_kill(child);	/* from now on the sweep frees it */
		return err_class(err, ERR_TEMPFAIL, "cannot watch a process");
	}
	return 0;
failed:
	return err_class(err, rc == E2BIG || rc == ENOENT || rc == EACCES ?
	    ERR_GIVEN : ERR_TEMPFAIL, "cannot start a process: %s", strerror(rc));
}

struct child *
child_start(struct loop *loop, const struct child_settings *settings,
    void (*ended)(void *, const struct child_end *), void *arg, struct err *err)
{
	struct child *child;

	open_all(loop);
	child = child_new(loop, settings);
	child->ended = ended;
	child->arg = arg;
	if (begin(loop, child, settings, err)) {
		if (child->pid == 0)
			child_free(child);
		if (!all.first)
			close_all();
		return NULL;
	}
	if (settings->soft)
		timer_start(child->soft, settings->soft);
	if (settings->hard)
		timer_start(child->hard, settings->hard);
	return child;
}
