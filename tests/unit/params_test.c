/* params_test.c - which colons of an SQL text are parameters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/err.h"
#include "base/str.h"
#include "model/params.h"

static void
check(const char *sql, const char *text, const char *names)
{
	struct str got = STR_INIT;
	struct err err = { .message = "" };
	struct params *p = params_parse(sql, &err);
	const char *const *name;
	size_t n;

	if (!p)
		fail_msg("%s: %s", sql, err.message);
	name = params_names(p, &n);
	for (size_t i = 0; i < n; i++)
		str_printf(&got, "%s%s", i ? " " : "", name[i]);
	if (strcmp(params_text(p), text))
		fail_msg("%s: '%s' instead of '%s'", sql, params_text(p), text);
	assert_string_equal(str_text(&got), names);
	str_done(&got);
	params_free(p);
}

static void
names_become_numbers(void **state)
{
	static const struct {
		const char *sql, *text, *names;
	} table[] = {
		{ "select :a, :b, :a", "select $1, $2, $1", "a b" },
		{ "select :now::date + :days", "select $1::date + $2", "now days" },
		{ ":a", "$1", "a" },
		{ "select(:a)", "select($1)", "a" },
		{ "select 1 where x=:a_1 and y<:B", "select 1 where x=$1 and y<$2", "a_1 B" },
		{ "select case when x then:n end", "select case when x then $1 end", "n" },
		{ "select 1:n", "select 1 $1", "n" },
		{ "select x:::a", "select x::$1", "a" },
		{ "select a[:i]", "select a[$1]", "i" },
		{ "select a[:lo::int]", "select a[$1::int]", "lo" },
		{ "select a[1 :n]", "select a[1 $1]", "n" },
		{ "select array[:a,:b]", "select array[$1,$2]", "a b" },
		{ "select a[f(x, :n)]", "select a[f(x, $1)]", "n" },
		{ "select a[(b):n], :m", "select a[(b):n], $1", "m" },
		{ "select f(b:n)", "select f(b $1)", "n" },
		{ "select E'x'\n  'y' || :a", "select E'x'\n  'y' || $1", "a" },
		{ "select :a$", NULL, NULL },
	};

	for (size_t i = 0; table[i].text; i++)
		check(table[i].sql, table[i].text, table[i].names);
}

static void
everything_else_is_left_alone(void **state)
{
	static const char *const table[] = {
		"", "select 1", "select '2026-01-01'::date", "select a::b::c", "x := 3",
		"select ':a'", "select 'it''s :a'", "select 'back\\', 1", "select E'\\':a'",
		"select e'\\\\' || 'x'", "select E'a'\n\t'\\':b'", "select E'a' -- c\n '\\':b'",
		"select \"x:a\"", "select \"q\"\":a\"", "select $$ :a $$", "select $t$ :a $$ :b $t$",
		"select $t1_$:a$t1_$", "select $\xc3\xa4$ :a $\xc3\xa4$", "select a$b$c, d$1",
		"-- :a\nselect 1", "select 1 -- :a", "/* :a */ select 1", "/* /* :a */ :b */ select 1",
		"select a[1:2], a[x:y], a[f(1):g], a[b[1]:n], a['1':n]", "select a[1: 2]",
		"select a[1:], a[:2], a[:]", "select 12:30", "select U&'d\\0061 :a'",
		"select B'01', X':a'", "select '{\"a\": 1}'::jsonb @> '{\"b\":null}'", ":", "::", ":=",
		"select $", "select a $ b", "select 'x'':a'", "\xff\xfe", "select '\n:a\n'",
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		check(table[i], table[i], "");
}

static void
what_cannot_be_read_is_told_with_its_place(void **state)
{
	static const struct {
		const char *sql;
		int line, column;
		const char *message;
	} table[] = {
		{ "select 'x", 1, 8, "the string that begins here does not end" },
		{ "select\n  E'x\\'", 2, 4, "the string that begins here does not end" },
		{ "select E'a'\n'b", 1, 9, "the string that begins here does not end" },
		{ "select \"x", 1, 8, "the quoted identifier that begins here does not end" },
		{ "select $a$ $b$", 1, 8, "the $-quoted string that begins here does not end" },
		{ "select 1\n/* /* */", 2, 1, "the comment that begins here does not end" },
		{ "select $1", 1, 8, "$1, $2 ... are made by tocsin; write a parameter as :name" },
		{ "select '\xc3\xa4', 1+$23", 1, 15,
		    "$1, $2 ... are made by tocsin; write a parameter as :name" },
		{ "select :gr\xc3\xb6\xc3\x9f" "e", 1, 8,
		    "the name of a parameter is made of the letters a to z, digits and _" },
		{ "select :\xc3\xb6", 1, 8,
		    "the name of a parameter is made of the letters a to z, digits and _" },
		{ "select :a$$x$$", 1, 8,
		    "the name of a parameter is made of the letters a to z, digits and _" },
		{ "select :a234567890123456789012345678901234567890123456789012345678901234", 1, 8,
		    "the name of a parameter is longer than 63 bytes" },
	};
	struct err err;

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		assert_null(params_parse(table[i].sql, &err));
		assert_string_equal(err.message, table[i].message);
		assert_int_equal(err.line, table[i].line);
		assert_int_equal(err.column, table[i].column);
	}
}

static void
a_name_knows_where_it_first_stands(void **state)
{
	struct err err;
	struct params *p = params_parse("select '\xc3\xa4', :a,\n  :b, :a", &err);
	int line, column;

	params_place(p, 0, &line, &column);
	assert_int_equal(line, 1);
	assert_int_equal(column, 13);
	params_place(p, 1, &line, &column);
	assert_int_equal(line, 2);
	assert_int_equal(column, 3);
	params_free(p);
}

static void
a_thousand_parameters_are_enough(void **state)
{
	struct str sql = STR_INIT;
	struct err err;
	struct params *p;
	size_t n;

	for (int i = 0; i < PARAMS_MAX; i++)
		str_printf(&sql, ":p%d ", i);
	assert_non_null(p = params_parse(str_text(&sql), &err));
	params_names(p, &n);
	assert_int_equal(n, PARAMS_MAX);
	params_free(p);
	str_puts(&sql, ":p0 :more");
	assert_null(params_parse(str_text(&sql), &err));
	assert_string_equal(err.message, "more than 1000 parameters");
	str_done(&sql);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_become_numbers),
		cmocka_unit_test(everything_else_is_left_alone),
		cmocka_unit_test(what_cannot_be_read_is_told_with_its_place),
		cmocka_unit_test(a_name_knows_where_it_first_stands),
		cmocka_unit_test(a_thousand_parameters_are_enough),
	};

	return cmocka_run_group_tests_name("params", tests, NULL, NULL);
}
