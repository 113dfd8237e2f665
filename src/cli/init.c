/* init.c - create or upgrade the books, and the roles that use them. */
#include "cli/cmd.h"
#include <jansson.h>
#include <string.h>
#include "base/err.h"
#include "cli/print.h"
#include "store/migrate.h"
#include "store/roles.h"
#include "store/store.h"

static int applied_count;

struct told {
	bool quiet;
	json_t *done, *left;		/* arrays of statements */
};

static void
applied(const struct migration *m)
{
	applied_count++;
	printf("applied %03d-%s\n", m->version, m->name);
}

static void
done(void *arg, const char *sql)
{
	struct told *told = arg;

	json_array_append_new(told->done, json_string(sql));
	if (!told->quiet)
		printf("%s;\n", sql);
}

static void
left(void *arg, const char *sql)
{
	struct told *told = arg;

	json_array_append_new(told->left, json_string(sql));
	if (!told->quiet)
		printf("-- left to a superuser: %s;\n", sql);
}

static int
look_after_roles(PGconn *conn, bool wanted, struct told *told, struct err *err)
{
	if (!wanted)
		return roles_renew(conn, done, told, err);
	if (roles_make(conn, done, left, told, err))
		return -1;
	if (!told->quiet && !json_array_size(told->done))
		puts("the roles are as they should be");
	return 0;
}

static int
run(struct call *call, struct err *err)
{
	bool roles = opts_has(call, "roles");
	struct told told = { opts_has(call, "json"), json_array(), json_array() };
	PGconn *conn = store_connect_to_write(call->conf, err);
	int rc = -1;

	if (!conn || migrate(conn, told.quiet ? NULL : applied, err))
		goto out;
	if (!told.quiet && !applied_count)
		printf("the books are up to date (schema version %d)\n", migrations_count);
	if (look_after_roles(conn, roles, &told, err))
		goto out;
	if (told.quiet) {
		json_t *out = json_pack("{s:i}", "schema", migrations_count);

		if (roles || json_array_size(told.done)) {
			json_object_set(out, "done", told.done);
			json_object_set(out, "left_to_superuser", told.left);
		}
		print_json_line(out);
		json_decref(out);
	}
	rc = 0;
out:
	json_decref(told.done);
	json_decref(told.left);
	PQfinish(conn);
	return rc;
}

static const struct opt options[] = {
	{ "roles", 'r', NULL, "make the roles that use the books, and grant what they need" },
	{ "json", 'j', NULL, "print JSON" },
	{ NULL, 0, NULL, NULL },
};

const struct command cmd_init = {
	.name = "init",
	.synopsis = "[--roles] [--json]",
	.summary = "create or upgrade the schema",
	.description = "Creates the schema tocsin in the database, or brings it up to date.\n"
	    "Safe to repeat, and to run twice at once; refuses a newer schema. With --roles\n"
	    "it also makes the roles tocsin_owner, tocsin_app, tocsin_read and tocsin_measure\n"
	    "where they are missing, and prints each statement that it runs for that.",
	.options = options,
	.run = run,
};
