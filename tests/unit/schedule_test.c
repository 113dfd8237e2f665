/* schedule_test.c - when recurrent events are due.
 *
 * By hand about the days when clocks are set; by the oracle (dateutil and
 * zoneinfo, in schedule_oracle.py) at random.  ORACLE_SEED and ORACLE_RULES in
 * the environment ask it for other rules, and for more of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <unistd.h>
#include "base/err.h"
#include "base/mem.h"
#include "base/zone.h"
#include "model/schedule.h"

static struct schedule *
open_schedule(const char *zone, const char *rrule)
{
	struct err err = { .message = "" };
	struct zone *z = zone_open(zone, &err);
	struct schedule *s = z ? schedule_new_take(rrule, z, &err) : NULL;

	if (!s)
		fail_msg("%s in %s: %s", rrule, zone, err.message);
	return s;
}

/* What comes after AFTER, and then, up to five times. */
struct row {
	const char *zone, *rrule, *dtstart, *after, *expected[5];
};

static void
check_rows(const struct row *row, size_t n)
{
	char buf[INSTANT_TEXT];
	instant start, t;
	struct err err;

	for (; n > 0; n--, row++) {
		struct schedule *s = open_schedule(row->zone, row->rrule);

		assert_int_equal(schedule_read_time(s, row->dtstart, &start, &err), 0);
		assert_int_equal(clock_parse(row->after, &t, &err), 0);
		for (int i = 0; i < 5 && row->expected[i]; i++) {
			if (schedule_next(s, start, t, &t, &err))
				fail_msg("%s: %s", row->rrule, err.message);
			if (strcmp(clock_format(t, buf), row->expected[i]))
				fail_msg("%s in %s: %s instead of %s", row->rrule, row->zone, buf,
				    row->expected[i]);
		}
		schedule_free(s);
	}
}
#define CHECK(rows) check_rows(rows, sizeof rows / sizeof rows[0])

static void
a_time_in_the_gap_moves_forward_by_the_gap_on_that_day_only(void **state)
{
	static const struct row rows[] = {
		{ "Europe/Berlin", "FREQ=DAILY", "2026-03-27T02:30:00", "2026-03-27T02:00:00Z",
		    { "2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z" } },
		{ "America/New_York", "FREQ=DAILY;BYHOUR=2;BYMINUTE=30;BYSECOND=0", "2026-01-01",
		    "2026-03-07T08:00:00Z",
		    { "2026-03-08T07:30:00Z", "2026-03-09T06:30:00Z" } },
		{ "Australia/Lord_Howe", "FREQ=WEEKLY;BYDAY=SU;BYHOUR=2;BYMINUTE=15", "2026-01-01",
		    "2026-09-30T00:00:00Z",
		    { "2026-10-03T15:45:00Z", "2026-10-10T15:15:00Z" } },
		{ "Asia/Kathmandu", "FREQ=DAILY;BYHOUR=2;BYMINUTE=30", "2026-01-01",
		    "2026-03-28T21:00:00Z", { "2026-03-29T20:45:00Z" } },
		/* A whole day was left out at the date line. */
		{ "Pacific/Apia", "FREQ=DAILY;BYHOUR=10;BYMINUTE=0", "2011-12-01",
		    "2011-12-29T19:00:00Z",
		    { "2011-12-29T20:00:00Z", "2011-12-30T20:00:00Z", "2011-12-31T20:00:00Z" } },
	};

	CHECK(rows);
}

static void
a_time_that_comes_twice_counts_once_at_the_first(void **state)
{
	static const struct row rows[] = {
		{ "Europe/Berlin", "FREQ=DAILY", "2026-03-27T02:30:00", "2026-10-24T00:00:00Z",
		    { "2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z" } },
		{ "Europe/Berlin", "FREQ=DAILY", "2026-03-27T02:30:00", "2026-10-25T00:30:00Z",
		    { "2026-10-26T01:30:00Z" } },
		{ "America/New_York", "FREQ=DAILY;BYHOUR=1;BYMINUTE=30;BYSECOND=0", "2026-01-01",
		    "2026-10-31T06:00:00Z", { "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z" } },
		{ "Australia/Lord_Howe", "FREQ=DAILY;BYHOUR=1;BYMINUTE=45", "2026-01-01",
		    "2026-04-03T15:00:00Z", { "2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z" } },
	};

	CHECK(rows);
}

