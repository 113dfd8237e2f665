/* expr_test.c - what the expression language promises.
 *
 * The tables in tests/expr say most of it, one case a line; what needs a loop
 * or a large text is here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "expr/expr.h"
#include "expr/func.h"

#define FIELDS 5

static const json_t *
lend(void *arg, const char *name)
{
	return json_object_get(arg, name);
}

static struct expr_scope
scope_of(json_t *names)
{
	struct expr_scope s = { lend, names };
	struct err err;

	assert_int_equal(clock_parse("2026-05-01T09:30:15.25Z", &s.now, &err), 0);
	return s;
}

static json_t *
read_json(const char *text, const char *otherwise)
{
	json_t *json = json_loads(*text ? text : otherwise,
	    JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

	assert_non_null(json);
	return json;
}

/* What an outcome reads as in a table: JSON, or "error L:C message". */
static char *
describe(json_t *value, const struct err *err)
{
	if (value)
		return json_dumps(value, JSON_ENCODE_ANY | JSON_SORT_KEYS);
	return xasprintf("error %d:%d %s", err->line, err->column, err->message);
}

/* An error is as expected if it begins alike and the rest is part of it. */
static bool
is_expected(const char *got, const char *expected)
{
	size_t n = strcspn(expected, " ") + 1;

	if (!strcmp(got, expected))
		return true;
	if (strncmp(expected, "error ", 6)) {
		json_t *a = json_loads(got, JSON_DECODE_ANY, NULL);
		json_t *b = json_loads(expected, JSON_DECODE_ANY, NULL);
		bool same = a && b && json_equal(a, b);

		json_decref(a);
		json_decref(b);
		return same;
	}
	n += strcspn(expected + n, " ");
	return !strncmp(got, expected, n) && strstr(got + n, expected + n);
}

/* Calls CHECK with the fields of each line, the rightmost N of them split off
 * at " | "; an expression may hold a bar itself. */
static void
read_table(const char *file, int n, char *(*check)(char **fields))
{
	const char *dir = getenv("srcdir");
	char *path = xasprintf("%s/tests/expr/%s", dir ? dir : ".", file);
	char *line = NULL, *fields[FIELDS], *got;
	int number = 0, bad = 0, cases = 0;
	FILE *f = fopen(path, "r");
	size_t room = 0;

	assert_non_null(f);
	while (getline(&line, &room, f) > 0) {
		number++;
		line[strcspn(line, "\n")] = '\0';
		if (*line == '#' || !*line)
			continue;
		for (int i = n - 1; i > 0; i--) {
			char *bar = NULL;

			for (char *s = line; (s = strstr(s, " | ")); s++)
				bar = s;
			assert_non_null(bar);
			fields[i] = bar + 3;
			*bar = '\0';
		}
		fields[0] = line;
		got = check(fields);
		cases++;
		if (!is_expected(got, fields[n - 1])) {
			bad++;
			print_error("%s:%d: %s\n  expected %s\n  got      %s\n", file,
			    number, fields[0], fields[n - 1], got);
		}
		free(got);
	}
	print_message("%s: %d cases\n", file, cases);
	fclose(f);
	free(line);
	free(path);
	assert_true(cases > 0);
	assert_int_equal(bad, 0);
}

static char *
check_value(char **fields)
{
	json_t *names = read_json(fields[1], "{}"), *value = NULL;
	struct expr_scope scope = scope_of(names);
	struct err err;
	struct expr *e = expr_parse(fields[0], strlen(fields[0]), &err);
	char *got;

	if (e)
		value = expr_eval(e, &scope, &err);
	got = describe(value, &err);
	json_decref(value);
	json_decref(names);
	expr_free(e);
	return got;
}

static void
values_are_pythons(void **state)
{
	read_table("values-numbers.test", 3, check_value);
	read_table("values-text.test", 3, check_value);
	read_table("values-containers.test", 3, check_value);
	read_table("values-logic.test", 3, check_value);
	read_table("values-manual.test", 3, check_value);
	read_table("values-time.test", 3, check_value);
}

static void
what_is_not_ours_is_refused_by_name(void **state)
{
	read_table("refused.test", 3, check_value);
}

