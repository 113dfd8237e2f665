/* worker.c - the life of a worker.
 *
 * Callbacks move jobs from list to list; worker_turn() decides what is next.
 * What is ready in a turn is the batch: it is claimed in one statement and
 * settled in one transaction.  The order is: commit, publish, confirm,
 * acknowledge. */
#include "engine/worker.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/uuid.h"
#include "engine/ask.h"
#include "engine/hand_back.h"
#include "engine/lease.h"
#include "engine/pace.h"
#include "engine/panel.h"
#include "engine/publish.h"
#include "engine/request.h"
#include "engine/stop.h"
#include "engine/sweep.h"
#include "engine/take.h"
#include "io/loop.h"
#include "io/pg.h"
#include "store/migrate.h"
#include "store/store.h"

/* --- trouble with the books --- */

static void
retry_now(void *arg)
{
	struct worker *w = arg;

	w->waiting = false;
}

/* With jitter, so that those who met do not meet again, and workers do not come
 * back all at once. */
void
worker_wait(struct worker *w, span about)
{
	w->waiting = true;
	timer_start(w->retry, about / 2 + (span)(random() % (about / 2)));
}

void
worker_note_trouble(struct worker *w, const char *what, const struct err *err)
{
	span wait = SECOND / 4 << (w->failures < 5 ? w->failures : 5);

	if (!w->trouble_since)
		w->trouble_since = clock_monotonic();
	w->failures++;
	log_warn("the books cannot be used, trying again", "while", what,
	    "error", err->message, "failures", log_number(w->failures));
	worker_wait(w, wait);
}

void
worker_note_success(struct worker *w)
{
	w->failures = 0;
	w->trouble_since = 0;
}

bool
worker_is_outdated(struct worker *w, const struct pg_answer *answer)
{
	int version = migrate_read_newer(answer);
	struct err err;

	if (!version)
		return false;
	if (!w->newer_schema) {
		migrate_refuse(version, &err);
		log_error("no more work is taken", "error", err.message);
	}
	w->newer_schema = version;
	worker_stop(w);
	return true;
}

/* --- flights --- */

void
flight_free(struct flight *f)
{
	if (f->exec)
		exec_kill(f->exec);
	ask_forget(f->question);
	versions_release(f->worker->versions, f->version);
	claimed_done(&f->job);
	outcome_done(&f->outcome);
	free(f->queue);
	free(f);
}

/* F runs no more. */
void
flight_land(struct worker *w, struct flight *f)
{
	for (size_t i = 0; i < w->running.n; i++)
		if (w->running.at[i] == f) {
			w->running.at[i] = w->running.at[--w->running.n];
			break;
		}
}

/* --- its life --- */

void
worker_turn(struct worker *w)
{
	if (!w->stopping) {
		take_deliveries(w);
		/* Neither cycles nor clients have all hands for themselves. */
		if ((w->turns++ & 1))
			requests_turn(w->requests);
		take_start_ready(w);
		requests_turn(w->requests);
		deliver_due(w);
	} else {
		stop_turn(w);
		requests_turn(w->requests);
	}
	hand_back_turn(w);
	ask_turn(w);
	settle_finished(w);	/* one transaction; publishes what it fired */
	publish_unsent(w);
	panel_turn(w->panel);
}

bool
worker_is_idle(const struct worker *w)
{
	return !w->decisions.n && w->variables_head == w->variables.n && !w->claim_asked &&
	    !w->claimed.n && !w->alone.n && !w->running.n && !w->finished.n &&
	    hand_back_is_idle(w->handing) && settling_is_idle(w->settling) && !w->unsent.n && !w->unconfirmed;
}

static void
name_worker(struct worker *w)
{
	struct uuid uuid = uuid_v4();
	unsigned seed;
	char host[64] = "localhost", text[UUID_TEXT];

	memcpy(&seed, uuid.bytes, sizeof seed);
	srandom(seed);		/* of the jitter */
	gethostname(host, sizeof host - 1);
	snprintf(w->name, sizeof w->name, "%s:%ld:%.8s", host, (long)getpid(),
	    uuid_format(&uuid, text));
}

int64_t
worker_concurrency(const struct worker *w)
{
	int64_t n = w->conf->concurrency + w->grown;

	return n > 1 ? n : 1;
}

/* Enough for full batches and for all hands, little enough that slow variables
 * do not wait here while another worker is idle. */
uint16_t
worker_prefetch(const struct conf *conf, int64_t concurrency)
{
	int64_t n = 2 * concurrency;

	if (conf->prefetch)
		return (uint16_t)conf->prefetch;
	return (uint16_t)(n < 32 ? 32 : n);
}

void
worker_grow(struct worker *w, int64_t by)
{
	w->grown += by;
	loop_nudge(w->loop);
}

void
worker_take_changes(struct worker *w)
{
	requests_take_registry(w->requests);
	/* What is asked for now starts its clock with the answer. */
	if (!w->renewing.n)
		timer_start(w->renew, w->conf->lease / 3);
	if (sweep_is_over(w->sweeping))
		timer_start(w->sweep, w->conf->sweep);
}

struct worker *
worker_new(const struct worker_settings *settings)
{
	struct worker *w = xcalloc(1, sizeof *w);
	struct pg_settings books = store_engine_settings(settings->conf);

	w->set = *settings;
	w->loop = settings->loop;
	w->conf = settings->conf;
	name_worker(w);
	w->claims = pg_new(w->loop, &books);
	w->books = pg_new(w->loop, &books);
	w->hands = hands_new(w->loop, w->conf, w->set.allowed);
	w->versions = versions_new(VERSIONS_KEPT);
	w->handing = hand_back_new();
	w->pace = pace_new(w);
	w->settling = settling_new();
	w->delivering = delivering_new(w);
	w->asking = asking_new();
	w->renew = timer_new(w->loop, lease_renew, w);
	w->sweeping = sweeping_new(w);
	w->sweep = timer_new(w->loop, sweep_begin, w);
	w->retry = timer_new(w->loop, retry_now, w);
	timer_start(w->renew, w->conf->lease / 3);
	timer_start(w->sweep, w->conf->sweep);
	return w;
}

int
worker_serve_clients(struct worker *w, struct err *err)
{
	return (w->requests = requests_new(w, err)) ? 0 : -1;
}

void
worker_free(struct worker *w)
{
	struct transport *transport = w->set.transport;
	struct flights *lists[] = { &w->claimed, &w->alone, &w->running, &w->finished };

	for (size_t l = 0; l < 4; l++) {
		for (size_t i = 0; i < lists[l]->n; i++)
			flight_free(lists[l]->at[i]);
		vec_done(lists[l]);
	}
	panel_free(w->panel);		/* it lives on the transport */
	requests_leave(w->requests);
	transport->free(transport);	/* what is under way comes back as unsent */
	publish_forget(w);
	asking_free(w->asking);
	requests_free(w->requests);
	delivering_free(w->delivering);
	stopping_free(w);
	hand_back_free(w->handing);
	pg_free(w->claims);
	pg_free(w->books);
	pace_free(w->pace);
	settling_free(w->settling);
	sweeping_free(w->sweeping);
	hands_free(w->hands);
	versions_free(w->versions);
	vec_done(&w->decisions);
	vec_done(&w->variables);
	vec_done(&w->claiming);
	vec_done(&w->versions_asked);
	vec_done(&w->renewing);
	timer_free(w->renew);
	timer_free(w->sweep);
	timer_free(w->retry);
	free(w);
}
