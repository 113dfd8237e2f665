/* canvas_freeze.c - give ids to what is yet to come.
 *
 * A flow is frozen before its first message is sent: each task gets its id, and
 * the members of a group or chord their place in it, so that whoever waits knows
 * for what.  Chains are laid out here too, last step first, and a group in the
 * middle of one becomes the header of a chord whose body is the step after it. */
#include "celery/canvas_inner.h"
#include <string.h>
#include "base/err.h"

#define TUPLE_DEPTH_MAX 48

static struct outcome *
make_outcome(struct canvas *c, struct raw id)
{
	struct outcome *o = arena_alloc(&c->memory, sizeof *o);

	*o = (struct outcome){ .id = id };
	return o;
}

static void
put_tuple(struct str *s, const struct outcome *o, int depth)
{
	str_puts(s, "[[");
	str_add(s, o->id.text, o->id.len);
	str_puts(s, ", ");
	if (o->parent && depth < TUPLE_DEPTH_MAX)
		put_tuple(s, o->parent, depth + 1);
	else
		str_puts(s, "null");
	str_puts(s, o->is_group ? "], [" : "], null");
	for (size_t i = 0; i < o->n; i++) {
		if (i)
			str_puts(s, ", ");
		put_tuple(s, o->members[i], depth + 1);
	}
	str_puts(s, o->is_group ? "]]" : "]");
}

void
canvas_put_tuple(struct str *s, const struct outcome *o)
{
	put_tuple(s, o, 0);
}

void
canvas_trail(struct canvas *c, const struct outcome *o)
{
	if (c->trail.len)
		str_puts(&c->trail, ", ");
	canvas_put_tuple(&c->trail, o);
}

/* --- links --- */

static bool
contains(struct raw array, struct raw v)
{
	struct raw_walk walk = raw_walk(array);
	struct raw key, member;

	while (raw_next(&walk, &key, &member))
		if (member.len == v.len && !memcmp(member.text, v.text, v.len))
			return true;
	return false;
}

static struct raw
as_list(struct canvas *c, struct raw v)
{
	struct str s = STR_INIT;

	if (!v.text || raw_kind(v) == '[')
		return v;
	str_putc(&s, '[');
	str_add(&s, v.text, v.len);
	str_putc(&s, ']');
	return canvas_keep(c, &s);
}

void
canvas_extend(struct canvas *c, struct signature_options *o, const char *name, struct raw more)
{
	canvas_set(c, o, name, canvas_join(c, as_list(c, signature_value(o, name)),
	    as_list(c, more)));
}

void
canvas_link_error(struct canvas *c, struct signature *s, struct raw errback)
{
	if (s->kind == SIGNATURE_CHORD)
		canvas_link_error(c, s->body, errback);
	else if (s->kind == SIGNATURE_GROUP)
		for (size_t i = 0; i < s->tasks->n; i++)
			canvas_link_error(c, s->tasks->at[i], errback);
	else if (!contains(as_list(c, signature_value(&s->options, "link_error")), errback))
		canvas_extend(c, &s->options, "link_error", errback);
}

/* --- each kind --- */

static void
set_chord(struct canvas *c, struct signature_options *o, const struct signature_option *chord)
{
	struct signature_option option = *chord;

	option.key = (struct raw){ "\"chord\"", 7 };
	signature_put(o, &c->memory, &option);
}

static void
set_index(struct canvas *c, struct signature_options *o, int64_t index)
{
	struct str s = STR_INIT;

	str_printf(&s, "%lld", (long long)index);
	canvas_set(c, o, "group_index", canvas_keep(c, &s));
}

static struct outcome *
freeze_task(struct canvas *c, struct signature *s, const struct place *at)
{
	struct signature_options *o = &s->options;
	struct raw id = signature_value(o, "task_id");

	if (!id.text) {
		id = at->id.text ? at->id : canvas_new_id(c);
		canvas_set(c, o, "task_id", id);
	}
	if (raw_is_true(at->root_id))
		canvas_set(c, o, "root_id", at->root_id);
	if (raw_is_true(at->parent_id))
		canvas_set(c, o, "parent_id", at->parent_id);
	if (!signature_find(o, "reply_to"))
		canvas_set(c, o, "reply_to", canvas_quote(c, c->setting.reply_to));
	if (raw_is_true(at->group_id) && !signature_find(o, "group_id"))
		canvas_set(c, o, "group_id", at->group_id);
	if (at->chord)
		set_chord(c, o, at->chord);
	if (at->group_index >= 0)
		set_index(c, o, at->group_index);
	return make_outcome(c, id);
}

/* The tasks of S, without groups in groups.  Celery puts the members of an inner
 * group there in reverse order, and we are to agree with it on who is who. */
