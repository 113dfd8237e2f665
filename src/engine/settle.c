/* settle.c - write down what jobs have come to.
 *
 * A batch of outcomes is one transaction: values, states, and the count-down
 * of whoever waits downstream.  It goes in rounds.  Each round stores outcomes
 * and comes back with what may be ready now; inputs that are not at hand are read.
 * What can never be evaluated is skipped, what can is decided at once, and both are
 * the next round's outcomes: to evaluate costs less than to tell somebody to do it.
 * What is too much for one transaction is fired.  Standing values are written behind
 * the round after which no more of their kind can come.  Then the end queues what is
 * fired, moves the events, makes their signals, counts the run down and commits.
 * Only then are the fired jobs and the deliveries published, and only when those are
 * confirmed are the batch's messages acknowledged.
 *
 * Where anything has gone wrong before, with the batch or with one of its jobs,
 * nothing is decided at once: each job then stands for itself, so that nobody
 * fails by the fault of what he feeds.
 *
 * Nothing here is lost by dying: before the commit nothing has happened, after
 * it the sweep finds what was not published.  A batch whose commit is not
 * answered is in doubt: we look whether it had fired anything, and settle it
 * again.  If it had been committed the fences let nothing through twice. */
#include "engine/settling.h"
#include <stdlib.h>
#include <string.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "engine/publish.h"
#include "io/pg.h"

struct settling *
settling_new(void)
{
	struct settling *s = xcalloc(1, sizeof *s);

	s->size = BATCH_MAX;
	s->facts = facts_new(FACTS_BYTES);
	return s;
}

bool
settling_is_idle(const struct settling *s)
{
	return s->stage == IDLE && !s->batch.n;
}

void
settling_hold(const struct settling *s, void (*each)(void *, const struct flight *), void *arg)
{
	/* Once its transaction has the rows locked nobody takes them from us,
	 * and renewing them would wait for ourselves. */
	if (s->stage != IDLE)
		return;
	for (size_t i = 0; i < s->batch.n; i++)
		each(arg, s->batch.at[i]);
}

/* Forget what the transaction had come to; the batch stays. */
static void
forget_transaction(struct settling *s)
{
	for (size_t i = 0; i < s->derived.n; i++)
		outcome_done(&s->derived.at[i]);
	for (size_t i = 0; i < s->moved.n; i++)
		moved_done(&s->moved.at[i]);
	for (int kind = VARIABLE; kind <= EVENT; kind++)
		s->done[kind].n = 0;
	s->failed.n = s->derived.n = s->round.n = s->fired.n = s->moved.n = 0;
	s->counts.n = s->runs.n = s->asked.n = 0;
	for (size_t i = 0; i < s->known.n; i++)
		fact_done(&s->known.at[i]);
	s->known.n = s->known_sorted = 0;
	settled_done(&s->settled);
	s->standing = VARIABLE;
	s->stage = IDLE;
}

void
settling_free(struct settling *s)
{
	forget_transaction(s);
	ended_done(&s->before);
	for (size_t i = 0; i < s->batch.n; i++)
		flight_free(s->batch.at[i]);
	vec_done(&s->batch);
	vec_done(&s->round);
	vec_done(&s->derived);
	vec_done(&s->known);
	vec_done(&s->runs);
	vec_done(&s->asked);
	facts_free(s->facts);
	vec_done(&s->fired);
	for (int kind = VARIABLE; kind <= EVENT; kind++)
		vec_done(&s->done[kind]);
	vec_done(&s->failed);
	vec_done(&s->moved);
	vec_done(&s->counts);
	free(s);
}

/* --- when it fails --- */

static void
rolled_back(void *arg, const struct pg_answer *answer)
{
	struct worker *w = arg;

	forget_transaction(w->settling);
}

/* Only data can be an outcome's fault: 22 (what jsonb cannot hold, ...), 23
 * and 54 (limits).  Whatever else a server says is no reason to fail a job. */
static bool
is_outcomes_fault(const char *sqlstate)
{
	return !strncmp(sqlstate, "22", 2) || !strncmp(sqlstate, "23", 2) ||
	    !strncmp(sqlstate, "54", 2);
}

/* The transaction failed.  A deadlock is tried again, after a moment.  What is the fault of
 * some outcome is looked for job by job, and the guilty one fails with the
 * reason.  Anything else is trouble with the books, and waited out. */