static enum truth
truth_of(void *arg, const char *name)
{
	const json_t *json = json_object_get(arg, name);

	assert_non_null(json);
	if (json_is_string(json))
		return TRUTH_OPEN;
	return json_is_null(json) ? TRUTH_UNKNOWN :
	    json_is_true(json) ? TRUTH_TRUE : TRUTH_FALSE;
}

static char *
check_event(char **fields)
{
	static const char *const words[] = { "false", "true", "unknown", "open" };
	json_t *truths = read_json(fields[1], "{}");
	struct err err;
	struct expr *e = expr_parse_event(fields[0], strlen(fields[0]), &err);
	char *got;

	got = e ? xstrdup(words[expr_decide(e, truth_of, truths)]) : describe(NULL, &err);
	json_decref(truths);
	expr_free(e);
	return got;
}

static void
an_event_is_decided_as_soon_as_it_can_be(void **state)
{
	read_table("events.test", 3, check_event);
}

static char *
check_evidence(char **fields)
{
	json_t *operand = read_json(fields[2], "null"), *names = read_json(fields[3], "{}");
	struct expr_scope scope = scope_of(names);
	enum expr_operator operator = EXPR_NO_OPERATOR;
	json_t *value = NULL, *answer = NULL;
	struct err err;
	struct expr *e = expr_parse(fields[0], strlen(fields[0]), &err);
	bool truth;
	char *got;

	assert_non_null(e);
	if (*fields[1])
		assert_int_equal(expr_operator_find(fields[1], &operator), 0);
	if (!expr_test(e, operator, operand, &scope, &value, &truth, &err)) {
		assert_non_null(value);
		answer = json_boolean(truth);
	} else
		assert_null(value);
	got = describe(answer, &err);
	json_decref(value);
	json_decref(operand);
	json_decref(names);
	expr_free(e);
	return got;
}

static void
an_evidence_compares_its_value_with_its_operand(void **state)
{
	read_table("evidences.test", 5, check_evidence);
}

static void
every_operator_has_its_text(void **state)
{
	enum expr_operator found;

	for (int i = EXPR_EQ; i <= EXPR_NOT_CONTAIN; i++) {
		assert_int_equal(expr_operator_find(expr_operator_text((enum expr_operator)i),
		    &found), 0);
		assert_int_equal(found, i);
	}
	assert_int_equal(expr_operator_find("", &found), -1);
	assert_int_equal(expr_operator_find("=", &found), -1);
	assert_int_equal(expr_operator_find("IS", &found), -1);
}

/* An event is true or false, then, whatever the open ones come to: tried out
 * on all of their outcomes. */
static void
no_outcome_of_the_open_changes_a_decision(void **state)
{
	static const char *const events[] = { "a and b or c", "a if b else c",
		"not (a or b) and c", "count(a, b, c) >= 2", "1 <= count(a, b, c) < 3",
		"count(a, b or c) == 1", "(a or b) if count(a, b, c) != 1 else not c" };
	static const char *const names[] = { "a", "b", "c" };
	struct err err;

	for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
		struct expr *e = expr_parse_event(events[i], strlen(events[i]), &err);

		assert_non_null(e);
		for (int code = 0; code < 64; code++) {
			json_t *truths = json_object(), *all = json_object();
			enum truth early, late;

			for (int k = 0; k < 3; k++) {
				int t = code >> 2 * k & 3;

				json_object_set_new(truths, names[k], t < 2 ?
				    json_boolean(t) : t == 2 ? json_null() : json_string("open"));
			}
			early = expr_decide(e, truth_of, truths);
			for (int outcome = 0; outcome < 27; outcome++) {
				int power[] = { 1, 3, 9 };

				json_object_update(all, truths);
				for (int k = 0; k < 3; k++) {
					int t = outcome / power[k] % 3;

					if ((code >> 2 * k & 3) == 3)
						json_object_set_new(all, names[k],
						    t < 2 ? json_boolean(t) : json_null());
				}
				late = expr_decide(e, truth_of, all);
				assert_int_not_equal(late, TRUTH_OPEN);
				if (early != TRUTH_OPEN)
					assert_int_equal(early, late);
			}
			json_decref(truths);
			json_decref(all);
		}
		expr_free(e);
	}
}

