/* sweep.c - find again what was lost.
 *
 * A lease that has run out ends in a new claim (alone, from then on) or, after
 * the last attempt, in a failure that is settled like any other.  Of what was
 * asked of somebody else's worker the lease is the time for his answer.  Queued jobs
 * are sent again only where their run has stood still for a lease, and not while
 * their messages seem to be there; each time doubles the wait until the next. */
#include "store/sweep.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/mem.h"
#include "io/pg.h"
#include "store/array.h"
#include "store/row.h"

#define OPEN_RUNS \
	"r.kind = 'cycle' and r.state in ('CREATED', 'STARTED', 'ERRORED')" \
	" and ($1::bigint = 0 or r.id = $1)"
/* The jobs of open runs are named as such, and not joined with their runs: then
 * nothing but the key can lead to them, whatever statistics say of how few of all
 * jobs are running. */
#define OF_OPEN_RUNS \
	"j.run_id = any (array(select r.id from tocsin.run r where " OPEN_RUNS "))"
#define OF_STANDING "j.run_id = any (array(select id from standing))"
#define STANDING \
	"with standing as materialized (select r.id from tocsin.run r where " OPEN_RUNS \
	" and not exists (select from tocsin.job k where k.run_id = r.id" \
	"  and (k.state = 'running' and k.asked_at is null and k.lease_until > now() or" \
	"   greatest(k.queued_at, k.started_at, k.finished_at) > now() - $2::interval)))"
#define MAY_BE_LOST \
	"j.state = 'queued' and coalesce(j.resend_at, j.queued_at + $2::interval) <= now()"

static const char look[] = STANDING
    " select distinct j.queue from tocsin.job j where " OF_STANDING " and " MAY_BE_LOST;

/* Where as many messages wait as the run has jobs queued, none is lost: nobody
 * takes them. */
static const char send_lost[] = STANDING
    ", short as materialized (select w.id, w.queue from"
    "  (select j.run_id as id, j.queue, count(*) as jobs from tocsin.job j"
    "   where " OF_STANDING " and j.state = 'queued' group by 1, 2) w"
    "  join unnest($3::text[], $4::bigint[]) m (queue, messages)"
    "   on m.queue = w.queue and m.messages < w.jobs"
    "), c as ("
    " select j.run_id, j.id from tocsin.job j where " OF_STANDING " and " MAY_BE_LOST
    "  and (j.run_id, j.queue) in (select id, queue from short)"
    " order by 1, 2 for update of j skip locked"
    ") update tocsin.job j set resends = j.resends + 1,"
    "  resend_at = now() + least($2::interval * power(2, least(j.resends + 1, 20)),"
    "   greatest(interval '1 hour', $2::interval))"
    " from c where j.run_id = c.run_id and j.id = c.id"
    " returning j.run_id, j.id, j.kind, j.queue, j.name";

#define IS_LOST \
	"case when j.asked_at is null then j.attempts >= 3 else j.asks >= 2 end"

static const char queue_again[] =
    "with c as ("
    " select j.run_id, j.id from tocsin.job j"
    " where " OF_OPEN_RUNS " and j.state = 'running' and j.lease_until < now()"
    "  and not " IS_LOST " order by 1, 2 for update of j skip locked"
    ") update tocsin.job j set state = 'queued', alone = j.alone or j.asked_at is null,"
    "  lease_until = null, asked_at = null,"
    "  queued_at = now(), resend_at = now() + $2::interval"
    " from c where j.run_id = c.run_id and j.id = c.id"
    " returning j.run_id, j.id, j.kind, j.queue, j.name";

static const char find_lost[] =
    "select j.run_id, j.id, j.kind, j.name, j.fence, j.attempts,"
    " j.asked_at is not null, j.note"
    " from tocsin.job j where " OF_OPEN_RUNS " and j.state = 'running' and j.lease_until < now()"
    "  and " IS_LOST " order by 1, 2";

void
sweep_say_look(struct pg *pg, int64_t run, span lease)
{
	char id[24], length[32];
	const char *params[] = { id, length };

	snprintf(id, sizeof id, "%" PRId64, run);
	snprintf(length, sizeof length, "%" PRId64 " us", lease);
	pg_say_prepared(pg, look, 2, params);
}

void
sweep_say(struct pg *pg, int64_t run, span lease, const struct queue_count *queues, size_t n)
{
	struct array names = { 0 }, messages = { 0 };
	char id[24], length[32];
	const char *params[4] = { id, length };

	snprintf(id, sizeof id, "%" PRId64, run);
	snprintf(length, sizeof length, "%" PRId64 " us", lease);
	for (size_t i = 0; i < n; i++)
		if (queues[i].messages >= 0) {
			array_text(&names, queues[i].queue);
			array_int(&messages, queues[i].messages);
		}
	params[2] = array_literal(&names);
	params[3] = array_literal(&messages);
	/* First what was lost in a run that stands still: a lease that ends
	 * below counts as progress again. */
	pg_say_prepared(pg, send_lost, 4, params);
	pg_say_prepared(pg, queue_again, 2, params);
	pg_say_prepared(pg, find_lost, 1, params);
	array_done(&names);
	array_done(&messages);
}

static void
read_again(const PGresult *r, struct swept *swept)
{
	for (int i = 0; i < PQntuples(r); i++) {
		struct fired_job job = { { row_number(r, i, 0), (int)row_number(r, i, 1) },
			(enum kind)kind_find(PQgetvalue(r, i, 2)), row_text_dup(r, i, 3),
			row_text_dup(r, i, 4) };

		vec_push(&swept->again, job);
	}
}

void
sweep_read(const struct pg_answer *answer, struct swept *swept)
{
	const PGresult *r = answer->results[2];

	read_again(answer->results[0], swept);
	read_again(answer->results[1], swept);
	for (int i = 0; i < PQntuples(r); i++) {
		struct outcome o = { .key = { row_number(r, i, 0), (int)row_number(r, i, 1) } };
		bool asked = row_true(r, i, 6);

		o.kind = (enum kind)kind_find(PQgetvalue(r, i, 2));
		o.name = row_text_dup(r, i, 3);
		o.fence = (int)row_number(r, i, 4);
		o.state = JOB_FAILED;
		o.reason = asked ? REASON_TIMEOUT : REASON_LOST;
		o.attempts = (int)row_number(r, i, 5);
		o.error = asked ? xasprintf("Celery was asked twice and did not answer "
		    "in time: %s; is there a worker that knows the task?", PQgetvalue(r, i, 7)) :
		    xasprintf("its worker was lost %d times while it ran", o.attempts);
		o.truth = TRUTH_UNKNOWN;
		vec_push(&swept->lost, o);
	}
}

void
swept_done(struct swept *swept)
{
	fired_jobs_done(&swept->again);
	for (size_t i = 0; i < swept->lost.n; i++)
		outcome_done(&swept->lost.at[i]);
	vec_done(&swept->lost);
}
