/* schedule.c - the next occurrence of a recurrence rule.
 *
 * Two ways lead there.  Days, weeks, months and years are enumerated on the
 * calendar of the zone, in local time, and each is made an instant.  Hours,
 * minutes and seconds are counted as they pass. */
#include "model/schedule.h"
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/mem.h"
#include "base/zone.h"
#include "model/calendar.h"
#include "model/rule.h"

#define MOST_STEPS 500000	/* of the second way */

struct schedule {
	struct zone *zone;
	struct rule rule;
	instant until;		/* INSTANT_NEVER: without end */
};

/* --- making one --- */

static instant
until_instant(const struct rule *r, const struct zone *z)
{
	if (!r->has_until)
		return INSTANT_NEVER;
	switch (r->until_form) {
	case UNTIL_UTC:
		return r->until;
	case UNTIL_LOCAL:
		return zone_instant(z, r->until);
	case UNTIL_DATE:		/* to the end of that day */
		return zone_instant(z, r->until + DAY) - SECOND;
	}
	return INSTANT_NEVER;
}

struct schedule *
schedule_new_take(const char *rrule, struct zone *zone, struct err *err)
{
	struct schedule *s = xcalloc(1, sizeof *s);

	s->zone = zone;
	if (rule_parse(&s->rule, rrule, err)) {
		schedule_free(s);
		return NULL;
	}
	s->until = until_instant(&s->rule, s->zone);
	return s;
}

void
schedule_free(struct schedule *s)
{
	if (!s)
		return;
	zone_free(s->zone);
	free(s);
}

static bool
has_offset(const char *text)
{
	const char *time = strpbrk(text, "Tt ");

	return time && strpbrk(time, "Zz+-");
}

int
schedule_read_time(const struct schedule *s, const char *text, instant *t, struct err *err)
{
	if (clock_parse(text, t, err))
		return -1;
	if (*t < calendar_begin_of(CALENDAR_FIRST_YEAR) ||
	    *t >= calendar_begin_of(CALENDAR_LAST_YEAR + 1))
		return err_set(err, "'%.60s' is not in the years %d to %d", text,
		    CALENDAR_FIRST_YEAR, CALENDAR_LAST_YEAR);
	if (!has_offset(text))
		*t = zone_instant(s->zone, *t);
	return 0;
}

static int
no_occurrence(struct err *err)
{
	return err_set(err, "the rule never comes true");
}

/* --- hours, minutes, seconds: elapsed time --- */

struct pace {
	const struct schedule *s;
	instant start;		/* of the period in which dtstart lies */
	span period;		/* an hour, a minute, a second */
	span within;		/* from there to dtstart */
};

static instant
midnight(instant local)
{
	return local - ((local % DAY) + DAY) % DAY;
}

/* T itself if the rule has it, else some later instant before which it has
 * none. */
static instant
advance(const struct pace *p, instant t)
{
	const struct rule *r = &p->s->rule;
	span into = (t - p->start) % p->period, step = p->period * r->interval, gone;
	instant local, tomorrow;
	struct civil c;

	if ((gone = (t - p->start) / p->period % r->interval) > 0)
		return t - into + step - gone * p->period;
	local = zone_local(p->s->zone, t);
	clock_civil(local, &c);
	if (!calendar_has_day(r, &c, local)) {
		tomorrow = zone_instant(p->s->zone, midnight(local) + DAY);
		return tomorrow > t ? tomorrow : t + HOUR;
	}
	if (!rule_lists(&r->by[BYHOUR], c.hour))
		return t + HOUR - c.minute * MINUTE - c.second * SECOND;
	if (r->by[BYMINUTE].n > 0 ? !rule_lists(&r->by[BYMINUTE], c.minute) :
	    r->frequency == HOURLY && into / MINUTE != p->within / MINUTE)
		return t + MINUTE - c.second * SECOND;
	if (r->by[BYSECOND].n > 0 ? !rule_lists(&r->by[BYSECOND], c.second) :
	    r->frequency != SECONDLY && into % MINUTE != p->within % MINUTE)
		return t + SECOND;
	return t;
}

static int
next_elapsed(const struct schedule *s, instant dtstart, instant after, instant *next,
    struct err *err)
{
	static const span periods[] = { SECOND, MINUTE, HOUR };
	struct pace p = { .s = s, .period = periods[s->rule.frequency] };
	instant t = dtstart, end = calendar_begin_of(CALENDAR_LAST_YEAR + 1);
	int found = 0, most = MOST_STEPS + 1000 * s->rule.count;

	p.within = (zone_local(s->zone, dtstart) - midnight(zone_local(s->zone, dtstart))) %
	    p.period;
	p.start = dtstart - p.within;
	if (s->rule.count == 0 && after >= t)
		t = after - (after - dtstart) % SECOND + SECOND;
	*next = INSTANT_NEVER;
	for (int steps = 0; steps < most && t <= s->until && t < end; steps++) {
		instant there = advance(&p, t);

		if (there != t) {
			t = there;
			continue;
		}
		found++;
		if (t > after) {
			*next = t;
			return 0;
		}
		if (s->rule.count > 0 && found >= s->rule.count)
			return 0;
		t += SECOND;
	}
	if (t > s->until || (t >= end && (found > 0 || after >= dtstart)))
		return 0;
	return no_occurrence(err);
}

/* --- days, weeks, months, years: local time --- */

/* How far the clocks are set about T: by so much may an occurrence's instant
 * lie away from where its local time would have it. */
static span
shift_about(const struct zone *z, instant t)
{
	span one = zone_offset(z, t - DAY), other = zone_offset(z, t + DAY);

	return one > other ? one - other : other - one;
}

/* An occurrence that was moved out of a gap may have come to lie behind later
 * ones: the earliest instant wins. */
static int
next_local(const struct schedule *s, instant dtstart, instant after, instant *next,
    struct err *err)
{
	instant from = zone_local(s->zone, after) - shift_about(s->zone, after),
	    best = INSTANT_NEVER, local, t;
	struct calendar *c = calendar_new(&s->rule, zone_local(s->zone, dtstart), from);
	bool any = false;

	while (calendar_next(c, &local)) {
		any = true;
		if (best != INSTANT_NEVER && local > zone_local(s->zone, best))
			break;
		t = zone_instant(s->zone, local);
		if (t > after && t < best)
			best = t;
	}
	calendar_free(c);
	*next = best <= s->until ? best : INSTANT_NEVER;
	return any || after >= dtstart ? 0 : no_occurrence(err);
}

int
schedule_next(const struct schedule *s, instant dtstart, instant t, instant *next,
    struct err *err)
{
	*next = INSTANT_NEVER;
	if (t >= calendar_begin_of(CALENDAR_LAST_YEAR + 1))
		return 0;
	dtstart -= dtstart % SECOND + (dtstart % SECOND < 0 ? SECOND : 0);
	if (t < dtstart)
		t = dtstart - SECOND;
	if (s->rule.frequency < DAILY)
		return next_elapsed(s, dtstart, t, next, err);
	return next_local(s, dtstart, t, next, err);
}
