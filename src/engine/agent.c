/* agent.c - how a cycle is sent to the workers.
 *
 *	plan, commit    the run is CREATED
 *	publish         its first messages, with confirms
 *	STARTED         all of them are the broker's
 *	(wait)          look at the run until it is closed
 *
 * An agent is a worker that takes nothing.  It may die anywhere: a run that was
 * never sent, or only in part, stands still, and is sent by the next agent that
 * finds it so, or by the workers' sweep.  What to send of a run that stands still
 * the sweep decides in either case, so that an agent that comes every minute to
 * workers that are away does not fill the queue. */
#include "engine/cycle.h"
#include <inttypes.h>
#include <signal.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "engine/publish.h"
#include "engine/sweep.h"
#include "engine/worker.h"
#include "io/loop.h"
#include "io/pg.h"
#include "store/migrate.h"
#include "store/store.h"
#include "wire/amqp.h"

#define LOOK (SECOND / 2)

struct agent {
	struct worker *worker;
	struct transport *transport;
	const struct cycle_request *request;
	struct run_row *run;
	struct timer *look;
	span trouble_since;		/* with the broker; 0: all is well */
	bool wait, sweeping;
	bool started, looking, closed, stopped;
	bool gave_up;			/* for this reason: */
	struct err why;
	struct err *err;
	int rc;
};

/* --- looking at the run --- */

static void
looked(void *arg, const struct pg_answer *answer)
{
	struct agent *a = arg;
	struct run_row now;

	a->looking = false;
	timer_start(a->look, LOOK);
	if (answer->err) {
		worker_note_trouble(a->worker, "looking at the cycle", answer->err);
		return;
	}
	worker_note_success(a->worker);
	if (run_read_state(answer->results[answer->n - 1], &now))
		return;
	a->run->state = now.state;
	a->run->unsettled = now.unsettled;
	a->run->failed = now.failed;
	a->closed = cycle_is_closed(now.state);
	if (a->request->progress)
		a->request->progress(a->request->arg, a->run);
}

static void
look(void *arg)
{
	struct agent *a = arg;

	if (a->looking || a->closed || !a->started) {
		timer_start(a->look, LOOK);
		return;
	}
	a->looking = true;
	run_say_state(a->worker->claims, a->run->id);
	pg_ask(a->worker->claims, looked, a);
}

/* All is sent: say so, and see how far it is meanwhile. */
static void
first_messages_sent(void *arg, bool sent)
{
	struct agent *a = arg;

	if (!sent)
		return;
	failpoint("agent.before_started");
	a->started = a->looking = true;
	run_say_started(a->worker->claims, a->run->id);
	run_say_state(a->worker->claims, a->run->id);
	pg_ask(a->worker->claims, looked, a);
}

/* --- giving up --- */

static void
stop(void *arg, int signum)
{
	struct agent *a = arg;

	a->stopped = true;
	a->rc = err_class(a->err, ERR_TEMPFAIL, a->started ?
	    "stopped by signal %d; the workers go on with cycle %" PRId64 :
	    "stopped by signal %d; cycle %" PRId64
	    " is still open and will be resumed by the next 'tocsin cycle'",
	    signum, a->run->id);
}

/* A broker that was never there is not waited for; one that has gone is, for
 * as long as for a confirm. */
static bool
broker_fails(struct agent *a)
{
	const struct err *why = a->transport->trouble(a->transport);
	span now = clock_monotonic(), most = a->worker->conf->confirm_timeout;

	if (!why || a->started) {
		a->trouble_since = 0;
		return false;
	}
	if (!a->trouble_since)
		a->trouble_since = now;
	if (transport_amqp_connected(a->transport) && now - a->trouble_since < most)
		return false;
	a->gave_up = true;
	a->why = *why;
	a->rc = err_class(a->err, ERR_TEMPFAIL, "%s; cycle %" PRId64 " is in the books and "
	    "will be sent by the next 'tocsin cycle' after a lease", why->message, a->run->id);
	return true;
}

static bool
books_fail(struct agent *a)
{
	struct worker *w = a->worker;
	span most = w->conf->lease > 30 * SECOND ? w->conf->lease : 30 * SECOND;

	if (!w->trouble_since || clock_monotonic() - w->trouble_since < most)
		return false;
	a->rc = err_class(a->err, ERR_TEMPFAIL, "the books could not be used for %lld s; "
	    "cycle %" PRId64 " is still open", (long long)(most / SECOND), a->run->id);
	return true;
}

