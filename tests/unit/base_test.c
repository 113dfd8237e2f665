/* base_test.c - what the ground floor promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/uuid.h"

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

static void
visible_text_stays_on_its_line(void **state)
{
	static const struct {
		const char *text, *seen;
	} table[] = {
		{ "plain \\ \"text\"", "plain \\ \"text\"" },
		{ "a\nb\r\tc", "a\\nb\\r\\tc" },
		{ "\033[2J\177\a", "\\x1b[2J\\x7f\\x07" },
		{ "\xc2\x9b" "31m \xc2\xa0", "\\x9b31m \xc2\xa0" },
		{ "\xff\xc3", "\\xff\\xc3" },
		{ "a\xe2\x80\xae" "b\xe2\x80\xa8\xe2\x81\xa9\xe2\x80\x8f", "a\\u202eb\\u2028\\u2069\\u200f" },
		{ "\xe2\x80\xa6 \xe2\x81\xaa", "\xe2\x80\xa6 \xe2\x81\xaa" },
		{ "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f" },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct str s = STR_INIT;

		str_visible(&s, table[i].text);
		assert_string_equal(str_text(&s), table[i].seen);
		str_done(&s);
	}
}

static void
text_is_clipped_between_characters(void **state)
{
	static const struct {
		const char *text;
		size_t columns;
		const char *clipped;
	} table[] = {
		{ "abc", 3, "abc" }, { "abcd", 3, "ab\xe2\x80\xa6" }, { "abc", 0, "" },
		{ "abc", 1, "\xe2\x80\xa6" }, { "", 0, "" },
		{ "\xc3\xbc\xc3\xb6\xc3\xa4", 3, "\xc3\xbc\xc3\xb6\xc3\xa4" },
		{ "\xc3\xbc\xf0\x9f\x94\x94\xc3\xa4 ", 3, "\xc3\xbc\xf0\x9f\x94\x94\xe2\x80\xa6" },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct str s = STR_INIT;

		str_clip(&s, table[i].text, table[i].columns);
		assert_string_equal(str_text(&s), table[i].clipped);
		str_done(&s);
	}
	assert_int_equal(str_width("gr\xc3\xbc\xc3\x9f"), 4);
}

static void
a_name_always_gives_the_same_uuid(void **state)
{
	/* The first is RFC 9562's own, the others were made by libuuid. */
	static const struct {
		const char *space, *name, *uuid;
	} table[] = {
		{ "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "www.example.com",
		  "2ed6657d-e927-568b-95e1-2665a8aea6a2" },
		{ "6BA7B811-9DAD-11D1-80B4-00C04FD430C8", "http://python.org/",
		  "4c565f0d-3f5a-5890-b41b-20cf47701c5e" },
		{ "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "python.org",
		  "886313e1-3b8a-5372-9b90-0c9aee199e5d" },
		{ "00000000-0000-0000-0000-000000000000", "",
		  "e129f27c-5103-5c5c-844b-cdf0a15e160d" },
	};
	char buf[UUID_TEXT];
	struct uuid space, u;
	struct err err;

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		assert_int_equal(uuid_parse(table[i].space, &space, &err), 0);
		u = uuid_v5(&space, table[i].name, strlen(table[i].name));
		assert_string_equal(uuid_format(&u, buf), table[i].uuid);
	}
}

static void
what_is_no_uuid_is_refused(void **state)
{
	static const char *const table[] = { "", "6ba7b810",
		"{6ba7b810-9dad-11d1-80b4-00c04fd430c8}",
		"6ba7b810-9dad-11d1-80b4-00c04fd430c",
		"6ba7b810-9dad-11d1-80b4-00c04fd430c88",
		"6ba7b8109dad11d180b400c04fd430c8",
		"6ba7b810-9dad-11d1-80b4-00c04fd430cg",
		"6ba7b810+9dad-11d1-80b4-00c04fd430c8",
		"urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8" };
	struct err err;
	struct uuid u;

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		assert_int_equal(uuid_parse(table[i], &u, &err), -1);
}

static void
random_uuids_differ_and_say_their_version(void **state)
{
	struct uuid last = uuid_v4();

	for (int i = 0; i < 1000; i++) {
		struct uuid u = uuid_v4();

		assert_int_equal(u.bytes[6] >> 4, 4);
		assert_int_equal(u.bytes[8] >> 6, 2);
		assert_false(uuid_equal(&u, &last));
		last = u;
	}
}

static void
a_child_makes_other_uuids_than_its_parent(void **state)
{
	struct uuid here, there;
	int fd[2];

	uuid_v4();		/* both have the same pool now */
	assert_int_equal(pipe(fd), 0);
	if (fork() == 0) {
		there = uuid_v4();
		_exit(write(fd[1], &there, sizeof there) != sizeof there);
	}
	here = uuid_v4();
	assert_int_equal(read(fd[0], &there, sizeof there), sizeof there);
	assert_false(uuid_equal(&here, &there));
	wait(NULL);
	close(fd[0]);
	close(fd[1]);
}

static void
a_fingerprint_is_sha256(void **state)
{
	char hex[SHA256_TEXT];

	sha256_hex("abc", 3, hex);
	assert_string_equal(hex,
	    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	sha256_hex("", 0, hex);
	assert_string_equal(hex,
	    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
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
		cmocka_unit_test(visible_text_stays_on_its_line),
		cmocka_unit_test(text_is_clipped_between_characters),
		cmocka_unit_test(a_name_always_gives_the_same_uuid),
		cmocka_unit_test(what_is_no_uuid_is_refused),
		cmocka_unit_test(random_uuids_differ_and_say_their_version),
		cmocka_unit_test(a_child_makes_other_uuids_than_its_parent),
		cmocka_unit_test(a_fingerprint_is_sha256),
	};

	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
