/* model_test.c - what definitions mean, and what becomes of events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "graph/graph.h"
#include "model/model.h"

static json_t *
json(const char *text)
{
	struct err err = { .message = "" };
	json_t *j = json_read(text, strlen(text), &err);

	if (!j)
		fail_msg("%s: %s", text, err.message);
	return j;
}

static void
init_event(struct event *e, const char *text)
{
	struct err err = { .message = "" };
	json_t *body = json(text);

	if (event_init(e, body, &err))
		fail_msg("%s: %s", text, err.message);
	json_decref(body);
}

/* --- what definitions mean --- */

static void
limits_that_are_not_given_follow_from_those_that_are(void **state)
{
	static const struct {
		const char *body;
		span soft, hard;
	} table[] = {
		{ "{\"sql\":\"select 1\"}", 60 * SECOND, 90 * SECOND },
		{ "{\"sql\":\"select 1\",\"time_limit\":45}", 45 * SECOND, 45 * SECOND },
		{ "{\"sql\":\"select 1\",\"time_limit\":\"2h\"}", MINUTE, 2 * HOUR },
		{ "{\"sql\":\"select 1\",\"soft_time_limit\":30}", 30 * SECOND, 90 * SECOND },
		{ "{\"sql\":\"select 1\",\"soft_time_limit\":\"10m\"}", 10 * MINUTE, 15 * MINUTE },
		{ "{\"sql\":\"select 1\",\"soft_time_limit\":61}", 61 * SECOND, 91500 * SECOND / 1000 },
		{ "{\"sql\":\"select 1\",\"soft_time_limit\":0.5,\"time_limit\":0.5}", SECOND / 2,
		    SECOND / 2 },
		{ "{\"sql\":\"select 1\",\"soft_time_limit\":\"6d\"}", 6 * DAY, 7 * DAY },
	};
	struct err err;

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		json_t *body = json(table[i].body);
		struct variable v;

		assert_int_equal(variable_init(&v, body, &err), 0);
		if (v.soft != table[i].soft || v.hard != table[i].hard)
			fail_msg("%s: %lld, %lld", table[i].body, (long long)v.soft,
			    (long long)v.hard);
		variable_done(&v);
		json_decref(body);
	}
}

static void
keys_that_are_not_given_have_their_defaults(void **state)
{
	json_t *body = json("{\"shell\":\"df\"}");
	struct variable v;
	struct reaction r;
	struct event e;
	struct err err;

	assert_int_equal(variable_init(&v, body, &err), 0);
	assert_int_equal(v.executor, EXEC_SHELL);
	assert_string_equal(v.source, "df");
	assert_null(v.queue);
	assert_int_equal(json_object_size(v.args), 0);
	variable_done(&v);
	json_decref(body);

	init_event(&e, "{\"definition\":\"low\"}");
	assert_string_equal(e.agent, "default");
	assert_int_equal(e.priority, 10);
	assert_true(e.interval == HOUR && e.time_to_wait == 0 && !e.rrule);
	event_done(&e);

	init_event(&e, "{\"definition\":\"low\",\"rrule\":\"FREQ=DAILY\"}");
	assert_string_equal(e.timezone, "UTC");
	assert_true(e.dtstart == INSTANT_ALWAYS);
	event_done(&e);

	body = json("{\"events\":[\"a\",\"b\"],\"command\":\"cat\"}");
	assert_int_equal(reaction_init(&r, body, &err), 0);
	assert_true(r.on[RAISE] && r.on[STOP_RAISING] && !r.on[CONTINUE_RAISING]);
	assert_string_equal(r.level, "info");
	assert_string_equal(r.events[1], "b");
	assert_null(r.events[2]);
	assert_true(r.time_limit == MINUTE && r.channel == CHANNEL_COMMAND);
	reaction_done(&r);
	json_decref(body);
}