/* The whole life of an agent. */
static bool
agent_turn(void *arg)
{
	struct agent *a = arg;
	struct worker *w = a->worker;

	settle_finished(w);		/* what the sweep has found lost */
	publish_unsent(w);
	if (a->sweeping && sweep_is_over(w->sweeping) && sweep_has_seen_all(w->sweeping) &&
	    worker_is_idle(w)) {
		a->sweeping = false;
		first_messages_sent(a, true);
	}
	if (w->newer_schema)
		a->rc = migrate_refuse(w->newer_schema, a->err);
	if (w->newer_schema || a->stopped || broker_fails(a) || books_fail(a))
		return false;
	if (!a->started || a->looking || (a->wait && !a->closed))
		return true;
	return !a->transport->close(a->transport);
}

/* --- birth --- */

static void
send_first(struct agent *a, const struct fired_jobs *jobs, enum cycle_end end)
{
	failpoint("agent.before_publish");
	a->sweeping = end == CYCLE_RESUMED;
	if (end == CYCLE_KNOWN)
		a->started = true;	/* by whoever made it */
	else if (a->sweeping)
		sweep_begin(a->worker);
	else
		publish_jobs(a->worker, jobs->at, jobs->n, first_messages_sent, a);
}

static int
live(const struct conf *conf, struct agent *a, const struct amqp_wire *wire,
    const struct fired_jobs *jobs, enum cycle_end end)
{
	struct loop *loop = loop_new();
	struct worker_settings settings = { .loop = loop, .conf = conf, .only_run = a->run->id };
	struct loop_signal *term, *interrupt;

	if (!(a->transport = settings.transport = transport_amqp(loop, conf, wire, a->err))) {
		loop_free(loop);
		return -1;
	}
	a->worker = worker_new(&settings);
	a->look = timer_new(loop, look, a);
	term = loop_on_signal(loop, SIGTERM, stop, a);
	interrupt = loop_on_signal(loop, SIGINT, stop, a);
	timer_start(a->look, LOOK);
	send_first(a, jobs, end);
	loop_nudge(loop);
	loop_run(loop, agent_turn, a);
	worker_free(a->worker);
	timer_free(a->look);
	loop_signal_free(term);
	loop_signal_free(interrupt);
	loop_free(loop);
	return a->rc;
}

/* For 'tocsin status': whoever sends the cycle after all takes it away. */
static void
leave_word(const struct conf *conf, const struct agent *a)
{
	struct err ignored;
	PGconn *conn = store_open_to_write(conf, &ignored);

	if (conn)
		run_note_trouble(conn, a->run->id, a->why.message, &ignored);
	PQfinish(conn);
}

static int
run_one(const struct conf *conf, const struct cycle_request *q, bool wait,
    struct run_row *run, enum cycle_end *end, struct err *err)
{
	struct agent agent = { .request = q, .run = run, .wait = wait, .err = err };
	struct amqp_wire wire = { .name = "tocsin cycle" };
	struct fired_jobs jobs = { 0 };
	PGconn *conn = store_open_to_write(conf, err);
	int rc = -1;

	if (!conn || cycle_make_or_find(conn, conf, q, run, end, err))
		goto out;
	failpoint("cycle.after_plan");
	if (*end == CYCLE_BUSY || (*end == CYCLE_KNOWN && !wait) || cycle_is_closed(run->state)) {
		rc = 0;
		goto out;
	}
	if (store_installation(conn, &wire.installation, err) ||
	    run_queued_jobs(conn, run->id, &jobs, err))
		goto out;
	PQfinish(conn);
	conn = NULL;
	rc = live(conf, &agent, &wire, &jobs, *end);
	if (agent.gave_up)
		leave_word(conf, &agent);
out:
	fired_jobs_done(&jobs);
	PQfinish(conn);
	return rc;
}

int
cycle_run_remote(const struct conf *conf, const struct cycle_request *q, bool wait,
    struct run_row *run, enum cycle_end *end, struct err *err)
{
	int rc;

	/* One that was resumed is waited for, then our own is made. */
	do
		rc = run_one(conf, q, wait, run, end, err);
	while (!rc && *end == CYCLE_RESUMED && q->if_busy == BUSY_WAIT);
	return rc;
}