static int
flatten(struct canvas *c, const struct signature_list *from, struct signature_list *to,
    struct outcome *group, struct place *at)
{
	VEC(struct signature *) stack = { 0 }, flat = { 0 };
	struct signature *s;
	int rc = -1;

	for (size_t i = from->n; i-- > 0;)
		vec_push(&stack, from->at[i]);
	while (stack.n > 0) {
		if (!(s = canvas_copy(c, stack.at[--stack.n])))
			goto out;
		if (s->kind != SIGNATURE_GROUP)
			vec_push(&flat, s);
		else
			for (size_t i = 0; i < s->tasks->n; i++)
				vec_push(&stack, s->tasks->at[i]);
	}
	group->members = arena_alloc(&c->memory, flat.n * sizeof *group->members);
	for (size_t i = 0; i < flat.n; i++) {
		at->group_index = (int64_t)i;
		if (!(group->members[i] = canvas_freeze(c, flat.at[i], at)))
			goto out;
	}
	group->n = to->n = flat.n;
	to->at = arena_alloc(&c->memory, flat.n * sizeof *to->at);
	if (flat.n)
		memcpy(to->at, flat.at, flat.n * sizeof *to->at);
	rc = 0;
out:
	vec_done(&stack);
	vec_done(&flat);
	return rc;
}

static void
set_default(struct canvas *c, struct signature_options *o, const char *name, struct raw v)
{
	if (!signature_find(o, name))
		canvas_set(c, o, name, v);
}

static struct outcome *
freeze_group(struct canvas *c, struct signature *s, const struct place *at)
{
	struct signature_options *o = &s->options;
	struct raw id = signature_value(o, "task_id");
	struct place member = { .group_id = at->group_id, .chord = at->chord };
	struct outcome *group;

	if (!id.text) {
		id = raw_is_true(at->group_id) ? at->group_id : canvas_new_id(c);
		canvas_set(c, o, "task_id", id);
	}
	if (raw_is_true(at->group_id))
		canvas_set(c, o, "group_id", at->group_id);
	if (at->chord)
		set_chord(c, o, at->chord);
	if (at->group_index >= 0)
		set_index(c, o, at->group_index);
	set_default(c, o, "root_id", at->root_id);
	set_default(c, o, "parent_id", at->parent_id);
	member.root_id = signature_value(o, "root_id");
	member.parent_id = signature_value(o, "parent_id");
	group = make_outcome(c, id);
	group->is_group = true;
	return flatten(c, s->tasks, s->tasks, group, &member) ? NULL : group;
}

/* A body with nothing in it: nobody is told of it. */
bool
canvas_is_empty(const struct signature *body)
{
	return body->kind == SIGNATURE_GROUP && body->tasks->n == 0;
}

/* The header is told of the body, which goes on changing: by reference. */
static struct outcome *
freeze_chord(struct canvas *c, struct signature *s, const struct place *at)
{
	struct signature_option *chord = arena_alloc(&c->memory, sizeof *chord);
	struct place of_header = PLACE_NONE, of_body = *at;
	struct outcome *header, *body, *node;

	if (!s->header) {
		if (!(s->header = canvas_make(c, SIGNATURE_GROUP, "celery.group")))
			return NULL;
		s->header->tasks = s->tasks;
	}
	*chord = (struct signature_option){ .signature = s->body };
	of_header.chord = canvas_is_empty(s->body) ? NULL : chord;
	of_header.root_id = at->root_id;
	of_header.parent_id = at->parent_id;
	of_body.parent_id = (struct raw){ NULL, 0 };
	if (!(header = canvas_freeze(c, s->header, &of_header)) ||
	    !(body = canvas_freeze(c, s->body, &of_body)))
		return NULL;
	for (node = body; node->parent; node = node->parent)
		;
	node->parent = header;
	canvas_set(c, &s->options, "task_id", signature_value(&s->header->options, "task_id"));
	return body;
}

static struct outcome *
freeze_chain(struct canvas *c, struct signature *s, const struct place *at)
{
	struct raw none = { NULL, 0 };
	struct ready ready;

	if (canvas_prepare(c, none, s->tasks, none, at, false, &ready))
		return NULL;
	if (ready.n == 0) {
		canvas_error(c, CANVAS_INVALID, "a chain in a flow is empty");
		return NULL;
	}
	return ready.results[0];
}

static struct outcome *
freeze_kind(struct canvas *c, struct signature *s, const struct place *at)
{
	switch (s->kind) {
	case SIGNATURE_CHAIN:
		return freeze_chain(c, s, at);
	case SIGNATURE_GROUP:
		return freeze_group(c, s, at);
	case SIGNATURE_CHORD:
		return freeze_chord(c, s, at);
	default:
		return freeze_task(c, s, at);
	}
}

