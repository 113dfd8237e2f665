/* roles.c - who may do what with the books.
 *
 * Each step is a query for the statements that are missing; they are run as they
 * are told to the user, who can read, keep and repeat them with psql.  A later
 * step asks about what an earlier one has made. */
#include "store/roles.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/mem.h"
#include "base/vec.h"
#include "io/pg.h"
#include "store/row.h"

/* Roles belong to the whole server: an init of another database may make the
 * same ones at this moment. */
enum { TRIES = 3 };

#define IS_SUPERUSER "(select rolsuper from pg_roles where rolname = current_user)"

struct plan {
	PGconn *conn;
	VEC(char *) done;
};

static const char make_roles[] =
    "select format('create role %I %s', r.name, r.kind) from (values"
    " (1, 'tocsin_owner', 'nologin'), (2, 'tocsin_app', 'nologin'),"
    " (3, 'tocsin_read', 'nologin'), (4, 'tocsin_measure', 'login noinherit')) r (n, name, kind)"
    " where not exists (select from pg_roles where rolname = r.name) order by r.n";

/* A superuser may give away what is his to anybody; the views of later versions
 * are made in public by their owner. */
static const char join_owner[] =
    "select s from (values"
    " (1, format('grant tocsin_owner to %I', current_user),"
    "  " IS_SUPERUSER " or pg_has_role(current_user, 'tocsin_owner', 'usage')),"
    " (2, format('grant create on database %I to tocsin_owner', current_database()),"
    "  " IS_SUPERUSER " or has_database_privilege('tocsin_owner', current_database(), 'create')),"
    " (3, 'grant usage, create on schema public to tocsin_owner',"
    "  to_regnamespace('public') is null or"
    "  has_schema_privilege('tocsin_owner', to_regnamespace('public'), 'create'))"
    ") w (n, s, there) where not there order by n";

#define VIEWS \
	"'cdr_evaluation_cycle', 'cdr_control_variable', 'cdr_evidence', 'cdr_system_event'," \
	" 'cdr_history'"

/* The schema first, for who owns a table must be allowed to make it there.  The
 * partitions of history too, and of public only what was made with the books. */
static const char give_books[] =
    "with old as (select nspowner as oid from pg_namespace where nspname = 'tocsin'),"
    " new as (select oid from pg_roles where rolname = 'tocsin_owner')"
    " select s from ("
    " select 1 as n, 'alter schema tocsin owner to tocsin_owner' as s"
    "  from old, new where old.oid <> new.oid"
    " union all select 2, format('alter %s %s owner to tocsin_owner', case c.relkind"
    "   when 'v' then 'view' when 'S' then 'sequence' else 'table' end, c.oid::regclass)"
    "  from pg_class c join pg_namespace n on n.oid = c.relnamespace, new"
    "  where c.relowner <> new.oid and (n.nspname = 'tocsin' and c.relkind in ('r', 'p', 'v', 'S')"
    "   and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass"
    "    and d.objid = c.oid and d.deptype = 'i' and c.relkind = 'S')"
    "   or n.nspname = 'public' and c.relkind = 'v' and c.relowner = (select oid from old)"
    "   and c.relname in (" VIEWS "))"
    " union all select 3, format('alter function %s owner to tocsin_owner', p.oid::regprocedure)"
    "  from pg_proc p, new where p.pronamespace = 'tocsin'::regnamespace and p.proowner <> new.oid"
    ") a order by n, s";

/* What is only added to - history, signals, the audit - stays as it was written.
 * In the audit and in the versions the database says who and when. */
#define SAID_BY_US \
	"attnum > 0 and not attisdropped and attname not in" \
	" ('id', 'at', 'loaded_at', 'loaded_by', 'address')"

