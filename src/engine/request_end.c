/* request_end.c - what a task has come to is told, in the order that counts.
 *
 *	success   followers confirmed -> result kept -> chord counted -> acknowledged
 *	failure   result kept -> chord counted -> the rest of the chain fails, errbacks
 *	retry     the same message again, confirmed -> state kept -> acknowledged
 *	revoked   result kept -> chord counted -> acknowledged
 *
 * Who completes a chord carries on for it, as one more flow of followers, before
 * it is acknowledged.  What a client can see is so never ahead of what follows:
 * a result that is there has its followers at the broker. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "engine/request_inner.h"
#include "engine/worker.h"
#include "io/loop.h"
#include "wire/wire.h"

enum { TRIES = 5 };		/* of what the backend does not keep */

enum todo { FOLLOW, STORE, COUNT, FINISH };

static const int after_success[] = { FOLLOW, STORE, COUNT, FINISH };
static const int after_failure[] = { STORE, COUNT, FOLLOW, FINISH };
static const int after_retry[] = { FOLLOW, STORE, FINISH };
static const int after_revoked[] = { STORE, COUNT, FINISH };

static void go_on(struct request *);

/* --- flows --- */

static enum canvas_chords
chords_of(const struct requests *all)
{
	if (backend_has_chords(all->backend))
		return CANVAS_CHORDS_NATIVE;
	return backend_can_fetch(all->backend) ? CANVAS_CHORDS_UNLOCK : CANVAS_CHORDS_NONE;
}

static struct flow *
flow_new(struct request *r)
{
	struct flow *flow = xcalloc(1, sizeof *flow);
	struct canvas_setting setting = {
		.chords = chords_of(r->of),
		.default_queue = r->of->worker->conf->queue,
		.origin = r->of->origin,
		.now = clock_now(),
	};

	canvas_init(&flow->canvas, &setting);
	return flow;
}

static void
flow_add(struct request *r, struct flow *flow)
{
	vec_push(&r->flows, flow);
}

void
flow_free(struct flow *flow)
{
	canvas_done(&flow->canvas);
	free(flow->forget);
	free(flow);
}

struct posting {
	struct request *request;
	const struct canvas_step *step;
};

static void post(struct posting *);

static void
posted(void *arg, bool ok)
{
	struct posting *p = arg;
	struct request *r = p->request;

	if (r->of->leaving) {
		free(p);
		return;
	}
	if (!ok) {		/* it waits for the connection, or for its queue */
		post(p);
		return;
	}
	free(p);
	r->posting--;
	go_on(r);
}

static void
post(struct posting *p)
{
	const struct canvas_step *step = p->step;
	struct transport *t = p->request->of->worker->set.transport;
	struct celery_envelope e;
	struct post out = { .exchange = step->queue ? "" : step->exchange,
		.routing_key = step->queue ? step->queue : step->routing_key,
		.declare = step->queue != NULL, .mandatory = step->queue != NULL,
		.envelope = &e };

	celery_encode(&step->message, clock_now(), &e);
	e.delivery_mode = step->delivery_mode;
	t->post(t, &out, posted, p);
	celery_envelope_done(&e);
}

static void
begin_post(struct request *r, const struct canvas_step *step)
{
	struct posting *p = xcalloc(1, sizeof *p);

	p->request = r;
	p->step = step;
	r->posting++;
	post(p);
}

/* The backend has answered for a step: what comes after it may go on. */
static void
step_kept(void *arg, bool ok)
{
	struct request *r = arg;

	r->waiting = false;
	if (r->of->leaving)
		return;
	if (!ok)
		log_error("the result backend does not keep what a chord needs",
		    "task", request_message(r)->task, "id", request_message(r)->id);
	go_on(r);
}

static void
fail_other(struct request *r, const struct canvas_step *step)
{
	struct celery_result result = { .id = step->id,
		.state = celery_state_name(STATE_FAILURE), .group = step->group_id,
		.parent_id = step->parent_id, .reply_to = step->reply_to, .name = step->task };

	if (step->error_type)
		result.exception = (struct celery_exception){ step->error_type,
			step->error_module, step->error_args };
	else
		result.exception = (struct celery_exception){ r->type, r->module,
			{ r->message, strlen(r->message) } };
	r->waiting = true;
	backend_store(r->of->backend, &result, step_kept, r);
}

