/* deliver.c - attempt the deliveries that are due.
 *
 * A run does not wait for them.  A delivery is claimed for a lease, attempted,
 * and settled under its fence; what fails is due again later, until its
 * attempts are used up.  Between an attempt and its record lies the one moment
 * in which a crash makes a second attempt, with the same key. */
#include "engine/worker.h"
#include <stdlib.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "io/loop.h"
#include "io/pg.h"
#include "react/react.h"
#include "store/delivery.h"

enum { AT_ONCE = 8 };

struct errand {
	struct worker *worker;
	struct due_delivery row;
	struct version *version;
	struct attempt *attempt;
};

struct delivering {
	struct worker *worker;
	VEC(struct errand *) errands;
	bool look;			/* there may be some that are due */
	bool asked;			/* a claim is under way */
	size_t recording;		/* ends under way */
};

struct delivering *
delivering_new(struct worker *w)
{
	struct delivering *d = xcalloc(1, sizeof *d);

	d->worker = w;
	d->look = true;
	return d;
}

static void
errand_free(struct errand *e)
{
	if (e->attempt)
		react_kill(e->attempt);
	versions_release(e->worker->versions, e->version);
	due_delivery_done(&e->row);
	free(e);
}

void
delivering_free(struct delivering *d)
{
	for (size_t i = 0; i < d->errands.n; i++)
		errand_free(d->errands.at[i]);
	vec_done(&d->errands);
	free(d);
}

bool
deliver_is_idle(const struct worker *w)
{
	const struct delivering *d = w->delivering;

	return !d->look && !d->asked && !d->errands.n && !d->recording;
}

bool
deliver_is_under_way(const struct worker *w)
{
	const struct delivering *d = w->delivering;

	return d->asked || d->errands.n || d->recording;
}

void
deliver_look_again(struct worker *w)
{
	w->delivering->look = true;
}

static void
renewed(void *arg, const struct pg_answer *answer)
{
	if (answer->err)
		worker_note_trouble(arg, "renewing deliveries", answer->err);
	else
		worker_note_success(arg);
}

void
deliver_renew(struct worker *w)
{
	const struct delivering *d = w->delivering;
	VEC(const struct due_delivery *) rows = { 0 };

	for (size_t i = 0; i < d->errands.n; i++)
		vec_push(&rows, &d->errands.at[i]->row);
	if (rows.n) {
		delivery_say_renew(w->claims, rows.at, rows.n, w->conf->lease);
		pg_ask(w->claims, renewed, w);
	}
	vec_done(&rows);
}

static void
recorded(void *arg, const struct pg_answer *answer)
{
	struct worker *w = arg;

	w->delivering->recording--;
	if (answer->err)	/* the lease runs out, and it is attempted again */
		worker_note_trouble(w, "recording a delivery", answer->err);
	else
		worker_note_success(w);
}

static void
over(struct errand *e, const char *error)
{
	struct worker *w = e->worker;
	struct delivering *d = w->delivering;

	failpoint("delivery.before_record");
	if (error)
		log_warn("a delivery failed", "reaction", e->row.reaction,
		    "event", e->row.event, "cycle", e->row.cycle,
		    "attempt", log_number(e->row.attempts), "error", error);
	delivery_say_end(w->claims, &e->row, error, (int)w->conf->delivery_attempts,
	    w->conf->delivery_backoff);
	d->recording++;
	pg_ask(w->claims, recorded, w);
	for (size_t i = 0; i < d->errands.n; i++)
		if (d->errands.at[i] == e) {
			d->errands.at[i] = d->errands.at[--d->errands.n];
			break;
		}
	d->look = true;
	errand_free(e);
}

static void
attempted(void *arg, const char *error)
{
	struct errand *e = arg;

	e->attempt = NULL;
	over(e, error);
}

static void
attempt(struct errand *e)
{
	struct worker *w = e->worker;
	const struct reaction *reaction;
	struct react_task task = { NULL, e->row.event, e->row.signal, NULL, e->row.cycle,
		e->row.key, e->row.payload };

	if (!e->version || e->version->broken) {
		over(e, e->version ? e->version->broken : "its definition is not in the books");
		return;
	}
	reaction = &e->version->u.reaction;
	task.reaction = reaction;
	task.level = reaction->level;
	failpoint("delivery.before_send");
	e->attempt = react_start(w->loop, w->conf, w->claims, &task, attempted, e);
}

/* Those that are claimed and not begun. */
static void
begin_errands(struct worker *w)
{
	struct delivering *d = w->delivering;

	for (size_t i = d->errands.n; i-- > 0; ) {
		struct errand *e = d->errands.at[i];

		if (e->attempt || e->version)
			continue;
		if ((e->version = versions_hold(w->versions, e->row.version)))
			attempt(e);
	}
}

static void
versions_answered(void *arg, const struct pg_answer *answer)
{
	struct worker *w = arg;
	struct delivering *d = w->delivering;

	d->asked = false;
	if (answer->err) {	/* asked for again when the wait is over */
		worker_note_trouble(w, "reading reactions", answer->err);
		return;
	}
	worker_note_success(w);
	versions_read(w->versions, answer);
	for (size_t i = 0; i < d->errands.n; i++)
		versions_add_missing(w->versions, d->errands.at[i]->row.version);
	begin_errands(w);
}

/* The definitions of errands that have none yet; false: all have. */
static bool
ask_versions(struct worker *w)
{
	struct delivering *d = w->delivering;
	VEC(int64_t) missing = { 0 };
	bool any;

	for (size_t i = 0; i < d->errands.n; i++)
		if (!d->errands.at[i]->attempt && !d->errands.at[i]->version)
			vec_push(&missing, d->errands.at[i]->row.version);
	any = missing.n > 0;
	if (any) {
		d->asked = true;
		claim_say_versions(w->claims, missing.at, missing.n);
		pg_ask(w->claims, versions_answered, w);
	}
	vec_done(&missing);
	return any;
}

static void
claim_answered(void *arg, const struct pg_answer *answer)
{
	struct worker *w = arg;
	struct delivering *d = w->delivering;
	struct due_delivery *due;
	size_t n;

	d->asked = false;
	if (answer->err) {
		d->look = true;
		worker_note_trouble(w, "claiming deliveries", answer->err);
		return;
	}
	worker_note_success(w);
	n = delivery_read_claim(answer, &due);
	for (size_t i = 0; i < n; i++) {
		struct errand *e = xcalloc(1, sizeof *e);

		*e = (struct errand){ .worker = w, .row = due[i] };
		vec_push(&d->errands, e);
	}
	free(due);
	d->look |= n > 0;
}

void
deliver_due(struct worker *w)
{
	struct delivering *d = w->delivering;

	if (d->asked || w->waiting || ask_versions(w) || !d->look || d->errands.n >= AT_ONCE)
		return;
	d->look = false;
	d->asked = true;
	delivery_say_claim(w->claims, (int)(AT_ONCE - d->errands.n),
	    w->set.allowed[EXEC_SHELL], w->name, w->conf->lease,
	    (int)w->conf->delivery_attempts);
	pg_ask(w->claims, claim_answered, w);
}