static const char grant_rights[] =
    "with t as (select c.oid, c.relname as name, case"
    "  when c.relname in ('installation', 'migration') then array['select']"
    "  when c.relname in ('history', 'signal') then array['select', 'insert']"
    "  when c.relname in ('version', 'audit') then array['select', (select"
    "   format('insert (%s)', string_agg(attname, ', ' order by attnum))"
    "   from pg_attribute a where a.attrelid = c.oid and " SAID_BY_US ")]"
    "  when c.relname in ('run', 'job', 'delivery') then array['select', 'insert', 'update']"
    "  else array['select', 'insert', 'update', 'delete'] end as rights"
    " from pg_class c where c.relnamespace = 'tocsin'::regnamespace"
    "  and c.relkind in ('r', 'p', 'v') and not c.relispartition),"
    " v as (select c.oid from pg_class c where c.relkind = 'v'"
    "  and c.relnamespace = to_regnamespace('public') and pg_get_userbyid(c.relowner) ="
    "   'tocsin_owner' and c.relname in (" VIEWS ")),"
    " people as (select r from unnest(array['tocsin_app', 'tocsin_read']) r)"
    " select s from ("
    " select 1 as n, format('grant connect on database %I to %I', current_database(), r) as s"
    "  from people where not has_database_privilege(r, current_database(), 'connect')"
    " union all select 2, format('grant usage on schema tocsin to %I', r) from people"
    "  where not has_schema_privilege(r, 'tocsin', 'usage')"
    " union all select 3, format('grant %s on %s to tocsin_app',"
    "   array_to_string(t.rights, ', '), t.oid::regclass) from t"
    "  where exists (select from unnest(t.rights) p where case when p like '%(%'"
    "   then exists (select from pg_attribute a where a.attrelid = t.oid and " SAID_BY_US
    "    and not has_column_privilege('tocsin_app', t.oid, a.attnum, 'insert'))"
    "   else not has_table_privilege('tocsin_app', t.oid, p) end)"
    " union all select 4, format('grant usage on sequence %s to tocsin_app', c.oid::regclass)"
    "  from pg_class c where c.relkind = 'S' and c.relnamespace = 'tocsin'::regnamespace"
    "  and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass"
    "   and d.objid = c.oid and d.deptype = 'i')"
    "  and not case when c.relkind = 'S' then"
    "   has_sequence_privilege('tocsin_app', c.oid, 'usage') end"
    " union all select 5, format('grant execute on function %s to tocsin_app',"
    "   p.oid::regprocedure) from pg_proc p where p.pronamespace = 'tocsin'::regnamespace"
    "  and not has_function_privilege('tocsin_app', p.oid, 'execute')"
    " union all select 6, format('grant select on %s to tocsin_read', x.oid::regclass)"
    "  from (select oid from t union all select oid from v) x"
    "  where not has_table_privilege('tocsin_read', x.oid, 'select')"
    " union all select 7, format('grant select on %s to tocsin_app', v.oid::regclass)"
    "  from v where not has_table_privilege('tocsin_app', v.oid, 'select')"
    ") g order by n, s";

/* What the operator has set stays.  A worker judges by its own clock; these are
 * for the day when nobody is here to cancel, and for what no clock sees. */
#define MEASURE_SETTINGS \
	"(1, 'default_transaction_read_only', 'on'), (2, 'statement_timeout', '10min')," \
	" (3, 'lock_timeout', '10s'), (4, 'idle_in_transaction_session_timeout', '10min')," \
	" (5, 'work_mem', '16MB'), (6, 'temp_file_limit', '1GB')"
#define MISSING_SETTINGS \
	" from (values " MEASURE_SETTINGS ") s (n, name, value)" \
	" where not exists (select from pg_db_role_setting d, unnest(d.setconfig) c" \
	"  where d.setrole = 'tocsin_measure'::regrole and d.setdatabase = 0" \
	"  and split_part(c, '=', 1) = s.name)"

static const char set_measuring[] =
    "select format('alter role tocsin_measure set %I = %L', s.name, s.value)" MISSING_SETTINGS
    " and (s.name <> 'temp_file_limit' or " IS_SUPERUSER ") order by s.n";
static const char left_to_superuser[] =
    "select format('alter role tocsin_measure set %I = %L', s.name, s.value)" MISSING_SETTINGS
    " and s.name = 'temp_file_limit' and not " IS_SUPERUSER;

static const char missing_and_may_not[] =
    "select string_agg(n, ', '), current_user from"
    " unnest(array['tocsin_owner', 'tocsin_app', 'tocsin_read', 'tocsin_measure']) n"
    " where not exists (select from pg_roles where rolname = n)"
    " and not exists (select from pg_roles where rolname = current_user"
    "  and (rolsuper or rolcreaterole))";