static void
a_bad_body_names_its_key(void **state)
{
	static const struct {
		enum kind kind;
		const char *body, *message;
	} table[] = {
		{ VARIABLE, "{\"sql\":3}", "sql: this is a whole number; a text is wanted" },
		{ VARIABLE, "{}", "what computes it is missing: 'sql', 'shell' or 'celery'" },
		{ VARIABLE, "[]", "what computes it is missing: 'sql', 'shell' or 'celery'" },
		{ VARIABLE, "{\"sql\":\"a\\u0000b\"}", NULL },
		{ VARIABLE, "{\"sql\":\"select :x\"}",
		    "sql: there is no argument for :x; give it by args = { x = ... }" },
		{ VARIABLE, "{\"shell\":null}", "shell: this is nothing; a text is wanted" },
		{ EVIDENCE, "{\"definition\":\"1 +\"}",
		    "definition: the expression ends where a value is expected" },
		{ EVENT, "{\"definition\":\"a\",\"interval\":[]}",
		    "interval: this is an array; a number of seconds or a text as \"90s\" or "
		    "\"1h30m\" is wanted" },
		{ EVENT, "{\"definition\":\"a\",\"rrule\":\"FREQ=DAILY\",\"timezone\":\"Mars\"}",
		    "timezone: there is no time zone 'Mars' in the system's tz database; "
		    "write it as Europe/Berlin or UTC" },
		{ REACTION, "{\"events\":[\"a\"],\"notify\":\"\"}", "notify: this text is empty" },
	};
	struct reaction r;
	struct variable v;
	struct evidence ev;
	struct event e;

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		json_t *body = json_loads(table[i].body, JSON_ALLOW_NUL, NULL);
		struct err err = { .message = "" };
		int rc = table[i].kind == VARIABLE ? variable_init(&v, body, &err) :
		    table[i].kind == EVIDENCE ? evidence_init(&ev, body, &err) :
		    table[i].kind == EVENT ? event_init(&e, body, &err) :
		    reaction_init(&r, body, &err);

		assert_int_equal(rc, -1);
		if (table[i].message)
			assert_string_equal(err.message, table[i].message);
		json_decref(body);
	}
}

/* --- what becomes of events --- */

static void
a_basic_event_raises_at_the_kth_true_evaluation(void **state)
{
	static const struct {
		const char *interval, *wait;
		int k;
	} table[] = {
		{ "\"1h\"", "0", 1 }, { "\"1h\"", "\"30m\"", 1 }, { "\"1h\"", "\"1h\"", 1 },
		{ "\"1h\"", "\"2h\"", 2 }, { "\"1h\"", "\"2h59m\"", 2 }, { "\"1h\"", "\"3h\"", 3 },
		{ "0", "\"3h\"", 1 }, { "0.000001", "\"36000d\"", EVENT_MAX_HOLD },
	};
	char body[200];
	struct event e;

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		snprintf(body, sizeof body, "{\"definition\":\"low\",\"interval\":%s,"
		    "\"time_to_wait\":%s}", table[i].interval, table[i].wait);
		init_event(&e, body);
		assert_int_equal(event_hold_needed(&e), table[i].k);
		event_done(&e);
	}
}

/* T true, F false, ? unknown; r raise, c continue_raising, s stop_raising, and
 * . do_nothing; the state after each: R raising, - not. */
static void
follow(const char *body, const char *truths, const char *actions, const char *states)
{
	static const char signs[] = { [DO_NOTHING] = '.', [RAISE] = 'r',
		[CONTINUE_RAISING] = 'c', [STOP_RAISING] = 's' };
	struct event_standing now = { .state = NOT_RAISING, .as_of = INSTANT_ALWAYS };
	struct event e;

	init_event(&e, body);
	for (size_t i = 0; truths[i]; i++) {
		now = event_evaluate(&e, now, truths[i] == 'T' ? TRUTH_TRUE :
		    truths[i] == 'F' ? TRUTH_FALSE : TRUTH_UNKNOWN, (instant)i * HOUR);
		if (signs[now.action] != actions[i] ||
		    (now.state == RAISING ? 'R' : '-') != states[i])
			fail_msg("%s, %s: evaluation %zu is %s, %s", body, truths, i + 1,
			    signal_text(now.action), event_state_text(now.state));
	}
	event_done(&e);
}

static void
signals_follow_from_the_state_before_and_after(void **state)
{
	follow("{\"definition\":\"low\"}", "FTTFFTF", ".rcs.rs", "-RR--R-");
	follow("{\"definition\":\"low\",\"interval\":0,\"time_to_wait\":\"9h\"}",
	    "TTF", "rcs", "RR-");
}

static void
a_holding_time_wants_truth_without_a_break(void **state)
{
	const char *body = "{\"definition\":\"low\",\"interval\":\"1h\",\"time_to_wait\":\"3h\"}";

	follow(body, "TTFTTTTF", ".....rcs", "-----RR-");
	follow(body, "TTT", "..r", "--R");
}

