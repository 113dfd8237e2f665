/* canvas.c - what follows a task that has ended.
 *
 * A success publishes callbacks and the next step of the chain.  A failure means
 * that the rest of the chain will never run: each of its tasks gets the same
 * FAILURE, or somebody would wait for it for ever, and where one of them is
 * counted in a chord it is counted as failed.  Then come the errbacks. */
#include "celery/canvas.h"
#include <string.h>
#include "base/err.h"
#include "celery/canvas_inner.h"
#include "celery/repr.h"

static const struct raw none = { NULL, 0 };

void
canvas_init(struct canvas *c, const struct canvas_setting *setting)
{
	memset(c, 0, sizeof *c);
	c->setting = *setting;
	if (!c->setting.default_queue)
		c->setting.default_queue = "celery";
	if (!c->setting.reply_to)
		c->setting.reply_to = "";
	if (!c->setting.messages_max)
		c->setting.messages_max = CANVAS_MESSAGES_MAX;
	if (!c->setting.bytes_max)
		c->setting.bytes_max = CANVAS_BYTES_MAX;
	if (!c->setting.signatures_max)
		c->setting.signatures_max = CANVAS_SIGNATURES_MAX;
	c->budget.signatures = c->setting.signatures_max;
	c->budget.bytes = c->setting.bytes_max;
	c->children = (struct raw){ "[]", 2 };
}

void
canvas_done(struct canvas *c)
{
	for (size_t i = 0; i < c->headers.n; i++)
		json_decref(c->headers.at[i]);
	vec_done(&c->headers);
	vec_done(&c->steps);
	str_done(&c->trail);
	arena_done(&c->memory);
	memset(c, 0, sizeof *c);
}

static int
finish(struct canvas *c, int rc)
{
	struct str s = STR_INIT;

	if (rc) {
		c->steps.n = 0;
		return -1;
	}
	str_putc(&s, '[');
	str_add(&s, str_text(&c->trail), c->trail.len);
	str_putc(&s, ']');
	c->children = canvas_keep(c, &s);
	return 0;
}

static void
begin(struct canvas *c, const struct celery_message *m, struct err *err)
{
	c->err = err;
	c->of = m;
	c->id = m->id;
	c->root_id = m->root_id;
	c->priority = m->priority;
}

static struct raw
in_array(struct canvas *c, struct raw v)
{
	struct str s = STR_INIT;

	str_putc(&s, '[');
	str_add(&s, v.text, v.len);
	str_putc(&s, ']');
	return canvas_keep(c, &s);
}

/* Ids of ours are quoted with all that JSON wants. */
static void
set_parent(struct canvas *c, struct signature_options *o, struct raw id, struct raw root_id)
{
	canvas_set(c, o, "parent_id", id);
	canvas_set(c, o, "root_id", root_id);
}

static struct raw
own_priority(struct canvas *c)
{
	struct str s = STR_INIT;

	if (!c->setting.inherit_priority || c->of->priority < 0)
		return none;
	str_printf(&s, "%d", c->of->priority);
	return canvas_keep(c, &s);
}

/* --- success --- */

static void
of_follower(struct canvas *c, struct signature_options *o)
{
	*o = (struct signature_options){ 0 };
	set_parent(c, o, canvas_quote(c, c->id), canvas_quote(c, c->root_id ? c->root_id : c->id));
	canvas_set(c, o, "priority", own_priority(c));
}

static int
apply_one(struct canvas *c, struct signature *s, struct raw args)
{
	struct signature_options o;

	of_follower(c, &o);
	return canvas_apply_signature(c, s, args, &o);
}

/* Groups one by one, all others as one new group. */
static int
apply_callbacks(struct canvas *c, struct raw callbacks, struct raw args)
{
	struct raw_walk walk = raw_walk(callbacks);
	struct signature *others = canvas_make(c, SIGNATURE_GROUP, "celery.group"), *s;
	struct raw key, member;
	size_t n = raw_count(callbacks);

	if (!others)
		return -1;
	others->tasks = arena_alloc(&c->memory, sizeof *others->tasks);
	*others->tasks = (struct signature_list){
		arena_alloc(&c->memory, n * sizeof *others->tasks->at), 0 };
	while (raw_next(&walk, &key, &member)) {
		if (!(s = canvas_read(c, member)))
			return -1;
		if (n > 1 && s->kind != SIGNATURE_GROUP)
			others->tasks->at[others->tasks->n++] = s;
		else if (apply_one(c, s, args))
			return -1;
	}
	return others->tasks->n > 0 ? apply_one(c, others, args) : 0;
}

/* The last element of ARRAY, and the array without it. */
static void
pop(struct canvas *c, struct raw array, struct raw *last, struct raw *rest)
{
	struct raw_walk walk = raw_walk(array);
	struct raw key, member;
	struct str s = STR_INIT;
	const char *end = array.text + 1;

	*last = none;
	while (raw_next(&walk, &key, &member)) {
		if (last->text)
			end = last->text + last->len;
		*last = member;
	}
	str_add(&s, array.text, (size_t)(end - array.text));
	str_putc(&s, ']');
	*rest = canvas_keep(c, &s);
}

