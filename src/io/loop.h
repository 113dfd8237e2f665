/* The one loop of a process: everything that waits, waits here.
 *
 * Callbacks run from loop_wait() and only note what has arrived; the turn that
 * follows decides (see layout of a daemon in engine/worker.c).  One loop for a
 * process, one thread. */
#ifndef IO_LOOP_H
#define IO_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include "base/clock.h"

struct err;
struct loop;
struct timer;
struct watch;

struct loop *loop_new(void);
void loop_free(struct loop *);		/* all timers and watches are ended before */
struct uv_loop_s *loop_uv(struct loop *);	/* for the other files of io/ */

/* Wait once, then let the program live one turn; until it has had enough. */
void loop_run(struct loop *, bool (*turn)(void *arg), void *arg);
/* Come back from the wait at once: there is more to do in the next turn. */
void loop_nudge(struct loop *);

/* A timer fires once unless started again.  Monotonic; a span below a
 * millisecond is rounded up.  Starting a running timer moves it. */
struct timer *timer_new(struct loop *, void (*fired)(void *arg), void *arg);
void timer_start(struct timer *, span);
void timer_stop(struct timer *);
void timer_free(struct timer *);	/* NULL is fine */

/* Watch a descriptor for readiness; errors count as both.  The watch must be
 * freed before the descriptor is closed. */
enum { WATCH_READ = 1, WATCH_WRITE = 2 };
struct watch *watch_new(struct loop *, int fd, void (*ready)(void *arg, int events),
    void *arg);
void watch_set(struct watch *, int events);	/* 0 pauses */
void watch_free(struct watch *);	/* NULL is fine */

/* SIGTERM, SIGINT, SIGHUP, ...: a callback from the loop. */
struct loop_signal *loop_on_signal(struct loop *, int signum,
    void (*came)(void *arg, int signum), void *arg);
void loop_signal_free(struct loop_signal *);
/* Unblock N of them: whoever started us may have blocked them until now. */
void loop_let_signals(const int *signums, size_t n);

#endif