static void
times_moved_out_of_the_gap_are_put_in_order(void **state)
{
	static const struct row rows[] = {
		/* 2:20 becomes 2:50, behind 2:40. */
		{ "Australia/Lord_Howe", "FREQ=DAILY;BYHOUR=2;BYMINUTE=20,40", "2026-01-01",
		    "2026-10-03T15:00:00Z",
		    { "2026-10-03T15:40:00Z", "2026-10-03T15:50:00Z", "2026-10-04T15:20:00Z" } },
		/* 2:00 becomes 3:00, which is there already: it counts once. */
		{ "Europe/Berlin", "FREQ=DAILY;BYHOUR=2,3;BYMINUTE=0,30;BYSECOND=0", "2026-01-01",
		    "2026-03-29T00:59:00Z",
		    { "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:00:00Z" } },
	};

	CHECK(rows);
}

static void
hours_minutes_and_seconds_pass_whatever_clocks_show(void **state)
{
	static const struct row rows[] = {
		{ "Europe/Berlin", "FREQ=HOURLY", "2026-03-29T00:30:00", "2026-03-28T23:30:00Z",
		    { "2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z", "2026-03-29T02:30:00Z" } },
		{ "Europe/Berlin", "FREQ=HOURLY;INTERVAL=5", "2026-10-24T23:00:00",
		    "2026-10-24T21:00:00Z", { "2026-10-25T02:00:00Z", "2026-10-25T07:00:00Z" } },
		/* ... but BYHOUR asks what they show: 2 o'clock comes never, or twice. */
		{ "Europe/Berlin", "FREQ=HOURLY;BYHOUR=2", "2026-03-01T00:30:00",
		    "2026-03-28T01:30:00Z", { "2026-03-30T00:30:00Z" } },
		{ "Europe/Berlin", "FREQ=HOURLY;BYHOUR=2", "2026-03-01T00:30:00",
		    "2026-10-24T23:00:00Z",
		    { "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z" } },
		{ "Asia/Kathmandu", "FREQ=MINUTELY;INTERVAL=15;BYHOUR=9", "2026-01-01T00:00:00",
		    "2026-05-04T03:59:59.5Z",
		    { "2026-05-04T04:00:00Z", "2026-05-05T03:15:00Z", "2026-05-05T03:30:00Z" } },
		{ "Australia/Lord_Howe", "FREQ=HOURLY", "2026-10-03T12:00:00",
		    "2026-10-03T15:00:00Z", { "2026-10-03T15:30:00Z", "2026-10-03T16:30:00Z" } },
		{ "Australia/Lord_Howe", "FREQ=HOURLY;BYMINUTE=0", "2026-10-03T12:00:00",
		    "2026-10-03T14:45:00Z", { "2026-10-03T16:00:00Z", "2026-10-03T17:00:00Z" } },
		{ "UTC", "FREQ=SECONDLY;INTERVAL=40;BYSECOND=0", "2026-01-01",
		    "2026-01-01T00:00:00Z", { "2026-01-01T00:02:00Z" } },
	};

	CHECK(rows);
}

static void
a_rule_ends_by_its_count_or_its_until(void **state)
{
	static const struct row rows[] = {
		{ "Europe/Berlin", "FREQ=DAILY;BYHOUR=9;COUNT=2", "2026-05-01T00:00:00",
		    "2020-01-01", { "2026-05-01T07:00:00Z", "2026-05-02T07:00:00Z", "infinity" } },
		{ "Europe/Berlin", "FREQ=HOURLY;COUNT=2", "2026-05-01T00:00:00",
		    "2020-01-01", { "2026-04-30T22:00:00Z", "2026-04-30T23:00:00Z", "infinity" } },
		{ "Europe/Berlin", "FREQ=DAILY;UNTIL=20260503", "2026-05-01T09:00:00",
		    "2026-05-02", { "2026-05-02T07:00:00Z", "2026-05-03T07:00:00Z", "infinity" } },
		{ "Europe/Berlin", "FREQ=DAILY;UNTIL=20260502T090000", "2026-05-01T09:00:00",
		    "2026-05-02", { "2026-05-02T07:00:00Z", "infinity" } },
		{ "Europe/Berlin", "FREQ=DAILY;UNTIL=20260502T065959Z", "2026-05-01T09:00:00",
		    "2026-05-01T07:00:00Z", { "infinity" } },
		{ "Europe/Berlin", "FREQ=MINUTELY;UNTIL=20260501T000100", "2026-05-01T00:00:00",
		    "2026-04-30T22:00:00Z", { "2026-04-30T22:01:00Z", "infinity" } },
		{ "UTC", "FREQ=YEARLY", "2199-01-01", "2199-01-01", { "infinity" } },
	};

	CHECK(rows);
}

