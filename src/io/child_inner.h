/* Commands between their two files: child.c is the life of one, child_sweep.c
 * looks after what all of them leave behind. */
#ifndef IO_CHILD_INNER_H
#define IO_CHILD_INNER_H

#include <sys/types.h>
#include "base/str.h"
#include "io/child.h"
#include "io/process.h"

struct loop_signal;
struct timer;
struct watch;

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
extern struct children {
	const char *program;		/* has the hidden step */
	char token[17];			/* ours, in every mark */
	int64_t adopting;		/* since then (ticks); 0: we are no subreaper yet */
	struct loop *loop;
	struct child *first;
	struct loop_signal *sigchld;
	struct timer *sweep;
	span sweep_at;			/* 0: no sweep is due */
	span swept, took;		/* when the last one ended, how long it was */
} children;

/* child_sweep.c: the handles, made for the first child and gone with the last;
 * a child joins the list, and is looked after from then on. */
void children_open(struct loop *, void (*somebody_died)(void *, int signum));
void children_add(struct child *);
void children_close(void);		/* if there is no child */
void children_sweep_in(span delay);

/* child.c: which leaders have exited; false: none since the last time. */
bool children_note_exits(void);
/* Nothing is left of it, and it is off the list. */
void child_over(struct child *);

#endif
