/* store.c - opening the books. */
#include "store/store.h"
#include <stddef.h>
#include "base/conf.h"
#include "io/pg.h"
#include "store/migrate.h"

struct pg_settings
store_settings(const struct conf *conf)
{
	return (struct pg_settings){ .conninfo = conf->database_url, .name = "tocsin",
		.connect_timeout = conf->connect_timeout,
		.statement_timeout = conf->statement_timeout };
}

PGconn *
store_connect(const struct conf *conf, struct err *err)
{
	struct pg_settings settings = store_settings(conf);

	return pg_connect(&settings, err);
}

PGconn *
store_open(const struct conf *conf, struct err *err)
{
	PGconn *conn = store_connect(conf, err);

	if (conn && migrate_check(conn, err)) {
		PQfinish(conn);
		conn = NULL;
	}
	return conn;
}
