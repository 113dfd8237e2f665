/* publish.c - jobs as messages, several to one where they may travel together.
 *
 * A variable is a message of its own; evidences and events of one run and queue
 * share theirs.  What is done after (an acknowledgement, a state) waits until
 * the broker has confirmed all of it: a debt. */
#include "engine/publish.h"
#include <stdlib.h>
#include <string.h>
#include "engine/worker.h"
#include "io/loop.h"

struct debt {			/* what is done when all of a batch is confirmed */
	size_t open;
	void (*done)(void *);
	void *arg;
};

struct sent {
	struct worker *worker;
	struct message *message;
	struct debt *debt;
};

static void
pay(struct debt *debt)
{
	if (--debt->open)
		return;
	if (debt->done)
		debt->done(debt->arg);
	free(debt);
}

static void
confirmed(void *arg, bool ok)
{
	struct sent *sent = arg;
	struct worker *w = sent->worker;

	w->unconfirmed--;
	if (!ok) {
		vec_push(&w->unsent, sent);
		return;
	}
	pay(sent->debt);
	message_free(sent->message);
	free(sent);
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

void
publish_jobs(struct worker *w, const struct fired_job *jobs, size_t n,
    void (*done)(void *), void *arg)
{
	struct debt *debt = xcalloc(1, sizeof *debt);
	struct message *m = NULL;

	debt->open = 1;		/* ours, until all is said */
	debt->done = done;
	debt->arg = arg;
	for (size_t i = 0; i < n; i++) {
		if (!fits(m, &jobs[i])) {
			struct sent *sent = xcalloc(1, sizeof *sent);

			m = message_new(jobs[i].kind, jobs[i].key.run, jobs[i].queue);
			*sent = (struct sent){ w, m, debt };
			debt->open++;
			vec_push(&w->unsent, sent);
		}
		vec_push(&m->jobs, jobs[i].key.id);
	}
	pay(debt);
	publish_unsent(w);
	loop_nudge(w->loop);
}

void
publish_release(struct worker *w, struct message *m)
{
	if (m && --m->open == 0)
		w->set.transport->ack(w->set.transport, m);
}