static void count(struct request *, const struct chord_member *, struct raw body);

static void
count_other(struct request *r, const struct canvas_step *step)
{
	struct str text = STR_INIT;
	struct celery_result result = { .id = step->id,
		.state = celery_state_name(STATE_FAILURE),
		.exception = { r->type, r->module, { r->message, strlen(r->message) } } };
	struct chord_member member = { .group = step->group, .id = step->id,
		.state = celery_state_name(STATE_FAILURE), .index = step->group_index };

	if (step->error_type)
		result.exception = (struct celery_exception){ step->error_type,
			step->error_module, step->error_args };
	celery_result_value(&text, &result);
	member.result = (struct raw){ str_text(&text), text.len };
	count(r, &member, step->body);
	str_done(&text);
}

/* False: the steps behind it wait. */
static bool
take_step(struct request *r, const struct canvas_step *step)
{
	struct backend *b = r->of->backend;

	switch (step->kind) {
	case CANVAS_POST:
		begin_post(r, step);
		return true;
	case CANVAS_CHORD_SIZE:
		r->waiting = true;
		backend_chord_size(b, step->group, step->size, step_kept, r);
		return false;
	case CANVAS_SAVE_GROUP:
		r->waiting = true;
		backend_save_group(b, step->group, step->document, step_kept, r);
		return false;
	case CANVAS_FAIL:
		fail_other(r, step);
		return false;
	case CANVAS_COUNT:
		count_other(r, step);
		return false;
	case CANVAS_STEP_COUNT:
		break;
	}
	return true;
}

/* True: all flows are carried out, and confirmed. */
static bool
flows_are_over(struct request *r)
{
	while (r->flow < r->flows.n) {
		struct flow *flow = r->flows.at[r->flow];

		while (flow->next < flow->canvas.steps.n)
			if (!take_step(r, &flow->canvas.steps.at[flow->next++]))
				return false;
		if (r->posting)
			return false;
		if (flow->forget)
			backend_chord_forget(r->of->backend, flow->forget);
		r->flow++;
	}
	return !r->posting;
}

/* --- chords --- */

/* What is planned from BODY lends from it. */
static struct canvas_chord
chord_of(const struct request *r, struct flow *flow, const char *body)
{
	size_t len = strlen(body);

	return (struct canvas_chord){
		.body = { arena_strndup(&flow->canvas.memory, body, len), len },
		.id = request_message(r)->id, .root_id = request_message(r)->root_id };
}

static void
fail_chord(struct request *r, const char *body, const char *why, const char *group)
{
	struct flow *flow = flow_new(r);
	struct canvas_chord chord = chord_of(r, flow, body);
	struct err err;

	if (canvas_chord_fail(&flow->canvas, &chord,
	    arena_strndup(&flow->canvas.memory, why, strlen(why)), &err)) {
		log_error("a chord that has failed cannot be told of", "chord", group,
		    "error", err.message);
		flow_free(flow);
		return;
	}
	flow->forget = xstrdup(group);
	flow_add(r, flow);
}

static void
complete_chord(struct request *r, const char *body, const char *group,
    const struct chord_answer *answer)
{
	struct flow *flow = flow_new(r);
	struct canvas_chord chord = chord_of(r, flow, body);
	struct str text = STR_INIT;
	struct err err;

	for (size_t i = 0; i < answer->n; i++) {
		str_puts(&text, i ? ", " : "[");
		str_add(&text, answer->results[i].text, answer->results[i].len);
	}
	str_puts(&text, answer->n ? "]" : "[]");
	if (!canvas_chord_done(&flow->canvas, &chord,
	    (struct raw){ arena_strndup(&flow->canvas.memory, str_text(&text), text.len),
	    text.len }, &err)) {
		flow->forget = xstrdup(group);
		flow_add(r, flow);
	} else {
		flow_free(flow);
		str_clear(&text);
		str_printf(&text, "Callback error: %s", err.message);
		fail_chord(r, body, str_text(&text), group);
	}
	str_done(&text);
}

struct counting {
	struct request *request;
	char *group, *body;
};