static int
run(PGconn *conn, const char *sql, struct err *err)
{
	PGresult *r = pg_exec(conn, sql, 0, NULL, err);

	PQclear(r);
	return r ? 0 : -1;
}

static int
step(struct plan *plan, const char *query, struct err *err)
{
	PGresult *r = pg_exec(plan->conn, query, 0, NULL, err);
	int rc = r ? 0 : -1;

	for (int i = 0; !rc && i < PQntuples(r); i++) {
		const char *sql = row_text(r, i, 0);

		if ((rc = run(plan->conn, sql, err)))
			err_wrap(err, "%s", sql);
		else
			vec_push(&plan->done, xstrdup(sql));
	}
	PQclear(r);
	return rc;
}

static int
may_make(PGconn *conn, struct err *err)
{
	PGresult *r = pg_exec(conn, missing_and_may_not, 0, NULL, err);
	int rc = r ? 0 : -1;

	if (r && !PQgetisnull(r, 0, 0))
		rc = err_class(err, ERR_TEMPFAIL, "role %s may not create roles, and there is no "
		    "%s: let a superuser run 'tocsin init --roles', or the database's owner "
		    "with createrole", row_text(r, 0, 1), row_text(r, 0, 0));
	PQclear(r);
	return rc;
}

static int
make(struct plan *plan, struct err *err)
{
	static const char *const steps[] = { make_roles, join_owner, give_books, grant_rights,
		set_measuring };

	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
		if (step(plan, steps[i], err))
			return -1;
	return 0;
}

static void
forget(struct plan *plan)
{
	for (size_t i = 0; i < plan->done.n; i++)
		free(plan->done.at[i]);
	plan->done.n = 0;
}

/* All of WORK or nothing; what was done is told when it is committed. */
static int
in_transaction(PGconn *conn, int (*work)(struct plan *, struct err *),
    void (*done)(void *, const char *), void *arg, struct err *err)
{
	struct plan plan = { .conn = conn };
	struct err ignored;
	int rc = run(conn, "begin", err);

	for (int try = 1; !rc; try++) {
		if (!(rc = work(&plan, err)) && !(rc = run(conn, "commit", err)))
			break;
		forget(&plan);
		if (!run(conn, "rollback", &ignored) && err->class != ERR_TEMPFAIL &&
		    try < TRIES)
			rc = run(conn, "begin", err);
	}
	for (size_t i = 0; i < plan.done.n; i++)
		done(arg, plan.done.at[i]);
	forget(&plan);
	vec_done(&plan.done);
	return rc;
}

static int
tell_rest(PGconn *conn, void (*left)(void *, const char *), void *arg, struct err *err)
{
	PGresult *r = pg_exec(conn, left_to_superuser, 0, NULL, err);

	for (int i = 0; r && i < PQntuples(r); i++)
		left(arg, row_text(r, i, 0));
	PQclear(r);
	return r ? 0 : -1;
}

int
roles_make(PGconn *conn, void (*done)(void *, const char *sql),
    void (*left)(void *, const char *sql), void *arg, struct err *err)
{
	return run(conn, "reset role", err) || may_make(conn, err) ||
	    in_transaction(conn, make, done, arg, err) || tell_rest(conn, left, arg, err) ? -1 : 0;
}

static int
renew(struct plan *plan, struct err *err)
{
	PGresult *r = pg_exec(plan->conn, "select from pg_namespace n where nspname = 'tocsin'"
	    " and pg_get_userbyid(nspowner) = 'tocsin_owner' and 2 = (select count(*)"
	    "  from pg_roles where rolname in ('tocsin_app', 'tocsin_read'))", 0, NULL, err);
	bool ours = r && PQntuples(r);

	PQclear(r);
	return !r ? -1 : ours ? step(plan, grant_rights, err) : 0;
}

int
roles_renew(PGconn *conn, void (*done)(void *, const char *sql), void *arg, struct err *err)
{
	return in_transaction(conn, renew, done, arg, err);
}
