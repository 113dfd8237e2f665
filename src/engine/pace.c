/* pace.c - see pace.h.
 *
 * The window grows with the hands that there are and shrinks with the time that a
 * variable takes, an average in which the last sixteen count most.  It is changed
 * only where it is wrong by half, for that costs a round trip to the broker.  What
 * was quick may be slow from one message to the next: so while more waits here
 * than a slow worker would keep, somebody looks whether it moves. */
#include "engine/pace.h"
#include "base/conf.h"
#include "base/log.h"
#include "engine/request.h"
#include "engine/take.h"
#include "engine/worker.h"
#include "io/loop.h"

#define WORTH (SECOND / 4)	/* of work is kept at hand */
#define QUICK (SECOND / 100)
enum { MOST = 512, AHEAD = 64 };

struct pace {
	struct worker *worker;
	struct timer *look;
	bool looks;
	span each;		/* 0: not known */
	uint16_t window;	/* 0: the least */
};

uint16_t
pace_prefetch(const struct pace *p, uint16_t least)
{
	return p->window > least ? p->window : least;
}

size_t
pace_ahead(const struct pace *p)
{
	return p->each && p->each < QUICK && !requests_have_tasks(p->worker->requests) ? AHEAD : 0;
}

static void
set_window(struct pace *p, uint16_t window)
{
	p->window = window;
	requests_tell_prefetch(p->worker);
}

static uint16_t
least(const struct pace *p)
{
	return worker_prefetch(p->worker->conf, worker_concurrency(p->worker));
}

void
pace_note(struct pace *p, span took)
{
	struct worker *w = p->worker;
	int64_t wanted;

	p->each = p->each ? p->each + (took - p->each) / 16 : took;
	if (!w->set.has_broker || w->conf->prefetch || requests_have_tasks(w->requests))
		return;
	wanted = worker_concurrency(w) * WORTH / (p->each + 1);
	if (wanted > MOST)
		wanted = MOST;
	if (wanted < least(p))
		wanted = 0;
	if (wanted >= 2 * pace_prefetch(p, least(p)) || wanted < p->window / 2)
		set_window(p, (uint16_t)wanted);
}

static size_t
in_inbox(const struct worker *w)
{
	return w->variables.n - w->variables_head;
}

/* Has any waited here for a second, though it could have begun? */
static bool
stands_still(const struct worker *w)
{
	span then = clock_monotonic() - SECOND;

	for (size_t i = 0; i < w->claimed.n; i++) {
		const struct flight *f = w->claimed.at[i];

		if (f->job.kind == VARIABLE && f->version && f->from && f->from->arrived_at < then)
			return true;
	}
	return in_inbox(w) && w->variables.at[w->variables_head].from->arrived_at < then;
}

static void
look(void *arg)
{
	struct pace *p = arg;
	struct worker *w = p->worker;
	size_t n;

	p->looks = false;
	if (!stands_still(w)) {
		pace_look(p);
		return;
	}
	/* It is known again when some have ended. */
	p->each = SECOND;
	if (p->window)
		set_window(p, 0);
	n = take_give_back_beyond(w, least(p));
	log_debug("variables are slow, others may take them", "jobs", log_number((int64_t)n));
	loop_nudge(w->loop);
}

void
pace_look(struct pace *p)
{
	struct worker *w = p->worker;

	if (p->looks || (!worker_claimed_variables(w) && (!p->window || in_inbox(w) <= least(p))))
		return;
	p->looks = true;
	timer_start(p->look, SECOND);
}

struct pace *
pace_new(struct worker *w)
{
	struct pace *p = xcalloc(1, sizeof *p);

	p->worker = w;
	p->look = timer_new(w->loop, look, p);
	return p;
}

void
pace_free(struct pace *p)
{
	timer_free(p->look);
	free(p);
}
