/* Between the files of clients' tasks.  For nobody else.
 *
 *	request.c          letters come, requests begin, go back
 *	request_look.c     they are looked at, and told of
 *	request_run.c      arguments, limits, executors; what they come to
 *	request_builtin.c  celery.map and its like
 *	request_cycle.c    tocsin.cycle
 *	request_end.c      followers, result, chord, acknowledgement: in that order
 *	request_flow.c     followers and chords, step by step
 *	request_delay.c    those that are not due yet: in the books
 *	request_revoke.c   those that are not to run; rates and limits by remote control
 */
#ifndef ENGINE_REQUEST_INNER_H
#define ENGINE_REQUEST_INNER_H

#include <jansson.h>
#include "base/vec.h"
#include "celery/canvas.h"
#include "engine/request.h"
#include "model/registry.h"
#include "wire/backend.h"
#include "wire/letter.h"

struct builtin;
struct child;
struct exec;
struct exec_outcome;
struct timer;

/* What follows from a request, being carried out. */
struct flow {
	struct canvas canvas;
	size_t next;
	char *forget;			/* the chord that is over then, or NULL */
};

struct request {
	struct requests *of;
	enum request_state state;
	struct message *from;		/* NULL: acknowledged */
	struct letter *letter;
	char *queue;
	struct registry *registry;	/* held; NULL of a builtin */
	const struct task *task;
	const struct builtin *builtin;
	struct task_use *use;	/* of the task, in this process */
	instant received_at, started_at;
	span started;			/* monotonic */
	bool terminated, expired;
	int signum;
	/* While it runs: */
	struct variable how;		/* its args are ours, all else is the task's */
	char *input;
	struct exec *exec;
	struct child *child;		/* of tocsin.cycle */
	bool in_cycle;			/* it is counted in cycles */
	void *own;			/* of a builtin */
	bool uses_hand;
	/* What it has come to: */
	enum celery_state outcome;
	char *value;			/* JSON */
	char *spent;			/* one that did not count: what follows may lend from it */
	char *type, *module, *message;	/* of an exception; the last is an array in JSON */
	double runtime;
	/* While that is written down: */
	const int *todo;
	VEC(struct flow *) flows;
	size_t flow;			/* the first that is not carried out */
	bool waiting;			/* for the backend */
	size_t posting;			/* messages without a confirm */
	int tries;
	char *children;
	instant retry_at;
};

/* Of one task, in this process. */
struct task_use {
	char *name;
	bool builtin;
	int64_t total;			/* begun */
	char *rate_text;		/* by remote control; NULL: the task's own */
	double rate;			/* -1: the task's own */
	double soft, hard;		/* seconds; 0: the task's own */
	span next;			/* monotonic: not before */
};

struct requests {
	struct worker *worker;
	struct registry *registry;
	struct backend *backend;
	char *origin;			/* of what follows a task */
	bool leaving;			/* nothing is done any more */
	VEC(struct request *) reserved, active, ending;
	size_t ending_bytes;		/* of their messages */
	size_t cycles;			/* tocsin.cycle: their children run */
	struct timer *rate;		/* somebody may begin then */
	VEC(struct task_use *) uses;
	json_t *use_places;	/* by name */
	/* request_delay.c */
	VEC(struct request *) delaying, scheduled;
	size_t scheduled_bytes;
	size_t delaying_asked;
	struct timer *due;
	bool due_asked;
	VEC(int64_t) sent;		/* rows whose messages are confirmed */
	size_t sending;
	/* request_revoke.c */
	json_t *revoked;		/* id: monotonic; the oldest first */
	VEC(char *) revoking;		/* for the books */
	size_t revoking_asked;
	void (*told)(void *, enum request_event, const struct request_view *);
	void *arg;
};

#define request_message(r) (&(r)->letter->message)

/* request_look.c */
void request_tell(struct request *, enum request_event);

/* request.c */
void request_acknowledge(struct request *);
size_t request_bytes(const struct request *);	/* of its message, about */
void request_free(struct request *);
struct task_use *use_get(struct requests *, const char *name, bool builtin);

/* request_run.c */
void request_limits(struct request *);		/* fills in those of how */
void request_begin(struct request *);
/* Kill what it does; nothing is told. */
void request_kill(struct request *);
/* It has come to a value (taken), or to an exception: the text is its only argument.
 * Nothing runs for it any more. */
void request_succeed(struct request *, char *value);
void request_fail(struct request *, const char *type, const char *module, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* The same with all its arguments, an array in JSON (taken). */
void request_fail_with(struct request *, const char *type, const char *module, char *message);
char *request_argument(const char *text);	/* the array of one; the caller frees */
/* For a builtin: give TASK its arguments, then run it. */
int request_bind(struct request *, const struct task *, struct raw args, struct raw kwargs,
    struct str *error);
void request_run(struct request *, const struct task *, void (*finished)(void *arg,
    const struct exec_outcome *), void *arg);
void request_end_terminated(struct request *);
void request_fail_run(struct request *, const struct exec_outcome *);

/* request_builtin.c */
const struct builtin *builtin_find(const char *name);
const struct builtin *builtin_get(size_t i);		/* NULL behind the last */
const char *builtin_name(const struct builtin *);
bool builtin_uses_hand(const struct builtin *);
bool builtin_is_silent(const struct builtin *);		/* it keeps no result */
void builtin_begin(struct request *);
void builtin_kill(struct request *);

/* request_end.c */
/* It is over: OUTCOME and the like are filled in. */
void request_end(struct request *);
void request_store_started(struct request *);
/* A builtin has planned what follows: null is its result then. */
void request_end_with(struct request *, struct flow *);
/* Something that it waited for is there.  May end the request: nothing of it is
 * touched after a call. */
void request_go_on(struct request *);
/* Something that follows it cannot be sent: if its SUCCESS is not told yet, it is none. */
void request_fail_late(struct request *, const struct err *);
/* It will never begin. */
void request_end_revoked(struct request *, const char *why);
/* It could not be understood: tell who waits for it. */
void request_tell_refused(struct requests *, const struct letter *);

/* request_flow.c */
struct flow *flow_new(struct request *);
void flow_free(struct flow *);
void flow_add(struct request *, struct flow *);		/* to be carried out */
/* Go on with them; true: all are carried out, and confirmed. */
bool flows_are_over(struct request *);
/* Count MEMBER; when its chord is complete, BODY follows. */
void flow_count(struct request *, const struct chord_member *, struct raw body);

/* request_cycle.c */
void cycle_begin(struct request *);
void cycle_over(struct request *);		/* its child has gone; else nothing */

/* request_delay.c */
void delay_init(struct requests *);
void delay_take(struct request *);
void delay_turn(struct requests *);
void delay_done(struct requests *);

/* request_revoke.c */
void revoke_init(struct requests *);
void revoke_turn(struct requests *);
void revoke_done(struct requests *);
bool revoke_has(const struct requests *, const char *id);
double use_rate(const struct task_use *, const struct task *);

#endif
