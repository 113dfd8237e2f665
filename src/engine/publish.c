/* publish.c - jobs as messages, several to one where they may travel together.
 *
 * A variable is a message of its own, and so is a delivery; evidences and events
 * of one run and queue share theirs.  What is done after (an acknowledgement, a state) waits until
 * the broker has confirmed all of it: a debt. */
#include "engine/publish.h"
#include <stdlib.h>
#include <string.h>
#include "base/conf.h"
#include "base/failpoint.h"
#include "engine/panel.h"
#include "engine/worker.h"
#include "io/loop.h"

struct debt {			/* what is done when all of a batch is confirmed */
	size_t open;
	void (*done)(void *, bool);
	void *arg;
};

struct sent {
	struct worker *worker;
	struct message *message;
	struct debt *debt;
};

static void
pay(struct debt *debt, bool sent)
{
	if (--debt->open)
		return;
	if (debt->done)
		debt->done(debt->arg, sent);
	free(debt);
}

static void
confirmed(void *arg, bool ok)
{
	struct sent *sent = arg;
	struct worker *w = sent->worker;

	w->unconfirmed--;
	failpoint("publish.confirmed");
	if (!ok) {
		vec_push(&w->unsent, sent);
		return;
	}
	pay(sent->debt, true);
	message_free(sent->message);
	free(sent);
}

void
publish_forget(struct worker *w)
{
	for (size_t i = 0; i < w->unsent.n; i++) {
		pay(w->unsent.at[i]->debt, false);
		message_free(w->unsent.at[i]->message);
		free(w->unsent.at[i]);
	}
	vec_done(&w->unsent);
}

void
publish_unsent(struct worker *w)
{
	struct transport *t = w->set.transport;

	for (size_t i = 0; i < w->unsent.n; i++) {
		w->unconfirmed++;
		t->publish(t, w->unsent.at[i]->message, confirmed, w->unsent.at[i]);
	}
	w->unsent.n = 0;
}

enum { MESSAGE_JOBS = 64 };	/* evidences or events of one message */

static bool
fits(const struct message *m, const struct fired_job *job)
{
	return m && job->kind != VARIABLE && m->kind == job->kind &&
	    m->run == job->key.run && m->jobs.n < MESSAGE_JOBS &&
	    !strcmp(m->queue, job->queue);
}

static struct debt *
open_debt(void (*done)(void *, bool), void *arg)
{
	struct debt *debt = xcalloc(1, sizeof *debt);

	debt->open = 1;		/* ours, until all is said */
	debt->done = done;
	debt->arg = arg;
	return debt;
}

static void
owe(struct worker *w, struct debt *debt, struct message *m)
{
	struct sent *sent = xcalloc(1, sizeof *sent);

	*sent = (struct sent){ w, m, debt };
	debt->open++;
	vec_push(&w->unsent, sent);
}

static void
owe_jobs(struct worker *w, struct debt *debt, const struct fired_job *jobs, size_t n)
{
	struct message *m = NULL;

	for (size_t i = 0; i < n; i++) {
		if (!fits(m, &jobs[i])) {
			m = message_new(jobs[i].kind, jobs[i].key.run, jobs[i].queue);
			owe(w, debt, m);
		}
		vec_push(&m->jobs, jobs[i].key.id);
		if (m->names.n < MESSAGE_NAMES && jobs[i].name)
			vec_push(&m->names, xstrdup(jobs[i].name));
	}
}

static void
owe_deliveries(struct worker *w, struct debt *debt, const struct delivery_keys *keys)
{
	for (size_t i = 0; i < keys->n; i++)
		owe(w, debt, message_new_delivery(keys->at[i].run, keys->at[i].event,
		    keys->at[i].reaction, w->conf->queue));
}

/* All is said. */
static void
close_debt(struct worker *w, struct debt *debt)
{
	pay(debt, true);
	publish_unsent(w);
	loop_nudge(w->loop);
}

void
publish_jobs(struct worker *w, const struct fired_job *jobs, size_t n,
    void (*done)(void *, bool), void *arg)
{
	struct debt *debt = open_debt(done, arg);

	owe_jobs(w, debt, jobs, n);
	close_debt(w, debt);
}

void
publish_deliveries(struct worker *w, const struct delivery_keys *keys)
{
	struct debt *debt = open_debt(NULL, NULL);

	owe_deliveries(w, debt, keys);
	close_debt(w, debt);
}

void
publish_ended(struct worker *w, const struct ended *ended, void (*done)(void *, bool), void *arg)
{
	struct debt *debt = open_debt(done, arg);

	owe_jobs(w, debt, ended->fired.at, ended->fired.n);
	owe_deliveries(w, debt, &ended->deliveries);
	close_debt(w, debt);
}

void
publish_release(struct worker *w, struct message *m)
{
	if (!m || --m->open)
		return;
	panel_message_ended(w, m);
	w->set.transport->ack(w->set.transport, m);
}
