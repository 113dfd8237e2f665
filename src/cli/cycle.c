/* cycle.c - run a cycle. */
#include "cli/cmd.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/term.h"
#include "cli/print.h"
#include "engine/cycle.h"
#include "exec/exec.h"

static int
read_at(struct call *call, instant *at, struct err *err)
{
	*at = INSTANT_NEVER;
	if (!opts_has(call, "at"))
		return 0;
	if (clock_parse(opts_get(call, "at"), at, err))
		err_wrap(err, "--at");
	else if (clock_isfinite(*at))
		return 0;
	else
		err_set(err, "--at: a cycle has a finite time");
	err->class = ERR_USAGE;
	return -1;
}

static int
read_if_busy(struct call *call, enum if_busy *busy, struct err *err)
{
	const char *text = opts_get(call, "if-busy");

	if (!text || !strcmp(text, "skip"))
		*busy = BUSY_SKIP;
	else if (!strcmp(text, "fail"))
		*busy = BUSY_FAIL;
	else if (!strcmp(text, "wait"))
		*busy = BUSY_WAIT;
	else
		return err_class(err, ERR_USAGE, "--if-busy is skip, fail or wait, not '%s'", text);
	return 0;
}

static void
progress(void *arg, const struct run_row *run)
{
	progress_update(arg, (size_t)(run->jobs - run->unsettled), (size_t)run->jobs,
	    run_state_text(run->state));
}

static void
print_end(struct call *call, const struct run_row *run, enum cycle_end end)
{
	const char *resumed = end == CYCLE_RESUMED ? ", which had stood still," : "";
	char as_of[INSTANT_TEXT];

	clock_format(run->as_of, as_of);
	if (opts_has(call, "json")) {
		json_t *json = json_pack("{s:I,s:s,s:s,s:s,s:i,s:i,s:i,s:b,s:b}", "cycle",
		    (json_int_t)run->id, "agent", run->agent, "state", run_state_text(run->state),
		    "as_of", as_of, "jobs", run->jobs, "unsettled", run->unsettled,
		    "failed", run->failed, "busy", end == CYCLE_BUSY,
		    "resumed", end == CYCLE_RESUMED);

		print_json_line(json);
		json_decref(json);
	}
	else if (end == CYCLE_BUSY)
		printf("agent %s has cycle %" PRId64 " open since %s: %s, %d of %d jobs settled\n",
		    run->agent, run->id, as_of, run_state_text(run->state),
		    run->jobs - run->unsettled, run->jobs);
	else if (run->failed)
		printf("cycle %" PRId64 " at %s%s: %s, %d jobs, %d failed "
		    "(tocsin status %" PRId64 " tells why)\n", run->id, as_of, resumed,
		    run_state_text(run->state), run->jobs, run->failed, run->id);
	else
		printf("cycle %" PRId64 " at %s%s: %s, %d jobs\n", run->id, as_of, resumed,
		    run_state_text(run->state), run->jobs);
}

static bool
executors_given(const struct conf *conf)
{
	for (size_t i = 0; i < conf_count; i++)
		if (!strcmp(conf_settings[i].name, "executors"))
			return strcmp(conf_where(conf, &conf_settings[i]), "default");
	return false;
}

/* The allowed executors: everything within this process, unless told. */
static int
read_allowed(struct call *call, bool allowed[EXECUTOR_COUNT], struct err *err)
{
	for (int i = 0; i < EXECUTOR_COUNT; i++)
		allowed[i] = true;
	if (!call->conf->executors.at || !call->conf->executors.at[0])
		return executors_given(call->conf) ? err_class(err, ERR_USAGE,
		    "--executors is empty: name some of sql, shell, celery") : 0;
	for (int i = 0; i < EXECUTOR_COUNT; i++)
		allowed[i] = false;
	return hands_parse_allowed(call->conf->executors.text, allowed, err);
}

static int
run(struct call *call, struct err *err)
{
	struct cycle_request q = { .plan = { .agent = call->conf->agent,
		.queue = call->conf->queue, .force = opts_has(call, "force"),
		.origin = opts_get(call, "origin") } };
	const char **events = xcalloc(call->n_given + 1, sizeof *events);
	struct progress *bar = NULL;
	struct run_row row = { 0 };
	bool local = opts_has(call, "local"), waits = local || opts_has(call, "wait");
	enum cycle_end end;
	int rc = -1;

	while ((events[q.plan.n_events] = opts_nth(call, "event", q.plan.n_events)))
		q.plan.n_events++;
	q.plan.events = events;
	if (read_at(call, &q.plan.at, err) || read_if_busy(call, &q.if_busy, err) ||
	    read_allowed(call, q.allowed, err))
		goto out;
	if (!opts_has(call, "json") && !opts_has(call, "quiet") &&
	    (opts_has(call, "wait") || (local && term_is_terminal(stderr)))) {
		bar = progress_new(stderr, "cycle");
		q.progress = progress;
		q.arg = bar;
	}
	rc = local ? cycle_run_local(call->conf, &q, &row, &end, err) :
	    cycle_run_remote(call->conf, &q, waits, &row, &end, err);
	progress_end(bar);
	if (!rc) {
		if (!opts_has(call, "quiet"))
			print_end(call, &row, end);
		/* who does not wait fares the same however quick the workers are */
		rc = waits && end != CYCLE_BUSY && row.state == RUN_DONE_WITH_ERRORS;
	}
out:
	free(events);
	return rc;
}

static const struct opt options[] = {
	{ "wait", 'w', NULL, "wait for the end of the cycle" },
	{ "local", 'l', NULL, "run all of it in this process (implies --wait)" },
	{ "agent", 0, "NAME", "whose events (default: 'default')" },
	{ "executors", 0, "LIST", "what may be run here (default with --local: all)" },
	{ "event", 'e', "NAME", "just this event, due or not (may be repeated)" },
	{ "at", 0, "TIME", "the cycle's instant (default: now), to replay the past" },
	{ "force", 'f', NULL, "allow --at in the future" },
	{ "origin", 0, "ID", "what asks for it; asked again, it is the same cycle" },
	{ "if-busy", 0, "WHAT", "when a cycle is open: skip (default), fail or wait" },
	{ "quiet", 'q', NULL, "print nothing but errors (for cron)" },
	{ "json", 'j', NULL, "print JSON" },
	{ NULL, 0, NULL, NULL },
};

const struct command cmd_cycle = {
	.name = "cycle",
	.synopsis = "[--wait | --local] [--agent NAME] [--event NAME]... [--at TIME [--force]]\n"
	    "             [--origin ID] [--if-busy skip|fail|wait] [--executors LIST]",
	.summary = "select the due events, compute what they need, decide them",
	.description = "Plans a cycle of the events that are due and sends its first jobs to the workers,\n"
	    "or runs it in this process (--local). Meant for cron: when the\n"
	    "agent's last cycle is still open it says so and leaves with status 0, and a cycle\n"
	    "that has stood still for a lease is resumed instead of a new one begun.\n\n"
	    "Exit status: 0 started; with --wait or --local DONE (or busy, or nothing was due),\n"
	    "1 DONE_WITH_ERRORS.",
	.options = options,
	.run = run,
};