static void
rules_mean_what_the_rfc_says(void **state)
{
	static const struct row rows[] = {
		{ "UTC", "FREQ=YEARLY", "2024-02-29", "2024-02-29", { "2028-02-29T00:00:00Z" } },
		{ "UTC", "FREQ=MONTHLY", "2026-01-31", "2026-01-31",
		    { "2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z" } },
		{ "UTC", "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", "2026-01-01",
		    "2026-01-01", { "2026-01-30T00:00:00Z", "2026-02-27T00:00:00Z" } },
		{ "UTC", "FREQ=YEARLY;BYDAY=20MO", "1997-05-19T09:00:00", "1997-05-19T09:00:00",
		    { "1998-05-18T09:00:00Z", "1999-05-17T09:00:00Z" } },
		{ "UTC", "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", "1997-05-12T09:00:00", "1997-05-11",
		    { "1997-05-12T09:00:00Z", "1998-05-11T09:00:00Z", "1999-05-17T09:00:00Z" } },
		{ "UTC", "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "1997-09-02T09:00:00", "1997-09-02",
		    { "1998-02-13T09:00:00Z", "1998-03-13T09:00:00Z", "1998-11-13T09:00:00Z",
		      "1999-08-13T09:00:00Z", "2000-10-13T09:00:00Z" } },
		{ "UTC", "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8",
		    "1996-11-05T09:00:00", "1996-11-04",
		    { "1996-11-05T09:00:00Z", "2000-11-07T09:00:00Z", "2004-11-02T09:00:00Z" } },
		{ "UTC", "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO", "1997-08-05T09:00:00",
		    "1997-08-04", { "1997-08-05T09:00:00Z", "1997-08-10T09:00:00Z",
		      "1997-08-19T09:00:00Z", "1997-08-24T09:00:00Z", "infinity" } },
		{ "UTC", "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU", "1997-08-05T09:00:00",
		    "1997-08-04", { "1997-08-05T09:00:00Z", "1997-08-17T09:00:00Z",
		      "1997-08-19T09:00:00Z", "1997-08-31T09:00:00Z", "infinity" } },
		{ "UTC", "FREQ=YEARLY;INTERVAL=3;COUNT=10;BYYEARDAY=1,100,200",
		    "1997-01-01T09:00:00", "1997-07-19T09:00:00",
		    { "2000-01-01T09:00:00Z", "2000-04-09T09:00:00Z" } },
		{ "UTC", "FREQ=YEARLY;BYMONTHDAY=6;BYDAY=FR", "2025-10-15T09:00:00", "2025-10-15",
		    { "2026-02-06T09:00:00Z" } },
		/* The first of a week that begins in the old year. */
		{ "UTC", "FREQ=YEARLY;BYWEEKNO=1;BYDAY=MO", "2024-01-01", "2024-01-02",
		    { "2024-12-30T00:00:00Z", "2025-12-29T00:00:00Z", "2027-01-04T00:00:00Z" } },
		{ "UTC", "FREQ=YEARLY;BYWEEKNO=-1;BYDAY=SU", "2024-01-01", "2024-01-02",
		    { "2024-12-29T00:00:00Z", "2025-12-28T00:00:00Z", "2027-01-03T00:00:00Z" } },
	};

	CHECK(rows);
}

static void
the_next_occurrence_lies_strictly_after(void **state)
{
	static const struct row rows[] = {
		{ "UTC", "FREQ=DAILY", "2026-05-01T09:00:00", "2026-05-01T08:59:59.999999Z",
		    { "2026-05-01T09:00:00Z", "2026-05-02T09:00:00Z" } },
		{ "UTC", "FREQ=DAILY", "2026-05-01T09:00:00", "2026-05-01T09:00:00.000001Z",
		    { "2026-05-02T09:00:00Z" } },
		/* A start within a second is the second's beginning. */
		{ "UTC", "FREQ=SECONDLY;INTERVAL=2", "2026-05-01T09:00:00.9Z", "2026-05-01T09:00:00Z",
		    { "2026-05-01T09:00:02Z" } },
	};

	CHECK(rows);
}

