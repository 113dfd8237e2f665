/* inspect.c - looking the books over. */
#include "store/inspect.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "io/pg.h"
#include "store/row.h"

enum { EXAMPLES = 3 };

static json_t *
ask(PGconn *conn, const char *sql, struct err *err)
{
	PGresult *r = pg_exec(conn, sql, 0, NULL, err);
	json_t *json = NULL;

	if (r)
		json = json_read(PQgetvalue(r, 0, 0), (size_t)PQgetlength(r, 0, 0), err);
	PQclear(r);
	return json;
}

int
inspect_since(PGconn *conn, int64_t runs, int64_t *since, struct err *err)
{
	char most[32];
	const char *params[] = { most };
	PGresult *r;

	*since = 0;
	if (!runs)
		return 0;
	snprintf(most, sizeof most, "%" PRId64, runs);
	r = pg_exec(conn, "select min(id) from (select id from tocsin.run"
	    " order by id desc limit $1::bigint) r", 1, params, err);
	if (!r)
		return -1;
	*since = row_number(r, 0, 0);
	PQclear(r);
	return 0;
}

/* A row as "id=7, state=DONE". */
static json_t *
example(const PGresult *r, int row)
{
	struct str s = STR_INIT;
	json_t *json;

	for (int c = 0; c < PQnfields(r); c++)
		str_printf(&s, "%s%s=%s", c ? ", " : "", PQfname(r, c),
		    PQgetisnull(r, row, c) ? "null" : PQgetvalue(r, row, c));
	json = json_string(str_text(&s));
	str_done(&s);
	return json;
}

json_t *
inspect_invariant(PGconn *conn, const struct invariant *invariant, int64_t since, struct err *err)
{
	char first[32];
	const char *params[] = { first };
	PGresult *r;
	json_t *examples, *json;

	snprintf(first, sizeof first, "%" PRId64, since);
	if (!(r = pg_exec(conn, invariant->sql, 1, params, err))) {
		err_wrap(err, "%s", invariant->promise);
		return NULL;
	}
	examples = json_array();
	for (int row = 0; row < PQntuples(r) && row < EXAMPLES; row++)
		json_array_append_new(examples, example(r, row));
	json = PQntuples(r) ? json_pack("{s:s,s:i,s:O}", "promise", invariant->promise,
	    "breaches", PQntuples(r), "examples", examples) : json_null();
	json_decref(examples);
	PQclear(r);
	return json;
}

json_t *
inspect_server(PGconn *conn, struct err *err)
{
	return ask(conn,
	    "select jsonb_build_object("
	    "'version', current_setting('server_version'),"
	    "'database', current_database(), 'role', current_user,"
	    "'superuser', (select rolsuper from pg_roles where rolname = current_user),"
	    "'standby', pg_is_in_recovery() or current_setting('default_transaction_read_only')::bool,"
	    "'local', coalesce(inet_server_addr() <<= '127.0.0.0/8'"
	    " or inet_server_addr() = '::1', true),"
	    "'ssl', coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false),"
	    "'fsync', current_setting('fsync')::bool,"
	    "'remembers', current_setting('synchronous_commit') <> 'off',"
	    "'now', extract(epoch from clock_timestamp()),"
	    "'sessions', (select count(*) from pg_stat_activity where backend_type = 'client backend'),"
	    "'most_sessions', current_setting('max_connections')::int,"
	    "'deadlocks', (select deadlocks from pg_stat_database where datname = current_database()),"
	    "'may_write', to_regclass('tocsin.job') is null or"
	    " has_table_privilege('tocsin.job', 'insert') and"
	    " has_table_privilege('tocsin.job', 'update'))", err);
}

/* A role can become every role that it is a member of, whether it inherits or
 * not; and a session with SET ROLE the login that it came from.  A privilege is
 * named with how many things it reaches, and one of them. */
