/* task_test.c - tasks of clients, on paper: their arguments, their settings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "base/err.h"
#include "base/str.h"
#include "base/toml.h"
#include "celery/bind.h"
#include "celery/refusal.h"
#include "model/registry.h"

/* --- arguments: what Python 3.11 says of def f(a, b, c=0) and the like --- */

static bool
has_default(const void *arg, size_t i)
{
	return i >= *(const size_t *)arg;
}

static struct raw
raw(const char *text)
{
	struct raw value;
	struct refusal refusal;

	assert_int_equal(raw_check(text, strlen(text), &value, &refusal), 0);
	return value;
}

static const struct {
	size_t n, required;
	const char *args, *kwargs, *bound;	/* bound: the values, or what is said */
} calls[] = {
	{ 3, 2, "[1, 2]", "{}", "1|2|-" },
	{ 3, 2, "[1]", "{\"b\": [3]}", "1|[3]|-" },
	{ 3, 2, "[]", "{\"c\": 3, \"b\": 2, \"a\": 1}", "1|2|3" },
	{ 0, 0, "[]", "{}", "" },
	{ 2, 2, "[1]", "{}", "f() missing 1 required positional argument: 'b'" },
	{ 2, 2, "[]", "{}", "f() missing 2 required positional arguments: 'a' and 'b'" },
	{ 3, 3, "[]", "{}", "f() missing 3 required positional arguments: 'a', 'b', and 'c'" },
	{ 2, 2, "[1, 2, 3]", "{}", "f() takes 2 positional arguments but 3 were given" },
	{ 1, 1, "[1, 2]", "{}", "f() takes 1 positional argument but 2 were given" },
	{ 0, 0, "[1]", "{}", "f() takes 0 positional arguments but 1 was given" },
	{ 3, 2, "[1, 2, 3, 4]", "{}", "f() takes from 2 to 3 positional arguments but 4 were given" },
	{ 2, 2, "[1, 2]", "{\"z\": 1}", "f() got an unexpected keyword argument 'z'" },
	{ 2, 2, "[1, 2]", "{\"a\": 1}", "f() got multiple values for argument 'a'" },
	{ 2, 2, "[1, 2, 3]", "{\"z\": 1}", "f() got an unexpected keyword argument 'z'" },
	{ 1, 1, "[NaN]", "{}", "NaN" },
	{ 1, 1, "[]", "{\"\\u0061\": 123456789012345678901234567890}",
	    "123456789012345678901234567890" },
};

static void
arguments_fit_as_they_do_in_python(void **state)
{
	static const char *const names[] = { "a", "b", "c" };

	for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
		struct bind_parameters p = { "f", names, calls[i].n, has_default,
			&calls[i].required };
		struct raw values[3];
		struct str s = STR_INIT;

		if (!bind_arguments(&p, raw(calls[i].args), raw(calls[i].kwargs), values, &s))
			for (size_t k = 0; k < calls[i].n; k++) {
				str_puts(&s, k ? "|" : "");
				if (values[k].text)
					str_add(&s, values[k].text, values[k].len);
				else
					str_putc(&s, '-');
			}
		assert_string_equal(str_text(&s), calls[i].bound);
		str_done(&s);
	}
}

/* --- settings --- */

static struct registry *
read_tasks(const char *text, struct err *err)
{
	struct toml *toml = toml_parse(text, strlen(text), err);
	const struct task_defaults standard = { .acks_late = true };
	struct registry *r;

	assert_non_null(toml);
	r = registry_new(json_object_get(toml_root(toml), "tasks"), &standard, toml, "x.toml", err);
	toml_free(toml);
	return r;
}

