/* json_test.c - one value, one text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"

static json_t *
read_text(const char *text)
{
	struct err err = { 0 };
	json_t *v = json_read(text, strlen(text), &err);

	if (!v)
		fail_msg("%s: %s", text, err.message);
	return v;
}

static void
equal_values_have_one_canonical_text(void **state)
{
	static const struct {
		const char *text, *canonical;
	} table[] = {
		{ " null ", "null" }, { "true", "true" }, { "-7", "-7" },
		{ "9223372036854775807", "9223372036854775807" },
		{ "0.1", "0.1" }, { "2.0", "2.0" }, { "-0.0", "-0.0" },
		{ "1e22", "1e+22" }, { "1E-7", "1e-07" },
		{ "0.30000000000000004", "0.30000000000000004" },
		{ "5e-324", "4.94065645841247e-324" },
		{ "[ ]", "[]" }, { "{ }", "{}" }, { "[[],{},[1]]", "[[],{},[1]]" },
		{ "{\"b\":1,\"a\":{\"d\":[2.50],\"c\":null},\"B\":0}",
		  "{\"B\":0,\"a\":{\"c\":null,\"d\":[2.5]},\"b\":1}" },
		{ "\"\\u00fc\\/\\n\\u0001\\\\\\\"b\"", "\"\xc3\xbc/\\n\\u0001\\\\\\\"b\"" },
		{ "{\"k\\\"\":\"v\"}", "{\"k\\\"\":\"v\"}" },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		json_t *v = read_text(table[i].text), *again;
		char *text = json_canonical(v);

		assert_string_equal(text, table[i].canonical);
		again = read_text(text);
		assert_true(json_equal(v, again));
		json_decref(again);
		json_decref(v);
		free(text);
	}
}

static void
every_real_reads_back_as_itself(void **state)
{
	uint64_t bits = 88172645463325252u;
	char buf[JSON_REAL_TEXT];

	for (int i = 0; i < 100000; i++) {
		double x;
		json_t *v;

		bits ^= bits << 13;
		bits ^= bits >> 7;
		bits ^= bits << 17;
		memcpy(&x, &bits, sizeof x);
		if (x - x != 0)		/* no number */
			continue;
		v = read_text(json_format_real(x, buf));
		assert_true(json_is_real(v) && json_real_value(v) == x);
		json_decref(v);
		v = read_text(json_real_for_books(x, buf));
		assert_true(json_is_real(v) && json_real_value(v) == x);
		assert_null(strstr(buf, "e+"));
		json_decref(v);
	}
}

static void
appending_keeps_the_order_of_keys(void **state)
{
	json_t *v = read_text("{\"b\":1,\"a\":[0.1,\"x\"]}");
	struct str s = STR_INIT;

	str_puts(&s, "= ");
	json_append(&s, v);
	assert_string_equal(str_text(&s), "= {\"b\":1,\"a\":[0.1,\"x\"]}");
	str_done(&s);
	json_decref(v);
}

static void
strings_may_hold_nul_and_texts_may_be_no_utf8(void **state)
{
	json_t *v = json_stringn("a\0b", 3);
	char *text = json_canonical(v);
	struct str s = STR_INIT;

	assert_string_equal(text, "\"a\\u0000b\"");
	json_append_text(&s, "a\xff\"", 3);
	assert_string_equal(str_text(&s), "\"a\\ufffd\\\"\"");
	str_done(&s);
	free(text);
	json_decref(v);
}

static void
depth_is_no_danger(void **state)
{
	enum { DEPTH = 200000 };
	json_t **level = calloc(DEPTH, sizeof *level);
	char *text;

	for (int i = 0; i < DEPTH; i++) {
		level[i] = i % 2 ? json_object() : json_array();
		if (i > 0 && i % 2)
			json_array_append(level[i - 1], level[i]);
		else if (i > 0)
			json_object_set(level[i - 1], "k", level[i]);
	}
	text = json_canonical(level[0]);
	assert_int_equal(strlen(text), DEPTH * 2 + (DEPTH / 2 - 1) * 4);
	free(text);
	for (int i = DEPTH - 1; i >= 0; i--) {	/* jansson frees by recursion */
		if (json_is_array(level[i]))
			json_array_clear(level[i]);
		else
			json_object_clear(level[i]);
		json_decref(level[i]);
	}
	free(level);
}

static void
an_error_names_its_place(void **state)
{
	static const struct {
		const char *text;
		int line, column;
		const char *says;
	} table[] = {
		{ "", 1, 1, "end of file" },
		{ "{\"a\": 1,\n  nope}", 2, 6, "nope" },
		{ "{\"a\":1,\"a\":2}", 1, 10, "duplicate" },
		{ "[1] 2", 1, 5, "end of file expected" },
		{ "99999999999999999999", 1, 20, "too big integer" },
		{ "NaN", 1, 3, "invalid token" },
		{ "1e400", 1, 5, "real number overflow" },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct err err = { 0 };

		assert_null(json_read(table[i].text, strlen(table[i].text), &err));
		assert_non_null(strstr(err.message, "not JSON"));
		if (!strstr(err.message, table[i].says))
			fail_msg("%s: %s", table[i].text, err.message);
		assert_int_equal(err.line, table[i].line);
		assert_int_equal(err.column, table[i].column);
	}
}

static void
kinds_have_names(void **state)
{
	static const char *const table[][2] = { { "{}", "object" }, { "[]", "array" },
		{ "\"\"", "string" }, { "1", "integer" }, { "1.0", "number" },
		{ "false", "boolean" }, { "true", "boolean" }, { "null", "null" } };

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		json_t *v = read_text(table[i][0]);

		assert_string_equal(json_kind(v), table[i][1]);
		json_decref(v);
	}
	assert_string_equal(json_kind(NULL), "nothing");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_values_have_one_canonical_text),
		cmocka_unit_test(every_real_reads_back_as_itself),
		cmocka_unit_test(appending_keeps_the_order_of_keys),
		cmocka_unit_test(strings_may_hold_nul_and_texts_may_be_no_utf8),
		cmocka_unit_test(depth_is_no_danger),
		cmocka_unit_test(an_error_names_its_place),
		cmocka_unit_test(kinds_have_names),
	};

	return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
