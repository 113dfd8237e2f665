/* status.c - cycles, jobs, what failed and why. */
#include "cli/cmd.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/mem.h"
#include "cli/health.h"
#include "cli/number.h"
#include "cli/print.h"
#include "store/report.h"
#include "store/store.h"

/* Why open cycles do not go on. */
static void
print_trouble(const json_t *c)
{
	if (member_null(c, "trouble") || !member_null(c, "finished_at"))
		return;
	term_put(stdout, TERM_YELLOW, "cycle ");
	term_put(stdout, TERM_YELLOW, member_text(c, "id"));
	printf(" waits: %s (seen %s ago)\n", member_shown(c, "trouble"),
	    member_age(c, "trouble_age"));
}

static void
print_cycles(const json_t *cycles)
{
	static const char *const heads[] = { "cycle", "agent", "state", "as of", "took", "jobs",
		"failed", "open", NULL };
	struct table *t = table_new(heads);
	size_t i;
	json_t *c;

	json_array_foreach(cycles, i, c) {
		table_cell(t, TERM_BOLD, member_text(c, "id"));
		table_cell(t, TERM_PLAIN, member_text(c, "agent"));
		table_cell(t, state_style(member_text(c, "state")), member_text(c, "state"));
		table_cell(t, TERM_PLAIN, member_time(c, "as_of"));
		table_cell(t, TERM_PLAIN, member_age(c, "seconds"));
		table_cell(t, TERM_PLAIN, member_text(c, "jobs"));
		table_cell(t, TERM_PLAIN, member_text(c, "failed"));
		table_cell(t, TERM_YELLOW, member_true(c, "stalled") ? "stands still" :
		    member_number(c, "unsettled") ? member_text(c, "unsettled") : "");
	}
	table_print(t, stdout);
	table_free(t);
	json_array_foreach(cycles, i, c)
		print_trouble(c);
}

static void
print_raising(const json_t *raising)
{
	static const char *const heads[] = { "raising", "since", "seen ago", "action", "description",
		NULL };
	struct table *t;
	size_t i;
	json_t *e;

	if (!json_array_size(raising)) {
		puts("no event is raising");
		return;
	}
	t = table_new(heads);
	json_array_foreach(raising, i, e) {
		table_cell(t, TERM_RED, member_text(e, "event"));
		table_cell(t, TERM_PLAIN, member_time(e, "since"));
		table_cell(t, TERM_PLAIN, member_age(e, "age"));
		table_cell(t, TERM_PLAIN, member_text(e, "action"));
		table_cell(t, TERM_PLAIN, member_text(e, "description"));
	}
	table_print(t, stdout);
	table_free(t);
}

static void
why_it_waits(struct table *t, const json_t *d)
{
	const char *why = member_text(d, "why");
	bool shell = !member_null(d, "needs") && !strcmp(member_text(d, "needs"), "shell");

	if (!strcmp(why, "older"))
		table_cell(t, TERM_PLAIN, "waits for an older one");
	else if (!strcmp(why, "unclaimed"))
		table_cell(t, TERM_RED, shell ?
		    "no worker may run it: start one with --executors shell" :
		    "no worker takes it: start one");
	else if (!strcmp(why, "retry"))
		table_cell(t, TERM_YELLOW, member_time(d, "due_at"));
	else
		table_cell(t, TERM_PLAIN, "is due");
	table_cell(t, TERM_PLAIN, member_text(d, "error"));
}

static void
print_waiting(const json_t *waiting)
{
	static const char *const heads[] = { "waiting", "event", "signal", "cycle", "attempts",
		"for", "error", NULL };
	struct table *t;
	size_t i;
	json_t *d;

	if (!json_array_size(waiting))
		return;
	t = table_new(heads);
	json_array_foreach(waiting, i, d) {
		table_cell(t, TERM_BOLD, member_text(d, "reaction"));
		table_cell(t, TERM_PLAIN, member_text(d, "event"));
		table_cell(t, TERM_PLAIN, member_text(d, "signal"));
		table_cell(t, TERM_PLAIN, member_text(d, "cycle"));
		table_cell(t, TERM_PLAIN, member_text(d, "attempts"));
		why_it_waits(t, d);
	}
	table_print(t, stdout);
	table_free(t);
}

