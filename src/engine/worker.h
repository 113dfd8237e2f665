/* A worker: what computes jobs and writes down what they come to.
 *
 * The same in a daemon and in `cycle --local`; only the transport differs.
 * Its life is worker_turn().  A job moves through the lists below from top to
 * bottom, and is in exactly one of them:
 *
 *	inbox -> claiming -> claimed -> running -> finished -> settling
 */
#ifndef ENGINE_WORKER_H
#define ENGINE_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/clock.h"
#include "base/uuid.h"
#include "base/vec.h"
#include "engine/versions.h"
#include "exec/exec.h"
#include "store/claim.h"
#include "store/settle.h"
#include "wire/wire.h"

struct asking;
struct conf;
struct delivering;
struct hand_back;
struct loop;
struct pace;
struct panel;
struct pg;
struct pg_answer;
struct question;
struct requests;
struct settling;
struct stopping;
struct sweeping;
struct timer;
struct worker;

enum {
	BATCH_MAX = 512,		/* jobs in one claim or one settling */
	AT_ONCE_MAX = 2048,		/* jobs that a settling decides beside those */
};

/* A job that a message names, and the message. */
struct slip {
	struct job_key key;
	struct message *from;
};

/* A job that is claimed, until its outcome is settled. */
struct flight {
	struct worker *worker;
	struct claimed job;
	struct message *from;		/* NULL: acknowledged already */
	char *queue;			/* if so */
	struct version *version;
	struct exec *exec;		/* of a variable under way */
	instant started_at;		/* 0: it has not begun */
	span began_at;			/* the same (monotonic) */
	struct question *question;	/* of one that others are asked for */
	struct outcome outcome;
	bool in_doubt;			/* it may be settled: the commit was not answered */
};

struct flights {
	struct flight **at;
	size_t n, room;
};

struct worker_settings {
	struct loop *loop;
	const struct conf *conf;
	struct transport *transport;	/* taken */
	bool has_broker;		/* it reaches others than ourselves */
	struct uuid installation;	/* if so */
	bool allowed[EXECUTOR_COUNT];
	bool delivers;			/* attempt what is due, also without a message */
	int64_t only_run;		/* sweep this run alone; 0: all */
	/* Told of each run that a settling of ours has changed. */
	void (*run_changed)(void *arg, const struct run_end *);
	void *arg;
};

struct worker {
	struct worker_settings set;
	struct loop *loop;
	const struct conf *conf;
	char name[128];			/* host:pid:random, in the books */
	/* The books, twice: a claim must not fall into a settling's transaction. */
	struct pg *claims, *books;
	struct hands *hands;
	struct versions *versions;
	VEC(struct slip) decisions, variables;	/* the inbox */
	size_t variables_head;
	VEC(struct slip) claiming;
	VEC(int64_t) versions_asked;	/* under way */
	VEC(struct held) renewing;	/* under way */
	bool claim_asked;
	struct flights claimed, alone, running, finished;
	bool running_alone;
	size_t claiming_variables;
	struct pace *pace;
	struct hand_back *handing;
	struct settling *settling;
	struct delivering *delivering;
	struct asking *asking;
	struct requests *requests;	/* of Celery's clients; NULL: it does none */
	unsigned turns;
	int64_t grown;			/* by remote control, over concurrency */
	VEC(struct sent *) unsent;	/* to be published (again) */
	size_t unconfirmed;		/* messages under way */
	struct sweeping *sweeping;
	struct panel *panel;		/* NULL: nobody asks it, as in cycle --local */
	struct timer *renew, *sweep, *retry;
	bool told_trouble;		/* the books say that the broker has some */
	uint64_t late;			/* jobs that were asked for and not to be done */
	struct stopping *stopping;	/* NULL: it is not */
	bool waiting;			/* for RETRY: the books cannot be reached */
	int failures;			/* in a row */
	instant trouble_since;		/* 0: all is well (monotonic) */
	int newer_schema;		/* version of the books; 0: we know it */
};

struct worker *worker_new(const struct worker_settings *);
/* Do tasks for Celery's clients, too.  -1 with ERR (ERR_CONFIG). */
int worker_serve_clients(struct worker *, struct err *);
void worker_free(struct worker *);	/* kills what still runs */

/* One turn of its life: called after every wait of the loop. */
void worker_turn(struct worker *);
/* Nothing is claimed, running or unsettled, and nothing waits in the inbox. */
bool worker_is_idle(const struct worker *);

/* The settings have changed: clocks that run are set to what they say now. */
void worker_take_changes(struct worker *);

/* Take no more work; finish within grace what runs, and settle it; then kill
 * the rest and hand it back.  worker_turn() does all that. */
void worker_stop(struct worker *);
/* The same without grace, and with little patience. */
void worker_hurry(struct worker *);
bool worker_has_stopped(const struct worker *);

/* Nothing is asked of the books for ABOUT so long. */
void worker_wait(struct worker *, span about);
/* The books have failed with ERR: wait before the next try. */
void worker_note_trouble(struct worker *, const char *what, const struct err *);
void worker_note_success(struct worker *);
/* ANSWER ends with migrate_say_version().  True when the books have been made
 * newer than this program: then nothing more is taken, and the worker stops. */
bool worker_is_outdated(struct worker *, const struct pg_answer *answer);
/* How much may be measured at once: concurrency, and what was grown; at least 1. */
int64_t worker_concurrency(const struct worker *);
void worker_grow(struct worker *, int64_t by);	/* BY may be negative */
/* How many unacknowledged messages it wants of each queue with so many hands. */
uint16_t worker_prefetch(const struct conf *, int64_t concurrency);
/* How much more may begin now, variables or clients' tasks. */
size_t worker_free_hands(const struct worker *);
/* Of the variables that are claimed: those that wait for a hand. */
size_t worker_claimed_variables(const struct worker *);

/* FLIGHT is over: give back what it holds; its message is not touched. */
void flight_free(struct flight *);
/* It runs no more: off the list. */
void flight_land(struct worker *, struct flight *);

/* settle.c */
struct settling *settling_new(void);
void settling_free(struct settling *);
bool settling_is_idle(const struct settling *);
void settle_finished(struct worker *);		/* begin one, or go on with it */
void settling_hold(const struct settling *, void (*each)(void *arg,
    const struct flight *), void *arg);

/* deliver.c */
struct delivering *delivering_new(struct worker *);
void delivering_free(struct delivering *);
void deliver_take(struct worker *, struct message *);	/* it is about a delivery */
/* Attempt what messages are about, and what is due. */
void deliver_due(struct worker *);
void deliver_renew(struct worker *);		/* another lease for what is under way */
void deliver_look_again(struct worker *);	/* some may be due */
bool deliver_is_idle(const struct worker *);
/* The worker stops: hand back what has not begun, and if grace is OVER, the rest.
 * True when nothing is under way any more. */
bool deliver_stop(struct worker *, bool over);

#endif
