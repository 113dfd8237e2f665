/* Tasks of Celery's clients: from the letter that asks for one to its result.
 *
 * A request is one call of a task.  It is no run: it writes no books but for
 * what must outlive the process (one that is not due yet, a revocation), only
 * its result.  Its life:
 *
 *	received -> [scheduled, by its eta] -> reserved [by its rate] -> active
 *	         -> ending: followers confirmed, result kept, chord counted
 *	         -> acknowledged (or that before it was active, see acks_late)
 *
 * One that ends in the midst of that is delivered again, and its followers may
 * be sent twice: so it is with Celery.  All calls take NULL for a worker that
 * does no tasks. */
#ifndef ENGINE_REQUEST_H
#define ENGINE_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/clock.h"
#include "celery/raw.h"
#include "celery/result.h"

struct err;
struct letter;
struct message;
struct registry;
struct request;
struct requests;
struct task;
struct worker;

enum request_state {
	REQUEST_SCHEDULED,	/* until its eta: it is in the books, and here to be looked at */
	REQUEST_RESERVED,	/* waits for a hand, or for its rate */
	REQUEST_ACTIVE,
	REQUEST_ENDING,
};

/* To be looked at. */
struct request_view {
	enum request_state state;
	const struct letter *letter;
	const char *queue;		/* that it came by */
	bool acknowledged;
	instant received_at, started_at;	/* INSTANT_NEVER: not yet */
	instant eta;			/* of a scheduled one */
	/* Of one that has ended: */
	enum celery_state outcome;	/* SUCCESS, FAILURE, RETRY, REVOKED */
	struct raw value;		/* of SUCCESS */
	struct celery_exception exception;	/* else */
	double runtime;			/* seconds */
	bool terminated, expired;	/* of REVOKED */
	int signum;
};

enum request_event {
	REQUEST_RECEIVED, REQUEST_STARTED, REQUEST_SUCCEEDED, REQUEST_FAILED, REQUEST_RETRIED,
	REQUEST_REVOKED, REQUEST_REJECTED,
};

/* TOLD is called for each event until another listener comes; NULL: nobody. */
void requests_listen(struct requests *, void (*told)(void *arg, enum request_event,
    const struct request_view *), void *arg);

void requests_each(const struct requests *, void (*each)(void *arg,
    const struct request_view *), void *arg);

/* --- the worker's --- */

/* Opens the result backend.  NULL with ERR (ERR_CONFIG). */
struct requests *requests_new(struct worker *, struct err *);
/* Nothing more is sent, stored or waited for; before the transport goes. */
void requests_leave(struct requests *);
void requests_free(struct requests *);

/* Is TASK one that is done here? */
bool requests_know(const struct requests *, const char *task);
void requests_take(struct requests *, struct message *);	/* it has a letter */
void requests_turn(struct requests *);		/* begin what may begin */
size_t requests_active(const struct requests *);	/* hands that they use */
/* How many messages the broker gives us at once: as the settings say, and one for
 * each tocsin.cycle, which waits here for others that come by the same queue. */
void requests_tell_prefetch(struct worker *);
/* The settings were read again. */
void requests_take_registry(struct requests *);
/* Is any registered? */
bool requests_have_tasks(const struct requests *);
/* The worker stops: what has not begun goes back, and if grace is OVER what runs
 * is killed.  True when nothing is under way any more. */
bool requests_stop(struct requests *, bool over);

/* --- told by Celery's tools --- */

/* It ends as REVOKED when it would begin: remembered for three hours, and in the
 * books unless it was HEARD from another worker. */
void requests_revoke(struct requests *, const char *id, bool heard);
/* Revoke it, and if it runs here send its process group SIGNUM (a query is
 * cancelled).  False: it does not run here. */
bool requests_terminate(struct requests *, const char *id, int signum);
/* AT is monotonic. */
void requests_each_revoked(const struct requests *, void (*each)(void *arg, const char *id,
    span at), void *arg);

/* From now on.  -1 with ERR: there is no such task, or RATE is none ("10/m"). */
int requests_rate_limit(struct requests *, const char *task, const char *rate, struct err *);
/* Seconds, 0: as the settings say. */
int requests_time_limit(struct requests *, const char *task, double soft, double hard,
    struct err *);

/* Each task that is done here, in no order; those of Celery itself are BUILTIN.
 * RATE is NULL where there is none; TOTAL: so many were begun. */
void requests_each_task(const struct requests *, void (*each)(void *arg, const char *name,
    bool builtin, const char *rate, int64_t total), void *arg);

#endif
