/* When a recurrent event is due: a rule of RFC 5545 in a time zone.  Pure.
 *
 * DAILY and slower rules are evaluated in the zone's local time: a local time
 * that comes twice counts once, at the first; one that does not exist moves
 * forward by the gap.  HOURLY, MINUTELY and SECONDLY rules count elapsed time
 * from dtstart, whatever the clocks are set to; their BY... parts look at the
 * local time.  Occurrences are whole seconds, from 1900 to 2199. */
#ifndef MODEL_SCHEDULE_H
#define MODEL_SCHEDULE_H

#include "base/clock.h"

struct err;
struct schedule;
struct zone;

/* NULL with ERR if that is no rule.  The zone moves in, also then. */
struct schedule *schedule_new_take(const char *rrule, struct zone *, struct err *);
void schedule_free(struct schedule *);		/* NULL is fine */

/* The first occurrence strictly after T, INSTANT_NEVER when the rule has ended.
 * -1 with ERR if there is none within a bounded number of steps. */
int schedule_next(const struct schedule *, instant dtstart, instant t, instant *next,
    struct err *);

/* DTSTART's text as an instant: without an offset it is the zone's local time. */
int schedule_read_time(const struct schedule *, const char *text, instant *, struct err *);

#endif
