/* A time zone of the system's tz database: what a clock on the wall there
 * shows.  Read from TZDIR (or /usr/share/zoneinfo), TZif files of version 2
 * and later; "UTC" needs no file.  Immutable once opened.
 *
 * A local time is written as the instant at which a clock in UTC would show
 * the same. */
#ifndef BASE_ZONE_H
#define BASE_ZONE_H

#include "base/clock.h"

struct err;
struct zone;

/* NULL with ERR if there is no such zone. */
struct zone *zone_open(const char *name, struct err *);
void zone_free(struct zone *);			/* NULL is fine */

/* What is added to UTC at that instant: east is positive. */
span zone_offset(const struct zone *, instant);

instant zone_local(const struct zone *, instant);

/* The instant of a local time, as RFC 5545 has it (3.3.5): of a time that
 * comes twice the first; a time that does not exist is read with the offset
 * before the gap, so it moves forward by the gap's length. */
instant zone_instant(const struct zone *, instant local);

#endif
