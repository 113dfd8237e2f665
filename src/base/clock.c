/* clock.c - instants and spans, and how they are written.
 *
 * Day counts follow the usual era arithmetic (400 years are 146097 days), so
 * that no C library time zone is ever asked. */
#include "base/clock.h"
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "base/err.h"

static int64_t
days_from_civil(int64_t y, int m, int d)
{
	int64_t era, yoe, doy, doe;

	y -= m <= 2;
	era = (y >= 0 ? y : y - 399) / 400;
	yoe = y - era * 400;
	doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
	return era * 146097 + doe - 719468;
}

static void
civil_from_days(int64_t z, struct civil *c)
{
	int64_t era, doe, yoe, doy, mp;

	z += 719468;
	era = (z >= 0 ? z : z - 146096) / 146097;
	doe = z - era * 146097;
	yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	mp = (5 * doy + 2) / 153;
	c->day = (int)(doy - (153 * mp + 2) / 5 + 1);
	c->month = (int)(mp < 10 ? mp + 3 : mp - 9);
	c->year = (int)(yoe + era * 400 + (c->month <= 2));
}

static int64_t
floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

bool
clock_isfinite(instant t)
{
	return t != INSTANT_NEVER && t != INSTANT_ALWAYS;
}

instant
clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (instant)ts.tv_sec * SECOND + ts.tv_nsec / 1000;
}

span
clock_monotonic(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (span)ts.tv_sec * SECOND + ts.tv_nsec / 1000;
}

void
clock_civil(instant t, struct civil *c)
{
	int64_t days = floor_div(t, DAY), rest = t - days * DAY;

	civil_from_days(days, c);
	c->weekday = (int)(((days + 3) % 7 + 7) % 7);	/* 1970-01-01: Thursday */
	c->micro = (int)(rest % SECOND);
	rest /= SECOND;
	c->second = (int)(rest % 60);
	c->minute = (int)(rest / 60 % 60);
	c->hour = (int)(rest / 3600);
}

instant
clock_from_civil(const struct civil *c)
{
	return days_from_civil(c->year, c->month, c->day) * DAY +
	    c->hour * HOUR + c->minute * MINUTE + c->second * SECOND + c->micro;
}

const char *
clock_format(instant t, char buf[INSTANT_TEXT])
{
	struct civil c;
	int n;

	if (t == INSTANT_NEVER)
		return strcpy(buf, "infinity");
	if (t == INSTANT_ALWAYS)
		return strcpy(buf, "-infinity");
	clock_civil(t, &c);
	n = snprintf(buf, INSTANT_TEXT, "%04d-%02d-%02dT%02d:%02d:%02d",
	    c.year, c.month, c.day, c.hour, c.minute, c.second);
	if (c.micro)
		n += snprintf(buf + n, (size_t)(INSTANT_TEXT - n), ".%06d", c.micro);
	snprintf(buf + n, (size_t)(INSTANT_TEXT - n), "Z");
	return buf;
}

/* Exactly N digits at *S, or -1. */
static int
digits(const char **s, int n)
{
	int value = 0;

	for (; n > 0; n--, (*s)++) {
		if (**s < '0' || **s > '9')
			return -1;
		value = value * 10 + (**s - '0');
	}
	return value;
}

static int
month_days(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return days[month - 1] + (month == 2 && leap);
}

static int
parse_date(const char **s, struct civil *c)
{
	if ((c->year = digits(s, 4)) < 1 || *(*s)++ != '-' ||
	    (c->month = digits(s, 2)) < 1 || c->month > 12 || *(*s)++ != '-' ||
	    (c->day = digits(s, 2)) < 1 || c->day > month_days(c->year, c->month))
		return -1;
	return 0;
}

static int
parse_time(const char **s, struct civil *c)
{
	if ((c->hour = digits(s, 2)) < 0 || c->hour > 23 || *(*s)++ != ':' ||
	    (c->minute = digits(s, 2)) < 0 || c->minute > 59)
		return -1;
	if (**s != ':')
		return 0;
	(*s)++;
	if ((c->second = digits(s, 2)) < 0 || c->second > 59)
		return -1;
	if (**s == '.') {
		int scale = 100000;

		(*s)++;
		if (**s < '0' || **s > '9')
			return -1;
		for (; **s >= '0' && **s <= '9'; (*s)++, scale /= 10) {
			if (scale == 0)
				return -1;
			c->micro += (**s - '0') * scale;
		}
	}
	return 0;
}

