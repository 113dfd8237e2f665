/* serve.c - the life of a worker daemon.
 *
 *	waiting for the books -> serving -> stopping -> saying goodbye
 *
 * The books come first: they say which installation's messages are ours.  From
 * then on books and broker may come and go.  The first SIGTERM or SIGINT stops
 * the worker as engine/stop.c tells, the second, or SIGQUIT, hurries it; the third
 * ends it as it is.
 * SIGHUP reads the settings again: everybody lends the one struct conf and looks
 * into it when there is need, so what changes in it counts from then on. */
#include "engine/serve.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/log.h"
#include "engine/panel.h"
#include "engine/processes.h"
#include "engine/request.h"
#include "engine/worker.h"
#include "io/child.h"
#include "io/loop.h"
#include "io/pg.h"
#include "store/migrate.h"
#include "store/store.h"
#include "wire/amqp.h"

struct daemon {
	const struct serve_settings *set;
	struct loop *loop;
	struct timer *again;		/* look for the books */
	struct pg *books;		/* ... that are looked for; NULL: they are not */
	int failures;
	struct transport *transport;	/* the worker's */
	struct worker *worker;		/* NULL: no books yet */
	int signals;
	struct err *err;
	int rc;
	bool failed;
};

static void
take_changes(struct daemon *d)
{
	requests_tell_prefetch(d->worker);
	worker_take_changes(d->worker);
	loop_nudge(d->loop);
}

/* What a terminal sends reaches the many and their parent, which sends it on. */
static void
count_stop(struct daemon *d, int signum)
{
	if (signum == SIGQUIT && d->signals < 2)
		d->signals = 2;
	else if (!d->signals || !d->set->process)
		d->signals++;
}

static void
signal_came(void *arg, int signum)
{
	struct daemon *d = arg;

	if (signum == SIGHUP) {
		if (d->set->reload(d->set->arg) && d->worker)
			take_changes(d);
		return;
	}
	count_stop(d, signum);
	if (d->worker && d->signals > 1)
		worker_hurry(d->worker);
	else if (d->worker)
		worker_stop(d->worker);
}

/* --- beginning --- */

static void
fail(struct daemon *d, const struct err *err)
{
	*d->err = *err;
	d->rc = -1;
	d->failed = true;
}

/* Asked before there is a worker nothing is; that is not yet. */
static bool
is_registered(void *arg, const char *task)
{
	struct daemon *d = arg;

	return d->worker && requests_know(d->worker->requests, task);
}

static void
stopped_from_afar(void *arg)
{
	struct daemon *d = arg;

	worker_stop(d->worker);
	if (d->set->process)
		d->rc = PROCESS_LEFT;
}

static void
begin(struct daemon *d, const struct uuid *installation)
{
	const struct conf *conf = d->set->conf;
	struct worker_settings settings = { .loop = d->loop, .conf = conf,
		.has_broker = true, .installation = *installation };
	struct amqp_wire wire = { .installation = *installation, .name = "tocsin worker",
		.queues = d->set->queues, .n_queues = d->set->n_queues,
		.prefetch = worker_prefetch(conf, conf->concurrency), .registered = is_registered, .arg = d };
	struct panel_settings panel = { .installation = installation,
		.process = d->set->process, .shutdown = stopped_from_afar, .arg = d };
	struct err err;

	d->transport = settings.transport = transport_amqp(d->loop, conf, &wire, &err);
	if (!d->transport) {
		fail(d, &err);
		return;
	}
	for (size_t i = 0; i < d->set->n_queues; i++)
		settings.delivers |= !strcmp(d->set->queues[i], conf->queue);
	for (int i = 0; i < EXECUTOR_COUNT; i++)
		settings.allowed[i] = d->set->allowed[i];
	d->worker = worker_new(&settings);
	if (worker_serve_clients(d->worker, &err)) {
		fail(d, &err);
		return;
	}
	panel.worker = d->worker;
	if (!panel_new(&panel, &err)) {
		fail(d, &err);
		return;
	}
	log_info("worker is ready", "name", d->worker->name, "node",
	    panel_node(d->worker->panel), "queue", d->set->queues[0],
	    "queues", log_number((int64_t)d->set->n_queues),
	    "concurrency", log_number(conf->concurrency));
	loop_nudge(d->loop);
}

static void
books_answered(void *arg, const struct pg_answer *answer)
{
	struct daemon *d = arg;
	struct uuid installation;
	struct err err;
	span wait = SECOND / 4 << (d->failures < 7 ? d->failures : 7);

	if (!store_read_installation(answer, &installation, &err))
		begin(d, &installation);
	else if (err.class != ERR_TEMPFAIL)
		fail(d, &err);
	else {
		d->failures++;
		log_warn("the books cannot be used, trying again", "while", "starting",
		    "error", err.message, "failures", log_number(d->failures));
		timer_start(d->again, wait / 2 + (span)(random() % (wait / 2)));
	}
	pg_free(d->books);
	d->books = NULL;
}

/* On the loop, though nothing else happens yet: who is told to stop meanwhile
 * does not wait for a server that may never answer. */
static void
look_for_books(void *arg)
{
	struct daemon *d = arg;
	struct pg_settings settings = store_settings(d->set->conf);

	settings.writes = true;
	d->books = pg_new(d->loop, &settings);
	store_say_installation(d->books);
	pg_ask(d->books, books_answered, d);
}

/* --- the whole life --- */

static bool
serve_turn(void *arg)
{
	struct daemon *d = arg;

	if (d->failed || d->signals > 2 || (d->signals && !d->worker))
		return false;
	if (!d->worker)
		return true;
	worker_turn(d->worker);
	if (!worker_has_stopped(d->worker))
		return true;
	panel_leave(d->worker->panel);
	if (!d->transport->close(d->transport))
		return true;
	if (d->worker->newer_schema)
		d->rc = migrate_refuse(d->worker->newer_schema, d->err);
	return false;
}

int
worker_serve(const struct serve_settings *set, struct err *err)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP };
	enum { SIGNALS = sizeof signals / sizeof signals[0] };
	struct daemon d = { .set = set, .loop = loop_new(), .err = err };
	struct loop_signal *watches[SIGNALS];

	child_adopt_descendants();
	for (int i = 0; i < SIGNALS; i++)
		watches[i] = loop_on_signal(d.loop, signals[i], signal_came, &d);
	loop_let_signals(signals, SIGNALS);
	d.again = timer_new(d.loop, look_for_books, &d);
	timer_start(d.again, 0);
	loop_run(d.loop, serve_turn, &d);
	if (d.worker)
		worker_free(d.worker);
	if (d.books)
		pg_free(d.books);
	timer_free(d.again);
	for (int i = 0; i < SIGNALS; i++)
		loop_signal_free(watches[i]);
	loop_free(d.loop);
	return d.rc;
}
