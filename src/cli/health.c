/* health.c - is all well?  In the form that monitoring systems ask for.
 *
 * One line on standard output; whatever cannot be found out is UNKNOWN, never
 * OK.  Exit statuses follow the Monitoring Plugins guidelines. */
#include "cli/health.h"
#include <stdlib.h>
#include <string.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cmd.h"
#include "cli/print.h"
#include "store/report.h"
#include "store/store.h"

enum { OK, WARNING, CRITICAL, UNKNOWN };
static const char *const names[] = { "OK", "WARNING", "CRITICAL", "UNKNOWN" };

static void
find(struct str *text, int *worst, int level, const char *agent, const char *what)
{
	if (level > *worst)
		*worst = level;
	str_printf(text, "%sagent %s: %s", text->len ? "; " : "", agent, what);
}

static void
look_at(const json_t *a, struct str *text, int *worst)
{
	const json_t *last = json_object_get(a, "last"), *open = json_object_get(a, "open");
	const char *agent = member_text(a, "agent");
	char *what;

	if (json_is_object(open) && (member_true(open, "stalled") || member_true(a, "open_too_long"))) {
		what = xasprintf("cycle %s is stuck (%s, %s jobs open, created %s)",
		    member_text(open, "id"), member_text(open, "state"),
		    member_text(open, "unsettled"), member_time(open, "created_at"));
		find(text, worst, CRITICAL, agent, what);
		free(what);
	}
	if (json_is_object(open) && !member_null(open, "trouble")) {
		what = xasprintf("cycle %s waits: %s", member_text(open, "id"),
		    member_text(open, "trouble"));
		find(text, worst, WARNING, agent, what);
		free(what);
	}
	if (member_true(a, "overdue")) {
		what = json_is_object(last)
		    ? xasprintf("overdue, the last cycle (%s) ended %s", member_text(last, "id"),
			member_time(last, "finished_at"))
		    : xstrdup("no cycle has ended yet");
		find(text, worst, CRITICAL, agent, what);
		free(what);
	} else if (json_is_object(last) && !strcmp(member_text(last, "state"), "DONE_WITH_ERRORS")) {
		what = xasprintf("cycle %s ended with %s failed jobs", member_text(last, "id"),
		    member_text(last, "failed"));
		find(text, worst, WARNING, agent, what);
		free(what);
	}
	if (member_number(a, "failed_deliveries"))
		find(text, worst, WARNING, agent, "deliveries have failed");
}

/* The agent that was asked for; by default all of them. */
static const char *
asked_agent(const struct conf *conf)
{
	for (size_t i = 0; i < conf_count; i++)
		if (!strcmp(conf_settings[i].name, "agent") &&
		    strcmp(conf_where(conf, &conf_settings[i]), "default"))
			return conf->agent;
	return "";
}

static int
check(struct call *call, struct str *text, struct str *figures, struct err *err)
{
	const char *age = opts_get(call, "max-age");
	int worst = OK;
	span max_age;
	PGconn *conn;
	json_t *health, *a;
	size_t i;

	if (clock_parse_span(age ? age : "15m", &max_age, err) ||
	    !(conn = store_open(call->conf, err)))
		return -1;
	health = report_health(conn, asked_agent(call->conf), max_age, call->conf->lease, err);
	PQfinish(conn);
	if (!health)
		return -1;
	json_array_foreach(health, i, a) {
		look_at(a, text, &worst);
		str_printf(figures, " '%s raising'=%lld", member_text(a, "agent"),
		    (long long)member_number(a, "raising"));
	}
	if (!json_array_size(health)) {
		str_puts(text, "no active event");
		worst = WARNING;
	} else if (!text->len)
		str_printf(text, "%zu agent%s, all cycles in time",
		    json_array_size(health), json_array_size(health) == 1 ? "" : "s");
	json_decref(health);
	return worst;
}

static void
print_level(int level, bool json, const char *text, const char *figures)
{
	char *safe = log_redact(text);
	const char *line = shown_text(safe);

	if (json) {
		json_t *out = json_pack("{s:s,s:i,s:s}", "state", names[level], "status", level,
		    "text", line);

		print_json_line(out);
		json_decref(out);
	} else
		printf("TOCSIN %s - %s%s%s\n", names[level], line, *figures ? " |" : "", figures);
}

int
health_check(struct call *call, struct err *err)
{
	struct str text = STR_INIT, figures = STR_INIT;
	int level = check(call, &text, &figures, err);

	if (level >= 0)
		print_level(level, opts_has(call, "json"), str_text(&text), str_text(&figures));
	str_done(&text);
	str_done(&figures);
	return level;
}

int
health_unknown(int argc, char **argv, const struct err *err)
{
	bool asked = false, json = false;

	for (int i = 0; i < argc; i++) {
		asked |= !strcmp(argv[i], "--check");
		json |= !strcmp(argv[i], "--json") || !strcmp(argv[i], "-j");
	}
	if (!asked)
		return -1;
	print_level(UNKNOWN, json, err->message, "");
	return UNKNOWN;
}
