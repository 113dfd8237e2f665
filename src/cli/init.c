/* init.c - create or upgrade the books. */
#include "cli/cmd.h"
#include <string.h>
#include "base/err.h"
#include "store/migrate.h"
#include "store/store.h"

static int applied_count;

static void
applied(const struct migration *m)
{
	applied_count++;
	printf("applied %03d-%s\n", m->version, m->name);
}

static int
run(struct call *call, struct err *err)
{
	PGconn *conn = store_connect_to_write(call->conf, err);
	bool quiet = opts_has(call, "json");
	int rc;

	if (!conn)
		return -1;
	rc = migrate(conn, quiet ? NULL : applied, err);
	if (!rc && quiet)
		printf("{\"schema\":%d}\n", migrations_count);
	else if (!rc && !applied_count)
		printf("the books are up to date (schema version %d)\n", migrations_count);
	PQfinish(conn);
	return rc;
}

static const struct opt options[] = {
	{ "json", 'j', NULL, "print JSON" },
	{ NULL, 0, NULL, NULL },
};

const struct command cmd_init = {
	.name = "init",
	.synopsis = "[--json]",
	.summary = "create or upgrade the schema",
	.description = "Creates the schema tocsin in the database, or brings it up to date.\n"
	    "Safe to repeat, and to run twice at once; refuses a newer schema.",
	.options = options,
	.run = run,
};
