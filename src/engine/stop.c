/* stop.c - a worker leaves, and leaves nothing undone.
 *
 * It takes no more, and returns what has just arrived.  What runs may end within grace, and is settled; what has
 * not begun is handed back at once, and what still runs after grace is killed
 * and handed back: queued as if it had never been claimed.  Its message goes
 * back with the connection; where that was acknowledged already (a long
 * variable), it is published again.
 *
 * If the books or the broker cannot be reached the leases run out and the sweep
 * finds the jobs, so nothing here waits for longer than another grace.
 *
 * Who is told twice is in a hurry: grace is over at once, and the books have a
 * second to take back what is held. */
#include "engine/stop.h"
#include "base/conf.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "engine/publish.h"
#include "engine/request.h"
#include "engine/take.h"
#include "engine/worker.h"
#include "io/loop.h"
#include "io/pg.h"

enum { LEAST_WAIT = 2 };		/* seconds for books and broker, whatever grace is */
#define LAST_WAIT SECOND		/* for those of a worker in a hurry */

struct stopping {
	struct timer *grace;
	bool over, out_of_patience;
	bool asked;			/* a hand-back is under way */
	bool delivering, requests;
	struct flights handing;
	size_t handed_back;
};

static void
grace_over(void *arg)
{
	struct worker *w = arg;
	struct stopping *s = w->stopping;
	span more = w->conf->grace > LEAST_WAIT * SECOND ? w->conf->grace : LEAST_WAIT * SECOND;

	if (s->over)
		s->out_of_patience = true;
	else
		timer_start(s->grace, more);
	s->over = true;
}

void
worker_stop(struct worker *w)
{
	struct stopping *s;

	if (w->stopping)
		return;
	log_info("stopping", "running", log_number((int64_t)w->running.n));
	w->stopping = s = xcalloc(1, sizeof *s);
	w->set.transport->take_no_more(w->set.transport);
	take_give_back_all(w);
	s->delivering = s->requests = true;	/* until it is known */
	s->grace = timer_new(w->loop, grace_over, w);
	timer_start(s->grace, w->conf->grace);
	loop_nudge(w->loop);
}

void
worker_hurry(struct worker *w)
{
	worker_stop(w);
	w->stopping->over = true;
	timer_start(w->stopping->grace, LAST_WAIT);
	loop_nudge(w->loop);
}

/* --- handing back --- */

static void
publish_again(struct worker *w, const struct flight *f)
{
	struct fired_job job = { f->job.key, f->job.kind, f->queue, f->job.name };

	publish_jobs(w, &job, 1, NULL, NULL);
}

static void
handed_back(void *arg, const struct pg_answer *answer)
{
	struct worker *w = arg;
	struct stopping *s = w->stopping;

	s->asked = false;
	if (answer->err) {
		worker_note_trouble(w, "handing back", answer->err);
		return;
	}
	failpoint("stop.after_hand_back");
	worker_note_success(w);
	s->handed_back += s->handing.n;
	for (size_t i = 0; i < s->handing.n; i++) {
		if (!s->handing.at[i]->from)
			publish_again(w, s->handing.at[i]);
		flight_free(s->handing.at[i]);
	}
	s->handing.n = 0;
}

static void
move_all(struct flights *from, struct flights *to)
{
	for (size_t i = 0; i < from->n; i++)
		vec_push(to, from->at[i]);
	from->n = 0;
}

static void
hand_back(struct worker *w)
{
	struct stopping *s = w->stopping;
	VEC(struct held) held = { 0 };

	for (size_t i = 0; i < s->handing.n; i++) {
		struct flight *f = s->handing.at[i];

		if (f->exec)
			exec_kill(f->exec);
		f->exec = NULL;
		vec_push(&held, ((struct held){ f->job.key, f->job.fence }));
	}
	failpoint("stop.before_hand_back");
	s->asked = true;
	claim_say_hand_back(w->claims, held.at, held.n);
	pg_ask(w->claims, handed_back, w);
	vec_done(&held);
}

void
stop_turn(struct worker *w)
{
	struct stopping *s = w->stopping;

	s->delivering = !deliver_stop(w, s->over);
	s->requests = !requests_stop(w->requests, s->over);
	if (s->asked || w->claim_asked)		/* its answer has more of them */
		return;
	move_all(&w->claimed, &s->handing);
	move_all(&w->alone, &s->handing);
	if (s->over)
		move_all(&w->running, &s->handing);
	if (s->handing.n && !w->waiting)
		hand_back(w);
}

bool
worker_has_stopped(const struct worker *w)
{
	const struct stopping *s = w->stopping;

	if (!s)
		return false;
	if (s->out_of_patience)
		return true;
	return !s->asked && !s->handing.n && !w->claim_asked && !w->claimed.n && !w->alone.n &&
	    !w->running.n && !w->finished.n && settling_is_idle(w->settling) &&
	    !w->unsent.n && !w->unconfirmed && !s->delivering && !s->requests;
}

void
stopping_free(struct stopping *s)
{
	if (!s)
		return;
	log_info("stopped", "handed_back", log_number((int64_t)s->handed_back));
	timer_free(s->grace);
	for (size_t i = 0; i < s->handing.n; i++)
		flight_free(s->handing.at[i]);
	vec_done(&s->handing);
	free(s);
}
