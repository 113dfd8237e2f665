/* Instants, spans and their text.
 *
 * An instant is a number of microseconds since 1970-01-01T00:00:00Z; a span is
 * a number of microseconds.  INSTANT_NEVER and INSTANT_ALWAYS are PostgreSQL's
 * infinity and -infinity: ask clock_isfinite() before subtracting.  Written
 * text is RFC 3339 in UTC. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

typedef int64_t instant;
typedef int64_t span;

#define SECOND ((span)1000000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define INSTANT_NEVER INT64_MAX
#define INSTANT_ALWAYS INT64_MIN
#define INSTANT_TEXT 40			/* enough for any instant's text */

bool clock_isfinite(instant);
instant clock_now(void);		/* the wall */
span clock_monotonic(void);		/* never goes back; for time limits */

/* "2026-05-01T09:00:00Z", with microseconds where there are any; "infinity",
 * "-infinity".  Returns BUF. */
const char *clock_format(instant, char buf[INSTANT_TEXT]);

/* RFC 3339 and what PostgreSQL prints in ISO style: date alone (midnight
 * UTC), 'T' or a space, seconds optional, fraction up to six digits, offset
 * Z, +hh, +hhmm, +hh:mm; without an offset UTC; "infinity", "-infinity".
 * Years 0001 to 9999. */
int clock_parse(const char *text, instant *, struct err *);

/* "90", "90s", "1h30m", "250ms", "365d", "2w", "0"; a bare number is seconds.
 * Negative, empty or beyond 100 years is an error. */
int clock_parse_span(const char *text, span *, struct err *);
const char *clock_format_span(span, char buf[INSTANT_TEXT]);	/* "1h30m" */

/* The calendar, proleptic Gregorian, in UTC. */
struct civil {
	int year, month, day;		/* month and day from 1 */
	int hour, minute, second, micro;
	int weekday;			/* Monday is 0 */
};
void clock_civil(instant, struct civil *);
instant clock_from_civil(const struct civil *);	/* weekday is not looked at */

#endif
