/* store.c - opening the books. */
#include "store/store.h"
#include <stddef.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/uuid.h"
#include "io/pg.h"
#include "store/migrate.h"
#include "store/row.h"

/* Whatever the database asks for by default: a settling locks first and then
 * looks, and must see what was written before it had the lock.  And no statement
 * of ours runs for long enough to be worth compiling: that took longer than to
 * plan a cycle of a thousand variables. */
#define OPTIONS "-c default_transaction_isolation=read\\ committed -c jit=off"

struct pg_settings
store_settings(const struct conf *conf)
{
	return (struct pg_settings){ .conninfo = conf->database_url, .name = "tocsin",
		.options = OPTIONS,
		.connect_timeout = conf->connect_timeout,
		.statement_timeout = conf->statement_timeout,
		.answer_timeout = conf->database_timeout, .heartbeat = conf->heartbeat };
}

/* The engine's statements start from some keys and look up each row by its
 * own.  Statistics of a table that has just grown by a whole run know nothing
 * of that, and would now and then suggest to read all jobs for each key.  So joins
 * go in the order they are written, by index, and plans know no parameters. */
struct pg_settings
store_engine_settings(const struct conf *conf)
{
	struct pg_settings settings = store_settings(conf);

	settings.options = OPTIONS " -c enable_hashjoin=off -c enable_mergejoin=off"
	    " -c enable_seqscan=off -c join_collapse_limit=1 -c from_collapse_limit=1"
	    " -c plan_cache_mode=force_generic_plan";
	/* What a worker that has vanished had locked in the middle of a settling
	 * is free again. */
	settings.idle_timeout = conf->database_timeout;
	settings.writes = true;
	return settings;
}

PGconn *
store_connect(const struct conf *conf, struct err *err)
{
	struct pg_settings settings = store_settings(conf);

	return pg_connect(&settings, err);
}

PGconn *
store_connect_to_write(const struct conf *conf, struct err *err)
{
	struct pg_settings settings = store_settings(conf);

	settings.writes = true;
	return pg_connect(&settings, err);
}

static PGconn *
check(PGconn *conn, struct err *err)
{
	if (conn && migrate_check(conn, err)) {
		PQfinish(conn);
		conn = NULL;
	}
	return conn;
}

PGconn *
store_open(const struct conf *conf, struct err *err)
{
	return check(store_connect(conf, err), err);
}

PGconn *
store_open_to_write(const struct conf *conf, struct err *err)
{
	return check(store_connect_to_write(conf, err), err);
}

static int
read_uuid(const PGresult *r, struct uuid *uuid, struct err *err)
{
	if (PQntuples(r) != 1)
		return err_class(err, ERR_CONFIG,
		    "the books have no name of their own: run 'tocsin init'");
	return uuid_parse(PQgetvalue(r, 0, 0), uuid, err);
}

#define INSTALLATION "select uuid from tocsin.installation"

int
store_installation(PGconn *conn, struct uuid *uuid, struct err *err)
{
	PGresult *r = pg_exec(conn, INSTALLATION, 0, NULL, err);
	int rc = r ? read_uuid(r, uuid, err) : -1;

	PQclear(r);
	return rc;
}

void
store_say_installation(struct pg *pg)
{
	pg_say(pg, "select current_database(), to_regclass('tocsin.migration') is not null",
	    0, NULL);
	migrate_say_version(pg);
	pg_say(pg, INSTALLATION, 0, NULL);
}

static bool
has_row(const PGresult *r)
{
	return r && PQntuples(r) > 0;
}

/* Where there are no books, or older ones, the statements behind have failed:
 * what came before them says more. */
int
store_read_installation(const struct pg_answer *answer, struct uuid *uuid, struct err *err)
{
	const PGresult *database = answer->results[0], *version = answer->results[1];
	bool none = has_row(database) && !row_true(database, 0, 1);

	if ((none || has_row(version)) && migrate_judge(none ? 0 : (int)row_number(version, 0, 0),
	    PQgetvalue(database, 0, 0), err))
		return -1;
	if (answer->err) {
		*err = *answer->err;
		return -1;
	}
	return read_uuid(answer->results[2], uuid, err);
}
