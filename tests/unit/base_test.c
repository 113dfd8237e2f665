/* base_test.c - what the ground floor promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"

static void
an_instant_survives_its_text(void **state)
{
	static const struct {
		const char *text, *canonical;
	} table[] = {
		{ "1970-01-01", "1970-01-01T00:00:00Z" },
		{ "2026-05-01T09:00Z", "2026-05-01T09:00:00Z" },
		{ "2026-05-01 11:00:00.5+02", "2026-05-01T09:00:00.500000Z" },
		{ "2024-02-29T23:59:59.999999-0130", "2024-03-01T01:29:59.999999Z" },
		{ "1969-12-31T23:59:59+00:00", "1969-12-31T23:59:59Z" },
		{ "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z" },
		{ "infinity", "infinity" }, { "-infinity", "-infinity" },
	};
	char buf[INSTANT_TEXT];
	struct err err;
	instant t;

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		assert_int_equal(clock_parse(table[i].text, &t, &err), 0);
		assert_string_equal(clock_format(t, buf), table[i].canonical);
	}
}

static void
what_is_no_time_is_refused(void **state)
{
	static const char *const table[] = { "", "yesterday", "2026-02-29",
		"2026-13-01", "2026-01-01T24:00", "2026-01-01T10", "2026-01-01T10:00+",
		"2026-01-01T10:00:00.", "2026-01-01T10:00:00.1234567", "2026-01-01x",
		"2026-01-01T10:00:00Z ", "0000-01-01" };
	struct err err;
	instant t;

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		assert_int_equal(clock_parse(table[i], &t, &err), -1);
}

static void
spans_are_read_and_written(void **state)
{
	static const struct {
		const char *text;
		span length;
		const char *canonical;
	} table[] = {
		{ "0", 0, "0s" }, { "90", 90 * SECOND, "1m30s" },
		{ "1h30m", 90 * MINUTE, "1h30m" }, { "250ms", SECOND / 4, "250ms" },
		{ "365d", 365 * DAY, "365d" }, { "2w", 14 * DAY, "14d" },
		{ "1.5h", 90 * MINUTE, "1h30m" }, { "0.5", SECOND / 2, "500ms" },
	};
	static const char *const bad[] = { "", "h", "1x", "1h30", "-1s", "1 h",
		"1.s", "200000d", "1e5", "99999999999999999999999d" };
	char buf[INSTANT_TEXT];
	struct err err;
	span t;

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		assert_int_equal(clock_parse_span(table[i].text, &t, &err), 0);
		assert_true(t == table[i].length);
		assert_string_equal(clock_format_span(t, buf), table[i].canonical);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(clock_parse_span(bad[i], &t, &err), -1);
}

static void
the_calendar_turns_both_ways(void **state)
{
	struct civil c;

	for (instant t = -800000 * HOUR; t < 800000 * HOUR; t += 997 * HOUR + 61 * SECOND) {
		clock_civil(t, &c);
		assert_true(clock_from_civil(&c) == t);
	}
	clock_civil(0, &c);
	assert_int_equal(c.weekday, 3);		/* a Thursday */
}

static void
a_slip_of_the_fingers_is_recognised(void **state)
{
	static const char *const names[] = { "liquidity", "due_soon", "cash" };

	assert_string_equal(str_nearest("liqiudity", names, 3), "liquidity");
	assert_string_equal(str_nearest("cahs", names, 3), "cash");
	assert_null(str_nearest("elephant", names, 3));
}

static void
utf8_is_told_from_bytes(void **state)
{
	assert_true(str_is_utf8("gr\xc3\xbc\xc3\x9f \xf0\x9f\x94\x94", 11));
	assert_false(str_is_utf8("\xc0\x80", 2));
	assert_false(str_is_utf8("\xed\xa0\x80", 3));
	assert_false(str_is_utf8("\xe2\x82", 2));
	assert_false(str_is_utf8("\xf4\x90\x80\x80", 4));
}

static void
context_goes_in_front_of_a_message(void **state)
{
	struct err err;

	err_at(&err, 3, 7, "no '%s'", "x");
	err_wrap(&err, "shop.toml");
	assert_string_equal(err.message, "shop.toml: no 'x'");
	assert_int_equal(err.line, 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_instant_survives_its_text),
		cmocka_unit_test(what_is_no_time_is_refused),
		cmocka_unit_test(spans_are_read_and_written),
		cmocka_unit_test(the_calendar_turns_both_ways),
		cmocka_unit_test(a_slip_of_the_fingers_is_recognised),
		cmocka_unit_test(utf8_is_told_from_bytes),
		cmocka_unit_test(context_goes_in_front_of_a_message),
	};

	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