void
settle_fail(struct worker *w, const struct pg_answer *answer)
{
	struct settling *s = w->settling;
	bool again;

	if (s->stage == ROLLING_BACK)
		return;		/* of what was said behind that which failed */
	again = !strncmp(answer->sqlstate, "40", 2) && ++s->tries <= 5;
	if (!again && !is_outcomes_fault(answer->sqlstate))
		worker_note_trouble(w, "settling", answer->err);
	else if (again) {
		log_warn("a settling is tried again", "sqlstate", answer->sqlstate,
		    "error", answer->err->message, "try", log_number(s->tries));
		worker_wait(w, SECOND / 50 << s->tries);
	} else if (s->size > 1)		/* nor is anything decided at once then */
		s->size = 1;
	else {
		struct outcome *o = &s->batch.at[0]->outcome;

		if (o->state == JOB_FAILED && o->reason == REASON_ERROR)
			worker_note_trouble(w, "settling", answer->err);
		free(o->value);
		free(o->error);
		free(o->note);
		o->value = o->note = NULL;
		o->truth = TRUTH_UNKNOWN;
		o->state = JOB_FAILED;
		o->reason = REASON_ERROR;
		o->error = xasprintf("its outcome cannot be stored: %s", answer->err->message);
	}
	s->stage = ROLLING_BACK;
	pg_say(w->books, "rollback", 0, NULL);
	pg_ask(w->books, rolled_back, w);
}

/* --- rounds --- */

/* Books that we have connected to anew may be others, or have been set back. */
static void
note_runs(struct worker *w)
{
	struct settling *s = w->settling;

	for (size_t i = 0; i < s->settled.runs.n; i++)
		vec_push(&s->runs, s->settled.runs.at[i]);
	if (s->connection != pg_connections(w->books))
		facts_clear(s->facts);
	s->connection = pg_connections(w->books);
}

static void
stored(void *arg, const struct pg_answer *answer)
{
	struct worker *w = arg;
	struct settling *s = w->settling;

	if (answer->err) {
		settle_fail(w, answer);
		return;
	}
	settle_read_outcomes(answer, s->first, &s->settled);
	if (s->first)
		note_runs(w);
	settle_count_round(w);
	s->first = false;
	s->may_read = 1;
	s->stage = STORED;
	if (s->with_standings) {
		settle_read_standings(answer, &s->settled);
		s->stage = STOOD;
	}
}

static void
noted(void *arg, const struct pg_answer *answer)
{
	if (answer->err)
		settle_fail(arg, answer);
}

/* With those that the round will have done. */
static struct job_keys
done_so_far(const struct settling *s, enum kind kind)
{
	const struct job_keys *done = &s->done[kind];
	struct job_keys keys = { 0 };

	for (size_t i = 0; i < done->n; i++)
		vec_push(&keys, done->at[i]);
	for (size_t i = 0; i < s->round.n; i++)
		if (s->round.at[i].kind == kind)
			vec_push(&keys, s->round.at[i].key);
	return keys;
}

/* Of all kinds up to LAST that are not said yet. */
static void
say_standings(struct worker *w, enum kind last)
{
	struct settling *s = w->settling;

	for (; s->standing <= (int)last; s->standing++) {
		struct job_keys keys = done_so_far(s, (enum kind)s->standing);

		if (keys.n || s->standing == EVENT)
			settle_say_standings(w->books, (enum kind)s->standing, keys.at, keys.n);
		vec_done(&keys);
	}
}

/* Later rounds have only what uses something of this one: no more of this kind. */
static enum kind
lowest_kind(const struct settling *s)
{
	enum kind lowest = EVENT;

	for (size_t i = 0; i < s->round.n; i++)
		if (s->round.at[i].kind < lowest)
			lowest = s->round.at[i].kind;
	return lowest;
}

/* While the server writes the standing values we decide what the round has made
 * ready.  Events move by theirs, so these come with the answer. */
static void
store_round(struct worker *w)
{
	struct settling *s = w->settling;
	enum kind lowest = lowest_kind(s);

	s->stage = STORING;
	settle_say_outcomes(w->books, s->round.at, s->round.n, s->first, w->name);
	if ((s->with_standings = lowest == EVENT))
		say_standings(w, EVENT);
	pg_ask(w->books, stored, w);
	if (s->stage == STORING && !s->with_standings) {	/* else it has failed at once */
		settle_say_guard(w->books);
		say_standings(w, lowest);
		pg_ask(w->books, noted, w);
	}
}

static void
found_before(void *arg, const struct pg_answer *answer)
{
	struct worker *w = arg;

	ended_done(&w->settling->before);
	if (!answer->err)	/* else the sweep finds them */
		settle_read_fired_before(answer, &w->settling->before);
}

static void
look_for_fired_before(struct worker *w)
{
	struct settling *s = w->settling;
	VEC(struct job_key) keys = { 0 };

	for (size_t i = 0; i < s->batch.n; i++)
		if (s->batch.at[i]->in_doubt)
			vec_push(&keys, s->batch.at[i]->job.key);
	if (keys.n) {
		settle_say_fired_before(w->books, keys.at, keys.n);
		pg_ask(w->books, found_before, w);
	}
	vec_done(&keys);
}

static int
by_key(const void *a, const void *b)
{
	const struct flight *x = *(struct flight *const *)a, *y = *(struct flight *const *)b;

	return job_key_compare(&x->job.key, &y->job.key);
}

static size_t
room_to_decide(const struct settling *s)
{
	if (s->size < BATCH_MAX || s->tries || failpoint("settle.at_once"))
		return 0;
	for (size_t i = 0; i < s->batch.n; i++)
		if (s->batch.at[i]->outcome.attempts != 1)
			return 0;
	return AT_ONCE_MAX;
}

