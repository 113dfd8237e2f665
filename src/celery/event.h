/* Events: what Celery's monitors are told, worker by worker and task by task.
 *
 * An event is a JSON object on the exchange celeryev, under its type with a dot
 * for the dash ("worker.heartbeat"); those of tasks come as arrays, under
 * "task.multi".  Pure: the clocks, the process and the texts are the caller's. */
#ifndef CELERY_EVENT_H
#define CELERY_EVENT_H

#include <stdbool.h>
#include <stdint.h>
#include "base/clock.h"
#include "celery/raw.h"

struct arena;
struct str;

#define CELERY_EVENT_EXCHANGE "celeryev"	/* topic, durable */
#define CELERY_EVENT_BATCH "task.multi"

#define CELERY_EVENTS(X) \
	X(EVENT_WORKER_ONLINE, "worker-online") X(EVENT_WORKER_HEARTBEAT, "worker-heartbeat") \
	X(EVENT_WORKER_OFFLINE, "worker-offline") X(EVENT_WORKER_ELECT, "worker-elect") \
	X(EVENT_WORKER_ELECT_ACK, "worker-elect-ack") \
	X(EVENT_TASK_RECEIVED, "task-received") X(EVENT_TASK_STARTED, "task-started") \
	X(EVENT_TASK_SUCCEEDED, "task-succeeded") X(EVENT_TASK_FAILED, "task-failed") \
	X(EVENT_TASK_RETRIED, "task-retried") X(EVENT_TASK_REVOKED, "task-revoked") \
	X(EVENT_TASK_REJECTED, "task-rejected")

#define EVENT_ENUM(name, text) name,
enum celery_event { CELERY_EVENTS(EVENT_ENUM) CELERY_EVENT_COUNT };
#undef EVENT_ENUM

const char *celery_event_name(enum celery_event);
/* "worker.heartbeat"; those of tasks are CELERY_EVENT_BATCH. */
const char *celery_event_key(enum celery_event);

/* Who says it, and when.  Texts are UTF-8. */
struct celery_teller {
	const char *node;		/* "name@host" */
	int64_t pid, clock;		/* Lamport's clock, stepped for each event */
	int utcoffset;			/* see below */
	instant at;
};

/* Whole hours WEST of UTC, as Python counts them on this host at that instant:
 * a reader adds what it differs from his own to the time, though that is UTC. */
int celery_event_utcoffset(instant);

/* Of a worker. */
struct celery_load {
	double freq;			/* seconds until the next heartbeat */
	int64_t active, processed;
	double average[3];		/* of the machine, over 1, 5 and 15 minutes */
	const char *version;		/* of the program */
	const char *system;		/* "Linux" */
};

/* Of a task; which fields count is a matter of the event. */
struct celery_task_event {
	const char *uuid;
	/* received: */
	const char *name, *args, *kwargs;	/* the latter as Python shows them */
	const char *root_id, *parent_id;	/* NULL: none */
	int64_t retries;
	instant eta, expires;			/* INSTANT_NEVER: none */
	/* succeeded: */
	struct raw result;			/* shown as Python would; none: None */
	double runtime;				/* seconds */
	/* failed, retried: */
	const char *exception, *traceback;	/* "ValueError('boom')"; NULL: none */
	/* revoked; rejected: */
	bool terminated, expired, requeue;
	int signum;				/* 0: none */
};

/* Who is to do something that one worker shall do. */
struct celery_election {
	const char *id, *topic;		/* NULL: none */
	struct raw action;
};

/* Add the object. */
void celery_event_worker(struct str *, enum celery_event, const struct celery_teller *,
    const struct celery_load *);
void celery_event_elect(struct str *, const struct celery_teller *,
    const struct celery_election *);
void celery_event_elect_ack(struct str *, const struct celery_teller *, const char *id);
void celery_event_task(struct str *, enum celery_event, const struct celery_teller *,
    const struct celery_task_event *);

/* What a worker hears of others: the clock that BODY says (an event or an array
 * of them; 0: none), and the election that another stands in, with texts of
 * ARENA's and an action of BODY's; without id there is none.  -1: it is no event. */
int celery_event_read(const char *body, size_t len, struct arena *, int64_t *clock,
    struct celery_election *);

#endif