static void
a_rule_that_never_comes_true_ends_in_an_error(void **state)
{
	static const char *const rules[] = {
		"FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "FREQ=MONTHLY;BYMONTH=2;BYDAY=6MO",
		"FREQ=DAILY;BYMONTH=4;BYMONTHDAY=31", "FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30",
		"FREQ=SECONDLY;INTERVAL=2;BYSECOND=1", "FREQ=HOURLY;INTERVAL=24;BYHOUR=7",
		"FREQ=MONTHLY;BYDAY=MO,TU;BYMONTHDAY=31,30,29;BYSETPOS=3",
		"FREQ=SECONDLY;INTERVAL=10000;BYSECOND=7;BYMINUTE=31;BYYEARDAY=366",
	};
	struct err err;
	instant next;

	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
		struct schedule *s = open_schedule("UTC", rules[i]);

		if (!schedule_next(s, 0, -1, &next, &err))
			fail_msg("%s came true", rules[i]);
		assert_string_equal(err.message, "the rule never comes true");
		schedule_free(s);
	}
}

/* --- the oracle --- */

static FILE *
ask_oracle(const char *what, const char *n)
{
	const char *python = getenv("PYTHON3"), *srcdir = getenv("srcdir"),
	    *seed = getenv("ORACLE_SEED");
	char *command = xasprintf("%s %s/tests/unit/schedule_oracle.py %s %s %s",
	    python ? python : "python3", srcdir ? srcdir : ".", what, seed ? seed : "1", n);
	FILE *f = popen(command, "re");

	free(command);
	assert_non_null(f);
	return f;
}

/* Cut LINE at its bars. */
static int
split(char *line, char *fields[], int most)
{
	int n = 0;

	line[strcspn(line, "\n")] = '\0';
	while (n < most && (fields[n] = strsep(&line, "|")))
		n++;
	return n;
}

static void
compare_rule(char *field[])
{
	struct schedule *s = open_schedule(field[0], field[1]);
	struct err err = { .message = "" };
	char got[32] = "-";
	instant next;

	if (!schedule_next(s, atoll(field[2]) * SECOND, atoll(field[3]) * SECOND, &next, &err) &&
	    clock_isfinite(next))
		snprintf(got, sizeof got, "%lld", (long long)(next / SECOND));
	if (strcmp(got, field[4]))
		fail_msg("%s in %s from %s after %s: %s instead of %s %s", field[1], field[0],
		    field[2], field[3], got, field[4], err.message);
	schedule_free(s);
}

static void
rules_have_the_occurrences_of_dateutil(void **state)
{
	const char *n = getenv("ORACLE_RULES");
	FILE *f = ask_oracle("rules", n ? n : "200");
	char line[4096], *field[5];
	int compared = 0, status;

	while (fgets(line, sizeof line, f)) {
		assert_int_equal(split(line, field, 5), 5);
		compare_rule(field);
		compared++;
	}
	status = pclose(f);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();		/* no python3-dateutil */
	assert_int_equal(status, 0);
	assert_int_equal(compared, n ? atoi(n) : 200);
}

static void
zones_have_the_offsets_of_zoneinfo(void **state)
{
	FILE *f = ask_oracle("zones", "12");
	char line[4096], *field[4], last[100] = "";
	struct zone *z = NULL;
	struct err err;
	int compared = 0;

	while (fgets(line, sizeof line, f)) {
		instant t, got;

		assert_int_equal(split(line, field, 4), 4);
		if (strcmp(field[0], last)) {
			zone_free(z);
			assert_non_null(z = zone_open(field[0], &err));
			snprintf(last, sizeof last, "%s", field[0]);
		}
		t = atoll(field[2]) * SECOND;
		got = !strcmp(field[1], "utc") ? zone_offset(z, t) : zone_instant(z, t);
		if (got / SECOND != atoll(field[3]))
			fail_msg("%s: %s %s is %lld instead of %s", field[0], field[1], field[2],
			    (long long)(got / SECOND), field[3]);
		compared++;
	}
	zone_free(z);
	assert_int_equal(pclose(f), 0);
	assert_true(compared > 2000);
}

