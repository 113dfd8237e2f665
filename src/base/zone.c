/* zone.c - what the clocks of a place show, by the tz database.
 *
 * A TZif file (RFC 8536) lists the moments at which the offset changes, and
 * ends in a line of text in the manner of POSIX's TZ variable: the rule for
 * all time after the last of them.  The C library reads these files too, but
 * for one zone at a time, named by the environment.
 *
 * Inside this file times are seconds. */
#include "base/zone.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/mem.h"

#define MAX_FILE (256 * 1024)
#define HEADER 44

/* A day of the year at which the offset changes: M3.5.0/2, J60 or 59. */
struct turn {
	enum { JULIAN, ZERO_BASED, WEEKDAY } form;
	int month, week, day;	/* day: of the year, or of the week (Sunday is 0) */
	int64_t time;		/* of that day, local; may be negative or beyond 24 h */
};

struct zone {
	size_t n;		/* transitions */
	int64_t *at;
	int32_t *offset;	/* from at[i] on */
	int32_t before;		/* ... and before the first */
	bool has_rule, has_summer;
	int32_t standard, summer;
	struct turn start, end;	/* of summer time */
};

/* --- the rule in the footer --- */

static int
number(const char **s, int most, int *n)
{
	if (!isdigit((unsigned char)**s))
		return -1;
	for (*n = 0; isdigit((unsigned char)**s); (*s)++)
		if ((*n = *n * 10 + (**s - '0')) > most)
			return -1;
	return 0;
}

static int
abbreviation(const char **s)
{
	const char *start = *s;

	if (**s == '<') {
		if (!(*s = strchr(*s, '>')))
			return -1;
		(*s)++;
		return 0;
	}
	while (isalpha((unsigned char)**s))
		(*s)++;
	return *s - start >= 3 ? 0 : -1;
}

/* [+-]hh[:mm[:ss]] */
static int
clock_time(const char **s, int64_t *seconds)
{
	int sign = 1, h, m = 0, sec = 0;

	if (**s == '+' || **s == '-')
		sign = *(*s)++ == '-' ? -1 : 1;
	if (number(s, 167, &h))
		return -1;
	if (**s == ':' && ((*s)++, number(s, 59, &m)))
		return -1;
	if (**s == ':' && ((*s)++, number(s, 59, &sec)))
		return -1;
	*seconds = sign * (h * 3600 + m * 60 + sec);
	return 0;
}

static int
read_turn(const char **s, struct turn *t)
{
	if (*(*s)++ != ',')
		return -1;
	t->form = **s == 'M' ? WEEKDAY : **s == 'J' ? JULIAN : ZERO_BASED;
	t->time = 7200;
	if (t->form != ZERO_BASED)
		(*s)++;
	if (t->form == WEEKDAY) {
		if (number(s, 12, &t->month) || *(*s)++ != '.' ||
		    number(s, 5, &t->week) || *(*s)++ != '.' || number(s, 6, &t->day) ||
		    t->month < 1 || t->week < 1)
			return -1;
	} else if (number(s, 365, &t->day))
		return -1;
	if (**s == '/') {
		(*s)++;
		return clock_time(s, &t->time);
	}
	return 0;
}

static int
read_rule(struct zone *z, const char *s)
{
	int64_t west;

	if (*s == '\0')
		return 0;
	if (abbreviation(&s) || clock_time(&s, &west))
		return -1;
	z->has_rule = true;
	z->standard = (int32_t)-west;
	if (*s == '\0')
		return 0;
	z->has_summer = true;
	z->summer = z->standard + 3600;
	if (abbreviation(&s))
		return -1;
	if (*s != ',') {
		if (clock_time(&s, &west))
			return -1;
		z->summer = (int32_t)-west;
	}
	return read_turn(&s, &z->start) || read_turn(&s, &z->end) || *s ? -1 : 0;
}

/* When T comes in YEAR, in local seconds. */
static int64_t
turn_in(const struct turn *t, int year)
{
	struct civil c = { .year = year, .month = 1, .day = 1 }, next;
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	instant day;

	if (t->form != WEEKDAY) {
		int days = t->form == ZERO_BASED ? t->day :
		    t->day - 1 + (leap && t->day >= 60);

		return clock_from_civil(&c) / SECOND + days * (int64_t)86400 + t->time;
	}
	c.month = t->month;
	day = clock_from_civil(&c);
	clock_civil(day, &c);
	/* From the first such weekday of the month, on by weeks; the fifth
	 * means the last. */
	day += ((t->day - (c.weekday + 1) % 7 + 7) % 7 + (t->week - 1) * 7) * DAY;
	clock_civil(day, &next);
	if (next.month != t->month)
		day -= 7 * DAY;
	return day / SECOND + t->time;
}

static int32_t
rule_offset(const struct zone *z, int64_t t)
{
	struct civil c;
	int64_t start, end;

	if (!z->has_summer)
		return z->standard;
	clock_civil((t + z->standard) * SECOND, &c);
	start = turn_in(&z->start, c.year) - z->standard;
	end = turn_in(&z->end, c.year) - z->summer;
	if (start < end)
		return t >= start && t < end ? z->summer : z->standard;
	return t >= end && t < start ? z->standard : z->summer;
}

/* --- the file --- */

/* Of 4 bytes without a sign: the cast to 32 bits gives it. */
static int64_t
big_endian(const unsigned char *p, int bytes)
{
	uint64_t n = 0;

	while (bytes-- > 0)
		n = n << 8 | *p++;
	return (int64_t)n;
}