static void
free_names_come_once_in_the_order_of_the_text(void **state)
{
	const char *text = "b + abs(a)\n  - b * now.year + d.attr['k'] + max(c, default=a)";
	static const char *const expected[] = { "b", "a", "d", "c" };
	static const int places[][2] = { { 1, 1 }, { 1, 9 }, { 2, 20 }, { 2, 38 } };
	const char *const *names;
	int line, column;
	struct err err;
	struct expr *e = expr_parse(text, strlen(text), &err);

	assert_non_null(e);
	assert_int_equal(expr_names(e, &names), 4);
	for (size_t i = 0; i < 4; i++) {
		assert_string_equal(names[i], expected[i]);
		expr_name_at(e, i, &line, &column);
		assert_int_equal(line, places[i][0]);
		assert_int_equal(column, places[i][1]);
	}
	expr_free(e);
	expr_free(NULL);
}

static void
what_the_language_uses_is_no_name(void **state)
{
	static const char *const good[] = { "a", "_", "A1_", "liquidity", "print", "match" };
	static const char *const bad[] = { "", "1a", "a-b", "a b", "gr\xc3\xbcn", "and", "None",
		"lambda", "class", "now", "count", "date", "len", "a.b",
		"a123456789012345678901234567890123456789012345678901234567890123" };
	const char *const *functions;
	struct err err;

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		assert_int_equal(expr_check_name(good[i], &err), 0);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(expr_check_name(bad[i], &err), -1);
	for (size_t i = func_names(&functions); i-- > 0; )
		assert_int_equal(expr_check_name(functions[i], &err), -1);
}

static void
a_name_that_comes_near_is_proposed(void **state)
{
	static const char *const known[] = { "liquidity", "due_soon" };
	json_t *names = json_object();
	struct expr_scope scope = scope_of(names);
	struct err err;
	struct expr *e = expr_parse("1 +\n liqiudity", 14, &err);

	scope.known = known;
	scope.n_known = 2;
	assert_null(expr_eval(e, &scope, &err));
	assert_string_equal(err.message, "unknown name 'liqiudity'; did you mean 'liquidity'?");
	assert_int_equal(err.line, 2);
	assert_int_equal(err.column, 2);
	expr_free(e);
	json_decref(names);
}

static void
newlines_are_space_and_columns_count_characters(void **state)
{
	static const struct {
		const char *text, *outcome;
	} table[] = {
		{ "[1,\n 2] # newline and comment\n\n", "[1, 2]" },
		{ "\n\t1\r\n +\f2", "3" },
		{ "1 + \\\n 2", "3" },
		{ "'a\\\nb'", "\"ab\"" },
		{ "'''a\nb'''", "\"a\\nb\"" },
		{ "'a\nb'", "error 1:1 not closed" },
		{ "# only a comment", "error 1:17 ends" },
		{ "", "error 1:1 ends" },
		{ "'gr\xc3\xbc\xc3\x9f' +", "error 1:9 ends" },
		{ "1 +\n  2 +\n    'x'", "error 2:5 unsupported" },
		{ "'\xc0\x80'", "error 1:1 UTF-8" },
		{ "1 \x01", "error 1:3 control character" },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		char *fields[] = { (char *)table[i].text, (char *)"" };
		char *got = check_value(fields);

		if (!is_expected(got, table[i].outcome))
			fail_msg("%s: expected %s, got %s", table[i].text,
			    table[i].outcome, got);
		free(got);
	}
}

static void
a_text_need_not_end_in_nul(void **state)
{
	char text[] = { '1', '2', '+', '3' };
	struct err err;
	struct expr *e = expr_parse(text, 2, &err);
	json_t *names = json_object(), *v;
	struct expr_scope scope = scope_of(names);

	assert_non_null(e);
	v = expr_eval(e, &scope, &err);
	assert_int_equal(json_integer_value(v), 12);
	json_decref(v);
	json_decref(names);
	expr_free(e);
	assert_null(expr_parse("1\0" "2", 3, &err));
	assert_null(expr_parse("'\0'", 3, &err));
}

static char *
repeated(const char *before, const char *part, size_t n, const char *after)
{
	struct str s = STR_INIT;

	str_puts(&s, before);
	while (n--)
		str_puts(&s, part);
	str_puts(&s, after);
	return str_take(&s);
}

