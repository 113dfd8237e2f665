/* migrate.c - create the books, or bring them up to date. */
#include "store/migrate.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/hash.h"
#include "base/uuid.h"
#include "io/pg.h"
#include "store/row.h"

/* The schema is the lock's name: "tocs". */
#define LOCK "select pg_advisory_lock(1953457011)"
#define UNLOCK "select pg_advisory_unlock(1953457011)"

static int
run(PGconn *conn, const char *sql, struct err *err)
{
	PGresult *r = pg_exec(conn, sql, 0, NULL, err);

	PQclear(r);
	return r ? 0 : -1;
}

/* The newest applied version, 0 if there are no books. */
static int
version_of(PGconn *conn, int *version, struct err *err)
{
	PGresult *r = pg_exec(conn, "select to_regclass('tocsin.migration') is not null",
	    0, NULL, err);
	bool there;

	*version = 0;
	if (!r)
		return -1;
	there = !strcmp(PQgetvalue(r, 0, 0), "t");
	PQclear(r);
	if (!there)
		return 0;
	r = pg_exec(conn, "select coalesce(max(version), 0) from tocsin.migration", 0, NULL, err);
	if (!r)
		return -1;
	*version = atoi(PQgetvalue(r, 0, 0));
	PQclear(r);
	return 0;
}

int
migrate_refuse(int version, struct err *err)
{
	return err_class(err, ERR_CONFIG, "the books have schema version %d, but this "
	    "program knows only %d: use the newer tocsin that made them",
	    version, migrations_count);
}

static int
apply(PGconn *conn, const struct migration *m, struct err *err)
{
	char version[16], hash[65];
	const char *params[] = { version, m->name, hash };
	PGresult *r = NULL;
	struct err ignored;

	snprintf(version, sizeof version, "%d", m->version);
	sha256_hex(m->sql, strlen(m->sql), hash);
	if (!run(conn, "begin", err) && !run(conn, m->sql, err))
		r = pg_exec(conn, "insert into tocsin.migration (version, name, hash) "
		    "values ($1, $2, $3)", 3, params, err);
	PQclear(r);
	if (r && !run(conn, "commit", err))
		return 0;
	run(conn, "rollback", &ignored);
	return err_wrap(err, "migration %d (%s)", m->version, m->name);
}

static int
prepare(PGconn *conn, struct err *err)
{
	return run(conn, "create schema if not exists tocsin;"
	    "create table if not exists tocsin.migration ("
	    " version integer primary key, name text not null, hash text not null,"
	    " applied_at timestamptz not null default now(),"
	    " applied_by text not null default session_user)", err);
}

static int
name_installation(PGconn *conn, struct err *err)
{
	struct uuid uuid = uuid_v4();
	char text[UUID_TEXT];
	const char *params[] = { uuid_format(&uuid, text) };
	PGresult *r;

	r = pg_exec(conn, "insert into tocsin.installation (uuid) values ($1) "
	    "on conflict do nothing", 1, params, err);
	PQclear(r);
	return r ? 0 : -1;
}

/* What a migration makes belongs to whom the schema belongs to, whoever runs it. */
static int
act_as_owner(PGconn *conn, struct err *err)
{
	return run(conn, "select set_config('role', pg_get_userbyid(nspowner), false)"
	    " from pg_namespace where nspname = 'tocsin'"
	    " and pg_get_userbyid(nspowner) <> current_user"
	    " and pg_has_role(current_user, nspowner, 'member')", err);
}

static int
migrate_locked(PGconn *conn, void (*applied)(const struct migration *), struct err *err)
{
	int version;

	if (version_of(conn, &version, err))
		return -1;
	if (version > migrations_count)
		return migrate_refuse(version, err);
	if (version == 0 && prepare(conn, err))
		return -1;
	for (int i = version; i < migrations_count; i++) {
		if (apply(conn, &migrations[i], err))
			return -1;
		if (applied)
			applied(&migrations[i]);
	}
	return name_installation(conn, err);
}

int
migrate(PGconn *conn, void (*applied)(const struct migration *), struct err *err)
{
	struct err ignored;
	int rc;

	if (run(conn, "set client_min_messages = warning", err) || run(conn, LOCK, err))
		return -1;
	rc = act_as_owner(conn, err);
	if (!rc)
		rc = migrate_locked(conn, applied, err);
	run(conn, UNLOCK, &ignored);
	return rc;
}

int
migrate_judge(int version, const char *database, struct err *err)
{
	if (version > migrations_count)
		return migrate_refuse(version, err);
	if (version == 0)
		return err_class(err, ERR_CONFIG, "database \"%s\" has no books of tocsin: "
		    "run 'tocsin init'", database);
	if (version < migrations_count)
		return err_class(err, ERR_CONFIG, "the books have schema version %d, this program "
		    "needs %d: run 'tocsin init'", version, migrations_count);
	return 0;
}

int
migrate_check(PGconn *conn, struct err *err)
{
	int version;

	if (version_of(conn, &version, err))
		return -1;
	return migrate_judge(version, PQdb(conn), err);
}

const char *
migrate_known(void)
{
	static char text[16];

	snprintf(text, sizeof text, "%d", migrations_count);
	return text;
}

void
migrate_say_version(struct pg *pg)
{
	pg_say_prepared(pg, "select max(version) from tocsin.migration", 0, NULL);
}

int
migrate_read_newer(const struct pg_answer *answer)
{
	int version = (int)row_number(answer->results[answer->n - 1], 0, 0);

	return version > migrations_count ? version : 0;
}