static int
parse_offset(const char **s, span *offset)
{
	int sign, hour, minute = 0;

	*offset = 0;
	if (**s == '\0')
		return 0;
	if (**s == 'Z' || **s == 'z') {
		(*s)++;
		return 0;
	}
	if (**s != '+' && **s != '-')
		return -1;
	sign = *(*s)++ == '+' ? 1 : -1;
	if ((hour = digits(s, 2)) < 0 || hour > 23)
		return -1;
	if (**s == ':')
		(*s)++;
	if (**s != '\0' && ((minute = digits(s, 2)) < 0 || minute > 59))
		return -1;
	*offset = sign * (hour * HOUR + minute * MINUTE);
	return 0;
}

int
clock_parse(const char *text, instant *t, struct err *err)
{
	struct civil c = { 0 };
	const char *s = text;
	span offset = 0;

	if (!strcmp(text, "infinity")) {
		*t = INSTANT_NEVER;
		return 0;
	}
	if (!strcmp(text, "-infinity")) {
		*t = INSTANT_ALWAYS;
		return 0;
	}
	if (parse_date(&s, &c))
		goto bad;
	if (*s == 'T' || *s == 't' || *s == ' ') {
		s++;
		if (parse_time(&s, &c) || parse_offset(&s, &offset))
			goto bad;
	}
	if (*s != '\0')
		goto bad;
	*t = clock_from_civil(&c) - offset;
	return 0;
bad:
	return err_set(err, "'%.60s' is not a time; "
	    "write it as 2026-05-01T09:00:00Z", text);
}

static const struct {
	const char *name;
	span length;
} units[] = {
	{ "w", 7 * DAY }, { "d", DAY }, { "h", HOUR }, { "m", MINUTE },
	{ "s", SECOND }, { "ms", SECOND / 1000 }, { "us", 1 },
};

static span
unit_of(const char *s, size_t len)
{
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (strlen(units[i].name) == len && !memcmp(units[i].name, s, len))
			return units[i].length;
	return 0;
}

int
clock_parse_span(const char *text, span *out, struct err *err)
{
	const span most = 36525 * DAY;
	const char *s = text;
	span total = 0;

	do {
		span unit = SECOND;
		double n = 0, scale = 1;
		const char *start = s, *word;

		for (; *s >= '0' && *s <= '9'; s++)
			n = n * 10 + (*s - '0');
		if (s > start && *s == '.')
			for (s++; *s >= '0' && *s <= '9'; s++)
				n += (*s - '0') * (scale /= 10);
		if (s == start || s[-1] == '.')
			goto bad;
		for (word = s; *s >= 'a' && *s <= 'z'; s++)
			;
		if (s > word && !(unit = unit_of(word, (size_t)(s - word))))
			goto bad;
		if (s == word && (*s != '\0' || start != text))
			goto bad;
		if (n * (double)unit + (double)total > (double)most)
			return err_set(err, "'%.60s' is longer than 100 years", text);
		total += (span)(n * (double)unit + 0.5);
	} while (*s);
	*out = total;
	return 0;
bad:
	return err_set(err, "'%.60s' is not a length of time; "
	    "write it as 90s, 15m, 1h30m or 7d", text);
}

const char *
clock_format_span(span t, char buf[INSTANT_TEXT])
{
	int n = 0;

	buf[0] = '\0';
	for (size_t i = 1; i < sizeof units / sizeof units[0]; i++)	/* no weeks */
		if (t >= units[i].length) {
			n += snprintf(buf + n, (size_t)(INSTANT_TEXT - n), "%lld%s",
			    (long long)(t / units[i].length), units[i].name);
			t %= units[i].length;
		}
	if (n == 0)
		strcpy(buf, "0s");
	return buf;
}