static void
unknown_leaves_state_and_hold_and_emits_nothing(void **state)
{
	const char *body = "{\"definition\":\"low\",\"interval\":\"1h\",\"time_to_wait\":\"2h\"}";

	follow(body, "T?T?TF?", "..r.cs.", "--RRR--");
}

/* At each hour the truth, what becomes of the hold, and R where it raises. */
static void
evaluate_at(const char *keys, const char *steps)
{
	struct event_standing now = { .state = NOT_RAISING, .as_of = INSTANT_ALWAYS };
	char body[160], truth, state;
	struct event e;
	int hour, hold, n;

	snprintf(body, sizeof body, "{\"definition\":\"low\"%s}", keys);
	init_event(&e, body);
	for (const char *s = steps; sscanf(s, " %d%c=%d%c%n", &hour, &truth, &hold, &state,
	    &n) == 4; s += n) {
		now = event_evaluate(&e, now, truth == 'T' ? TRUTH_TRUE : truth == 'F' ?
		    TRUTH_FALSE : TRUTH_UNKNOWN, hour * HOUR);
		if (now.hold != hold || (now.state == RAISING ? 'R' : '-') != state)
			fail_msg("%s, %s: at %d the hold is %d, %s", keys, steps, hour, now.hold,
			    event_state_text(now.state));
	}
	event_done(&e);
}

static void
a_hold_counts_instants_that_follow_each_other(void **state)
{
	const char *held = ",\"interval\":\"1h\",\"time_to_wait\":\"3h\"",
	    *wide = ",\"interval\":\"1h\",\"time_to_wait\":\"3h\",\"max_gap\":\"10h\"";

	/* Three intervals are no gap, more are; the state stays. */
	evaluate_at(held, "0T=1- 3T=2- 6T=3R 10T=1R 11T=2R 12F=0-");
	evaluate_at(held, "0T=1- 1T=2- 5T=1- 6T=2- 7T=3R");
	evaluate_at(wide, "0T=1- 10T=2- 21T=1- 22T=2- 32T=3R");
	/* Unknown is an evaluation: it closes a gap, and does not hide one. */
	evaluate_at(held, "0T=1- 3?=1- 6T=2- 7T=3R");
	evaluate_at(held, "0T=1- 1T=2- 5?=0- 6T=1-");
	/* Not later than the last: neither counts nor resets. */
	evaluate_at(held, "5T=1- 5T=1- 4T=1- 5F=1- 0F=1- 6T=2- 2?=2- 7T=3R");
	evaluate_at(held, "0T=1- 1T=2- 2T=3R 1F=3- 3T=4R 3T=4R 4F=0-");
	/* Without a holding time there is nothing to count. */
	evaluate_at("", "5F=0- 5T=0R 4F=0- 4T=0R 6T=1R 20T=1R");
	evaluate_at(",\"interval\":0", "5T=1R 99T=2R 99F=2- 98T=2R");
	evaluate_at(",\"rrule\":\"FREQ=DAILY\"", "5T=0R 5F=0- 4T=0R 99T=0R");
}

static void
an_event_says_what_unknown_is_to_it(void **state)
{
	static const struct {
		const char *given;
		enum truth counts;
	} table[] = {
		{ "", TRUTH_UNKNOWN },
		{ ",\"on_unknown\":\"keep\"", TRUTH_UNKNOWN },
		{ ",\"on_unknown\":\"raise\"", TRUTH_TRUE },
		{ ",\"on_unknown\":\"clear\"", TRUTH_FALSE },
	};
	char body[80];
	struct event e;

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		snprintf(body, sizeof body, "{\"definition\":\"low\"%s}", table[i].given);
		init_event(&e, body);
		assert_int_equal(event_truth(&e, TRUTH_UNKNOWN), table[i].counts);
		assert_int_equal(event_truth(&e, TRUTH_TRUE), TRUTH_TRUE);
		assert_int_equal(event_truth(&e, TRUTH_FALSE), TRUTH_FALSE);
		assert_int_equal(event_truth(&e, TRUTH_OPEN), TRUTH_OPEN);
		event_done(&e);
	}
}