static void
begin(struct worker *w)
{
	struct settling *s = w->settling;

	/* The size applies to what is in hand too: after a failure the batch
	 * goes back, and comes again one by one. */
	while (s->batch.n > s->size)
		vec_push(&w->finished, s->batch.at[--s->batch.n]);
	while (s->batch.n < s->size && w->finished.n)
		vec_push(&s->batch, w->finished.at[--w->finished.n]);
	if (!s->batch.n)
		return;
	qsort(s->batch.at, s->batch.n, sizeof *s->batch.at, by_key);
	for (size_t i = 0; i < s->batch.n; i++)
		vec_push(&s->round, s->batch.at[i]->outcome);
	s->first = true;
	s->at_once = room_to_decide(s);
	failpoint("worker.before_settle");
	look_for_fired_before(w);
	store_round(w);
}

/* --- the end --- */

struct acks {
	struct worker *worker;
	VEC(struct message *) messages;
};

static void
release_all(void *arg, bool sent)
{
	struct acks *acks = arg;

	if (sent)
		failpoint("worker.before_ack");
	for (size_t i = 0; sent && i < acks->messages.n; i++)
		publish_release(acks->worker, acks->messages.at[i]);
	vec_done(&acks->messages);
	free(acks);
}

/* Publish with it what a commit had fired that was not answered. */
static void
add_fired_before(struct settling *s, struct ended *ended)
{
	struct ended *before = &s->before;

	if (before->fired.n || before->deliveries.n)
		log_info("an unanswered commit had taken effect", "fired",
		    log_number((int64_t)before->fired.n), "deliveries",
		    log_number((int64_t)before->deliveries.n));
	for (size_t i = 0; i < before->fired.n; i++)
		vec_push(&ended->fired, before->fired.at[i]);
	for (size_t i = 0; i < before->deliveries.n; i++)
		vec_push(&ended->deliveries, before->deliveries.at[i]);
	before->fired.n = before->deliveries.n = 0;	/* taken */
}

static void
ended(void *arg, const struct pg_answer *answer)
{
	struct worker *w = arg;
	struct settling *s = w->settling;
	struct ended ended = { 0 };
	struct acks *acks;

	if (answer->err) {
		for (size_t i = 0; i < s->batch.n; i++)
			s->batch.at[i]->in_doubt |= s->stage == ENDING;
		settle_fail(w, answer);
		return;
	}
	failpoint("worker.after_commit");
	worker_note_success(w);
	settle_read_end(answer, s->said, &ended);
	settle_tell(w, &ended);
	acks = xcalloc(1, sizeof *acks);
	acks->worker = w;
	for (size_t i = 0; i < s->batch.n; i++) {
		if (s->batch.at[i]->from)
			vec_push(&acks->messages, s->batch.at[i]->from);
		flight_free(s->batch.at[i]);
	}
	s->batch.n = 0;
	s->tries = 0;
	if (s->size < BATCH_MAX && !w->finished.n)
		s->size = BATCH_MAX;
	settle_remember(s);
	forget_transaction(s);
	add_fired_before(s, &ended);
	publish_ended(w, &ended, release_all, acks);
	failpoint("worker.after_publish");
	ended_done(&ended);
}

static void
stood(void *arg, const struct pg_answer *answer)
{
	struct worker *w = arg;

	if (answer->err) {
		settle_fail(w, answer);
		return;
	}
	settle_read_standings(answer, &w->settling->settled);
	w->settling->stage = STOOD;
}

static void
stand(struct worker *w)
{
	struct settling *s = w->settling;
	size_t n = 0;

	for (int kind = s->standing; kind <= EVENT; kind++)
		n += s->done[kind].n;
	if (!n) {
		s->stage = STOOD;
		return;
	}
	s->stage = STANDING;
	settle_say_guard(w->books);
	say_standings(w, EVENT);
	pg_ask(w->books, stood, w);
}

static void
end(struct worker *w)
{
	struct settling *s = w->settling;

	s->stage = ENDING;
	failpoint("worker.before_commit");
	s->said = settle_say_end(w->books, s->fired.at, s->fired.n, s->moved.at, s->moved.n,
	    s->counts.at, s->counts.n, w->conf->lease);
	pg_ask(w->books, ended, w);
}

void
settle_finished(struct worker *w)
{
	struct settling *s = w->settling;

	if (s->stage == IDLE && !w->waiting)
		begin(w);
	if (s->stage == STORED && settle_have_all(w)) {
		settle_decide_round(w);
		if (s->round.n)
			store_round(w);
		else
			stand(w);
	}
	if (s->stage == STOOD && settle_have_all(w)) {
		settle_move_events(w);
		s->may_read = 2;	/* evidences, then their variables */
		s->stage = MOVED;
	}
	if (s->stage == MOVED && settle_have_all(w)) {
		settle_tell_reasons(w);
		end(w);
	}
}