static void
a_task_is_what_its_table_says(void **state)
{
	struct err err;
	struct registry *r = read_tasks("[tasks.'shop.total']\nsql = 'select :a + :b'\n"
	    "args = ['a', 'b']\ndefaults = { b = 1 }\ntime_limit = 5\nrate_limit = '6/m'\n"
	    "max_retries = 3\nretry_backoff = '2s'\n"
	    "[tasks.now]\nshell = 'date'\nacks_late = false\n", &err);
	const struct task *t = registry_find(r, "shop.total");

	assert_int_equal(registry_count(r), 2);
	assert_string_equal(t->function, "total");
	assert_true(t->n == 2 && !task_may_miss(t, 0) && task_may_miss(t, 1));
	assert_true(t->how.hard == 5 * SECOND && t->how.soft == 5 * SECOND && t->rate == 0.1);
	assert_true(t->max_retries == 3 && t->retry_backoff == 2 * SECOND && t->acks_late);
	t = registry_find(r, "now");
	assert_true(t->how.executor == EXEC_SHELL && !t->acks_late && t->n == 0);
	assert_string_equal(t->function, "now");
	assert_null(registry_find(r, "total"));
	registry_release(r);
}

static const struct { const char *text, *message; } wrong[] = {
	{ "tasks = 3", "tasks: this is a whole number; a table is wanted" },
	{ "[tasks]\na = 3", "x.toml:2:5: tasks.a: this is a whole number; a table is wanted" },
	{ "[tasks.a]\nargs = ['x']", "x.toml:1:1: tasks.a: what computes it is missing: 'sql' or 'shell'" },
	{ "[tasks.a]\nsql = 'select :y'\nargs = ['x']", "x.toml:2:15: tasks.a: sql: args does not name 'y'" },
	{ "[tasks.a]\nsql = 'select 1'\nargs = ['x', 'x']", "x.toml:3:14: tasks.a: args: 'x' is there twice" },
	{ "[tasks.a]\nsql = 'select 1'\nargs = ['x', 'y']\ndefaults = { x = 1 }",
	    "x.toml:3:8: tasks.a: args: 'x', which has a default, stands before 'y', which has none" },
	{ "[tasks.a]\nsql = 'select 1'\ndefaults = { x = 1 }", "x.toml:3:14: tasks.a: defaults: 'x' is none of args" },
	{ "[tasks.a]\nsql = 'select 1'\nrate_limit = '10/x'",
	    "x.toml:3:14: tasks.a: rate_limit: '10/x' is no rate; such are \"10/s\", \"10/m\", \"10/h\"" },
	{ "[tasks.a]\nsql = 'select 1'\nacks_lat = true",
	    "x.toml:3:1: tasks.a: acks_lat: there is no such key; did you mean 'acks_late'?" },
	{ "[tasks.'celery.map']\nsql = 'select 1'",
	    "x.toml:1:1: tasks.celery.map: names that begin with 'tocsin.' or 'celery.' are taken" },
};

static void
a_wrong_table_is_refused_with_its_place(void **state)
{
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct err err = { 0 };

		assert_null(read_tasks(wrong[i].text, &err));
		assert_int_equal(err.class, ERR_CONFIG);
		if (strcmp(err.message, wrong[i].message))
			print_error("case %zu: %s\n", i, err.message);
		assert_string_equal(err.message, wrong[i].message);
	}
}

static void
rates_are_what_celery_takes_for_one(void **state)
{
	struct err err;
	double rate;

	assert_true(!task_parse_rate("10/s", &rate, &err) && rate == 10);
	assert_true(!task_parse_rate("30/m", &rate, &err) && rate == 0.5);
	assert_true(!task_parse_rate("3600/h", &rate, &err) && rate == 1);
	assert_true(!task_parse_rate("0.25", &rate, &err) && rate == 0.25);
	assert_true(!task_parse_rate("0", &rate, &err) && rate == 0);
	assert_int_equal(task_parse_rate("-1/s", &rate, &err), -1);
	assert_int_equal(task_parse_rate("nan", &rate, &err), -1);
	assert_int_equal(task_parse_rate("1/d", &rate, &err), -1);
	assert_int_equal(task_parse_rate("", &rate, &err), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arguments_fit_as_they_do_in_python),
		cmocka_unit_test(a_task_is_what_its_table_says),
		cmocka_unit_test(a_wrong_table_is_refused_with_its_place),
		cmocka_unit_test(rates_are_what_celery_takes_for_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
