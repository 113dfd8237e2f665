/* request_flow.c - what follows from a task is carried out, step by step.
 *
 * Messages go out one after the other without waiting; the size of a chord and
 * its group are kept before the step behind them.  A flow is over when all that
 * it has sent is confirmed.  A chord that a step, or the task itself, completes
 * adds a flow: its body, or what its failure leads to. */
#include <stdlib.h>
#include <string.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "engine/request_inner.h"
#include "engine/worker.h"
#include "wire/wire.h"

/* --- flows --- */

static enum canvas_chords
chords_of(const struct requests *all)
{
	if (backend_has_chords(all->backend))
		return CANVAS_CHORDS_NATIVE;
	return backend_can_fetch(all->backend) ? CANVAS_CHORDS_UNLOCK : CANVAS_CHORDS_NONE;
}

struct flow *
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

void
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
	request_go_on(r);
}

/* Whoever waits for it is told; where the task's own result is not kept yet, it
 * has failed for that, as with Celery. */
static void
hopeless(void *arg, const struct err *err)
{
	struct posting *p = arg;
	struct request *r = p->request;
	const struct celery_message *m = &p->step->message;
	char *arguments;

	if (!r->of->leaving) {
		log_error("what is to follow a task cannot be sent", "task", m->task, "id", m->id,
		    "follows", request_message(r)->id, "error", err->message);
		arguments = request_argument(err->message);
		backend_store(r->of->backend, &(struct celery_result){ .id = m->id,
		    .state = celery_state_name(STATE_FAILURE), .group = m->group,
		    .parent_id = m->parent_id, .reply_to = m->reply_to, .name = m->task,
		    .exception = { "ValueError", "builtins", { arguments, strlen(arguments) } } },
		    NULL, NULL);
		free(arguments);
		request_fail_late(r, err);
		r->posting--;
		request_go_on(r);
	}
	free(p);
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
		.envelope = &e, .hopeless = hopeless };

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
	request_go_on(r);
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
	flow_count(r, &member, step->body);
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
bool
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
		.id = request_message(r)->id, .root_id = request_message(r)->root_id,
		.priority = request_message(r)->priority };
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
	request_go_on(r);
out:
	str_done(&why);
	free(c->group);
	free(c->body);
	free(c);
}

void
flow_count(struct request *r, const struct chord_member *member, struct raw body)
{
	struct counting *c = xcalloc(1, sizeof *c);

	c->request = r;
	c->group = xstrdup(member->group);
	c->body = xstrndup(body.text, body.len);
	r->waiting = true;
	backend_chord_count(r->of->backend, member, counted, c);
}
