/* prune.c - forget what ended long ago. */
#include "cli/cmd.h"
#include "base/err.h"
#include "store/prune.h"
#include "store/store.h"

static int
run(struct call *call, struct err *err)
{
	const char *older = opts_get(call, "older-than");
	bool dry = opts_has(call, "dry-run");
	struct pruned out;
	char day[INSTANT_TEXT];
	PGconn *conn;
	span age;
	int rc;

	if (clock_parse_span(older ? older : "365d", &age, err)) {
		err->class = ERR_USAGE;
		return err_wrap(err, "--older-than");
	}
	if (!(conn = store_open_to_write(call->conf, err)))
		return -1;
	rc = prune(conn, age, dry, &out, err);
	PQfinish(conn);
	if (rc)
		return -1;
	clock_format(out.before, day);
	if (opts_has(call, "json"))
		printf("{\"before\":\"%s\",\"days\":%d,\"runs\":%ld,\"jobs\":%ld,\"signals\":%ld,"
		    "\"deliveries\":%ld,\"versions\":%ld,\"dry_run\":%s}\n", day, out.days, out.runs,
		    out.jobs, out.signals, out.deliveries, out.versions, dry ? "true" : "false");
	else
		printf("%swhat ended before %.10s: %d days of history, %ld cycles, %ld jobs, "
		    "%ld signals, %ld deliveries, %ld versions\n", dry ? "would remove " :
		    "removed ", day, out.days, out.runs, out.jobs, out.signals, out.deliveries,
		    out.versions);
	return 0;
}

static const struct opt options[] = {
	{ "older-than", 'o', "AGE", "what ended before now - AGE (default: 365d)" },
	{ "dry-run", 'n', NULL, "count, and remove nothing" },
	{ "json", 'j', NULL, "print JSON" },
	{ NULL, 0, NULL, NULL },
};

const struct command cmd_prune = {
	.name = "prune",
	.synopsis = "[--older-than 365d] [--dry-run]",
	.summary = "forget what ended long ago",
	.description = "Removes cycles, history, signals and deliveries that ended before now - AGE, in\n"
	    "whole UTC days, and definitions that nothing needs any more. Nothing of an open\n"
	    "cycle nor of a pending delivery is touched. Safe to stop and to repeat.",
	.options = options,
	.run = run,
};
