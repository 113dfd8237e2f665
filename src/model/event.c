/* event.c - what an event says, when it is due, and what becomes of its state.
 *
 * A basic event is due every interval and raises when it has been true for its
 * holding time; a recurrent one is due by a rule and raises each time. */
#include <string.h>
#include "base/err.h"
#include "base/mem.h"
#include "base/zone.h"
#include "model/read.h"
#include "model/schedule.h"

#define MOST_PRIORITY 1000000
#define LONGEST_AGENT 63

static const char *const keys[] = {
	"definition", "interval", "time_to_wait", "priority", "agent", "rrule", "timezone",
	"dtstart", "on_unknown", "max_gap", NULL,
};

/* --- what it says --- */

static void
read_definition(struct event *e, struct body *b)
{
	const char *text = body_text(b, "definition");
	struct err err;

	if (!json_object_get(b->json, "definition"))
		body_fault(b, NULL, NULL, "its 'definition' is missing");
	if (!text)
		return;
	e->definition = xstrdup(text);
	if (!(e->expr = expr_parse_event(text, strlen(text), &err)))
		body_take_fault(b, "definition", &err);
}

static void
read_agent(struct event *e, struct body *b)
{
	const char *agent = body_text(b, "agent");

	if (agent && (strlen(agent) > LONGEST_AGENT || agent[strspn(agent,
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")]))
		body_fault(b, "agent", NULL, "the name of an agent is made of at most %d "
		    "ASCII letters, digits, '_', '.' and '-'", LONGEST_AGENT);
	else
		e->agent = xstrdup(agent ? agent : "default");
	if (!e->agent)
		e->agent = xstrdup("default");
}

static void
read_on_unknown(struct event *e, struct body *b)
{
	const char *text = body_text(b, "on_unknown");
	int found = text ? on_unknown_find(text) : UNKNOWN_KEEPS;

	if (found < 0)
		body_fault(b, "on_unknown", NULL, "'%.80s' is none of: %s, %s, %s", text,
		    on_unknown_text(UNKNOWN_KEEPS), on_unknown_text(UNKNOWN_RAISES),
		    on_unknown_text(UNKNOWN_CLEARS));
	else
		e->on_unknown = (enum on_unknown)found;
}

static void
refuse(struct body *b, const char *const *unwanted, const char *why)
{
	for (; *unwanted; unwanted++)
		if (json_object_get(b->json, *unwanted))
			body_key_fault(b, *unwanted, NULL, "%s", why);
}

static void
read_basic(struct event *e, struct body *b)
{
	static const char *const unwanted[] = { "timezone", "dtstart", NULL };

	e->interval = HOUR;
	body_span(b, "interval", &e->interval);
	body_span(b, "time_to_wait", &e->time_to_wait);
	e->max_gap = 3 * e->interval;
	if (body_span(b, "max_gap", &e->max_gap) && e->max_gap < e->interval)
		body_fault(b, "max_gap", NULL, "this is shorter than the interval: "
		    "every evaluation would begin the hold afresh");
	refuse(b, unwanted, "only an event with an 'rrule' has one");
}

/* A rule that can never come true is a slip; where dtstart is not given, any
 * will do to find out. */
static void
check_comes_true(struct event *e, struct body *b)
{
	bool given = e->dtstart != INSTANT_ALWAYS;
	instant start = given ? e->dtstart : 0, next;
	struct err err;

	if (schedule_next(e->schedule, start, start - 1, &next, &err))
		body_take_fault(b, "rrule", &err);
	else if (given && next == INSTANT_NEVER)
		body_fault(b, "rrule", NULL, "the rule has ended before its dtstart");
}

static void
read_recurrent(struct event *e, struct body *b)
{
	static const char *const unwanted[] = { "interval", "time_to_wait", "max_gap", NULL };
	const char *rrule = body_text(b, "rrule"), *zone = body_text(b, "timezone"),
	    *start = body_text(b, "dtstart");
	struct zone *z;
	struct err err;

	refuse(b, unwanted, "an event with an 'rrule' has none");
	e->timezone = xstrdup(zone ? zone : "UTC");
	e->rrule = xstrdup(rrule);
	if (!(z = zone_open(e->timezone, &err)))
		body_take_fault(b, "timezone", &err);
	if (!rrule || !z) {
		zone_free(z);
		return;
	}
	if (!(e->schedule = schedule_new_take(rrule, z, &err))) {
		body_take_fault(b, "rrule", &err);
		return;
	}
	if (start && schedule_read_time(e->schedule, start, &e->dtstart, &err)) {
		body_take_fault(b, "dtstart", &err);
		return;
	}
	check_comes_true(e, b);
}

void
event_read(struct event *e, struct body *b)
{
	*e = (struct event){ .priority = 10, .dtstart = INSTANT_ALWAYS };
	body_check_keys(b, keys);
	read_definition(e, b);
	read_agent(e, b);
	body_number(b, "priority", 0, MOST_PRIORITY, &e->priority);
	read_on_unknown(e, b);
	if (json_object_get(b->json, "rrule"))
		read_recurrent(e, b);
	else
		read_basic(e, b);
}

int
event_init(struct event *e, const json_t *json, struct err *err)
{
	struct body b = { .json = json };
	int rc;

	event_read(e, &b);
	if ((rc = body_done(&b, err)))
		event_done(e);
	return rc;
}

void
event_done(struct event *e)
{
	free(e->definition);
	expr_free(e->expr);
	free(e->agent);
	schedule_free(e->schedule);
	free(e->rrule);
	free(e->timezone);
	*e = (struct event){ 0 };
}

/* --- what becomes of its state --- */

enum truth
event_truth(const struct event *e, enum truth truth)
{
	static const enum truth made[ON_UNKNOWN_COUNT] = {
		[UNKNOWN_KEEPS] = TRUTH_UNKNOWN,
		[UNKNOWN_RAISES] = TRUTH_TRUE,
		[UNKNOWN_CLEARS] = TRUTH_FALSE,
	};

	return truth == TRUTH_UNKNOWN ? made[e->on_unknown] : truth;
}

/* of a basic event: [state before the evaluation][state after it] */
static const enum signal signal_of[EVENT_STATE_COUNT][EVENT_STATE_COUNT] = {
	[NOT_RAISING] = { [NOT_RAISING] = DO_NOTHING,   [RAISING] = RAISE },
	[RAISING]     = { [NOT_RAISING] = STOP_RAISING, [RAISING] = CONTINUE_RAISING },
};

int
event_hold_needed(const struct event *e)
{
	span k = e->interval > 0 ? e->time_to_wait / e->interval : 1;

	return k < 1 ? 1 : k > EVENT_MAX_HOLD ? EVENT_MAX_HOLD : (int)k;
}

enum hold_course
event_hold_course(const struct event *e, const struct event_standing *before, instant t)
{
	if (t <= before->as_of)
		return HOLD_STAYS;
	if (e->max_gap > 0 && clock_isfinite(before->as_of) && t - before->as_of > e->max_gap)
		return HOLD_BEGINS;
	return HOLD_GOES_ON;
}

/* An event without a holding time follows its truth at any instant. */
static struct event_standing
evaluate_basic(const struct event *e, struct event_standing before, bool truth, bool counts)
{
	struct event_standing after = { .state = NOT_RAISING, .as_of = before.as_of,
		.hold = before.hold };
	int needed = event_hold_needed(e);

	if (counts && !truth)
		after.hold = 0;
	else if (counts && after.hold < EVENT_MAX_HOLD)
		after.hold++;
	if (truth && (before.state == RAISING || needed == 1 || after.hold >= needed))
		after.state = RAISING;
	after.action = signal_of[before.state][after.state];
	return after;
}

struct event_standing
event_evaluate(const struct event *e, struct event_standing before, enum truth truth, instant t)
{
	enum hold_course course = event_hold_course(e, &before, t);

	if (course == HOLD_BEGINS)
		before.hold = 0;
	if (course != HOLD_STAYS)
		before.as_of = t;
	if (truth != TRUTH_TRUE && truth != TRUTH_FALSE) {
		before.action = DO_NOTHING;
		return before;
	}
	if (!e->rrule)
		return evaluate_basic(e, before, truth == TRUTH_TRUE, course != HOLD_STAYS);
	return (struct event_standing){
		.state = truth == TRUTH_TRUE ? RAISING : NOT_RAISING,
		.action = truth == TRUTH_TRUE ? RAISE : DO_NOTHING,
		.as_of = before.as_of,
	};
}

/* --- when it is due --- */

int
event_next_call(const struct event *e, instant dtstart, instant t, instant *next,
    struct err *err)
{
	if (!clock_isfinite(t))
		return err_set(err, "a cycle has a finite time");
	if (!e->rrule) {
		*next = t + e->interval;
		return 0;
	}
	return schedule_next(e->schedule, dtstart, t, next, err) ?
	    err_wrap(err, "rrule") : 0;
}

int
event_first_call(const struct event *e, instant dtstart, instant now, instant *next,
    struct err *err)
{
	if (!clock_isfinite(now))
		return err_set(err, "now is a finite time");
	if (!e->rrule) {
		*next = INSTANT_ALWAYS;
		return 0;
	}
	return schedule_next(e->schedule, dtstart, now - 1, next, err) ?
	    err_wrap(err, "rrule") : 0;
}

bool
event_same_schedule(const struct event *a, const struct event *b)
{
	if (!a->rrule || !b->rrule)
		return !a->rrule && !b->rrule && a->interval == b->interval;
	return !strcmp(a->rrule, b->rrule) && !strcmp(a->timezone, b->timezone) &&
	    a->dtstart == b->dtstart;
}
