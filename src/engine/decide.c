/* decide.c - evidences and events, decided from what stands upstream.
 *
 * Nothing here waits, reads or writes: the inputs come with the claim, and the
 * answer goes to the settling.  That makes evaluating idempotent. */
#include "engine/decide.h"
#include <string.h>
#include "base/err.h"
#include "base/failpoint.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

struct inputs {
	const struct input *at;
	size_t n;
	json_t **values;		/* parsed on first use */
};

static void
fail(struct outcome *out, const char *message)
{
	out->state = JOB_FAILED;
	out->reason = REASON_ERROR;
	out->error = xstrdup(message);
}

static const struct input *
find(const struct input *at, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(at[i].name, name))
			return &at[i];
	return NULL;
}

static const json_t *
value_of(void *arg, const char *name)
{
	struct inputs *in = arg;
	const struct input *input = find(in->at, in->n, name);
	struct err ignored;
	size_t i;

	if (!input)
		return NULL;
	i = (size_t)(input - in->at);
	if (!in->values[i])
		in->values[i] = input->value
		    ? json_read(input->value, strlen(input->value), &ignored) : json_null();
	return in->values[i];
}

static void
decide_evidence(const struct version *version, const struct claimed *job, struct outcome *out)
{
	const struct evidence *e = &version->u.evidence;
	struct inputs in = { job->inputs.at, job->inputs.n,
		xcalloc(job->inputs.n, sizeof *in.values) };
	struct expr_scope scope = { value_of, &in, job->as_of };
	json_t *value = NULL;
	bool truth;
	struct err err;

	if (expr_test(e->expr, e->operator, e->operand, &scope, &value, &truth, &err)) {
		char *message = err.line ? xasprintf("%d:%d: %s", err.line, err.column,
		    err.message) : xstrdup(err.message);

		fail(out, message);
		free(message);
	} else {
		out->state = JOB_DONE;
		out->reason = REASON_OK;
		out->value = json_for_books(value);
		out->truth = truth ? TRUTH_TRUE : TRUTH_FALSE;
	}
	json_decref(value);
	for (size_t i = 0; i < in.n; i++)
		json_decref(in.values[i]);
	free(in.values);
}

struct truths {
	const struct input *at;
	size_t n;
};

/* An evidence that is no job of the run counts as unknown. */
static enum truth
truth_of(void *arg, const char *name)
{
	const struct truths *truths = arg;
	const struct input *input = find(truths->at, truths->n, name);

	return input ? input->truth : TRUTH_UNKNOWN;
}

static char *
say_unknown(const struct event *event, const struct claimed *job)
{
	static const char *const then[ON_UNKNOWN_COUNT] = {
		[UNKNOWN_KEEPS] = "state and hold stay",
		[UNKNOWN_RAISES] = "on_unknown makes it true",
		[UNKNOWN_CLEARS] = "on_unknown makes it false",
	};
	struct str note = STR_INIT;

	str_puts(&note, "unknown for want of");
	for (size_t i = 0, n = 0; i < job->inputs.n; i++)
		if (job->inputs.at[i].truth == TRUTH_UNKNOWN)
			str_printf(&note, "%s %s", n++ ? "," : "", job->inputs.at[i].name);
	str_printf(&note, ": %s", then[event->on_unknown]);
	return str_take(&note);
}

static void
decide_event(const struct version *version, const struct claimed *job, struct outcome *out)
{
	const struct event *event = &version->u.event;
	struct truths truths = { job->inputs.at, job->inputs.n };
	enum truth truth = expr_decide(event->expr, truth_of, &truths);

	out->state = JOB_DONE;
	out->reason = REASON_OK;
	out->truth = event_truth(event, truth);
	if (truth == TRUTH_OPEN)
		fail(out, "it was sent before its truth was decided");
	else if (truth == TRUTH_UNKNOWN)
		out->note = say_unknown(event, job);
}

void
decide(const struct version *version, const struct claimed *job, struct outcome *out)
{
	failpoint("worker.decide");
	if (version->broken)
		fail(out, version->broken);
	else if (job->kind == EVIDENCE)
		decide_evidence(version, job, out);
	else
		decide_event(version, job, out);
}

bool
decide_needs_definition(const struct candidate *c)
{
	return c->kind == EVENT && c->succeeded == (c->unsettled > 0);
}

/* Nothing upstream was done in this run: what the event has to say about that
 * is only what it says about unknown. */
static enum job_state
without_input(const struct version *version, const struct candidate *c)
{
	struct truths truths = { c->inputs.at, c->inputs.n };

	if (c->kind != EVENT || !version || version->broken ||
	    version->u.event.on_unknown == UNKNOWN_KEEPS)
		return JOB_SKIPPED;
	return expr_decide(version->u.event.expr, truth_of, &truths) == TRUTH_UNKNOWN
	    ? JOB_QUEUED : JOB_SKIPPED;
}

enum job_state
decide_ready(const struct version *version, const struct candidate *c)
{
	struct truths truths = { c->inputs.at, c->inputs.n };

	if (c->stale)
		return JOB_SKIPPED;
	if (c->unsettled == 0)
		return c->succeeded ? JOB_QUEUED : without_input(version, c);
	if (c->kind != EVENT || !c->succeeded || !version || version->broken)
		return JOB_WAITING;
	return expr_decide(version->u.event.expr, truth_of, &truths) == TRUTH_OPEN
	    ? JOB_WAITING : JOB_QUEUED;
}

/* People look for a hold that does not fill up; who has none is not told. */
static char *
say_course(const struct event *event, const struct standing *s)
{
	char then[INSTANT_TEXT], gap[INSTANT_TEXT], most[INSTANT_TEXT];

	if (event->rrule || event_hold_needed(event) == 1)
		return NULL;
	clock_format(s->before.as_of, then);
	switch (event_hold_course(event, &s->before, s->as_of)) {
	case HOLD_GOES_ON:
		break;
	case HOLD_STAYS:
		return xasprintf("not later than its last evaluation, as of %s: the hold stays %d",
		    then, s->before.hold);
	case HOLD_BEGINS:
		if (!s->before.hold)
			break;
		return xasprintf("the hold of %d begins afresh: the last evaluation, as of %s, "
		    "is %s ago, and max_gap is %s (where cycles are that far apart, a "
		    "longer one lets the hold go on)", s->before.hold, then,
		    clock_format_span(s->as_of - s->before.as_of, gap),
		    clock_format_span(event->max_gap, most));
	}
	return NULL;
}

int
decide_move(const struct version *version, const struct standing *s, struct moved *m,
    struct err *err)
{
	const struct event *event = &version->u.event;

	*m = (struct moved){ .key = s->key, .event = s->event, .version = s->version,
		.name = xstrdup(s->name), .keep_schedule = !s->same_schedule };
	m->after = event_evaluate(event, s->before, s->truth, s->as_of);
	if (s->same_schedule)
		m->note = say_course(event, s);
	return event_next_call(event, s->dtstart, s->as_of, &m->next_call, err);
}
