/* explain.c - why an event is in its state: the tree down to the values. */
#include "cli/cmd.h"
#include <string.h>
#include "base/err.h"
#include "cli/number.h"
#include "cli/print.h"
#include "store/report.h"
#include "store/store.h"

static void
print_truth(const json_t *x)
{
	const json_t *truth = json_object_get(x, "truth");

	if (json_is_boolean(truth))
		term_put(stdout, json_is_true(truth) ? TERM_RED : TERM_GREEN,
		    json_is_true(truth) ? "true" : "false");
	else
		term_put(stdout, TERM_YELLOW, "unknown");
}

/* Why this run did not compute it itself, where it did not. */
static void
print_standing(const json_t *x)
{
	const char *state = member_text(x, "state");

	if (!*state || !strcmp(state, "done"))
		return;
	fputs("  ", stdout);
	term_put(stdout, state_style(state), state);
	if (*member_text(x, "error"))
		printf(": %s", member_shown(x, "error"));
	else if (*member_text(x, "reason"))
		printf(" (%s)", member_shown(x, "reason"));
	if (member_true(x, "stale"))
		printf("; its value as of %s is stale: max_age is %s", member_time(x, "as_of"),
		    member_shown(x, "max_age"));
	else if (!strcmp(member_text(x, "reason"), "expired"))
		fputs("; it counts as unknown", stdout);
	else if (!strcmp(state, "failed") || !strcmp(state, "skipped"))
		fputs(member_null(x, "computed_at") ? "; it has no older value"
		    : "; the older value counts", stdout);
}

static void
print_variable(const json_t *v, bool last)
{
	printf("  |   %s ", last ? "`-" : "|-");
	term_put(stdout, TERM_BOLD, member_text(v, "name"));
	if (member_null(v, "computed_at"))
		fputs(" = None, never computed", stdout);
	else
		printf(" = %s  (computed %s, %s ago)", member_value(v, "value", 120),
		    member_time(v, "computed_at"), member_age(v, "age"));
	print_standing(v);
	putchar('\n');
}

static void
print_evidence(const json_t *e)
{
	const json_t *variables = json_object_get(e, "variables");
	size_t i;
	json_t *v;

	fputs("  |- ", stdout);
	term_put(stdout, TERM_BOLD, member_text(e, "name"));
	fputs(" is ", stdout);
	print_truth(e);
	printf(": %s", member_shown(e, "definition"));
	if (*member_text(e, "operator"))
		printf(" %s %s", member_text(e, "operator"), member_shown(e, "operand"));
	if (*member_text(e, "operator") && !member_null(e, "computed_at") &&
	    !member_null(e, "value") && strcmp(member_text(e, "reason"), "expired") != 0)
		printf("  (the left side is %s)", member_value(e, "value", 120));
	print_standing(e);
	putchar('\n');
	json_array_foreach(variables, i, v)
		print_variable(v, i + 1 == json_array_size(variables));
}

/* What it would take for its truth to be known. */
static void
print_missing(const json_t *x)
{
	size_t i;
	json_t *m;

	if (!member_null(x, "note"))
		printf("  %s\n", member_shown(x, "note"));
	json_array_foreach(json_object_get(x, "missing"), i, m) {
		const char *variable = member_text(m, "variable");

		printf("  missing: %s%s%s (%s)\n", member_text(m, "evidence"),
		    *variable ? ", for want of " : "", variable, member_text(m, "why"));
	}
}

static void
print_head(const json_t *x)
{
	term_put(stdout, TERM_BOLD, member_text(x, "event"));
	fputs(" is ", stdout);
	term_put(stdout, state_style(member_text(x, "state")), member_text(x, "state"));
	printf(" (%s)\n", member_text(x, "action"));
	if (*member_text(x, "description"))
		printf("  %s\n", member_shown(x, "description"));
	if (member_null(x, "cycle"))
		puts("  it has not been evaluated yet; this is what stands in the books:");
	else if (strcmp(member_text(x, "job"), "done"))
		printf("  not evaluated in cycle %s as of %s: its job is %s %s%s%s\n",
		    member_text(x, "cycle"), member_time(x, "as_of"), member_text(x, "job"),
		    member_text(x, "reason"), member_null(x, "error") ? "" : ": ",
		    member_shown(x, "error"));
	else {
		printf("  evaluated in cycle %s as of %s: its definition is ",
		    member_text(x, "cycle"), member_time(x, "as_of"));
		print_truth(x);
		if (member_true(x, "truth") && member_number(x, "hold") > 1)
			printf(", %lld times in a row", (long long)member_number(x, "hold"));
		putchar('\n');
	}
	print_missing(x);
	if (!member_null(x, "time_to_wait"))
		printf("  holding time %s, evaluated every %s\n", member_text(x, "time_to_wait"),
		    member_null(x, "interval") ? "1h" : member_text(x, "interval"));
	printf("  next call %s\n\n", member_time(x, "next_call"));
	printf("  %s\n", member_shown(x, "definition"));
}

static int
run(struct call *call, struct err *err)
{
	int64_t cycle = 0;
	PGconn *conn;
	json_t *x, *e;
	size_t i;

	if (opts_has(call, "cycle") &&
	    read_number(opts_get(call, "cycle"), "--cycle", &cycle, err))
		return -1;
	if (!(conn = store_open(call->conf, err)))
		return -1;
	x = report_explain(conn, call->arguments[0], cycle, err);
	PQfinish(conn);
	if (!x)
		return -1;
	if (opts_has(call, "json"))
		print_json_line(x);
	else {
		print_head(x);
		json_array_foreach(json_object_get(x, "evidences"), i, e)
			print_evidence(e);
	}
	json_decref(x);
	return 0;
}

static const struct opt options[] = {
	{ "cycle", 0, "N", "as of cycle N instead of its last evaluation" },
	{ "json", 'j', NULL, "print JSON" },
	{ NULL, 0, NULL, NULL },
};

const struct command cmd_explain = {
	.name = "explain",
	.synopsis = "EVENT [--cycle N] [--json]",
	.summary = "why an event is in its state",
	.description = "Shows the tree of an event's last evaluation: its evidences with their truth, and\n"
	    "under each the values of its variables, how old they are, and why one is missing.",
	.least = 1,
	.most = 1,
	.options = options,
	.run = run,
};
