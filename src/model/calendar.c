/* calendar.c - enumerate what a rule of days, weeks, months or years has.
 *
 * Every frequency is a row of periods (the days, the weeks ...), of which each
 * INTERVAL-th counts.  Of such a period we make the set: the days that all
 * BY... parts have, each with the times of day; BYSETPOS chooses from it.  What
 * RFC 5545 calls "expand" and "limit" is the same seen so: both ask which days
 * of the period fit.
 *
 * libical was tried and left: it takes YEARLY;BYMONTHDAY=6 for a day of one
 * month, BYSETPOS for a position after dtstart, and may search for minutes. */
#include "model/calendar.h"
#include <stdlib.h>
#include "base/mem.h"
#include "base/vec.h"
#include "model/rule.h"

struct calendar {
	const struct rule *rule;
	struct civil start;
	instant start_at, from;
	VEC(int) times;			/* of a day, in seconds, ascending */
	int64_t first;			/* the period of START */
	int64_t period;			/* the one we are in */
	instant days[366];		/* of its set, each at midnight */
	size_t n_days;
	VEC(size_t) chosen;		/* by BYSETPOS, ascending */
	size_t position;		/* in the set, or in CHOSEN */
	int left;			/* of COUNT; -1 without one */
};

instant
calendar_begin_of(int year)
{
	return clock_from_civil(&(struct civil){ .year = year, .month = 1, .day = 1 });
}

static instant
begin_of_month(int year, int month)
{
	return clock_from_civil(&(struct civil){
	    .year = year + (month - 1) / 12, .month = (month - 1) % 12 + 1, .day = 1 });
}

static int
days_between(instant from, instant to)
{
	return (int)((to - from) / DAY);
}

/* --- does a day fit? --- */

/* The first day of week 1, which is the first with four days in YEAR. */
static instant
first_week(const struct rule *r, int year)
{
	struct civil january;
	int into;

	clock_civil(calendar_begin_of(year), &january);
	into = (january.weekday - r->week_start + 7) % 7;
	return calendar_begin_of(year) + (into <= 3 ? -into : 7 - into) * DAY;
}

static bool
week_fits(const struct rule *r, int year, instant day)
{
	instant first = first_week(r, year), next = first_week(r, year + 1);

	if (r->by[BYWEEKNO].n == 0)
		return true;
	if (day < first) {
		next = first;
		first = first_week(r, year - 1);
	} else if (day >= next) {
		first = next;
		next = first_week(r, year + 2);
	}
	return rule_lists_from_end(&r->by[BYWEEKNO], days_between(first, day) / 7 + 1,
	    days_between(first, next) / 7);
}

/* "-1FR" is the last Friday of the month, or of the year where the rule is
 * YEARLY and names no months. */
static bool
weekday_fits(const struct rule *r, const struct civil *c, int yearday, int year_days,
    int month_days)
{
	const struct by_list *numbers = &r->weekday[c->weekday];
	bool of_year = r->frequency == YEARLY && r->by[BYMONTH].n == 0;
	int nth = of_year ? (yearday - 1) / 7 : (c->day - 1) / 7,
	    nth_last = of_year ? (year_days - yearday) / 7 : (month_days - c->day) / 7;

	if (r->by[BYDAY].n == 0)
		return true;
	return numbers->n > 0 && (rule_lists(numbers, 0) ||
	    rule_lists_from_end(numbers, nth + 1, nth + 1 + nth_last));
}

/* What the rule leaves open and its frequency wants to know. */
static bool
default_fits(const struct rule *r, const struct civil *start, const struct civil *c)
{
	if (r->by[BYDAY].n > 0 || r->by[BYMONTHDAY].n > 0 || r->by[BYYEARDAY].n > 0)
		return true;
	if (r->frequency == WEEKLY || r->by[BYWEEKNO].n > 0)
		return c->weekday == start->weekday;
	if (r->frequency < MONTHLY)
		return true;
	return c->day == start->day &&
	    (r->frequency == MONTHLY || r->by[BYMONTH].n > 0 || c->month == start->month);
}

bool
calendar_has_day(const struct rule *r, const struct civil *start, instant local)
{
	instant month, year;
	int yearday, year_days, month_days;
	struct civil c;

	clock_civil(local, &c);
	if (!rule_lists(&r->by[BYMONTH], c.month) || !default_fits(r, start, &c))
		return false;
	month = begin_of_month(c.year, c.month);
	month_days = days_between(month, begin_of_month(c.year, c.month + 1));
	if (!rule_lists_from_end(&r->by[BYMONTHDAY], c.day, month_days))
		return false;
	year = calendar_begin_of(c.year);
	year_days = days_between(year, calendar_begin_of(c.year + 1));
	yearday = days_between(year, month) + c.day;
	return rule_lists_from_end(&r->by[BYYEARDAY], yearday, year_days) &&
	    weekday_fits(r, &c, yearday, year_days, month_days) &&
	    week_fits(r, c.year, local);
}

