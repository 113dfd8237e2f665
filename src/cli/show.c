/* show.c - one variable, evidence, event or reaction. */
#include "cli/cmd.h"
#include <string.h>
#include "base/err.h"
#include "base/mem.h"
#include "cli/number.h"
#include "cli/print.h"
#include "store/report.h"
#include "store/store.h"

/* A text of several lines is indented as a whole. */
static void
line(const char *label, const char *text)
{
	size_t len = strlen(text);

	while (len > 0 && text[len - 1] == '\n')
		len--;
	for (size_t n; len > 0; text += n, len -= n, label = "") {
		const char *end = memchr(text, '\n', len);
		char *piece = xstrndup(text, end ? (size_t)(end - text) : len);

		n = strlen(piece) + (end != NULL);
		printf("  %-14s %s\n", label, shown_text(piece));
	}
}

static void
print_list(const char *label, const json_t *names)
{
	size_t i;
	json_t *name;

	if (!json_array_size(names))
		return;
	printf("  %-14s", label);
	json_array_foreach(names, i, name)
		printf("%s %s", i ? "," : "", json_string_value(name));
	putchar('\n');
}

static void
print_definition(const json_t *body)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)body, key, value)
		line(key, member_text(body, key));
}

static void
print_history(const json_t *rows)
{
	static const char *const heads[] = { "cycle", "at", "truth", "value", NULL };
	struct table *t;
	size_t i;
	json_t *h;

	if (!json_array_size(rows))
		return;
	t = table_new(heads);
	json_array_foreach(rows, i, h) {
		table_cell(t, TERM_PLAIN, member_text(h, "cycle"));
		table_cell(t, TERM_PLAIN, member_time(h, "at"));
		table_cell(t, TERM_PLAIN, member_text(h, "truth"));
		table_cell(t, TERM_PLAIN, member_null(h, "value") ? "" : member_value(h, "value", 200));
	}
	table_print(t, stdout);
	table_free(t);
}

/* "changed  2026-05-01 08:59:32Z by tocsin, ann@desk, shop.toml: operand" */
static void
print_changes(const json_t *rows)
{
	size_t i, k;
	json_t *c, *key;

	json_array_foreach(rows, i, c) {
		const json_t *keys = json_object_get(c, "keys");

		printf("  %-14s %s by %s", member_text(c, "change"), member_time(c, "at"),
		    member_shown(c, "loaded_by"));
		if (!member_null(c, "os_user"))
			printf(", %s@%s", member_shown(c, "os_user"), member_shown(c, "host"));
		if (!member_null(c, "file"))
			printf(", %s", member_shown(c, "file"));
		if (!strcmp(member_text(c, "change"), "changed"))
			json_array_foreach(keys, k, key)
				printf("%s %s", k ? "," : ":",
				    shown_text(xstrdup(json_string_value(key))));
		putchar('\n');
	}
}

static void
print_signals(const json_t *rows)
{
	size_t i;
	json_t *s;

	json_array_foreach(rows, i, s)
		printf("  signal         %s in cycle %s at %s\n", member_text(s, "action"),
		    member_text(s, "cycle"), member_time(s, "at"));
}

static void
print_deliveries(const json_t *rows)
{
	static const char *const heads[] = { "cycle", "event", "delivery", "attempts", "error", NULL };
	struct table *t;
	size_t i;
	json_t *d;

	if (!json_array_size(rows))
		return;
	t = table_new(heads);
	json_array_foreach(rows, i, d) {
		table_cell(t, TERM_PLAIN, member_text(d, "cycle"));
		table_cell(t, TERM_PLAIN, member_text(d, "event"));
		table_cell(t, state_style(member_text(d, "state")), member_text(d, "state"));
		table_cell(t, TERM_PLAIN, member_text(d, "attempts"));
		table_cell(t, TERM_PLAIN, member_text(d, "error"));
	}
	table_print(t, stdout);
	table_free(t);
}

static void
print_standing(const json_t *x)
{
	const char *kind = member_text(x, "kind");

	if (!strcmp(kind, "event")) {
		printf("  %-14s ", "state");
		term_put(stdout, state_style(member_text(x, "state")), member_text(x, "state"));
		printf(" (%s), hold %s\n", member_text(x, "action"), member_text(x, "hold"));
		line("agent", member_text(x, "agent"));
		line("next_call", member_time(x, "next_call"));
		line("evaluated", member_time(x, "evaluated_at"));
		line("as of", member_time(x, "as_of"));
	} else if (strcmp(kind, "reaction")) {
		line("value", member_null(x, "value") ? "(none yet)" : member_value(x, "value", 2000));
		line("truth", member_text(x, "truth"));
		line("computed", member_time(x, !strcmp(kind, "variable") ? "computed_at"
		    : "evaluated_at"));
		if (member_true(x, "stale"))
			printf("  %-14s %s (stale)\n", "age", member_age(x, "age"));
		else
			line("age", member_age(x, "age"));
	}
	line("in cycle", member_text(x, "cycle"));
}

static void
print_one(const json_t *x)
{
	term_put(stdout, TERM_BOLD, member_text(x, "name"));
	printf(" (%s%s)\n", member_text(x, "kind"), member_true(x, "active") ? "" : ", not active");
	print_definition(json_object_get(x, "definition"));
	print_standing(x);
	print_list("uses", json_object_get(x, "uses"));
	print_list("used by", json_object_get(x, "used_by"));
	line("version", member_text(x, "version"));
	printf("  %-14s %s by %s\n", "loaded", member_time(x, "loaded_at"),
	    member_shown(x, "loaded_by"));
	print_changes(json_object_get(x, "changes"));
	print_signals(json_object_get(x, "signals"));
	print_deliveries(json_object_get(x, "deliveries"));
	print_history(json_object_get(x, "history"));
}

static int
run(struct call *call, struct err *err)
{
	int64_t history = 10;
	PGconn *conn;
	json_t *found, *x;
	size_t i;

	if (opts_has(call, "history") &&
	    read_number(opts_get(call, "history"), "--history", &history, err))
		return -1;
	if (history > 10000)
		return err_class(err, ERR_USAGE, "--history is at most 10000");
	if (!(conn = store_open(call->conf, err)))
		return -1;
	found = report_show(conn, call->arguments[0], (int)history, err);
	PQfinish(conn);
	if (!found)
		return -1;
	if (opts_has(call, "json"))
		print_json_line(json_array_size(found) == 1 ? json_array_get(found, 0) : found);
	else
		json_array_foreach(found, i, x)
			print_one(x);
	json_decref(found);
	return 0;
}

static const struct opt options[] = {
	{ "history", 'n', "N", "how much of its history and changes (default: 10)" },
	{ "json", 'j', NULL, "print JSON (an array where an event shares its name)" },
	{ NULL, 0, NULL, NULL },
};

const struct command cmd_show = {
	.name = "show",
	.synopsis = "NAME [--history N] [--json]",
	.summary = "one variable, evidence, event or reaction",
	.description = "Shows a definition, its standing value or state, what uses it, and its history.",
	.least = 1,
	.most = 1,
	.options = options,
	.run = run,
};