static int
apply_chain(struct canvas *c, struct raw chain, struct raw args)
{
	struct signature_options o;
	struct signature *s;
	struct raw last, rest;

	pop(c, chain, &last, &rest);
	if (!(s = canvas_read(c, last)))
		return -1;
	of_follower(c, &o);
	canvas_set(c, &o, "chain", rest);
	return canvas_apply_signature(c, s, args, &o);
}

int
canvas_succeed(struct canvas *c, const struct celery_message *m, struct raw result,
    struct err *err)
{
	struct raw args;
	int rc = 0;

	begin(c, m, err);
	if (!raw_is_true(m->callbacks) && !raw_is_true(m->chain))
		return finish(c, 0);
	args = in_array(c, result);
	if (raw_is_true(m->callbacks))
		rc = apply_callbacks(c, m->callbacks, args);
	if (!rc && raw_is_true(m->chain))
		rc = apply_chain(c, m->chain, args);
	return finish(c, rc);
}

/* --- failure --- */

int
canvas_errbacks(struct canvas *c, struct raw errbacks, struct raw id, struct raw root_id)
{
	struct signature *group;
	struct signature_options o = { 0 };
	struct raw_walk walk = raw_walk(errbacks);
	struct raw key, member;
	struct signature *s;

	if (!raw_is_true(errbacks))
		return 0;
	if (raw_kind(errbacks) == '{')	/* one alone */
		walk = raw_walk(errbacks = in_array(c, errbacks));
	if (!(group = canvas_make(c, SIGNATURE_GROUP, "celery.group")))
		return -1;
	group->tasks = arena_alloc(&c->memory, sizeof *group->tasks);
	*group->tasks = (struct signature_list){ arena_alloc(&c->memory,
	    raw_count(errbacks) * sizeof *group->tasks->at), 0 };
	while (raw_next(&walk, &key, &member)) {
		if (!(s = canvas_read(c, member)))
			return -1;
		group->tasks->at[group->tasks->n++] = s;
	}
	set_parent(c, &o, id, root_id);
	return canvas_apply_signature(c, group, in_array(c, id), &o);
}

/* How the tasks that never run fail: the chord's error, or that of the task. */
struct failing {
	const char *type, *module;
	struct raw args;
};

static int
fail_step(struct canvas *c, enum canvas_step_kind kind, const struct signature_options *o,
    struct raw task, const struct failing *how)
{
	struct canvas_step step = { .kind = kind, .group_index = -1 };

	if (canvas_string(c, "task_id", signature_value(o, "task_id"), &step.id) ||
	    canvas_string(c, "group_id", signature_value(o, "group_id"), &step.group_id) ||
	    canvas_string(c, "parent_id", signature_value(o, "parent_id"), &step.parent_id) ||
	    canvas_string(c, "root_id", signature_value(o, "root_id"), &step.root_id) ||
	    canvas_string(c, "reply_to", signature_value(o, "reply_to"), &step.reply_to) ||
	    canvas_string(c, "task", task, &step.task))
		return -1;
	if (!step.id || !*step.id)
		return 0;
	step.error_type = how->type;
	step.error_module = how->module;
	step.error_args = how->args;
	if (kind == CANVAS_COUNT) {
		step.group = step.group_id;
		step.body = signature_value(o, "chord");
		if (raw_integer(signature_value(o, "group_index"), &step.group_index))
			step.group_index = -1;
		if (!step.group || !*step.group || raw_kind(step.body) != '{' ||
		    c->setting.chords != CANVAS_CHORDS_NATIVE)
			return 0;
	}
	vec_push(&c->steps, step);
	return 0;
}

static int fail_signature(struct canvas *, const struct signature *, const struct failing *);

static int
fail_list(struct canvas *c, const struct signature_list *tasks, const struct failing *how)
{
	for (size_t i = 0; i < tasks->n; i++)
		if (fail_signature(c, tasks->at[i], how))
			return -1;
	return 0;
}

static int fail_chain(struct canvas *, struct raw chain, const struct failing *);

/* A task, with all that it would have made follow. */
static int
fail_task(struct canvas *c, const struct signature *s, const struct failing *how)
{
	if (fail_step(c, CANVAS_FAIL, &s->options, s->task, how) ||
	    fail_step(c, CANVAS_COUNT, &s->options, s->task, how))
		return -1;
	return fail_chain(c, signature_value(&s->options, "chain"), how);
}

static int
fail_kind(struct canvas *c, const struct signature *s, const struct failing *how)
{
	switch (s->kind) {
	case SIGNATURE_CHAIN:
		return fail_list(c, s->tasks, how);
	case SIGNATURE_GROUP:
		if (fail_step(c, CANVAS_FAIL, &s->options, s->task, how))
			return -1;
		return fail_list(c, s->tasks, how);
	case SIGNATURE_CHORD:
		/* Its own id is the header's, that of a group. */
		if (fail_step(c, CANVAS_FAIL, &s->options, s->task, how))
			return -1;
		return fail_signature(c, s->body, how);
	default:
		return fail_task(c, s, how);
	}
}

