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
#include "engine/panel.h"
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

/* --- the result --- */

static void
fill_result(const struct request *r, struct celery_result *result)
{
	const struct celery_message *m = request_message(r);

	*result = (struct celery_result){ .id = m->id, .state = celery_state_name(r->outcome),
		.group = m->group, .parent_id = m->parent_id, .reply_to = m->reply_to,
		.correlation_id = m->correlation_id, .name = m->task,
		.worker = panel_node(r->of->worker->panel), .queue = r->queue, .args = m->args,
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
	request_go_on(r);
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
	struct str value = STR_INIT;
	const char *node = panel_node(r->of->worker->panel);

	if (is_ignored(r))
		return;
	fill_result(r, &result);
	result.state = celery_state_name(STATE_STARTED);
	str_printf(&value, "{\"pid\": %ld, \"hostname\": ", (long)getpid());
	json_append_text(&value, node, strlen(node));
	str_putc(&value, '}');
	result.value = (struct raw){ str_text(&value), value.len };
	backend_store(r->of->backend, &result, NULL, NULL);
	str_done(&value);
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
	flow_count(r, &member, m->chord);
	str_done(&text);
}

/* --- what follows --- */

/* What was to follow cannot: the task has failed for that. */
static void
fail_instead(struct request *r, const char *type, const char *module, const struct err *err)
{
	free(r->spent);
	r->spent = r->value;
	r->value = NULL;
	free(r->children);
	r->children = NULL;
	r->type = xstrdup(type ? type : "ValueError");
	r->module = xstrdup(module ? module : "builtins");
	r->message = request_argument(err->message);
	r->outcome = STATE_FAILURE;
	r->todo = after_failure;
}

void
request_fail_late(struct request *r, const struct err *err)
{
	if (r->outcome == STATE_SUCCESS && (*r->todo == FOLLOW || *r->todo == STORE))
		fail_instead(r, NULL, NULL, err);
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
		fail_instead(r, flow->canvas.error_type, flow->canvas.error_module, &err);
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
			all->ending_bytes -= request_bytes(r);
			break;
		}
	failpoint("request.before_ack");
	request_acknowledge(r);
	request_tell(r, event_of[r->outcome]);
	request_free(r);
	loop_nudge(all->worker->loop);
}

/* May end the request: nothing of it is touched after a call. */
void
request_go_on(struct request *r)
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
	r->of->ending_bytes += request_bytes(r);
	request_go_on(r);
}

/* A builtin has planned something of its own before that. */
void
request_end_with(struct request *r, struct flow *flow)
{
	flow_add(r, flow);
	request_succeed(r, xstrdup("null"));
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
