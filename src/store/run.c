/* run.c - runs as rows.
 *
 * A cycle is made in one transaction of a few statements, whatever the size of the
 * graph: the run, whose partial unique index lets one open cycle for each agent
 * through, and all its jobs. */
#include "store/run.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/failpoint.h"
#include "io/pg.h"
#include "store/array.h"
#include "store/plan.h"
#include "store/row.h"

static const char make_run[] =
    "insert into tocsin.run (agent, as_of, origin)"
    " values ($1, coalesce($2::timestamptz, now()), $3)"
    " on conflict do nothing returning id";

#define RUN_COLUMNS \
	"r.id, r.agent, r.state, r.as_of, r.created_at, r.finished_at, r.jobs," \
	" r.unsettled, r.failed"
/* A claim, a settling, a renewal, a message sent again: any of them within a
 * lease is progress.  In the order of the keys, or all past runs would be searched
 * for one that is not there. */
#define RUN_STALLED(lease) \
	"r.state in ('CREATED', 'STARTED', 'ERRORED') and not exists (" \
	" select from tocsin.job j where j.run_id = r.id and" \
	" (j.state = 'running' and j.lease_until > now() or" \
	" greatest(j.queued_at, j.started_at, j.finished_at) > now() - " lease "::interval)" \
	" order by j.run_id, j.id limit 1 offset 0)"

static void
read_run(const PGresult *r, int row, struct run_row *run)
{
	run->id = row_number(r, row, 0);
	snprintf(run->agent, sizeof run->agent, "%s", PQgetvalue(r, row, 1));
	run->state = (enum run_state)run_state_find(PQgetvalue(r, row, 2));
	run->as_of = row_instant(r, row, 3);
	run->created_at = row_instant(r, row, 4);
	run->finished_at = row_instant(r, row, 5);
	run->jobs = (int)row_number(r, row, 6);
	run->unsettled = (int)row_number(r, row, 7);
	run->failed = (int)row_number(r, row, 8);
	run->stalled = PQnfields(r) > 9 && row_true(r, row, 9);
}

static int
find(PGconn *conn, const char *sql, const char *what, span lease, struct run_row *run,
    struct err *err)
{
	char length[32];
	const char *params[] = { what, length };
	PGresult *r;
	int n;

	snprintf(length, sizeof length, "%" PRId64 " us", lease);
	if (!(r = pg_exec(conn, sql, 2, params, err)))
		return -1;
	if ((n = PQntuples(r) > 0))
		read_run(r, 0, run);
	PQclear(r);
	return n;
}

int
run_find_open(PGconn *conn, const char *agent, span lease, struct run_row *open,
    struct err *err)
{
	return find(conn, "select " RUN_COLUMNS ", " RUN_STALLED("$2")
	    " from tocsin.run r where r.agent = $1 and r.kind = 'cycle'"
	    " and r.state in ('CREATED', 'STARTED', 'ERRORED')", agent, lease, open, err);
}

int
run_find_origin(PGconn *conn, const char *origin, span lease, struct run_row *run,
    struct err *err)
{
	return find(conn, "select " RUN_COLUMNS ", " RUN_STALLED("$2")
	    " from tocsin.run r where r.origin = $1", origin, lease, run, err);
}

/* Every name given must be an active event of the agent. */
static int
check_events(PGconn *conn, const struct plan_request *q, const char *names, struct err *err)
{
	const char *params[] = { names, q->agent };
	PGresult *r = pg_exec(conn, "select n.name, e.agent, e.active"
	    " from unnest($1::text[]) n (name) left join tocsin.event e on e.name = n.name"
	    " where e.name is null or not e.active or e.agent <> $2 order by 1 limit 1",
	    2, params, err);

	if (!r)
		return -1;
	if (PQntuples(r)) {
		const char *name = PQgetvalue(r, 0, 0);

		if (PQgetisnull(r, 0, 1))
			err_set(err, "there is no event '%s': "
			    "'tocsin graph' draws what is loaded", name);
		else if (strcmp(PQgetvalue(r, 0, 1), q->agent))
			err_set(err, "event '%s' belongs to agent '%s', not '%s': "
			    "add --agent %s", name, PQgetvalue(r, 0, 1), q->agent,
			    PQgetvalue(r, 0, 1));
		else
			err_set(err, "event '%s' is not active", name);
		PQclear(r);
		return -1;
	}
	PQclear(r);
	return 0;
}

static int
check_time(PGconn *conn, const char *at, struct err *err)
{
	PGresult *r = pg_exec(conn, "select $1::timestamptz > now(), now()", 1, &at, err);
	bool future;

	if (!r)
		return -1;
	future = !strcmp(PQgetvalue(r, 0, 0), "t");
	if (future)
		err_set(err, "--at %s lies in the future (the database's clock says %s): "
		    "add --force if that is meant", at, PQgetvalue(r, 0, 1));
	PQclear(r);
	return future ? -1 : 0;
}

