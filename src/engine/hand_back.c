/* hand_back.c - see hand_back.h.
 *
 * First the books, then the message: whoever gets that finds the job queued.  Where
 * the message was acknowledged already (a long variable), another is published.
 * That of evidences and events names several, of which some may be done: it goes
 * back with the connection. */
#include "engine/hand_back.h"
#include "base/failpoint.h"
#include "engine/publish.h"
#include "engine/worker.h"
#include "io/pg.h"

struct hand_back {
	struct flights flights;
	bool asked;			/* of the books, for all of them */
	size_t count;
};

struct hand_back *
hand_back_new(void)
{
	return xcalloc(1, sizeof(struct hand_back));
}

void
hand_back_free(struct hand_back *h)
{
	for (size_t i = 0; i < h->flights.n; i++)
		flight_free(h->flights.at[i]);
	vec_done(&h->flights);
	free(h);
}

void
hand_back_add(struct worker *w, struct flight *f)
{
	vec_push(&w->handing->flights, f);
}

void
hand_back_all(struct worker *w, struct flights *flights)
{
	for (size_t i = 0; i < flights->n; i++)
		hand_back_add(w, flights->at[i]);
	flights->n = 0;
}

bool
hand_back_is_idle(const struct hand_back *h)
{
	return !h->asked && !h->flights.n;
}

size_t
hand_back_count(const struct hand_back *h)
{
	return h->count;
}

static void
give_back(struct worker *w, struct flight *f)
{
	struct fired_job job = { f->job.key, f->job.kind, f->queue, f->job.name };

	if (!f->from)
		publish_jobs(w, &job, 1, NULL, NULL);
	else if (f->job.kind == VARIABLE)
		w->set.transport->give_back(w->set.transport, f->from);
	flight_free(f);
}

static void
handed_back(void *arg, const struct pg_answer *answer)
{
	struct worker *w = arg;
	struct hand_back *h = w->handing;

	h->asked = false;
	if (answer->err) {
		worker_note_trouble(w, "handing back", answer->err);
		return;
	}
	failpoint("stop.after_hand_back");
	worker_note_success(w);
	h->count += h->flights.n;
	for (size_t i = 0; i < h->flights.n; i++)
		give_back(w, h->flights.at[i]);
	h->flights.n = 0;
}

void
hand_back_turn(struct worker *w)
{
	struct hand_back *h = w->handing;
	VEC(struct held) held = { 0 };

	if (h->asked || !h->flights.n || w->waiting)
		return;
	for (size_t i = 0; i < h->flights.n; i++) {
		struct flight *f = h->flights.at[i];

		if (f->exec)
			exec_kill(f->exec);
		f->exec = NULL;
		vec_push(&held, ((struct held){ f->job.key, f->job.fence }));
	}
	failpoint("stop.before_hand_back");
	h->asked = true;
	claim_say_hand_back(w->claims, held.at, held.n);
	pg_ask(w->claims, handed_back, w);
	vec_done(&held);
}