static const char beyond_select[] =
    "with r as (select * from pg_roles where pg_has_role(session_user, oid, 'member')),"
    " s as (select n.oid, n.nspname as name from pg_namespace n"
    "  where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'),"
    " c as (select c.oid, c.relkind, c.oid::regclass::text as name from pg_class c"
    "  join s on s.oid = c.relnamespace),"
    " mine as (select * from r where not exists (select from r where rolsuper)),"
    " found (n, what, name) as ("
    " select 1, 'is a superuser', null from r where rolsuper and rolname = session_user"
    "  and session_user = current_user"
    " union all select 2, 'can become a superuser', rolname from r where rolsuper"
    "  and rolname <> current_user"
    " union all select 3, 'has the attribute', a.name from mine, lateral (values"
    "  (rolcreatedb, 'createdb'), (rolcreaterole, 'createrole'),"
    "  (rolreplication, 'replication'), (rolbypassrls, 'bypassrls')) a (has, name) where a.has"
    " union all select 4, 'is a member of', rolname from mine where rolname in"
    "  ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program',"
    "  'pg_signal_backend', 'pg_write_all_data', 'pg_read_all_data', 'pg_checkpoint',"
    "  'pg_create_subscription', 'pg_maintain', 'tocsin_owner', 'tocsin_app')"
    " union all select 5, 'may create in database', current_database() from mine"
    "  where has_database_privilege(mine.oid, current_database(), 'create')"
    " union all select 6, 'may create in schema', s.name from s"
    "  where exists (select from mine where has_schema_privilege(mine.oid, s.oid, 'create'))"
    " union all select 7, 'may write to table', c.name from c where c.relkind in ('r', 'p', 'v', 'f')"
    "  and exists (select from mine where has_schema_privilege(mine.oid,"
    "   (select relnamespace from pg_class k where k.oid = c.oid), 'usage')"
    "   and (has_table_privilege(mine.oid, c.oid, 'insert, update, delete, truncate')"
    "   or has_any_column_privilege(mine.oid, c.oid, 'insert, update')))"
    " union all select 8, 'may draw from sequence', c.name from c where exists (select from mine"
    "  where case when c.relkind = 'S' then"
    "   has_sequence_privilege(mine.oid, c.oid, 'usage, update') end)"
    " union all select 9, 'may call, as its owner, function', p.oid::regprocedure::text"
    "  from pg_proc p join s on s.oid = p.pronamespace where p.prosecdef"
    "  and exists (select from mine where p.proowner <> mine.oid"
    "   and has_schema_privilege(mine.oid, s.oid, 'usage')"
    "   and has_function_privilege(mine.oid, p.oid, 'execute'))"
    ") select jsonb_build_object('role', current_user, 'login', session_user,"
    " 'beyond', (select coalesce(jsonb_agg(t order by n), '[]') from (select n,"
    "  what || coalesce(' ' || min(name), '') || case when count(*) > 1"
    "   then format(' and %s more', count(*) - 1) else '' end as t"
    "  from found group by n, what) f))";

json_t *
inspect_measuring(const struct conf *conf, struct err *err)
{
	const struct pg_settings settings = { .conninfo = conf_measuring_url(conf),
		.name = "tocsin doctor",
		.role = *conf->measuring_role ? conf->measuring_role : NULL,
		.connect_timeout = conf->connect_timeout,
		.statement_timeout = conf->statement_timeout };
	PGconn *conn = pg_connect(&settings, err);
	json_t *json;

	if (!conn)
		return NULL;
	json = ask(conn, beyond_select, err);
	PQfinish(conn);
	return json;
}

json_t *
inspect_queues(PGconn *conn, struct err *err)
{
	return ask(conn, "select coalesce(jsonb_agg(distinct v.body ->> 'queue'), '[]')"
	    " from tocsin.variable x join tocsin.version v on v.id = x.version"
	    " where v.body ->> 'queue' is not null and not v.body ? 'celery'", err);
}