static void
a_recurrent_event_raises_each_time_it_is_true(void **state)
{
	follow("{\"definition\":\"low\",\"rrule\":\"FREQ=DAILY\"}", "TTF?T?F", "rr..r..",
	    "RR--RR-");
}

static void
the_count_of_a_hold_does_not_overflow(void **state)
{
	struct event_standing now = { .state = RAISING, .hold = EVENT_MAX_HOLD,
		.as_of = INSTANT_ALWAYS };
	struct event e;

	init_event(&e, "{\"definition\":\"low\"}");
	now = event_evaluate(&e, now, TRUTH_TRUE, 0);
	assert_int_equal(now.hold, EVENT_MAX_HOLD);
	assert_int_equal(now.state, RAISING);
	/* A holding time that was made longer does not end what raises. */
	now = (struct event_standing){ .state = RAISING, .hold = 1, .as_of = INSTANT_ALWAYS };
	e.time_to_wait = 10 * HOUR;
	assert_int_equal(event_evaluate(&e, now, TRUTH_TRUE, 0).action, CONTINUE_RAISING);
	event_done(&e);
}

static instant
at(const char *text)
{
	struct err err;
	instant t;

	assert_int_equal(clock_parse(text, &t, &err), 0);
	return t;
}

static void
an_event_is_due_again_after_its_interval_or_by_its_rule(void **state)
{
	struct event e;
	struct err err;
	instant next;

	init_event(&e, "{\"definition\":\"low\",\"interval\":\"3h\"}");
	assert_int_equal(event_first_call(&e, 0, at("2026-05-01"), &next, &err), 0);
	assert_true(next == INSTANT_ALWAYS);
	assert_int_equal(event_next_call(&e, 0, at("2026-05-01"), &next, &err), 0);
	assert_true(next == at("2026-05-01T03:00:00Z"));
	event_done(&e);

	init_event(&e, "{\"definition\":\"low\",\"rrule\":\"FREQ=WEEKLY;BYDAY=MO;BYHOUR=8;"
	    "BYMINUTE=0;BYSECOND=0\",\"timezone\":\"Europe/Berlin\"}");
	/* Due at the very instant of its loading, and after that a week later. */
	assert_int_equal(event_first_call(&e, at("2026-05-04T06:00:00Z"),
	    at("2026-05-04T06:00:00Z"), &next, &err), 0);
	assert_true(next == at("2026-05-04T06:00:00Z"));
	assert_int_equal(event_next_call(&e, at("2026-05-04T06:00:00Z"),
	    at("2026-05-04T06:00:00Z"), &next, &err), 0);
	assert_true(next == at("2026-05-11T06:00:00Z"));
	assert_int_equal(event_next_call(&e, 0, INSTANT_ALWAYS, &next, &err), -1);
	event_done(&e);

	init_event(&e, "{\"definition\":\"low\",\"rrule\":\"FREQ=DAILY;COUNT=1\","
	    "\"timezone\":\"Europe/Berlin\",\"dtstart\":\"2026-05-01T09:00:00\"}");
	assert_true(e.dtstart == at("2026-05-01T07:00:00Z"));
	assert_int_equal(event_next_call(&e, e.dtstart, e.dtstart, &next, &err), 0);
	assert_true(next == INSTANT_NEVER);
	event_done(&e);
}

static void
a_schedule_is_the_same_however_it_is_written(void **state)
{
	static const struct {
		const char *a, *b;
		bool same;
	} table[] = {
		{ "{\"definition\":\"x\"}", "{\"definition\":\"y\",\"interval\":3600}", true },
		{ "{\"definition\":\"x\",\"interval\":\"90m\"}",
		    "{\"definition\":\"x\",\"interval\":\"1h30m\",\"time_to_wait\":1}", true },
		{ "{\"definition\":\"x\"}", "{\"definition\":\"x\",\"interval\":1}", false },
		{ "{\"definition\":\"x\"}", "{\"definition\":\"x\",\"rrule\":\"FREQ=DAILY\"}", false },
		{ "{\"definition\":\"x\",\"rrule\":\"FREQ=DAILY\",\"timezone\":\"UTC\"}",
		    "{\"definition\":\"x\",\"rrule\":\"FREQ=DAILY\"}", true },
		{ "{\"definition\":\"x\",\"rrule\":\"FREQ=DAILY\",\"dtstart\":\"2026-05-01\"}",
		    "{\"definition\":\"x\",\"rrule\":\"FREQ=DAILY\",\"dtstart\":"
		    "\"2026-05-01T02:00:00+02:00\"}", true },
		{ "{\"definition\":\"x\",\"rrule\":\"FREQ=DAILY\",\"timezone\":\"Asia/Tokyo\"}",
		    "{\"definition\":\"x\",\"rrule\":\"FREQ=DAILY\"}", false },
	};
	struct event a, b;

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		init_event(&a, table[i].a);
		init_event(&b, table[i].b);
		if (event_same_schedule(&a, &b) != table[i].same ||
		    event_same_schedule(&b, &a) != table[i].same)
			fail_msg("%s and %s", table[i].a, table[i].b);
		event_done(&a);
		event_done(&b);
	}
}