/* NAMES is taken. */
static void
assert_refused(char *text, json_t *names, const char *part)
{
	struct expr_scope scope = scope_of(names);
	struct err err;
	struct expr *e = expr_parse(text, strlen(text), &err);
	json_t *v = e ? expr_eval(e, &scope, &err) : NULL;

	if (v || !strstr(err.message, part))
		fail_msg("%.60s: expected an error with '%s', got %s", text, part,
		    v ? "a value" : err.message);
	expr_free(e);
	json_decref(names);
	free(text);
}

static void
text_is_bounded(void **state)
{
	struct err err;
	struct expr *e;
	char *text;

	assert_refused(repeated("", "(", 100000, ""), json_object(), "longer than 65536");
	assert_refused(repeated("", " ", 1024 * 1024, "1"), json_object(), "longer than 65536");
	assert_refused(repeated("", "(", 10000, "1"), json_object(), "deeper than 100");
	assert_refused(repeated("", "[", 10000, ""), json_object(), "deeper than 100");
	assert_refused(repeated("", "{1:", 10000, ""), json_object(), "deeper than 100");
	assert_refused(repeated("", "-", 10000, "1"), json_object(), "deeper than 100");
	assert_refused(repeated("", "not ", 10000, "1"), json_object(), "deeper than 100");
	assert_refused(repeated("", "1**", 10000, "1"), json_object(), "deeper than 100");
	assert_refused(repeated("", "1 if 1 else ", 5000, "1"), json_object(), "deeper than 100");
	assert_refused(repeated("", "abs(", 10000, "1"), json_object(), "deeper than 100");
	assert_refused(repeated("x", "[x", 10000, ""), json_object(), "deeper than 100");

	/* What only chains does not nest. */
	text = repeated("1", "+1", 30000, "");
	e = expr_parse(text, strlen(text), &err);
	assert_non_null(e);
	expr_free(e);
	free(text);
	text = repeated("a", " and a", 10000, "");
	e = expr_parse_event(text, strlen(text), &err);
	assert_non_null(e);
	expr_free(e);
	free(text);
}

static json_t *
nested(int depth)
{
	json_t *json = json_array();

	while (depth--) {
		json_t *outer = json_array();

		json_array_append_new(outer, json);
		json = outer;
	}
	return json;
}

static json_t *
with(const char *name, json_t *value)
{
	json_t *names = json_object();

	json_object_set_new(names, name, value);
	return names;
}

static json_t *
long_list(size_t n)
{
	json_t *list = json_array();

	while (n--)
		json_array_append_new(list, json_integer(0));
	return list;
}

static void
values_are_bounded(void **state)
{
	char *megabyte = repeated("", "x", 1024 * 1024, "");

	assert_refused(xstrdup("'a' * 10**9"), json_object(), "larger than");
	assert_refused(xstrdup("[0] * 10**9"), json_object(), "larger than");
	assert_refused(xstrdup("(0,) * 9223372036854775807"), json_object(), "larger than");
	assert_refused(xstrdup("[[0] * 1000] * 1000 == [[0] * 1000] * 1000"), json_object(),
	    "steps of work");
	assert_refused(xstrdup("2 ** 100000"), json_object(), "integer overflow");
	assert_refused(xstrdup("s + 'x'"), with("s", json_string(megabyte)), "larger than");
	assert_refused(xstrdup("s"), with("s", long_list(1024 * 1024 + 1)), "larger than");
	assert_refused(xstrdup("sum([s] * 1000, [])"), with("s", long_list(1000)),
	    "steps of work");
	assert_refused(xstrdup("str([s, s])"), with("s", json_string(megabyte)), "larger than");
	assert_refused(xstrdup("[s in s] * 3 == [s*2 in s]"), with("s", json_string(megabyte)),
	    "larger than");
	free(megabyte);
	/* Doubled by sharing: small in memory, endless to walk. */
	assert_refused(xstrdup("str([[[[[[[[[[[[[[[[[[[[[[1]*2]*2]*2]*2]*2]*2]*2]*2]*2]*2]"
	    "*2]*2]*2]*2]*2]*2]*2]*2]*2]*2]*2]*2)"), json_object(), "larger than");
	assert_refused(xstrdup("[[[[[[[[[[[[[[[[[[[[[[1]*2]*2]*2]*2]*2]*2]*2]*2]*2]*2]"
	    "*2]*2]*2]*2]*2]*2]*2]*2]*2]*2]*2]*2"), json_object(), "steps of work");
	/* Deep values, in every function that walks into them. */
	assert_refused(xstrdup("x"), with("x", nested(2000)), "nested deeper");
	assert_refused(xstrdup("str(x)"), with("x", nested(2000)), "nested deeper");
	assert_refused(xstrdup("x == [x]"), with("x", nested(2000)), "nested deeper");
	assert_refused(xstrdup("x < [x]"), with("x", nested(2000)), "nested deeper");
	assert_refused(xstrdup("x in [x, [x]]"), with("x", nested(2000)), "nested deeper");
	assert_refused(xstrdup("{'a': x}"), with("x", nested(2000)), "nested deeper");
	assert_refused(xstrdup("[x][x[9]]"), with("x", nested(2000)), "out of range");
}

