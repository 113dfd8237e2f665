/* prune.c - forget what ended long ago.
 *
 * Small transactions, so that nothing waits for us long: a partition of history is
 * dropped whole; runs go in ranges of their key, with all that hangs on them.
 * A day of history stays where a run has written to it that is open or has a
 * delivery pending. */
#include "store/prune.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/mem.h"
#include "io/pg.h"
#include "store/row.h"

#define RUNS_AT_ONCE "1000"

/* Runs after FROM that ended before the day and have nothing pending. */
#define OLD_RUNS \
	"select r.id from tocsin.run r where r.id > $1 and r.finished_at < $2::timestamptz" \
	" and not exists (select from tocsin.delivery d where d.run_id = r.id" \
	"  and d.state in ('pending', 'sending')) order by r.id limit " RUNS_AT_ONCE

static const char prune_runs[] =
    "with old as materialized (" OLD_RUNS "), d as ("
    " delete from tocsin.delivery d using old where d.run_id = old.id returning 1"
    "), s as ("
    " delete from tocsin.signal s using old where s.run_id = old.id"
    " returning 1"
    "), j as ("
    " delete from tocsin.job j using old where j.run_id = old.id returning 1"
    "), r as ("
    " delete from tocsin.run r using old where r.id = old.id returning 1"
    ") select (select max(id) from old), (select count(*) from r), (select count(*) from j),"
    " (select count(*) from s), (select count(*) from d)";

static const char count_runs[] =
    "with old as materialized (" OLD_RUNS ")"
    " select (select max(id) from old), (select count(*) from old),"
    " (select count(*) from tocsin.job j join old on j.run_id = old.id),"
    " (select count(*) from tocsin.signal s join old on s.run_id = old.id),"
    " (select count(*) from tocsin.delivery d join old on d.run_id = old.id)";

#define UNUSED_VERSIONS \
	" from tocsin.version v where v.loaded_at < $1::timestamptz" \
	" and not exists (select from tocsin.variable x where x.version = v.id)" \
	" and not exists (select from tocsin.evidence x where x.version = v.id)" \
	" and not exists (select from tocsin.event x where x.version = v.id)" \
	" and not exists (select from tocsin.reaction x where x.version = v.id)" \
	" and not exists (select from tocsin.job x where x.version = v.id)" \
	" and not exists (select from (select distinct unnest(reactions) as id" \
	"  from tocsin.job where kind = 'event') x where x.id = v.id)" \
	" and not exists (select from tocsin.signal x where x.version = v.id)" \
	" and not exists (select from tocsin.delivery x where x.version = v.id)"

static int
find_day(PGconn *conn, span age, struct pruned *out, struct err *err)
{
	char length[32];
	const char *params[] = { length };
	PGresult *r;

	snprintf(length, sizeof length, "%" PRId64 " us", age);
	r = pg_exec(conn, "select date_trunc('day', now() - $1::interval, 'UTC')", 1, params, err);
	if (!r)
		return -1;
	out->before = row_instant(r, 0, 0);
	PQclear(r);
	return 0;
}

/* Dropping a partition locks the whole of history: whoever reads it for long
 * would make us wait, and everybody behind us. */
static int
bound_waiting(PGconn *conn, struct err *err)
{
	PGresult *r = pg_exec(conn, "set lock_timeout = '2s'", 0, NULL, err);

	PQclear(r);
	return r ? 0 : -1;
}

static int
drop_partition(PGconn *conn, const char *name, struct err *err)
{
	char *sql = xasprintf("drop table tocsin.%s", name);
	PGresult *r = pg_exec(conn, sql, 0, NULL, err);

	free(sql);
	PQclear(r);
	return r ? 0 : err_wrap(err, "history of %s cannot be dropped now, try again later",
	    name + strlen("history_"));
}

/* Whether such a run has written into a partition is asked of the partition. */
static int
is_needed(PGconn *conn, const char *name, bool *needed, struct err *err)
{
	char *sql = xasprintf("select exists (select from tocsin.%s h join tocsin.run r"
	    " on r.id = h.run_id where r.finished_at is null or exists (select from"
	    " tocsin.delivery d where d.run_id = r.id and d.state in ('pending', 'sending')))",
	    name);
	PGresult *r = pg_exec(conn, sql, 0, NULL, err);

	free(sql);
	if (!r)
		return -1;
	*needed = row_true(r, 0, 0);
	PQclear(r);
	return 0;
}

static int
prune_history(PGconn *conn, const char *day, bool dry, struct pruned *out, struct err *err)
{
	const char *params[] = { day };
	PGresult *r = pg_exec(conn, "select c.relname from pg_inherits i"
	    " join pg_class c on c.oid = i.inhrelid"
	    " where i.inhparent = 'tocsin.history'::regclass and c.relname ~ '^history_[0-9]{8}$'"
	    " and to_date(right(c.relname, 8), 'YYYYMMDD') <"
	    "  ($1::timestamptz at time zone 'UTC')::date order by 1", 1, params, err);
	int rc = 0;

	if (!r)
		return -1;
	for (int i = 0; i < PQntuples(r) && !rc; i++) {
		const char *name = PQgetvalue(r, i, 0);
		bool needed;

		rc = is_needed(conn, name, &needed, err);
		if (!rc && !needed && !dry)
			rc = drop_partition(conn, name, err);
		out->days += !rc && !needed;
	}
	PQclear(r);
	return rc;
}

static int
prune_ended(PGconn *conn, const char *day, bool dry, struct pruned *out, struct err *err)
{
	char from[24] = "0";
	const char *params[] = { from, day };
	bool more = true;

	while (more) {
		PGresult *r = pg_exec(conn, dry ? count_runs : prune_runs, 2, params, err);

		if (!r)
			return -1;
		more = row_text(r, 0, 0) != NULL;
		if (more)
			snprintf(from, sizeof from, "%s", row_text(r, 0, 0));
		out->runs += (long)row_number(r, 0, 1);
		out->jobs += (long)row_number(r, 0, 2);
		out->signals += (long)row_number(r, 0, 3);
		out->deliveries += (long)row_number(r, 0, 4);
		PQclear(r);
	}
	return 0;
}

static int
prune_versions(PGconn *conn, const char *day, bool dry, struct pruned *out, struct err *err)
{
	const char *params[] = { day };
	PGresult *r = pg_exec(conn, dry ? "select count(*)" UNUSED_VERSIONS
	    : "with d as (delete" UNUSED_VERSIONS " returning 1) select count(*) from d",
	    1, params, err);

	if (!r)
		return -1;
	out->versions = (long)row_number(r, 0, 0);
	PQclear(r);
	return 0;
}

int
prune(PGconn *conn, span age, bool dry, struct pruned *out, struct err *err)
{
	char day[INSTANT_TEXT];

	*out = (struct pruned){ 0 };
	if (find_day(conn, age, out, err) || bound_waiting(conn, err))
		return -1;
	clock_format(out->before, day);
	return prune_history(conn, day, dry, out, err) ||
	    prune_ended(conn, day, dry, out, err) ||
	    prune_versions(conn, day, dry, out, err) ? -1 : 0;
}