/* --- many of them --- */

static const char shop[] =
    "[variables.cash]\nsql = 'select 1'\n"
    "[variables.bills]\nsql = 'select 2'\nactive = false\n"
    "[evidences.low]\ndefinition = 'cash - bills'\noperator = '<'\noperand = 0\n"
    "[events.low]\ndefinition = 'low'\n"
    "[reactions.tell]\nevents = ['low']\nnotify = 'x'\n";

static struct model *
read_text(const char *text)
{
	struct model *m = model_new();
	struct str problems = STR_INIT;

	if (model_read_text(m, "shop.toml", text, strlen(text), &problems))
		fail_msg("%s", str_text(&problems));
	str_done(&problems);
	return m;
}

static void
definitions_are_found_by_kind_and_name(void **state)
{
	struct model *m = read_text(shop);

	assert_int_equal(m->n, 5);
	assert_int_equal(model_find(m, VARIABLE, "bills")->line, 3);
	assert_int_equal(model_find(m, VARIABLE, "bills")->column, 12);
	assert_string_equal(model_find(m, VARIABLE, "bills")->file, "shop.toml");
	assert_false(definition_is_active(model_find(m, VARIABLE, "bills")));
	assert_true(definition_is_active(model_find(m, EVENT, "low")));
	assert_null(model_find(m, VARIABLE, "low"));
	assert_ptr_not_equal(model_find(m, EVENT, "low"), model_find(m, EVIDENCE, "low"));
	model_free(m);
}

static void
the_graph_leads_from_variables_to_events(void **state)
{
	struct model *m = read_text(shop);
	struct graph *g = model_graph(m);
	int levels[4];
	struct err err;

	assert_int_equal(graph_count(g), 4);	/* an event may be named as an evidence */
	assert_int_equal(graph_edges(g), 3);
	assert_int_equal(graph_levels(g, levels, &err), 0);
	graph_free(g);
	model_free(m);
}

/* The books: variable "old", evidence "full", event "crisis". */
static bool
known(void *arg, enum kind kind, const char *name)
{
	return (kind == VARIABLE && !strcmp(name, "old")) ||
	    (kind == EVIDENCE && !strcmp(name, "full")) ||
	    (kind == EVENT && !strcmp(name, "crisis"));
}

static void
what_is_in_the_books_may_be_named(void **state)
{
	struct model *m = read_text("[evidences.low]\ndefinition = 'old'\n"
	    "[events.a]\ndefinition = 'low or full'\n"
	    "[reactions.r]\nevents = ['crisis', 'a']\nnotify = 'x'\n");
	struct str problems = STR_INIT;

	if (model_check(m, known, NULL, &problems, NULL))
		fail_msg("%s", str_text(&problems));
	assert_int_equal(model_check(m, NULL, NULL, &problems, NULL), -1);
	model_free(m);
	str_clear(&problems);

	m = read_text("[evidences.old]\ndefinition = 'full'\n");
	assert_int_equal(model_check(m, known, NULL, &problems, NULL), -1);
	assert_string_equal(str_text(&problems),
	    "shop.toml:1:12: evidences.old: 'old' is a variable in the books already "
	    "(variables and evidences share their names)\n"
	    "shop.toml:2:15: evidences.old.definition: 'full' is an evidence; "
	    "an evidence's definition names variables\n");
	str_done(&problems);
	model_free(m);
}

static void
write_file(const char *dir, const char *name, const char *text)
{
	char *path = xasprintf("%s/%s", dir, name);
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	free(path);
}

