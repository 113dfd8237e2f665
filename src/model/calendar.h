/* The days and times that a recurrence rule has, on a calendar without zones:
 * a local time is written as the instant at which UTC shows the same.  Pure.
 *
 * Ends after the year 2199. */
#ifndef MODEL_CALENDAR_H
#define MODEL_CALENDAR_H

#include <stdbool.h>
#include <stddef.h>
#include "base/clock.h"

struct rule;

#define CALENDAR_FIRST_YEAR 1900
#define CALENDAR_LAST_YEAR 2199
instant calendar_begin_of(int year);

/* Do the parts BYMONTH, BYWEEKNO, BYYEARDAY, BYMONTHDAY and BYDAY all have the
 * day of LOCAL?  What the rule does not say is taken from START, its dtstart,
 * where the frequency wants it said. */
bool calendar_has_day(const struct rule *, const struct civil *start, instant local);

/* The local times of a rule that is DAILY or slower, in their order, not
 * before START, and, unless the rule has a COUNT, not before FROM. */
struct calendar;
struct calendar *calendar_new(const struct rule *, instant start, instant from);
void calendar_free(struct calendar *);
bool calendar_next(struct calendar *, instant *local);	/* false: there are no more */

#endif