static int
count_jobs(PGconn *conn, int64_t run, size_t n, struct run_row *made, struct err *err)
{
	char id[24], jobs[24];
	PGresult *r;

	snprintf(id, sizeof id, "%" PRId64, run);
	snprintf(jobs, sizeof jobs, "%zu", n);
	r = pg_exec(conn, "update tocsin.run r set jobs = $2, unsettled = $2,"
	    " state = case when $2 = 0 then 'DONE' else state end,"
	    " finished_at = case when $2 = 0 then now() end where r.id = $1"
	    " returning " RUN_COLUMNS, 2, (const char *[]){ id, jobs }, err);
	if (!r)
		return -1;
	read_run(r, 0, made);
	PQclear(r);
	return 0;
}

static int
plan_in_transaction(PGconn *conn, const struct plan_request *q, const char *at,
    const char *names, struct run_row *made, bool *busy, struct err *err)
{
	const char *run_params[] = { q->agent, at, q->origin };
	int64_t id = 0;
	size_t jobs;
	PGresult *r;

	if ((at && !q->force && check_time(conn, at, err)) ||
	    (names && check_events(conn, q, names, err)) ||
	    !(r = pg_exec(conn, make_run, 3, run_params, err)))
		return -1;
	*busy = PQntuples(r) == 0;
	if (!*busy)
		id = row_number(r, 0, 0);
	PQclear(r);
	if (*busy)
		return 0;
	failpoint("plan.after_run");
	if (plan_write(conn, id, q->agent, names, q->queue, &jobs, err) ||
	    count_jobs(conn, id, jobs, made, err))
		return -1;
	failpoint("plan.before_commit");
	return 0;
}

int
run_plan(PGconn *conn, const struct plan_request *q, struct run_row *made, bool *busy,
    struct err *err)
{
	struct array names = { 0 };
	char at[INSTANT_TEXT];
	struct err ignored;
	PGresult *r;
	int rc;

	for (size_t i = 0; i < q->n_events; i++)
		array_text(&names, q->events[i]);
	if (!(r = pg_exec(conn, "begin", 0, NULL, err)))
		return -1;
	PQclear(r);
	rc = plan_in_transaction(conn, q,
	    q->at == INSTANT_NEVER ? NULL : clock_format(q->at, at),
	    q->n_events ? array_literal(&names) : NULL, made, busy, err);
	if (!rc) {
		r = pg_exec(conn, "commit", 0, NULL, err);
		rc = r ? 0 : -1;
	} else
		r = pg_exec(conn, "rollback", 0, NULL, &ignored);
	PQclear(r);
	array_done(&names);
	return rc;
}

int
run_queued_jobs(PGconn *conn, int64_t run, struct fired_jobs *jobs, struct err *err)
{
	char id[24];
	const char *params[] = { id };
	PGresult *r;

	snprintf(id, sizeof id, "%" PRId64, run);
	r = pg_exec(conn, "select id, kind, queue, name from tocsin.job"
	    " where run_id = $1 and state = 'queued' order by id", 1, params, err);
	if (!r)
		return -1;
	for (int i = 0; i < PQntuples(r); i++) {
		struct fired_job job = { { run, (int)row_number(r, i, 0) },
			(enum kind)kind_find(PQgetvalue(r, i, 1)), row_text_dup(r, i, 2),
			row_text_dup(r, i, 3) };

		vec_push(jobs, job);
	}
	PQclear(r);
	return 0;
}

int
run_note_trouble(PGconn *conn, int64_t run, const char *why, struct err *err)
{
	char id[24];
	const char *params[] = { id, why };
	PGresult *r;

	snprintf(id, sizeof id, "%" PRId64, run);
	r = pg_exec(conn, "update tocsin.run set trouble = $2, trouble_at = now()"
	    " where id = $1 and finished_at is null", 2, params, err);
	PQclear(r);
	return r ? 0 : -1;
}

/* One that is being settled goes on, so it is passed over. */
void
run_say_trouble(struct pg *pg, const char *why)
{
	const char *params[] = { why };

	pg_say_prepared(pg, "with o as (select id from tocsin.run"
	    " where kind = 'cycle' and state in ('CREATED', 'STARTED', 'ERRORED')"
	    "  and ($1::text is not null or trouble is not null)"
	    " order by id for update skip locked)"
	    " update tocsin.run r set trouble = $1::text,"
	    "  trouble_at = case when $1::text is not null then now() end"
	    " from o where r.id = o.id", 1, params);
}

void
run_say_started(struct pg *pg, int64_t run)
{
	char id[24];
	const char *params[] = { id };

	snprintf(id, sizeof id, "%" PRId64, run);
	pg_say_prepared(pg, "update tocsin.run set state ="
	    " case when state = 'CREATED' then 'STARTED' else state end,"
	    " started_at = coalesce(started_at, now()), written_at = greatest(now(), written_at),"
	    " trouble = null, trouble_at = null"
	    " where id = $1 and (started_at is null or trouble is not null)",
	    1, params);
}

void
run_say_state(struct pg *pg, int64_t run)
{
	char id[24];
	const char *params[] = { id };

	snprintf(id, sizeof id, "%" PRId64, run);
	pg_say_prepared(pg, "select " RUN_COLUMNS " from tocsin.run r where r.id = $1",
	    1, params);
}

int
run_read_state(const PGresult *r, struct run_row *run)
{
	if (!r || PQntuples(r) != 1)
		return -1;
	read_run(r, 0, run);
	return 0;
}
