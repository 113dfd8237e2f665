/* cycle.c - how a cycle is born, and how it lives within one process.
 *
 * The plan is committed before anything is sent.  An agent that finds a cycle
 * open leaves it alone while it makes progress; one that stands still is
 * resumed: its lost jobs are swept up and sent again, and it is run to its end. */
#include "engine/cycle.h"
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "engine/publish.h"
#include "engine/sweep.h"
#include "engine/worker.h"
#include "io/child.h"
#include "io/loop.h"
#include "io/pg.h"
#include "store/migrate.h"
#include "store/store.h"

enum { DEFINITIONS_AT_ONCE = 2048 };

struct life {
	struct worker *worker;
	const struct cycle_request *request;
	struct run_row *run;
	struct timer *look;		/* at the run's state: others may close it */
	bool closed, looking;
	int defined;			/* of so many jobs, by their ids, the definitions are here */
	int stopped;			/* how often it was told to */
	struct err *err;
	int rc;
};

bool
cycle_is_closed(enum run_state state)
{
	return state == RUN_DONE || state == RUN_DONE_WITH_ERRORS;
}

static void
note_run(struct life *life, enum run_state state, int unsettled, int failed)
{
	life->run->state = state;
	life->run->unsettled = unsettled;
	life->run->failed = failed;
	if (cycle_is_closed(state))
		life->closed = true;
	if (life->request->progress)
		life->request->progress(life->request->arg, life->run);
}

static void
run_changed(void *arg, const struct run_end *end)
{
	struct life *life = arg;

	if (end->run == life->run->id)
		note_run(life, end->state, end->unsettled, end->failed);
}

static void
looked(void *arg, const struct pg_answer *answer)
{
	struct life *life = arg;
	struct run_row now;

	life->looking = false;
	timer_start(life->look, life->worker->conf->sweep < SECOND
	    ? life->worker->conf->sweep : SECOND);
	if (answer->err)
		return;
	worker_note_success(life->worker);
	if (!run_read_state(answer->results[0], &now))
		note_run(life, now.state, now.unsettled, now.failed);
}

static void
look(void *arg)
{
	struct life *life = arg;

	if (life->looking || life->closed)
		return;
	life->looking = true;
	run_say_state(life->worker->claims, life->run->id);
	pg_ask(life->worker->claims, looked, life);
}

static void
stop(void *arg, int signum)
{
	struct life *life = arg;

	/* The second time it is meant, the third time at once. */
	if (life->stopped++)
		worker_hurry(life->worker);
	else
		worker_stop(life->worker);
	if (life->closed)	/* only deliveries are left, and they keep */
		return;
	life->rc = err_class(life->err, ERR_TEMPFAIL, "stopped by signal %d; cycle %" PRId64
	    " is still open and will be resumed by the next 'tocsin cycle'",
	    signum, life->run->id);
}

static bool
too_much_trouble(struct life *life)
{
	struct worker *w = life->worker;
	span most = w->conf->lease > 30 * SECOND ? w->conf->lease : 30 * SECOND;

	if (!w->trouble_since || clock_monotonic() - w->trouble_since < most)
		return false;
	life->rc = err_class(life->err, ERR_TEMPFAIL, "the books could not be used for %lld s; "
	    "cycle %" PRId64 " is still open and will be resumed by the next 'tocsin cycle'",
	    (long long)(most / SECOND), life->run->id);
	return true;
}

static void ask_definitions(struct life *);

static void
definitions_came(void *arg, const struct pg_answer *answer)
{
	struct life *life = arg;

	if (answer->err)
		return;		/* they are asked for when they are needed */
	worker_note_success(life->worker);
	versions_read(life->worker->versions, answer->results[0]);
	life->defined += DEFINITIONS_AT_ONCE;
	ask_definitions(life);
}

/* All that is computed here is known, and need not be asked for in pieces while
 * something waits for it. */
static void
ask_definitions(struct life *life)
{
	if (life->defined >= life->run->jobs || life->defined >= VERSIONS_KEPT)
		return;
	claim_say_versions_of_jobs(life->worker->claims, life->run->id, life->defined + 1,
	    life->defined + DEFINITIONS_AT_ONCE);
	pg_ask(life->worker->claims, definitions_came, life);
}

/* The whole life of a local cycle. */
static bool
cycle_turn(void *arg)
{
	struct life *life = arg;
	struct worker *w = life->worker;

	worker_turn(w);
	if (life->stopped > 2 || too_much_trouble(life))
		return false;
	if (w->newer_schema)
		life->rc = migrate_refuse(w->newer_schema, life->err);
	if (life->stopped || w->newer_schema)
		return !worker_has_stopped(w);
	return !life->closed || !worker_is_idle(w) || !deliver_is_idle(w);
}

static void
first_messages_sent(void *arg, bool sent)
{
	struct life *life = arg;

	if (!sent)
		return;
	run_say_started(life->worker->claims, life->run->id);
	pg_ask(life->worker->claims, NULL, NULL);
}

/* --- birth --- */