/* A zone whose file has nothing but a footer, of LEN bytes or all. */
static struct zone *
made_zone(const char *footer, size_t len, struct err *err)
{
	static const unsigned char block[] = "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
	    "\0\0\0\0" "\0\0\0\0" "\0\0\0\0" "\0\0\0\0" "\0\0\0\1" "\0\0\0\4"
	    "\0\0\0\0\0\0" "XXX";
	char dir[] = "/tmp/tocsin-zone-XXXXXX", path[64], text[400];
	size_t n = sizeof block;
	struct zone *z;
	FILE *f;

	memcpy(text, block, n);
	memcpy(text + n, block, n);
	n = 2 * n + (size_t)sprintf(text + 2 * n, "\n%s\n", footer);
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/Made", dir);
	assert_non_null(f = fopen(path, "we"));
	fwrite(text, 1, len < n ? len : n, f);
	fclose(f);
	setenv("TZDIR", dir, 1);
	z = zone_open("Made", err);
	unsetenv("TZDIR");
	remove(path);
	remove(dir);
	return z;
}

static void
the_footer_of_a_zone_is_a_rule_of_posix(void **state)
{
	static const struct {
		const char *footer, *at;
		span offset;
	} table[] = {
		{ "XXX5", "2024-03-01T05:00Z", -5 * HOUR },
		{ "<+0530>-5:30", "2024-03-01T05:00Z", 5 * HOUR + 30 * MINUTE },
		{ "", "2024-03-01T05:00Z", 0 },
		/* J60 is the first of March, leap year or not. */
		{ "XXX5YYY,J60/0,J300/0", "2024-03-01T04:59:59Z", -5 * HOUR },
		{ "XXX5YYY,J60/0,J300/0", "2024-03-01T05:00:00Z", -4 * HOUR },
		{ "XXX5YYY,J60/0,J300/0", "2025-03-01T04:59:59Z", -5 * HOUR },
		{ "XXX5YYY,J60/0,J300/0", "2025-03-01T05:00:00Z", -4 * HOUR },
		/* ... and 59 is the sixtieth day. */
		{ "XXX5YYY4:30,59/0,J300/0", "2024-02-29T05:00:00Z", -4 * HOUR - 30 * MINUTE },
		{ "XXX5YYY4:30,59/0,J300/0", "2025-02-28T23:00:00Z", -5 * HOUR },
		/* Summer about the new year. */
		{ "XXX-10YYY,M10.1.0,M4.1.0/3", "2024-01-15", 11 * HOUR },
		{ "XXX-10YYY,M10.1.0,M4.1.0/3", "2024-07-15", 10 * HOUR },
	};
	static const char *const bad[] = { "X5", "XXX", "XXX5YYY", "XXX5YYY,", "XXX5YYY,M13.1.0,J1",
		"XXX5YYY,M3.0.0,J1", "XXX5YYY,M3.1.7,J1", "XXX200", "XXX5YYY,J1,J2,J3", "<XXX5" };
	struct err err;
	struct zone *z;
	instant t;

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		assert_non_null(z = made_zone(table[i].footer, SIZE_MAX, &err));
		assert_int_equal(clock_parse(table[i].at, &t, &err), 0);
		if (zone_offset(z, t) != table[i].offset)
			fail_msg("%s at %s", table[i].footer, table[i].at);
		zone_free(z);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_null(made_zone(bad[i], SIZE_MAX, &err));
	for (size_t len = 0; len < 2 * 54 + 6; len++)
		assert_null(made_zone("XXX5", len, &err));
}

static void
only_the_systems_zones_are_opened(void **state)
{
	static const char *const names[] = { "", "Europe", "Europe/Berln", "../zoneinfo/UTC",
		"/etc/localtime", "Europe//Berlin", "Europe/Berlin/", "zone.tab", "tzdata.zi",
		"europe/\nberlin", "right/UTC2" };
	struct err err;

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		assert_null(zone_open(names[i], &err));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_time_in_the_gap_moves_forward_by_the_gap_on_that_day_only),
		cmocka_unit_test(a_time_that_comes_twice_counts_once_at_the_first),
		cmocka_unit_test(times_moved_out_of_the_gap_are_put_in_order),
		cmocka_unit_test(hours_minutes_and_seconds_pass_whatever_clocks_show),
		cmocka_unit_test(a_rule_ends_by_its_count_or_its_until),
		cmocka_unit_test(rules_mean_what_the_rfc_says),
		cmocka_unit_test(the_next_occurrence_lies_strictly_after),
		cmocka_unit_test(a_rule_that_never_comes_true_ends_in_an_error),
		cmocka_unit_test(rules_have_the_occurrences_of_dateutil),
		cmocka_unit_test(zones_have_the_offsets_of_zoneinfo),
		cmocka_unit_test(the_footer_of_a_zone_is_a_rule_of_posix),
		cmocka_unit_test(only_the_systems_zones_are_opened),
	};

	return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
