/* loop.c - libuv behind four small things: a wait, timers, watches, signals.
 *
 * Handles of libuv are closed asynchronously: their memory is ours until the
 * close callback.  Each of our structs therefore frees itself there, and
 * loop_free() runs the loop until the last of them has gone. */
#include "io/loop.h"
#include <signal.h>
#include <stdlib.h>
#include <uv.h>
#include "base/mem.h"

struct loop {
	uv_loop_t uv;
	uv_idle_t nudge;
};

struct timer {
	uv_timer_t uv;
	void (*fired)(void *);
	void *arg;
};

struct watch {
	uv_poll_t uv;
	void (*ready)(void *, int);
	void *arg;
	int events;
};

struct loop_signal {
	uv_signal_t uv;
	void (*came)(void *, int);
	void *arg;
};

static void
nudged(uv_idle_t *idle)
{
	uv_idle_stop(idle);
}

struct loop *
loop_new(void)
{
	struct loop *loop = xcalloc(1, sizeof *loop);

	if (uv_loop_init(&loop->uv))
		abort();
	uv_idle_init(&loop->uv, &loop->nudge);
	return loop;
}

void
loop_free(struct loop *loop)
{
	if (!loop)
		return;
	uv_close((uv_handle_t *)&loop->nudge, NULL);
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	uv_loop_close(&loop->uv);
	free(loop);
}

struct uv_loop_s *
loop_uv(struct loop *loop)
{
	return &loop->uv;
}

void
loop_run(struct loop *loop, bool (*turn)(void *), void *arg)
{
	do
		uv_run(&loop->uv, UV_RUN_ONCE);
	while (turn(arg));
}

void
loop_nudge(struct loop *loop)
{
	uv_idle_start(&loop->nudge, nudged);
}

static void
free_handle(uv_handle_t *handle)
{
	free(handle->data);
}

static void
timer_fired(uv_timer_t *uv)
{
	struct timer *timer = uv->data;

	timer->fired(timer->arg);
}

struct timer *
timer_new(struct loop *loop, void (*fired)(void *), void *arg)
{
	struct timer *timer = xcalloc(1, sizeof *timer);

	uv_timer_init(&loop->uv, &timer->uv);
	timer->uv.data = timer;
	timer->fired = fired;
	timer->arg = arg;
	return timer;
}

void
timer_start(struct timer *timer, span length)
{
	uint64_t ms = length <= 0 ? 0 : (uint64_t)(length + 999) / 1000;

	/* libuv counts from the time it last looked: look now, or a limit
	 * would be shorter by however long this turn has taken. */
	uv_update_time(timer->uv.loop);
	uv_timer_start(&timer->uv, timer_fired, ms, 0);
}

void
timer_stop(struct timer *timer)
{
	uv_timer_stop(&timer->uv);
}

void
timer_free(struct timer *timer)
{
	if (timer)
		uv_close((uv_handle_t *)&timer->uv, free_handle);
}

static void
watch_ready(uv_poll_t *uv, int status, int events)
{
	struct watch *watch = uv->data;
	int ready = 0;

	/* On an error condition libuv stops the handle and reports no event:
	 * let the owner's read or write find out what it is. */
	if (status < 0)
		ready = WATCH_READ | WATCH_WRITE;
	if (events & (UV_READABLE | UV_DISCONNECT))
		ready |= WATCH_READ;
	if (events & UV_WRITABLE)
		ready |= WATCH_WRITE;
	if (status < 0)
		watch->events = 0;
	watch->ready(watch->arg, ready);
}

struct watch *
watch_new(struct loop *loop, int fd, void (*ready)(void *, int), void *arg)
{
	struct watch *watch = xcalloc(1, sizeof *watch);

	if (uv_poll_init(&loop->uv, &watch->uv, fd)) {
		free(watch);
		return NULL;
	}
	watch->uv.data = watch;
	watch->ready = ready;
	watch->arg = arg;
	return watch;
}

void
watch_set(struct watch *watch, int events)
{
	int uv = (events & WATCH_READ ? UV_READABLE : 0) |
	    (events & WATCH_WRITE ? UV_WRITABLE : 0);

	if (events == watch->events)
		return;
	watch->events = events;
	if (uv)
		uv_poll_start(&watch->uv, uv, watch_ready);
	else
		uv_poll_stop(&watch->uv);
}

void
watch_free(struct watch *watch)
{
	if (!watch)
		return;
	uv_poll_stop(&watch->uv);
	uv_close((uv_handle_t *)&watch->uv, free_handle);
}

static void
signal_came(uv_signal_t *uv, int signum)
{
	struct loop_signal *s = uv->data;

	s->came(s->arg, signum);
}

struct loop_signal *
loop_on_signal(struct loop *loop, int signum, void (*came)(void *, int), void *arg)
{
	struct loop_signal *s = xcalloc(1, sizeof *s);

	uv_signal_init(&loop->uv, &s->uv);
	s->uv.data = s;
	s->came = came;
	s->arg = arg;
	uv_signal_start(&s->uv, signal_came, signum);
	uv_unref((uv_handle_t *)&s->uv);
	return s;
}

void
loop_signal_free(struct loop_signal *s)
{
	if (s)
		uv_close((uv_handle_t *)&s->uv, free_handle);
}

void
loop_let_signals(const int *signums, size_t n)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < n; i++)
		sigaddset(&set, signums[i]);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}