static void
work_is_counted(void **state)
{
	char *text = repeated("[", "s == t,", 2000, "]");
	char *name = repeated("", "x", 100000, "");
	json_t *names = json_object();

	json_object_set_new(names, "s", json_string(name));
	json_object_set_new(names, "t", json_string(name));
	assert_refused(text, names, "steps of work");
	free(name);
	assert_refused(repeated("[", "sum(x),", 1000, "]"), with("x", long_list(100000)),
	    "steps of work");
	assert_refused(repeated("[", "1 in x,", 1000, "]"), with("x", long_list(100000)),
	    "steps of work");
	assert_refused(repeated("[", "x[:],", 1000, "]"), with("x", long_list(100000)),
	    "steps of work");
	assert_refused(repeated("[", "max(x),", 1000, "]"), with("x", long_list(100000)),
	    "steps of work");
}

/* len() of a large list touches none of its elements. */
static void
what_is_not_looked_at_costs_nothing(void **state)
{
	char *text = repeated("len(x)", " + len(x)", 5000, "");
	json_t *names = with("x", long_list(1000000)), *v;
	struct expr_scope scope = scope_of(names);
	struct err err;
	struct expr *e = expr_parse(text, strlen(text), &err);

	assert_non_null(e);
	v = expr_eval(e, &scope, &err);
	assert_true(json_integer_value(v) == 5001000000);
	json_decref(v);
	expr_free(e);
	json_decref(names);
	free(text);
}

static void
json_goes_through_unchanged(void **state)
{
	json_t *names = read_json("{\"x\": {\"b\": [1, 2.5, null, true, \"\\u0000\"], \"a\": {}}}", "");
	struct expr_scope scope = scope_of(names);
	struct err err;
	struct expr *e = expr_parse("x", 1, &err);
	json_t *v = expr_eval(e, &scope, &err);

	assert_true(json_equal(v, json_object_get(names, "x")));
	json_decref(v);
	json_decref(names);
	expr_free(e);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_pythons),
		cmocka_unit_test(what_is_not_ours_is_refused_by_name),
		cmocka_unit_test(an_event_is_decided_as_soon_as_it_can_be),
		cmocka_unit_test(an_evidence_compares_its_value_with_its_operand),
		cmocka_unit_test(every_operator_has_its_text),
		cmocka_unit_test(no_outcome_of_the_open_changes_a_decision),
		cmocka_unit_test(free_names_come_once_in_the_order_of_the_text),
		cmocka_unit_test(what_the_language_uses_is_no_name),
		cmocka_unit_test(a_name_that_comes_near_is_proposed),
		cmocka_unit_test(newlines_are_space_and_columns_count_characters),
		cmocka_unit_test(a_text_need_not_end_in_nul),
		cmocka_unit_test(text_is_bounded),
		cmocka_unit_test(values_are_bounded),
		cmocka_unit_test(work_is_counted),
		cmocka_unit_test(what_is_not_looked_at_costs_nothing),
		cmocka_unit_test(json_goes_through_unchanged),
	};

	return cmocka_run_group_tests_name("expr", tests, NULL, NULL);
}
