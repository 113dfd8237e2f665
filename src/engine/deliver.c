/* deliver.c - attempt deliveries.
 *
 * A run does not wait for them.  A message names one; it is claimed for a lease,
 * attempted, and settled under its fence; what fails is due again later, until
 * its attempts are used up.  Between an attempt and its record lies the one
 * moment in which a crash makes a second attempt, with the same key.
 *
 * The message is acknowledged as soon as the claim is committed: from there on
 * the lease guards the delivery, and an attempt that takes long keeps no place
 * in the prefetch window from a variable.  Nor does one that must wait: while all
 * hands are busy its message is acknowledged at once and the delivery stays
 * pending, and when a hand is free we look into the books for what is due.  So we
 * do at the start and with each sweep, for a message may be lost, or may have
 * come to somebody who may not run it. */
#include "engine/worker.h"
#include <stdlib.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "engine/panel.h"
#include "engine/publish.h"
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
	span begun_at;			/* monotonic */
};

struct delivering {
	struct worker *worker;
	VEC(struct errand *) errands;
	VEC(struct message *) messages;	/* not claimed yet */
	VEC(struct message *) claiming;	/* of the claim under way */
	bool look;			/* there may be some that are due */
	bool asked;			/* a claim is under way */
	size_t recording;		/* ends under way */
	bool out_of_processes;		/* that was said */
	VEC(struct errand *) handing;	/* back, under way */
};

struct delivering *
delivering_new(struct worker *w)
{
	struct delivering *d = xcalloc(1, sizeof *d);

	d->worker = w;
	d->look = w->set.delivers;
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
	for (size_t i = 0; i < d->handing.n; i++)
		errand_free(d->handing.at[i]);
	vec_done(&d->errands);
	vec_done(&d->handing);
	vec_done(&d->messages);		/* they are the transport's, which has gone */
	vec_done(&d->claiming);
	free(d);
}

bool
deliver_is_idle(const struct worker *w)
{
	const struct delivering *d = w->delivering;

	return !d->look && !d->asked && !d->messages.n && !d->errands.n && !d->recording;
}

void
deliver_look_again(struct worker *w)
{
	w->delivering->look = w->set.delivers;
}

void
deliver_take(struct worker *w, struct message *m)
{
	failpoint("delivery.on_message");
	vec_push(&w->delivering->messages, m);
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
	failpoint("delivery.after_record");
}

/* What E has come to is said to the books. */
static void
record(struct errand *e)
{
	struct worker *w = e->worker;
	struct delivering *d = w->delivering;

	d->recording++;
	pg_ask(w->claims, recorded, w);
	for (size_t i = 0; i < d->errands.n; i++)
		if (d->errands.at[i] == e) {
			d->errands.at[i] = d->errands.at[--d->errands.n];
			break;
		}
	deliver_look_again(w);		/* for one that had to wait for this, or for a hand */
	errand_free(e);
}

static void
over(struct errand *e, const char *error)
{
	struct worker *w = e->worker;

	failpoint("delivery.before_record");
	if (error)
		log_warn("a delivery failed", "reaction", e->row.reaction,
		    "event", e->row.event, "cycle", e->row.cycle,
		    "attempt", log_number(e->row.attempts), "error", error);
	delivery_say_end(w->claims, &e->row, error, (int)w->conf->delivery_attempts,
	    w->conf->delivery_backoff);
	record(e);
}

/* What the machine has not now it may have in a while; until then the others
 * have the hands.  Said once, however many wait. */
static void
postpone(struct errand *e, const char *why)
{
	struct worker *w = e->worker;
	span wait = w->conf->delivery_backoff;

	bool task = e->version->u.reaction.channel == CHANNEL_CELERY;

	if (task)
		log_info("the broker is away, a reaction waits", "reaction", e->row.reaction,
		    "event", e->row.event, "error", why);
	else if (!w->delivering->out_of_processes)
		log_warn("no process can be started for a reaction, trying again later",
		    "reaction", e->row.reaction, "event", e->row.event, "error", why);
	w->delivering->out_of_processes |= !task;
	delivery_say_postpone(w->claims, &e->row, why, wait > SECOND ? wait : SECOND);
	record(e);
}

static int64_t
run_of(const struct errand *e)
{
	return strtoll(e->row.cycle, NULL, 10);
}

