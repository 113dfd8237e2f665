/* lease.c - a claim is a lease.
 *
 * The loop renews what this worker holds, whatever its jobs are doing; a job
 * whose lease was not renewed belongs to somebody else, and is ended here.  For
 * leases that nobody renews see engine/sweep.c. */
#include "engine/lease.h"
#include <stdlib.h>
#include "base/conf.h"
#include "base/log.h"
#include "engine/publish.h"
#include "engine/worker.h"
#include "io/loop.h"
#include "io/pg.h"

static void
hold(void *arg, const struct flight *f)
{
	struct worker *w = arg;

	vec_push(&w->renewing, ((struct held){ f->job.key, f->job.fence }));
}

static struct flight *
find_running(const struct worker *w, const struct held *held)
{
	for (size_t i = 0; i < w->running.n; i++) {
		struct flight *f = w->running.at[i];

		if (f->job.key.run == held->key.run && f->job.key.id == held->key.id &&
		    f->job.fence == held->fence)
			return f;
	}
	return NULL;
}

static void
lost_lease(struct worker *w, struct flight *f)
{
	/* What others are asked for may be answered before its deadline is noted. */
	if (!f->question)
		log_warn("a job was given to another worker", "job", f->job.name,
		    "cycle", log_number(f->job.key.run));
	flight_land(w, f);
	publish_release(w, f->from);
	flight_free(f);
}

static void
renewed(void *arg, const struct pg_answer *answer)
{
	struct worker *w = arg;

	timer_start(w->renew, w->conf->lease / 3);
	if (answer->err)
		worker_note_trouble(w, "renewing leases", answer->err);
	else
		worker_note_success(w);
	/* What was claimed since we asked is ours, though it is not in the answer. */
	for (size_t i = 0; !answer->err && i < w->renewing.n; i++) {
		const struct held *held = &w->renewing.at[i];
		struct flight *f = find_running(w, held);

		if (f && !claim_read_renewed(answer, held))
			lost_lease(w, f);
	}
	w->renewing.n = 0;
}

void
lease_renew(void *arg)
{
	struct worker *w = arg;
	struct flights *lists[] = { &w->claimed, &w->alone, &w->running, &w->finished };

	deliver_renew(w);
	for (size_t l = 0; l < 4; l++)
		for (size_t i = 0; i < lists[l]->n; i++)
			hold(w, lists[l]->at[i]);
	settling_hold(w->settling, hold, w);
	if (w->renewing.n) {
		claim_say_renew(w->claims, w->renewing.at, w->renewing.n, w->conf->lease);
		pg_ask(w->claims, renewed, w);
	} else
		timer_start(w->renew, w->conf->lease / 3);
}
