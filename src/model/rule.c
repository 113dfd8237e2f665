/* rule.c - read FREQ=...;INTERVAL=... as strictly as its RFC is written.
 *
 * A part that is misspelt must not become a rule without it: the event would
 * be evaluated at hours that nobody meant. */
#include "model/rule.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "base/err.h"
#include "base/str.h"

static const char *const frequencies[] = {
	"SECONDLY", "MINUTELY", "HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY",
};
static const char *const weekdays[] = { "MO", "TU", "WE", "TH", "FR", "SA", "SU" };

/* The names of the parts: first those of enum by, in its order. */
enum { FREQ = BY_COUNT, UNTIL, COUNT, INTERVAL, WKST, PART_COUNT };
static const char *const parts[] = {
	"BYSECOND", "BYMINUTE", "BYHOUR", "BYDAY", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO",
	"BYMONTH", "BYSETPOS", "FREQ", "UNTIL", "COUNT", "INTERVAL", "WKST",
};

static const struct {
	int least, most;
	bool negative;			/* may count from the end */
} bounds[BY_COUNT] = {
	[BYSECOND] = { 0, 59, false }, [BYMINUTE] = { 0, 59, false },
	[BYHOUR] = { 0, 23, false }, [BYMONTHDAY] = { 1, 31, true },
	 [BYYEARDAY] = { 1, 366, true },
	[BYWEEKNO] = { 1, 53, true }, [BYMONTH] = { 1, 12, false },
	[BYSETPOS] = { 1, 366, true },
};

static int
index_of(const char *const *names, size_t n, const char *word, size_t len)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(names[i]) == len && !strncasecmp(names[i], word, len))
			return (int)i;
	return -1;
}

/* Digits at *S, at most MOST. */
static int
number(const char **s, int most, int *n)
{
	if (**s < '0' || **s > '9')
		return -1;
	for (*n = 0; **s >= '0' && **s <= '9'; (*s)++)
		if ((*n = *n * 10 + (**s - '0')) > most)
			return -1;
	return 0;
}

static void
set_add(struct number_set *set, int n)
{
	set->word[n / 64] |= (uint64_t)1 << n % 64;
}

static bool
set_has(const struct number_set *set, int n)
{
	return n >= 0 && n < 6 * 64 && (set->word[n / 64] >> n % 64 & 1);
}

/* [[+-]n]XX: "FR", "-1FR". */
static int
read_weekday(struct rule *r, const char **s, const char *end)
{
	bool minus = **s == '-', has_sign = minus || **s == '+';
	int n = 0, day;

	*s += has_sign;
	if ((has_sign || (**s >= '0' && **s <= '9')) && (number(s, 53, &n) || n < 1))
		return -1;
	if (end - *s < 2 || (day = index_of(weekdays, 7, *s, 2)) < 0)
		return -1;
	*s += 2;
	set_add(minus ? &r->weekday[day].minus : &r->weekday[day].plus, n);
	r->weekday[day].n++;
	r->by[BYDAY].n++;
	return 0;
}

/* [+-]n */
static int
read_number_of(struct by_list *list, enum by by, const char **s)
{
	bool minus = **s == '-', has_sign = minus || **s == '+';
	int n;

	*s += has_sign;
	if (number(s, bounds[by].most, &n) || n < bounds[by].least ||
	    (has_sign && !bounds[by].negative))
		return -1;
	set_add(minus ? &list->minus : &list->plus, n);
	list->n++;
	return 0;
}

static int
read_list(struct rule *r, enum by by, const char *s, const char *end, struct err *err)
{
	const char *start = s;

	for (;; s++) {
		int rc = by == BYDAY ? read_weekday(r, &s, end) :
		    read_number_of(&r->by[by], by, &s);

		if (rc || (s < end && *s != ','))
			return err_set(err, "'%.*s' is no value of %s",
			    (int)(end - start < 60 ? end - start : 60), start, parts[by]);
		if (s >= end)
			return 0;
	}
}

static int
read_until(struct rule *r, const char *s, size_t len, struct err *err)
{
	char text[32];

	if (len == 8)
		r->until_form = UNTIL_DATE;
	else if (len == 15 && (s[8] == 'T' || s[8] == 't'))
		r->until_form = UNTIL_LOCAL;
	else if (len == 16 && (s[8] == 'T' || s[8] == 't') && (s[15] == 'Z' || s[15] == 'z'))
		r->until_form = UNTIL_UTC;
	else
		goto bad;
	if (len == 8)
		snprintf(text, sizeof text, "%.4s-%.2s-%.2s", s, s + 4, s + 6);
	else
		snprintf(text, sizeof text, "%.4s-%.2s-%.2sT%.2s:%.2s:%.2s",
		    s, s + 4, s + 6, s + 9, s + 11, s + 13);
	if (!clock_parse(text, &r->until, err)) {
		r->has_until = true;
		return 0;
	}
bad:
	return err_set(err, "UNTIL is written as 20261231T235959Z, 20261231T235959 or 20261231");
}