static void
print_status(const json_t *s)
{
	const json_t *d = json_object_get(s, "definitions"), *q = json_object_get(s, "deliveries");

	printf("%lld variables, %lld evidences, %lld events (%lld due), %lld reactions\n\n",
	    (long long)member_number(d, "variables"), (long long)member_number(d, "evidences"),
	    (long long)member_number(d, "events"), (long long)member_number(s, "due"),
	    (long long)member_number(d, "reactions"));
	if (json_array_size(json_object_get(s, "cycles")))
		print_cycles(json_object_get(s, "cycles"));
	else
		puts("no cycle has run yet");
	putchar('\n');
	print_raising(json_object_get(s, "raising"));
	if (member_number(q, "pending") + member_number(q, "sending") + member_number(q, "failed"))
		printf("\ndeliveries: %lld pending, %lld being sent, %lld failed lately\n",
		    (long long)member_number(q, "pending"), (long long)member_number(q, "sending"),
		    (long long)member_number(q, "failed"));
	print_waiting(json_object_get(q, "waiting"));
}

static void
print_troubled(const json_t *jobs)
{
	static const char *const heads[] = { "kind", "name", "state", "reason", "attempts",
		"error", NULL };
	struct table *t;
	size_t i;
	json_t *j;

	if (!json_array_size(jobs))
		return;
	t = table_new(heads);
	json_array_foreach(jobs, i, j) {
		table_cell(t, TERM_PLAIN, member_text(j, "kind"));
		table_cell(t, TERM_BOLD, member_text(j, "name"));
		table_cell(t, state_style(member_text(j, "state")), member_text(j, "state"));
		table_cell(t, TERM_PLAIN, member_text(j, "reason"));
		table_cell(t, TERM_PLAIN, member_text(j, "attempts"));
		table_cell(t, TERM_PLAIN, member_text(j, "error"));
	}
	putchar('\n');
	table_print(t, stdout);
	table_free(t);
}

static void
print_running(const json_t *jobs)
{
	static const char *const heads[] = { "running", "since", "attempt", "worker", NULL };
	struct table *t;
	size_t i;
	json_t *j;
	char *who;

	if (!json_array_size(jobs))
		return;
	t = table_new(heads);
	json_array_foreach(jobs, i, j) {
		table_cell(t, TERM_YELLOW, member_text(j, "name"));
		table_cell(t, TERM_PLAIN, member_time(j, "started_at"));
		table_cell(t, TERM_PLAIN, member_text(j, "attempts"));
		who = member_null(j, "asked") ? xstrdup(member_text(j, "worker")) :
		    xasprintf("Celery: %s", member_text(j, "asked"));
		table_cell(t, TERM_PLAIN, who);
		free(who);
	}
	putchar('\n');
	table_print(t, stdout);
	table_free(t);
}

/* Done, but not at once: a worker was lost over it. */
static void
print_repeated(const json_t *jobs)
{
	static const char *const heads[] = { "done again", "kind", "attempts", "worker", NULL };
	struct table *t;
	size_t i;
	json_t *j;

	if (!json_array_size(jobs))
		return;
	t = table_new(heads);
	json_array_foreach(jobs, i, j) {
		table_cell(t, TERM_BOLD, member_text(j, "name"));
		table_cell(t, TERM_PLAIN, member_text(j, "kind"));
		table_cell(t, TERM_PLAIN, member_text(j, "attempts"));
		table_cell(t, TERM_PLAIN, member_text(j, "worker"));
	}
	putchar('\n');
	table_print(t, stdout);
	table_free(t);
}

static void
print_signals(const json_t *cycle)
{
	static const char *const heads[] = { "event", "signal", "reaction", "delivery", "error",
		NULL };
	const json_t *deliveries = json_object_get(cycle, "deliveries");
	struct table *t;
	size_t i, k;
	json_t *s, *d;

	if (!json_array_size(json_object_get(cycle, "signals")))
		return;
	t = table_new(heads);
	json_array_foreach(json_object_get(cycle, "signals"), i, s) {
		bool any = false;

		json_array_foreach(deliveries, k, d) {
			if (strcmp(member_text(d, "event"), member_text(s, "event")))
				continue;
			any = true;
			table_cell(t, TERM_BOLD, member_text(s, "event"));
			table_cell(t, state_style(member_text(s, "action")), member_text(s, "action"));
			table_cell(t, TERM_PLAIN, member_text(d, "reaction"));
			table_cell(t, state_style(member_text(d, "state")), member_text(d, "state"));
			table_cell(t, TERM_PLAIN, member_text(d, "error"));
		}
		if (any)
			continue;
		table_cell(t, TERM_BOLD, member_text(s, "event"));
		table_cell(t, state_style(member_text(s, "action")), member_text(s, "action"));
		for (int c = 0; c < 3; c++)
			table_cell(t, TERM_PLAIN, "");
	}
	putchar('\n');
	table_print(t, stdout);
	table_free(t);
}