static void
counted(void *arg, const struct chord_answer *answer)
{
	struct counting *c = arg;
	struct request *r = c->request;
	struct str why = STR_INIT;

	r->waiting = false;
	if (r->of->leaving)
		goto out;
	if (!answer->ok)
		log_error("a member of a chord cannot be counted", "chord", c->group,
		    "id", request_message(r)->id);
	else if (answer->complete && answer->failed_id) {
		if (answer->joined) {
			str_puts(&why, "Join error: ");
			celery_exception_repr(&why, answer->exception);
		} else
			canvas_chord_reason(&why, answer->failed_id, answer->exception->type,
			    answer->exception->message);
		fail_chord(r, c->body, str_text(&why), c->group);
	} else if (answer->complete)
		complete_chord(r, c->body, c->group, answer);
	go_on(r);
out:
	str_done(&why);
	free(c->group);
	free(c->body);
	free(c);
}

static void
count(struct request *r, const struct chord_member *member, struct raw body)
{
	struct counting *c = xcalloc(1, sizeof *c);

	c->request = r;
	c->group = xstrdup(member->group);
	c->body = xstrndup(body.text, body.len);
	r->waiting = true;
	backend_chord_count(r->of->backend, member, counted, c);
}

/* --- the result --- */

static void
fill_result(const struct request *r, struct celery_result *result)
{
	const struct celery_message *m = request_message(r);

	*result = (struct celery_result){ .id = m->id, .state = celery_state_name(r->outcome),
		.group = m->group, .parent_id = m->parent_id, .reply_to = m->reply_to,
		.correlation_id = m->correlation_id, .name = m->task,
		.worker = r->of->worker->name, .queue = r->queue, .args = m->args,
		.kwargs = m->kwargs, .retries = m->retries };
	if (r->value)
		result->value = (struct raw){ r->value, strlen(r->value) };
	if (r->type)
		result->exception = (struct celery_exception){ r->type, r->module,
			{ r->message, strlen(r->message) } };
	if (r->children)
		result->children = (struct raw){ r->children, strlen(r->children) };
}

static void
stored(void *arg, bool ok)
{
	struct request *r = arg;

	r->waiting = false;
	if (r->of->leaving)
		return;
	if (!ok && ++r->tries < TRIES)
		r->todo--;	/* once more */
	else if (!ok)
		log_error("the result backend does not keep a result", "task",
		    request_message(r)->task, "id", request_message(r)->id);
	go_on(r);
}

static bool
is_ignored(const struct request *r)
{
	return request_message(r)->ignore_result || (r->task && r->task->ignore_result) ||
	    (r->builtin && builtin_is_silent(r->builtin));
}

static void
store(struct request *r)
{
	struct celery_result result;

	if (is_ignored(r))
		return;
	failpoint("request.before_store");
	fill_result(r, &result);
	r->waiting = true;
	backend_store(r->of->backend, &result, stored, r);
}

void
request_store_started(struct request *r)
{
	struct celery_result result;
	char value[300];

	if (is_ignored(r))
		return;
	fill_result(r, &result);
	result.state = celery_state_name(STATE_STARTED);
	snprintf(value, sizeof value, "{\"pid\": %ld, \"hostname\": \"%s\"}", (long)getpid(),
	    r->of->worker->name);
	result.value = (struct raw){ value, strlen(value) };
	backend_store(r->of->backend, &result, NULL, NULL);
}

static void
count_own(struct request *r)
{
	const struct celery_message *m = request_message(r);
	struct celery_result result;
	struct str text = STR_INIT;
	struct chord_member member = { .group = m->group, .id = m->id,
		.state = celery_state_name(r->outcome), .index = m->group_index };

	if (!m->chord.text || !m->group || !backend_has_chords(r->of->backend))
		return;
	fill_result(r, &result);
	celery_result_value(&text, &result);
	member.result = (struct raw){ str_text(&text), text.len };
	count(r, &member, m->chord);
	str_done(&text);
}

/* --- what follows --- */

/* What was to follow cannot: the task has failed for that. */
static void
fail_instead(struct request *r, const struct canvas *canvas, const struct err *err)
{
	free(r->value);
	r->value = NULL;
	r->type = xstrdup(canvas->error_type ? canvas->error_type : "ValueError");
	r->module = xstrdup(canvas->error_module ? canvas->error_module : "builtins");
	r->message = request_argument(err->message);
	r->outcome = STATE_FAILURE;
	r->todo = after_failure;
}