static int
fail_signature(struct canvas *c, const struct signature *s, const struct failing *how)
{
	int rc;

	if (canvas_descend(c))
		return -1;
	rc = fail_kind(c, s, how);
	c->depth--;
	return rc;
}

static int
fail_chain(struct canvas *c, struct raw chain, const struct failing *how)
{
	struct raw_walk walk = raw_walk(chain);
	struct raw key, member;
	struct signature *s;

	while (raw_next(&walk, &key, &member))
		if (!(s = canvas_read(c, member)) || fail_signature(c, s, how))
			return -1;
	return 0;
}

int
canvas_fail(struct canvas *c, const struct celery_message *m, struct err *err)
{
	struct failing same = { 0 };
	int rc;

	begin(c, m, err);
	rc = fail_chain(c, m->chain, &same);
	if (!rc)
		rc = canvas_errbacks(c, m->errbacks, canvas_quote(c, m->id),
		    canvas_quote(c, m->root_id ? m->root_id : m->id));
	return finish(c, rc);
}

/* --- again --- */

int
canvas_retry(struct canvas *c, const struct celery_message *m, const struct canvas_retry *retry,
    struct err *err)
{
	struct canvas_step *step;

	begin(c, m, err);
	step = canvas_step(c, CANVAS_POST);
	step->message = *m;
	memset(&step->message.memory, 0, sizeof step->message.memory);
	step->message.retries++;
	step->message.eta = retry->eta;
	if (!m->root_id)
		step->message.root_id = m->id;
	if (!m->parent_id)
		step->message.parent_id = m->id;
	step->message.origin = c->setting.origin;
	if (retry->args.text) {
		step->message.args = retry->args;
		step->message.argsrepr = NULL;
	}
	if (retry->kwargs.text) {
		step->message.kwargs = retry->kwargs;
		step->message.kwargsrepr = NULL;
	}
	step->queue = retry->queue;
	step->exchange = retry->exchange;
	step->routing_key = retry->routing_key;
	step->delivery_mode = CELERY_PERSISTENT;
	return finish(c, 0);
}

/* --- from without --- */

int
canvas_apply(struct canvas *c, struct raw text, struct raw args, struct err *err)
{
	struct signature *s;

	c->err = err;
	s = canvas_read(c, text);
	return finish(c, s ? canvas_apply_signature(c, s, args, &(struct signature_options){ 0 }) :
	    -1);
}

/* --- chords --- */

static void
begin_chord(struct canvas *c, const struct canvas_chord *chord, struct err *err)
{
	c->err = err;
	c->id = chord->id;
	c->root_id = chord->root_id;
	c->priority = chord->priority;
}

int
canvas_chord_done(struct canvas *c, const struct canvas_chord *chord, struct raw results,
    struct err *err)
{
	struct signature *body;

	begin_chord(c, chord, err);
	body = canvas_read(c, chord->body);
	return finish(c, body ? canvas_apply_signature(c, body, in_array(c, results),
	    &(struct signature_options){ 0 }) : -1);
}

/* Whose errbacks are called when a body cannot run: of a chain its first task's,
 * of a group every member's. */
static int
call_errbacks(struct canvas *c, const struct signature *s, struct raw id)
{
	struct raw own;

	switch (s->kind) {
	case SIGNATURE_CHAIN:
		own = signature_value(&s->options, "link_error");
		if (own.text && s->tasks->n > 0)
			canvas_extend(c, &s->tasks->at[0]->options, "link_error", own);
		return s->tasks->n > 0 ? call_errbacks(c, s->tasks->at[0], id) : 0;
	case SIGNATURE_GROUP:
		for (size_t i = 0; i < s->tasks->n; i++)
			if (call_errbacks(c, s->tasks->at[i], id))
				return -1;
		return 0;
	case SIGNATURE_CHORD:
		return call_errbacks(c, s->body, id);
	default:
		own = signature_value(&s->options, "task_id");
		if (!raw_is_true(own))
			return 0;
		return canvas_errbacks(c, signature_value(&s->options, "link_error"), own, own);
	}
}

int
canvas_chord_fail(struct canvas *c, const struct canvas_chord *chord, const char *text,
    struct err *err)
{
	struct failing how = { "ChordError", "celery.exceptions", { NULL, 0 } };
	struct signature *body;

	begin_chord(c, chord, err);
	if (!(body = canvas_read(c, chord->body)))
		return finish(c, -1);
	how.args = in_array(c, canvas_quote(c, text));
	return finish(c, call_errbacks(c, body, none) || fail_signature(c, body, &how) ? -1 : 0);
}

void
canvas_chord_reason(struct str *s, const char *id, const char *type, struct raw args)
{
	str_printf(s, "Dependency %s raised ", id);
	celery_repr_exception(s, type, args);
}