static void
print_cycle(const json_t *c)
{
	const char *kind, *state;
	json_t *states, *n;

	printf("cycle %s of agent %s: ", member_text(c, "id"), member_shown(c, "agent"));
	term_put(stdout, state_style(member_text(c, "state")), member_text(c, "state"));
	printf("%s\nas of %s, created %s, took %s\n",
	    member_true(c, "stalled") ? " (stands still)" : "", member_time(c, "as_of"),
	    member_time(c, "created_at"), member_age(c, "seconds"));
	json_object_foreach(json_object_get(c, "counts"), kind, states) {
		printf("%ss:", kind);
		json_object_foreach(states, state, n)
			printf(" %lld %s", (long long)json_integer_value(n), state);
		putchar('\n');
	}
	print_trouble(c);
	print_running(json_object_get(c, "running"));
	print_repeated(json_object_get(c, "repeated"));
	print_troubled(json_object_get(c, "troubled"));
	print_signals(c);
}

static int
once(struct call *call, PGconn *conn, int64_t cycle, bool *over, struct err *err)
{
	json_t *json = cycle ? report_cycle(conn, cycle, call->conf->lease, err)
	    : report_status(conn, 10, call->conf->lease, err);

	if (!json)
		return -1;
	if (opts_has(call, "json"))
		print_json_line(json);
	else if (cycle)
		print_cycle(json);
	else
		print_status(json);
	*over = cycle && !member_null(json, "finished_at");
	json_decref(json);
	return 0;
}

static int
watch(struct call *call, PGconn *conn, int64_t cycle, struct err *err)
{
	struct timespec pause = { 2, 0 };
	bool over = false, clear = term_is_terminal(stdout) && !opts_has(call, "json");
	int rc;

	do {
		if (clear)
			fputs("\033[H\033[2J", stdout);
		rc = once(call, conn, cycle, &over, err);
		fflush(stdout);
	} while (!rc && !over && !ferror(stdout) && !nanosleep(&pause, NULL));
	return rc;
}

static int
run(struct call *call, struct err *err)
{
	int64_t cycle = 0;
	PGconn *conn;
	bool over;
	int rc;

	if (opts_has(call, "check") && (call->n_arguments || opts_has(call, "watch")))
		return err_class(err, ERR_USAGE, "--check goes with neither CYCLE nor --watch");
	if (opts_has(call, "check"))
		return health_check(call, err);
	if (opts_has(call, "max-age"))
		return err_class(err, ERR_USAGE, "--max-age belongs to --check");
	if (call->n_arguments && read_number(call->arguments[0], "CYCLE", &cycle, err))
		return -1;
	if (!(conn = store_open(call->conf, err)))
		return -1;
	rc = opts_has(call, "watch") ? watch(call, conn, cycle, err)
	    : once(call, conn, cycle, &over, err);
	PQfinish(conn);
	return rc;
}

static const struct opt options[] = {
	{ "watch", 'w', NULL, "again every two seconds (a cycle: until it is closed)" },
	{ "check", 0, NULL, "for monitoring: one line, status 0 ok 1 warning 2 critical 3 unknown" },
	{ "max-age", 0, "SPAN", "with --check: how old the last closed cycle may be (default: 15m)" },
	{ "agent", 0, "NAME", "with --check: this agent alone" },
	{ "json", 'j', NULL, "print JSON" },
	{ NULL, 0, NULL, NULL },
};

const struct command cmd_status = {
	.name = "status",
	.synopsis = "[CYCLE] [--json] [--watch] | --check [--max-age 15m] [--agent NAME]",
	.summary = "cycles, jobs, what failed and why",
	.description = "Without an argument: the last cycles, what is raising, deliveries that wait. With the\n"
	    "number of a cycle: its jobs, what failed and why, its signals.",
	.most = 1,
	.options = options,
	.run = run,
	.failed = health_unknown,
};