static int
wait_a_second(void)
{
	struct timespec second = { 1, 0 };

	return nanosleep(&second, NULL);
}

/* The agent's cycle is open. 1: resume it; 2: try to plan again; 0: leave. */
static int
meet_open_cycle(PGconn *conn, const struct conf *conf, const struct cycle_request *q,
    struct run_row *run, struct err *err)
{
	int found = run_find_open(conn, q->plan.agent, conf->lease, run, err);

	if (found < 0)
		return -1;
	if (!found)
		return 2;		/* it has just closed */
	if (run->stalled) {
		log_warn("cycle stands still, it is resumed", "cycle", log_number(run->id),
		    "unsettled", log_number(run->unsettled));
		return 1;
	}
	if (q->if_busy == BUSY_FAIL)
		return err_set(err, "agent '%s' has cycle %" PRId64 " open (%d of %d jobs "
		    "settled)", run->agent, run->id, run->jobs - run->unsettled, run->jobs);
	if (q->if_busy == BUSY_SKIP)
		return 0;
	if (q->progress)
		q->progress(q->arg, run);
	wait_a_second();
	return 2;
}

/* Who is asked twice makes one run.  1: it is there. */
static int
find_known(PGconn *conn, const struct conf *conf, const struct cycle_request *q,
    struct run_row *run, enum cycle_end *end, struct err *err)
{
	int found = q->plan.origin ?
	    run_find_origin(conn, q->plan.origin, conf->lease, run, err) : 0;

	if (found > 0)
		*end = run->stalled && !cycle_is_closed(run->state) ? CYCLE_RESUMED : CYCLE_KNOWN;
	return found;
}

int
cycle_make_or_find(PGconn *conn, const struct conf *conf, const struct cycle_request *q,
    struct run_row *run, enum cycle_end *end, struct err *err)
{
	bool busy;
	int met;

	*end = CYCLE_ENDED;
	do {
		if ((met = find_known(conn, conf, q, run, end, err)))
			return met < 0 ? -1 : 0;
		if (run_plan(conn, &q->plan, run, &busy, err))
			return -1;
		if (!busy)
			return 0;
		if ((met = meet_open_cycle(conn, conf, q, run, err)) < 0)
			return -1;
	} while (met == 2);
	*end = met == 0 ? CYCLE_BUSY : CYCLE_RESUMED;
	return 0;
}

/* --- life --- */

static int
live(const struct conf *conf, const struct cycle_request *q, struct run_row *run,
    const struct fired_jobs *jobs, struct err *err)
{
	struct life life = { .request = q, .run = run, .closed = cycle_is_closed(run->state),
		.err = err };
	struct loop *loop = loop_new();
	struct worker_settings settings = { .loop = loop, .conf = conf,
		.transport = transport_local(loop), .only_run = run->id, .delivers = true,
		.run_changed = run_changed, .arg = &life };
	struct loop_signal *term, *interrupt;

	for (int i = 0; i < EXECUTOR_COUNT; i++)
		settings.allowed[i] = q->allowed[i];
	life.worker = worker_new(&settings);
	life.look = timer_new(loop, look, &life);
	term = loop_on_signal(loop, SIGTERM, stop, &life);
	interrupt = loop_on_signal(loop, SIGINT, stop, &life);
	timer_start(life.look, SECOND);
	/* Of a cycle that is resumed all jobs may have been running. */
	if (!life.closed) {
		ask_definitions(&life);
		publish_jobs(life.worker, jobs->at, jobs->n, first_messages_sent, &life);
		sweep_begin(life.worker);
	}
	loop_nudge(loop);
	loop_run(loop, cycle_turn, &life);
	worker_free(life.worker);
	timer_free(life.look);
	loop_signal_free(term);
	loop_signal_free(interrupt);
	loop_free(loop);
	return life.rc;
}

static int
run_one(const struct conf *conf, const struct cycle_request *q, struct run_row *run,
    enum cycle_end *end, struct err *err)
{
	struct fired_jobs jobs = { 0 };
	PGconn *conn = store_open_to_write(conf, err);
	int rc = -1;

	if (!conn || cycle_make_or_find(conn, conf, q, run, end, err))
		goto out;
	failpoint("cycle.after_plan");
	if (*end == CYCLE_BUSY || *end == CYCLE_KNOWN) {
		rc = 0;
		goto out;
	}
	if (run_queued_jobs(conn, run->id, &jobs, err))
		goto out;
	PQfinish(conn);
	conn = NULL;
	rc = live(conf, q, run, &jobs, err);
out:
	fired_jobs_done(&jobs);
	PQfinish(conn);
	return rc;
}

int
cycle_run_local(const struct conf *conf, const struct cycle_request *q, struct run_row *run,
    enum cycle_end *end, struct err *err)
{
	int rc;

	child_adopt_descendants();
	do
		rc = run_one(conf, q, run, end, err);
	while (!rc && *end == CYCLE_RESUMED && q->if_busy == BUSY_WAIT);
	return rc;
}