/* Groups that follow one another in a chain become chords in chords: deeper than
 * anything that was read. */
struct outcome *
canvas_freeze(struct canvas *c, struct signature *s, const struct place *at)
{
	struct outcome *outcome;

	if (canvas_descend(c))
		return NULL;
	outcome = freeze_kind(c, s, at);
	c->depth--;
	return outcome;
}

/* --- the steps of a chain --- */

struct layout {
	VEC(struct signature *) todo;	/* the next one last */
	VEC(struct signature *) tasks;
	VEC(struct outcome *) results;
	struct signature *previous;	/* NULL: none, or nothing in it */
	struct outcome *previous_result;
};

/* group | task: a chord.  The body was frozen as a task of its own. */
static struct signature *
make_chord(struct canvas *c, const struct layout *l, const struct signature *group,
    const struct place *at)
{
	struct signature *chord = canvas_make(c, SIGNATURE_CHORD, "celery.chord");

	if (!chord)
		return NULL;
	chord->tasks = group->tasks;
	chord->body = l->previous;
	if (!l->previous_result->is_group)
		canvas_set(c, &chord->options, "task_id", l->previous_result->id);
	canvas_set(c, &chord->options, "root_id", at->root_id);
	return chord;
}

static int
lay_step(struct canvas *c, struct layout *l, struct signature *s, struct raw errbacks,
    const struct place *at)
{
	struct place place = PLACE_NONE;
	struct outcome *result;
	struct raw_walk walk = raw_walk(errbacks);
	struct raw key, errback;

	if (s->kind == SIGNATURE_GROUP && l->previous) {
		l->tasks.n--;
		l->results.n--;
		if (!(s = make_chord(c, l, s, at)))
			return -1;
	}
	if (s->kind == SIGNATURE_CHORD && c->setting.chords == CANVAS_CHORDS_NONE)
		return canvas_no_chords(c);
	place.root_id = at->root_id;
	if (l->tasks.n == 0 && !l->previous) {
		place = *at;
		place.parent_id = (struct raw){ NULL, 0 };
	}
	if (!(result = canvas_freeze(c, s, &place)))
		return -1;
	if (l->previous && !l->previous_result->parent)
		l->previous_result->parent = result;
	while (raw_next(&walk, &key, &errback))
		canvas_link_error(c, s, errback);
	vec_push(&l->tasks, s);
	vec_push(&l->results, result);
	if (s->kind == SIGNATURE_CHORD)
		while (result->parent)
			result = result->parent;
	l->previous = canvas_is_empty(s) ? NULL : s;
	l->previous_result = result;
	return 0;
}

static struct signature *
take_step(struct canvas *c, struct layout *l, struct raw args, bool copy)
{
	struct signature *s = l->todo.at[--l->todo.n];
	bool first = l->todo.n == 0;

	if (s->kind == SIGNATURE_GROUP && s->tasks->n == 1)
		s = s->tasks->at[0];
	if (copy && !(s = canvas_copy(c, s)))
		return NULL;
	if (copy && first && !s->immutable)
		s->args = canvas_join(c, args, s->args);
	return s;
}

static int
lay_out(struct canvas *c, struct layout *l, struct raw args, struct raw errbacks,
    const struct place *at, bool copy)
{
	struct signature *s;

	while (l->todo.n > 0) {
		if (!(s = take_step(c, l, args, copy)))
			return -1;
		if (s->kind == SIGNATURE_CHAIN)
			for (size_t i = 0; i < s->tasks->n; i++)
				vec_push(&l->todo, s->tasks->at[i]);
		else if (lay_step(c, l, s, errbacks, at))
			return -1;
	}
	return 0;
}

static void *
keep_array(struct canvas *c, const void *at, size_t bytes)
{
	void *copy = arena_alloc(&c->memory, bytes);

	if (bytes)
		memcpy(copy, at, bytes);
	return copy;
}

int
canvas_prepare(struct canvas *c, struct raw args, const struct signature_list *tasks,
    struct raw errbacks, const struct place *at, bool copy, struct ready *ready)
{
	struct layout l = { 0 };
	int rc;

	for (size_t i = 0; i < tasks->n; i++)
		vec_push(&l.todo, tasks->at[i]);
	rc = lay_out(c, &l, args, as_list(c, errbacks), at, copy);
	if (!rc)
		*ready = (struct ready){
			keep_array(c, l.tasks.at, l.tasks.n * sizeof *l.tasks.at),
			keep_array(c, l.results.at, l.results.n * sizeof *l.results.at),
			l.tasks.n,
		};
	vec_done(&l.todo);
	vec_done(&l.tasks);
	vec_done(&l.results);
	return rc;
}