/* The counts of a TZif header, and how long its data is with times of WIDTH. */
struct counts {
	size_t isut, isstd, leap, time, type, chars, length;
};

static int
read_header(const unsigned char *p, size_t len, size_t width, struct counts *c)
{
	if (len < HEADER || memcmp(p, "TZif", 4) || p[4] < '2')
		return -1;
	c->isut = (size_t)big_endian(p + 20, 4);
	c->isstd = (size_t)big_endian(p + 24, 4);
	c->leap = (size_t)big_endian(p + 28, 4);
	c->time = (size_t)big_endian(p + 32, 4);
	c->type = (size_t)big_endian(p + 36, 4);
	c->chars = (size_t)big_endian(p + 40, 4);
	if (c->isut > 256 || c->isstd > 256 || c->leap > 1000 || c->time > MAX_FILE ||
	    c->type < 1 || c->type > 256 || c->chars > 1000)
		return -1;
	c->length = c->time * (width + 1) + c->type * 6 + c->chars +
	    c->leap * (width + 4) + c->isstd + c->isut;
	return len - HEADER < c->length ? -1 : 0;
}

static int
read_file(struct zone *z, const unsigned char *p, size_t len)
{
	const unsigned char *types, *index;
	struct counts c;
	const char *end;

	/* Version 1 comes first, with times of 32 bits, for readers of old. */
	if (read_header(p, len, 4, &c))
		return -1;
	p += HEADER + c.length;
	len -= HEADER + c.length;
	if (read_header(p, len, 8, &c) || c.leap > 0)
		return -1;
	index = p + HEADER + c.time * 8;
	types = index + c.time;
	z->n = c.time;
	z->at = xcalloc(c.time, sizeof *z->at);
	z->offset = xcalloc(c.time, sizeof *z->offset);
	z->before = (int32_t)big_endian(types, 4);
	for (size_t i = 0; i < c.time; i++) {
		if (index[i] >= c.type)
			return -1;
		z->at[i] = big_endian(p + HEADER + i * 8, 8);
		z->offset[i] = (int32_t)big_endian(types + index[i] * 6, 4);
		if (i > 0 && z->at[i] <= z->at[i - 1])
			return -1;
	}
	p += HEADER + c.length;
	len -= HEADER + c.length;
	/* The buffer ends in NUL, so both searches end. */
	if (len < 2 || *p != '\n' || !(end = strchr((const char *)p + 1, '\n')))
		return -1;
	*(char *)(uintptr_t)end = '\0';
	return read_rule(z, (const char *)p + 1);
}

/* Letters, digits and _ + - between single slashes: nothing that leads out of
 * the directory. */
static bool
is_zone_name(const char *name)
{
	bool word = false;

	if (strlen(name) > 64)
		return false;
	for (; *name; name++) {
		if (*name == '/' ? !word : !isalnum((unsigned char)*name) && !strchr("_+-", *name))
			return false;
		word = *name != '/';
	}
	return word;
}

static unsigned char *
slurp(const char *name, size_t *len)
{
	const char *dir = getenv("TZDIR");
	char *path = xasprintf("%s/%s", dir && *dir ? dir : "/usr/share/zoneinfo", name);
	FILE *f = fopen(path, "re");
	unsigned char *bytes = NULL;

	if (f) {
		bytes = xmalloc(MAX_FILE + 1);
		*len = fread(bytes, 1, MAX_FILE, f);
		bytes[*len] = '\0';
		fclose(f);
	}
	if (f && *len == 0) {		/* a directory, for one */
		free(bytes);
		bytes = NULL;
	}
	free(path);
	return bytes;
}

struct zone *
zone_open(const char *name, struct err *err)
{
	struct zone *z = xcalloc(1, sizeof *z);
	unsigned char *bytes = NULL;
	size_t len = 0;

	if (!strcmp(name, "UTC"))
		return z;
	if (!is_zone_name(name) || !(bytes = slurp(name, &len))) {
		err_set(err, "there is no time zone '%.70s' in the system's tz database; "
		    "write it as Europe/Berlin or UTC", name);
		goto fail;
	}
	if (read_file(z, bytes, len)) {
		err_set(err, "'%s' is not a time zone that can be read", name);
		goto fail;
	}
	free(bytes);
	return z;
fail:
	free(bytes);
	zone_free(z);
	return NULL;
}

void
zone_free(struct zone *z)
{
	if (!z)
		return;
	free(z->at);
	free(z->offset);
	free(z);
}

static int64_t
floor_seconds(instant t)
{
	return t / SECOND - (t % SECOND < 0);
}

span
zone_offset(const struct zone *z, instant when)
{
	int64_t t = floor_seconds(when);
	size_t low = 0, high = z->n;

	while (low < high) {		/* the first transition after T */
		size_t middle = low + (high - low) / 2;

		if (z->at[middle] <= t)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == z->n && z->has_rule)
		return rule_offset(z, t) * SECOND;
	return (low > 0 ? z->offset[low - 1] : z->before) * SECOND;
}

instant
zone_local(const struct zone *z, instant t)
{
	return t + zone_offset(z, t);
}

instant
zone_instant(const struct zone *z, instant local)
{
	span one = zone_offset(z, local - DAY), other = zone_offset(z, local + DAY);
	span east = one > other ? one : other, west = one > other ? other : one;

	/* Two offsets are in question; the more easterly gives the earlier
	 * instant. */
	if (zone_local(z, local - east) == local)
		return local - east;
	if (zone_local(z, local - west) == local)
		return local - west;
	return local - zone_offset(z, local - east);	/* in the gap */
}
