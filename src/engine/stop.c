/* stop.c - a worker leaves, and leaves nothing undone.
 *
 * It takes no more, and returns what has just arrived.  What runs may end within
 * grace, and is settled; what has not begun is handed back at once, and what still
 * runs after grace is killed and handed back.
 *
 * If the books or the broker cannot be reached the leases run out and the sweep
 * finds the jobs, so nothing here waits for longer than another grace.
 *
 * Who is told twice is in a hurry: grace is over at once, and the books have a
 * second to take back what is held. */
#include "engine/stop.h"
#include "base/conf.h"
#include "base/log.h"
#include "engine/hand_back.h"
#include "engine/request.h"
#include "engine/take.h"
#include "engine/worker.h"
#include "io/loop.h"

enum { LEAST_WAIT = 2 };		/* seconds for books and broker, whatever grace is */
#define LAST_WAIT SECOND		/* for those of a worker in a hurry */

struct stopping {
	struct timer *grace;
	bool over, out_of_patience;
	bool delivering, requests;
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

void
stop_turn(struct worker *w)
{
	struct stopping *s = w->stopping;

	s->delivering = !deliver_stop(w, s->over);
	s->requests = !requests_stop(w->requests, s->over);
	if (w->claim_asked || !hand_back_is_idle(w->handing))	/* the answer has more of them */
		return;
	hand_back_all(w, &w->claimed);
	hand_back_all(w, &w->alone);
	if (s->over)
		hand_back_all(w, &w->running);
}

bool
worker_has_stopped(const struct worker *w)
{
	const struct stopping *s = w->stopping;

	if (!s)
		return false;
	if (s->out_of_patience)
		return true;
	return hand_back_is_idle(w->handing) && !w->claim_asked && !w->claimed.n && !w->alone.n &&
	    !w->running.n && !w->finished.n && settling_is_idle(w->settling) &&
	    !w->unsent.n && !w->unconfirmed && !s->delivering && !s->requests;
}

void
stopping_free(struct worker *w)
{
	if (!w->stopping)
		return;
	log_info("stopped", "handed_back", log_number((int64_t)hand_back_count(w->handing)));
	timer_free(w->stopping->grace);
	free(w->stopping);
}