static int
plan(struct request *r, struct canvas *canvas, struct err *err)
{
	const struct celery_message *m = request_message(r);
	struct canvas_retry again = { .eta = r->retry_at, .queue = r->queue };

	if (r->outcome == STATE_RETRY)
		return canvas_retry(canvas, m, &again, err);
	if (r->outcome == STATE_FAILURE)
		return canvas_fail(canvas, m, err);
	return canvas_succeed(canvas, m, (struct raw){ r->value, strlen(r->value) }, err);
}

static void
follow(struct request *r)
{
	struct flow *flow = flow_new(r);
	struct err err;

	if (!plan(r, &flow->canvas, &err)) {
		if (r->outcome == STATE_SUCCESS && flow->canvas.children.text)
			r->children = xstrndup(flow->canvas.children.text,
			    flow->canvas.children.len);
		flow_add(r, flow);
		return;
	}
	if (r->outcome == STATE_SUCCESS)
		fail_instead(r, &flow->canvas, &err);
	else
		log_error("what was to follow a task cannot be sent", "task",
		    request_message(r)->task, "id", request_message(r)->id,
		    "error", err.message);
	flow_free(flow);
}

/* --- all of it --- */

static const enum request_event event_of[CELERY_STATE_COUNT] = {
	[STATE_SUCCESS] = REQUEST_SUCCEEDED, [STATE_FAILURE] = REQUEST_FAILED,
	[STATE_RETRY] = REQUEST_RETRIED, [STATE_REVOKED] = REQUEST_REVOKED,
};

static void
finish(struct request *r)
{
	struct requests *all = r->of;

	for (size_t i = 0; i < all->ending.n; i++)
		if (all->ending.at[i] == r) {
			all->ending.at[i] = all->ending.at[--all->ending.n];
			break;
		}
	failpoint("request.before_ack");
	request_acknowledge(r);
	request_tell(r, event_of[r->outcome]);
	request_free(r);
	loop_nudge(all->worker->loop);
}

/* May end the request: nothing of it is touched after a call. */
static void
go_on(struct request *r)
{
	while (!r->waiting && flows_are_over(r)) {
		switch ((enum todo)*r->todo++) {
		case FOLLOW:
			follow(r);
			break;
		case STORE:
			store(r);
			break;
		case COUNT:
			count_own(r);
			break;
		case FINISH:
			finish(r);
			return;
		}
	}
}

static const int *
todo_of(enum celery_state outcome)
{
	switch (outcome) {
	case STATE_SUCCESS: return after_success;
	case STATE_RETRY: return after_retry;
	case STATE_REVOKED: return after_revoked;
	default: return after_failure;
	}
}

void
request_end(struct request *r)
{
	r->state = REQUEST_ENDING;
	r->todo = todo_of(r->outcome);
	vec_push(&r->of->ending, r);
	go_on(r);
}

/* A builtin has planned something of its own before that. */
void
request_end_with(struct request *r, struct flow *flow)
{
	flow_add(r, flow);
	request_succeed(r, xstrdup("null"));
}

struct flow *
request_flow(struct request *r)
{
	return flow_new(r);
}

void
request_end_revoked(struct request *r, const char *why)
{
	r->expired = !strcmp(why, "expired");
	r->type = xstrdup("TaskRevokedError");
	r->module = xstrdup("celery.exceptions");
	r->message = xasprintf("[\"%s\"]", why);
	r->outcome = STATE_REVOKED;
	request_end(r);
}

void
request_tell_refused(struct requests *all, const struct letter *letter)
{
	const struct celery_message *m = &letter->message;
	char *arguments = request_argument(letter->refusal.err.message);
	struct celery_result result = { .id = m->id,
		.state = celery_state_name(STATE_FAILURE), .group = m->group,
		.parent_id = m->parent_id, .reply_to = m->reply_to,
		.correlation_id = m->correlation_id, .name = m->task,
		.exception = { "InvalidTaskError", "celery.exceptions",
		{ arguments, strlen(arguments) } } };

	backend_store(all->backend, &result, NULL, NULL);
	free(arguments);
}