static void
attempted(void *arg, const char *error, bool begun)
{
	struct errand *e = arg;
	struct delivering *d = e->worker->delivering;

	e->attempt = NULL;
	if (!begun) {
		postpone(e, error);
		return;
	}
	if (d->out_of_processes && e->version->u.reaction.channel == CHANNEL_COMMAND) {
		log_info("processes can be started for reactions again");
		d->out_of_processes = false;
	}
	panel_delivery_ended(e->worker, run_of(e), e->row.event, e->row.reaction, error,
	    clock_monotonic() - e->begun_at);
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
	e->begun_at = clock_monotonic();
	panel_delivery_started(w, run_of(e), e->row.event, e->row.reaction);
	failpoint("delivery.before_send");
	e->attempt = react_start(w->loop, w->conf, w->claims,
	    w->set.has_broker ? w->set.transport : NULL, &task, attempted, e);
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
	versions_read(w->versions, answer->results[0]);
	for (size_t i = 0; i < d->errands.n; i++)
		versions_add_missing(w->versions, d->errands.at[i]->row.version);
	if (!w->stopping)
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

/* --- claiming --- */

static void
forget_claim(struct worker *w, bool again)
{
	struct delivering *d = w->delivering;

	for (size_t i = 0; i < d->claiming.n; i++)
		if (again)
			vec_push(&d->messages, d->claiming.at[i]);
		else
			publish_release(w, d->claiming.at[i]);
	d->claiming.n = 0;
}

static void
claim_answered(void *arg, const struct pg_answer *answer)
{
	struct worker *w = arg;
	struct delivering *d = w->delivering;
	bool by_message = d->claiming.n > 0;
	struct due_delivery *due;
	size_t n;

	d->asked = false;
	forget_claim(w, answer->err);
	if (answer->err) {
		if (!by_message)
			deliver_look_again(w);
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
	if (n)
		failpoint("delivery.after_claim");
	if (!by_message && n)
		deliver_look_again(w);
}

/* While the broker is known to be away, what needs it would only keep hands busy
 * that others could use. */
static bool
can_post(const struct worker *w)
{
	return w->set.has_broker && !w->set.transport->trouble(w->set.transport);
}

static void
claim(struct worker *w, size_t hands)
{
	struct delivering *d = w->delivering;
	struct delivery_claim claim = { w->name, w->conf->lease, w->set.allowed[EXEC_SHELL],
		can_post(w) };
	VEC(struct delivery_key) keys = { 0 };

	d->asked = true;
	/* What waits in the books is older than what a message has just said. */
	while (!d->look && d->messages.n && keys.n < hands) {
		struct message *m = d->messages.at[--d->messages.n];

		vec_push(&keys, ((struct delivery_key){ m->run, m->event, m->reaction }));
		vec_push(&d->claiming, m);
	}
	if (keys.n)
		delivery_say_claim(w->claims, &claim, keys.at, keys.n);
	else {
		d->look = false;
		delivery_say_lost(w->claims, (int)w->conf->delivery_attempts);
		delivery_say_claim_due(w->claims, &claim, (int)hands);
	}
	pg_ask(w->claims, claim_answered, w);
	vec_done(&keys);
}

/* Those for which there is no hand. */
static void
let_messages_go(struct worker *w)
{
	struct delivering *d = w->delivering;

	while (d->messages.n) {
		publish_release(w, d->messages.at[--d->messages.n]);
		deliver_look_again(w);
	}
}

void
deliver_due(struct worker *w)
{
	struct delivering *d = w->delivering;

	if (d->asked || w->waiting || ask_versions(w))
		return;
	if (d->errands.n >= AT_ONCE)
		let_messages_go(w);
	else if (d->messages.n || d->look)
		claim(w, AT_ONCE - d->errands.n);
}

/* --- stopping --- */

static void
handed_back(void *arg, const struct pg_answer *answer)
{
	struct worker *w = arg;
	struct delivering *d = w->delivering;
	struct delivery_keys keys = { 0 };

	for (size_t i = 0; i < d->handing.n; i++)
		errand_free(d->handing.at[i]);
	d->handing.n = 0;
	if (answer->err) {		/* their leases run out */
		worker_note_trouble(w, "handing back deliveries", answer->err);
		return;
	}
	delivery_read_keys(answer->results[0], &keys);
	publish_deliveries(w, &keys);
	delivery_keys_done(&keys);
}

bool
deliver_stop(struct worker *w, bool over)
{
	struct delivering *d = w->delivering;
	VEC(const struct due_delivery *) rows = { 0 };
	size_t kept = 0;

	if (d->asked || d->handing.n)
		return false;
	for (size_t i = 0; i < d->errands.n; i++) {
		struct errand *e = d->errands.at[i];

		if (e->attempt && !over) {
			d->errands.at[kept++] = e;
			continue;
		}
		react_kill(e->attempt);
		e->attempt = NULL;
		vec_push(&d->handing, e);
		vec_push(&rows, &e->row);
	}
	d->errands.n = kept;
	if (rows.n) {
		delivery_say_hand_back(w->claims, rows.at, rows.n, w->conf->lease);
		pg_ask(w->claims, handed_back, w);
	}
	vec_done(&rows);
	return !d->errands.n && !d->handing.n && !d->recording;
}
