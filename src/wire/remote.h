/* A worker among workers: what it tells Celery's monitors, and what it is asked.
 *
 * It lives on the lines of an AMQP transport, on channels of its own, and comes
 * and goes with them.  Out: events, to celeryev (heartbeats always, those of
 * tasks while they are wanted), and answers; all of it transient, unconfirmed,
 * and nothing waits for it: while the broker takes no messages a limited number
 * of events is kept, and what is beyond is dropped and counted.  In: requests
 * from celery.pidbox, the events of other workers (for the clock, and for
 * elections), and at every beginning what others know of revoked tasks.
 *
 * An exchange or a queue that is declared otherwise by somebody is used as it is;
 * what cannot be had is done without, and told of once. */
#ifndef WIRE_REMOTE_H
#define WIRE_REMOTE_H

#include <stdbool.h>
#include <stdint.h>
#include "celery/event.h"

struct celery_control;
struct remote;
struct str;
struct transport;

struct remote_settings {
	const char *node;		/* "name@host"; unique among all of the broker's */
	bool listens;			/* false: it only tells, and obeys nobody */
	bool events;			/* those of tasks are wanted from the start */
	/* The load of a heartbeat: active, processed. */
	void (*load)(void *arg, struct celery_load *);
	/* Somebody asks; add the value of the answer (JSON).  False: no answer. */
	bool (*asked)(void *arg, const struct celery_control *, struct str *answer);
	/* Add our revoked ids, as an object: see celery_control_add_revoked(). */
	void (*say_revoked)(void *arg, struct str *);
	/* Another worker knows this one to be revoked. */
	void (*revoked)(void *arg, const char *id);
	void *arg;
};

/* For an AMQP transport that consumes, and for its whole life; ends before it.
 * Copies the node's name. */
struct remote *remote_new(struct transport *, const struct remote_settings *);
void remote_free(struct remote *);	/* NULL is fine */

const char *remote_node(const struct remote *);
int64_t remote_clock(const struct remote *);
int64_t remote_step_clock(struct remote *);

/* Are events of tasks wanted?  Of NULL never: ask before making one. */
bool remote_wants_events(const struct remote *);
void remote_want_events(struct remote *, bool);
/* Copied; goes out with the others of this turn. */
void remote_tell_task(struct remote *, enum celery_event, const struct celery_task_event *);
/* Somebody calls an election: we stand in it, so that it has candidates enough
 * (with a single one Celery's worker dies), but so that another wins. */
void remote_stand(struct remote *, const struct celery_election *);
/* Out of turn, and with another frequency than the true one. */
void remote_beat(struct remote *, double freq);

/* What the others know of revoked tasks has been heard, or they have been waited
 * for long enough (a second from the connection's beginning); true of NULL. */
bool remote_has_mingled(const struct remote *);

/* Once in each turn: what was told in it goes out.  NULL is fine. */
void remote_turn(struct remote *);
/* worker-offline; the last that is told.  NULL is fine. */
void remote_leave(struct remote *);

uint64_t remote_dropped(const struct remote *);		/* events and answers */

#endif