/* --- periods --- */

static int64_t
floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* The number of the period in which LOCAL lies. */
static int64_t
period_of(const struct rule *r, instant local)
{
	struct civil c;

	clock_civil(local, &c);
	switch (r->frequency) {
	case YEARLY:
		return c.year;
	case MONTHLY:
		return c.year * 12 + c.month - 1;
	case WEEKLY:		/* 1970 began on a Thursday */
		return floor_div(floor_div(local, DAY) + 3 - r->week_start, 7);
	default:
		return floor_div(local, DAY);
	}
}

static instant
begin_of_period(const struct rule *r, int64_t period)
{
	switch (r->frequency) {
	case YEARLY:
		return calendar_begin_of((int)period);
	case MONTHLY:
		return begin_of_month((int)(period / 12), (int)(period % 12) + 1);
	case WEEKLY:
		return (period * 7 - 3 + r->week_start) * DAY;
	default:
		return period * DAY;
	}
}

/* BYSETPOS counts in the whole set, also in what lies before dtstart. */
static void
choose(struct calendar *c)
{
	size_t n = c->n_days * c->times.n;

	c->chosen.n = 0;
	for (size_t i = 1; i <= n; i++)
		if (rule_lists_from_end(&c->rule->by[BYSETPOS], (int)i, (int)n))
			vec_push(&c->chosen, i - 1);
}

static void
make_set(struct calendar *c)
{
	instant end = begin_of_period(c->rule, c->period + 1);

	c->n_days = 0;
	c->position = 0;
	for (instant d = begin_of_period(c->rule, c->period); d < end; d += DAY)
		if (calendar_has_day(c->rule, &c->start, d))
			c->days[c->n_days++] = d;
	if (c->rule->by[BYSETPOS].n > 0)
		choose(c);
	else if (c->left < 0)		/* a rule that counts sees them all */
		while (c->position < c->n_days * c->times.n &&
		    c->days[c->position / c->times.n] + DAY <= c->from)
			c->position += c->times.n;
}

/* The hour, minute or second VALUE; what is not given is dtstart's. */
static bool
has_time(const struct by_list *list, int value, int of_start)
{
	return list->n > 0 ? rule_lists(list, value) : value == of_start;
}

static void
make_times(struct calendar *c)
{
	const struct by_list *by = c->rule->by;

	for (int t = 0; t < 86400; t++)
		if (!has_time(&by[BYHOUR], t / 3600, c->start.hour))
			t += 3599;
		else if (!has_time(&by[BYMINUTE], t / 60 % 60, c->start.minute))
			t += 59;
		else if (has_time(&by[BYSECOND], t % 60, c->start.second))
			vec_push(&c->times, t);
}

/* The next of the set; false at its end. */
static bool
next_of_set(struct calendar *c, instant *local)
{
	bool chosen = c->rule->by[BYSETPOS].n > 0;
	size_t i = c->position, n = chosen ? c->chosen.n : c->n_days * c->times.n;

	if (i >= n)
		return false;
	c->position++;
	if (chosen)
		i = c->chosen.at[i];
	*local = c->days[i / c->times.n] + c->times.at[i % c->times.n] * SECOND;
	return true;
}

struct calendar *
calendar_new(const struct rule *r, instant start, instant from)
{
	struct calendar *c = xcalloc(1, sizeof *c);
	int64_t late;

	c->rule = r;
	c->start_at = start;
	c->from = from;
	clock_civil(start, &c->start);
	make_times(c);
	c->left = r->count > 0 ? r->count : -1;
	c->first = c->period = period_of(r, start);
	if (r->count == 0 && from > start) {
		late = period_of(r, from) - c->first;
		c->period += floor_div(late + r->interval - 1, r->interval) * r->interval;
	}
	make_set(c);
	return c;
}

void
calendar_free(struct calendar *c)
{
	if (!c)
		return;
	vec_done(&c->times);
	vec_done(&c->chosen);
	free(c);
}

bool
calendar_next(struct calendar *c, instant *local)
{
	while (c->left != 0) {
		if (!next_of_set(c, local)) {
			c->period += c->rule->interval;
			if (begin_of_period(c->rule, c->period) >=
			    calendar_begin_of(CALENDAR_LAST_YEAR + 1))
				return false;
			make_set(c);
			continue;
		}
		if (*local < c->start_at || (c->left < 0 && *local < c->from))
			continue;
		if (c->left > 0)
			c->left--;
		return true;
	}
	return false;
}