static void
a_directory_is_read_in_the_order_of_names(void **state)
{
	char dir[] = "/tmp/tocsin-model-XXXXXX", command[64];
	struct model *m = model_new();
	struct str problems = STR_INIT;
	char *inner, *link;

	assert_non_null(mkdtemp(dir));
	inner = xasprintf("%s/m", dir);
	link = xasprintf("%s/m/back", dir);
	assert_int_equal(mkdir(inner, 0700), 0);
	assert_int_equal(symlink("..", link), 0);
	write_file(dir, "z.toml", "[variables.z]\nshell = 'x'\n");
	write_file(dir, "a.toml", "[variables.a]\nshell = 'x'\n");
	write_file(dir, "m/k.toml", "[variables.k]\nshell = 'x'\n");
	write_file(dir, ".hidden.toml", "nonsense");
	write_file(dir, "notes.txt", "nonsense");
	if (model_read(m, dir, &problems))
		fail_msg("%s", str_text(&problems));
	assert_int_equal(m->n, 3);
	assert_string_equal(m->at[0]->name, "a");
	assert_string_equal(m->at[1]->name, "k");
	assert_string_equal(m->at[2]->name, "z");
	assert_int_equal(model_read(m, "/nowhere/at-all.toml", &problems), -1);
	assert_string_equal(str_text(&problems),
	    "/nowhere/at-all.toml: cannot open it: No such file or directory\n");
	model_free(m);
	str_done(&problems);
	snprintf(command, sizeof command, "rm -r %s", dir);
	assert_int_equal(system(command), 0);
	free(inner);
	free(link);
}

static void
bounds_end_in_problems(void **state)
{
	struct model *m = model_new();
	struct str problems = STR_INIT, text = STR_INIT;

	for (int i = 0; i < 1000000; i++)
		str_puts(&text, "a.");
	str_puts(&text, "a = 1\n");
	assert_int_equal(model_read_text(m, "dots", text.text, text.len, &problems), -1);
	str_clear(&text);
	for (int i = 0; i < 1000000; i++)
		str_puts(&text, "[[");
	assert_int_equal(model_read_text(m, "brackets", text.text, text.len, &problems), -1);
	str_clear(&text);
	str_puts(&text, "[variables.x]\nshell = '''");
	for (int i = 0; i < 66000; i++)
		str_putc(&text, 'x');
	str_puts(&text, "'''\n");
	assert_int_equal(model_read_text(m, "long", text.text, text.len, &problems), -1);
	str_clear(&text);
	for (int i = 0; i < 1000000; i++)
		str_puts(&text, "# a comment\n");
	assert_int_equal(model_read_text(m, "large", text.text, text.len, &problems), -1);
	assert_string_equal(str_text(&problems),
	    "dots:1:1: more than 64 levels deep\n"
	    "brackets:1:1: more than 64 levels deep\n"
	    "long:2:9: variables.x.shell: longer than 64 KiB\n"
	    "large: larger than 8 MiB\n");
	str_done(&problems);
	str_done(&text);
	model_free(m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limits_that_are_not_given_follow_from_those_that_are),
		cmocka_unit_test(keys_that_are_not_given_have_their_defaults),
		cmocka_unit_test(a_bad_body_names_its_key),
		cmocka_unit_test(a_basic_event_raises_at_the_kth_true_evaluation),
		cmocka_unit_test(signals_follow_from_the_state_before_and_after),
		cmocka_unit_test(a_holding_time_wants_truth_without_a_break),
		cmocka_unit_test(unknown_leaves_state_and_hold_and_emits_nothing),
		cmocka_unit_test(a_hold_counts_instants_that_follow_each_other),
		cmocka_unit_test(an_event_says_what_unknown_is_to_it),
		cmocka_unit_test(a_recurrent_event_raises_each_time_it_is_true),
		cmocka_unit_test(the_count_of_a_hold_does_not_overflow),
		cmocka_unit_test(an_event_is_due_again_after_its_interval_or_by_its_rule),
		cmocka_unit_test(a_schedule_is_the_same_however_it_is_written),
		cmocka_unit_test(definitions_are_found_by_kind_and_name),
		cmocka_unit_test(the_graph_leads_from_variables_to_events),
		cmocka_unit_test(what_is_in_the_books_may_be_named),
		cmocka_unit_test(a_directory_is_read_in_the_order_of_names),
		cmocka_unit_test(bounds_end_in_problems),
	};

	return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
