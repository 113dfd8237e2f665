/* child.c - a command's life, from its start to the last of its descendants.
 *
 *	running ──► (leader has exited) draining ──► clearing ──► ended
 *	   └── hard limit, too much output or none that can be read, child_kill() ──┘
 *
 * The leader is reaped last: as long as it is a zombie its process id cannot
 * be given to anybody else, so killing the group is safe at any time.  What it
 * leaves behind, and when all of that has gone, is found in child_sweep.c. */
#include "io/child_inner.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/err.h"
#include "base/failpoint.h"
#include "base/mem.h"
#include "io/loop.h"
#include "io/spawn.h"
#include "io/watcher.h"

#define KEPT_ERRORS 4096
#define GIVE_UP (5 * SECOND)	/* on what even SIGKILL does not end */

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

void
child_over(struct child *child)
{
	tell_end(child);
	child_free(child);
}

/* --- its life --- */

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
	children_sweep_in(0);
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

static ssize_t
read_end(int fd, char *buf, size_t size)
{
	if (failpoint("child.read")) {
		errno = EIO;
		return -1;
	}
	return read(fd, buf, size);
}

/* Read what there is, though not for ever: others want their turn.  What cannot
 * be read goes to UNREAD; it is not the end of the output, and half of it may
 * look like a value. */
static void
drain_end(struct child *child, struct end *end, int *unread,
    void (*take)(struct child *, const char *, size_t))
{
	char buf[16 * 1024];

	for (int i = 0; i < 16 && end->fd >= 0; i++) {
		ssize_t n = read_end(end->fd, buf, sizeof buf);

		if (n > 0)
			take(child, buf, (size_t)n);
		else if (n == 0)
			close_end(end);
		else if (errno == EAGAIN)
			return;
		else if (errno != EINTR) {
			*unread = errno;
			clear(child);
		}
	}
}

static void
drain_output(struct child *child)
{
	drain_end(child, &child->out, &child->end.unread, take_output);
}

static void
drain_errors(struct child *child)
{
	drain_end(child, &child->errs, &child->end.errors_unread, take_errors);
}

static void
output_ready(void *arg, int events)
{
	struct child *child = arg;

	drain_output(child);
	look_for_end(child);
}

static void
errors_ready(void *arg, int events)
{
	struct child *child = arg;

	drain_errors(child);
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

	drain_output(child);
	drain_errors(child);
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

bool
children_note_exits(void)
{
	bool known = false;

	for (struct child *c = children.first; c; c = c->next) {
		if (c->exited || !note_exit(c))
			continue;
		known = true;
		if (c->clearing)
			children_sweep_in(0);
		else if (c->out.fd < 0 && c->errs.fd < 0)
			clear(c);
		else
			timer_start(c->drain, c->settings.grace);
	}
	return known;
}

static void
somebody_died(void *arg, int signum)
{
	bool known = children_note_exits();

	if (watcher_died() && watcher_pipe(children.program, children.token, &(struct err){ 0 }) >= 0)
		for (struct child *c = children.first; c; c = c->next)
			watcher_add(c->pid);
	if (!known)
		children_sweep_in(SECOND / 5);	/* somebody adopted, perhaps */
}

void
child_signal(struct child *child, int signum)
{
	if (!child->exited)
		kill(-child->pid, signum);
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

static unsigned long serial;	/* of marks */

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
	    settings->mark ? settings->mark : "", children.token, ++serial);
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
	int ours[3], watcher, rc;

	if ((watcher = watcher_pipe(children.program, children.token, err)) < 0)
		return -1;
	child->born = process_ticks();
	if ((rc = spawn_command(children.program, settings, child->mark, watcher, ours,
	    &child->pid)))
		return err_class(err, rc == E2BIG || rc == ENOENT || rc == EACCES ?
		    ERR_GIVEN : ERR_TEMPFAIL, "cannot start a process: %s", strerror(rc));
	children_add(child);
	if (watch_all(loop, child, ours)) {
		child_kill(child);	/* from now on the sweep frees it */
		return err_class(err, ERR_TEMPFAIL, "cannot watch a process");
	}
	return 0;
}

struct child *
child_start(struct loop *loop, const struct child_settings *settings,
    void (*ended)(void *, const struct child_end *), void *arg, struct err *err)
{
	struct child *child;

	children_open(loop, somebody_died);
	child = child_new(loop, settings);
	child->ended = ended;
	child->arg = arg;
	if (begin(loop, child, settings, err)) {
		if (child->pid == 0)
			child_free(child);
		children_close();
		return NULL;
	}
	if (settings->soft)
		timer_start(child->soft, settings->soft);
	if (settings->hard)
		timer_start(child->hard, settings->hard);
	return child;
}
