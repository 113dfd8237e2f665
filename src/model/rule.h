/* A recurrence rule of RFC 5545 (3.3.10), checked part by part.  Pure.
 *
 * Refused, beside what the RFC refuses: RSCALE and SKIP (RFC 7529), leap
 * seconds, BYSETPOS together with HOURLY, MINUTELY and SECONDLY, and lengths
 * beyond the bounds below. */
#ifndef MODEL_RULE_H
#define MODEL_RULE_H

#include <stdbool.h>
#include <stdint.h>
#include "base/clock.h"

struct err;

#define RULE_MAX_TEXT 1000
#define RULE_MAX_COUNT 10000
#define RULE_MAX_INTERVAL 10000

enum frequency { SECONDLY, MINUTELY, HOURLY, DAILY, WEEKLY, MONTHLY, YEARLY };

enum by {
	BYSECOND, BYMINUTE, BYHOUR, BYDAY, BYMONTHDAY, BYYEARDAY, BYWEEKNO, BYMONTH,
	BYSETPOS, BY_COUNT
};

/* Numbers up to 366. */
struct number_set {
	uint64_t word[6];
};

/* A list as sets: what counts from the start, and what counts from the end. */
struct by_list {
	int n;				/* 0: not given */
	struct number_set plus, minus;
};

struct rule {
	enum frequency frequency;
	int interval;			/* 1 */
	int count;			/* 0: not given */
	int week_start;			/* Monday is 0 */
	bool has_until;
	enum { UNTIL_UTC, UNTIL_LOCAL, UNTIL_DATE } until_form;
	instant until;			/* as its form says */
	struct by_list by[BY_COUNT];	/* but for BYDAY only n */
	/* BYDAY: of each weekday (Monday is 0) the numbers that are asked for
	 * ("-1FR"); 0 means every one. */
	struct by_list weekday[7];
};

int rule_parse(struct rule *, const char *text, struct err *);

/* Is VALUE in the list, or the list not given? */
bool rule_lists(const struct by_list *, int value);
/* The same of one of 1 ... LAST, which may be counted from the end. */
bool rule_lists_from_end(const struct by_list *, int value, int last);

#endif