static int
read_number(const char *what, const char *s, const char *end, int most, int *n, struct err *err)
{
	if (number(&s, most, n) || s != end || *n < 1)
		return err_set(err, "%s is a number from 1 to %d", what, most);
	return 0;
}

static int
read_part(struct rule *r, int part, const char *s, const char *end, struct err *err)
{
	size_t len = (size_t)(end - s);
	int n;

	switch (part) {
	case FREQ:
		if ((n = index_of(frequencies, 7, s, len)) < 0)
			return err_set(err, "FREQ is YEARLY, MONTHLY, WEEKLY, DAILY, "
			    "HOURLY, MINUTELY or SECONDLY");
		r->frequency = (enum frequency)n;
		return 0;
	case UNTIL:
		return read_until(r, s, len, err);
	case COUNT:
		return read_number("COUNT", s, end, RULE_MAX_COUNT, &r->count, err);
	case INTERVAL:
		return read_number("INTERVAL", s, end, RULE_MAX_INTERVAL, &r->interval, err);
	case WKST:
		if ((r->week_start = index_of(weekdays, 7, s, len)) < 0)
			return err_set(err, "WKST is a weekday: MO, TU, WE, TH, FR, SA or SU");
		return 0;
	default:
		return read_list(r, (enum by)part, s, end, err);
	}
}

/* What RFC 5545 says must not stand together. */
static int
check_together(const struct rule *r, const bool *seen, struct err *err)
{
	enum frequency f = r->frequency;
	const char *name = frequencies[f];
	bool any = false, numbered = false;

	for (int i = 0; i < BYSETPOS; i++)
		any |= seen[i];
	for (int i = 0; i < 7; i++)
		numbered |= r->weekday[i].n > 0 && !set_has(&r->weekday[i].plus, 0);
	if (!seen[FREQ])
		return err_set(err, "there is no FREQ");
	if (seen[UNTIL] && seen[COUNT])
		return err_set(err, "UNTIL and COUNT exclude each other");
	if (seen[BYWEEKNO] && f != YEARLY)
		return err_set(err, "BYWEEKNO goes with FREQ=YEARLY only");
	if (seen[BYYEARDAY] && (f == DAILY || f == WEEKLY || f == MONTHLY))
		return err_set(err, "BYYEARDAY does not go with FREQ=%s", name);
	if (seen[BYMONTHDAY] && f == WEEKLY)
		return err_set(err, "BYMONTHDAY does not go with FREQ=WEEKLY");
	if (numbered && ((f != MONTHLY && f != YEARLY) || seen[BYWEEKNO]))
		return err_set(err, "a numbered weekday in BYDAY goes with FREQ=MONTHLY, "
		    "or with YEARLY without BYWEEKNO");
	if (seen[BYSETPOS] && !any)
		return err_set(err, "BYSETPOS needs another BY... to choose from");
	if (seen[BYSETPOS] && f < DAILY)
		return err_set(err, "BYSETPOS does not go with FREQ=%s", name);
	if (seen[BYSETPOS] && (r->by[BYHOUR].n ? r->by[BYHOUR].n : 1) *
	    (r->by[BYMINUTE].n ? r->by[BYMINUTE].n : 1) *
	    (r->by[BYSECOND].n ? r->by[BYSECOND].n : 1) > 100)
		return err_set(err, "BYSETPOS goes with at most 100 times in a day");
	return 0;
}

int
rule_parse(struct rule *r, const char *text, struct err *err)
{
	bool seen[PART_COUNT] = { false };

	*r = (struct rule){ .interval = 1 };
	if (strlen(text) > RULE_MAX_TEXT)
		return err_set(err, "longer than %d bytes", RULE_MAX_TEXT);
	for (const char *s = text, *end, *equals; ; s = end + 1) {
		int part;

		end = s + strcspn(s, ";");
		equals = memchr(s, '=', (size_t)(end - s));
		part = index_of(parts, PART_COUNT, s, (size_t)((equals ? equals : end) - s));
		if (part < 0 || !equals)
			return err_set(err, "'%.*s' is no part of a recurrence rule; "
			    "write it as FREQ=DAILY;BYHOUR=9",
			    (int)(end - s < 60 ? end - s : 60), s);
		if (seen[part])
			return err_set(err, "%s is there twice", parts[part]);
		seen[part] = true;
		if (read_part(r, part, equals + 1, end, err))
			return -1;
		if (*end == '\0')
			break;
	}
	return check_together(r, seen, err);
}

bool
rule_lists(const struct by_list *list, int value)
{
	return list->n == 0 || set_has(&list->plus, value);
}

bool
rule_lists_from_end(const struct by_list *list, int value, int last)
{
	return list->n == 0 || set_has(&list->plus, value) ||
	    set_has(&list->minus, last + 1 - value);
}
