/* canvas_apply.c - publish a signature, of whatever kind.
 *
 * A chain sends its first task and lets that carry the others; a group sends all
 * its members; a chord sends its header, whose members carry the body.  Options
 * given by the caller win over the signature's own, except that who is in a group
 * already stays there. */
#include "celery/canvas_inner.h"
#include <string.h>
#include "base/err.h"

static const struct raw none = { NULL, 0 };

/* --- a task --- */

static int
apply_task(struct canvas *c, const struct signature *s, struct raw args,
    const struct signature_options *opts)
{
	struct signature_options o;

	canvas_options(c, &o, &s->options);
	canvas_merge(c, &o, opts, false);
	return canvas_send(c, s->task, s->immutable ? s->args : canvas_join(c, args, s->args),
	    s->kwargs, &o);
}

/* --- a chain --- */

/* What is still to run, as the message has it: the next one last. */
static int
write_rest(struct canvas *c, struct raw before, const struct ready *ready, struct raw *out)
{
	struct str s = STR_INIT;

	str_putc(&s, '[');
	for (size_t i = 0; i + 1 < ready->n; i++) {
		if (i)
			str_puts(&s, ", ");
		if (signature_write(ready->tasks[i], &s, &c->budget, c->err)) {
			str_done(&s);
			return canvas_invalid(c);
		}
	}
	str_putc(&s, ']');
	*out = canvas_keep(c, &s);
	if (raw_kind(before) == '[')
		*out = canvas_join(c, before, *out);
	return 0;
}

static void
take_chord(struct canvas *c, struct signature_options *o, struct place *at)
{
	const struct signature_option *found = signature_find(o, "chord");
	struct signature_option *chord;

	if (found && (found->signature || raw_is_true(found->value))) {
		chord = arena_alloc(&c->memory, sizeof *chord);
		*chord = *found;
		at->chord = chord;
	}
	signature_drop(o, "chord");
}

/* Which of the options are for the last task alone. */
static void
take_place(struct canvas *c, struct signature_options *o, struct place *at)
{
	int64_t index;

	*at = (struct place)PLACE_NONE;
	at->id = canvas_take(o, "task_id");
	at->group_id = canvas_take(o, "group_id");
	at->root_id = canvas_take(o, "root_id");
	at->parent_id = canvas_take(o, "parent_id");
	if (!raw_integer(canvas_take(o, "group_index"), &index))
		at->group_index = index;
	take_chord(c, o, at);
}

static int
apply_chain(struct canvas *c, const struct signature *s, struct raw args,
    const struct signature_options *opts)
{
	struct signature_options o;
	struct raw link, errbacks, rest;
	struct ready ready;
	struct place at;

	canvas_options(c, &o, &s->options);
	canvas_update(c, &o, opts);
	take_place(c, &o, &at);
	link = canvas_take(&o, "link");
	errbacks = canvas_take(&o, "link_error");
	if (canvas_prepare(c, args, s->tasks, errbacks, &at, true, &ready))
		return -1;
	if (ready.n == 0)
		return 0;
	if (raw_is_true(link))
		canvas_extend(c, &ready.tasks[0]->options, "link", link);
	if (write_rest(c, signature_value(&o, "chain"), &ready, &rest))
		return -1;
	canvas_set(c, &o, "chain", rest);
	return canvas_apply_signature(c, ready.tasks[ready.n - 1], none, &o);
}

/* --- a group --- */

/* How many results S will add to a chord. */
static size_t
count_results(const struct signature *s)
{
	size_t n = 0;

	switch (s->kind) {
	case SIGNATURE_GROUP:
		for (size_t i = 0; i < s->tasks->n; i++)
			n += count_results(s->tasks->at[i]);
		return n;
	case SIGNATURE_CHAIN:
		for (size_t i = s->tasks->n; i-- > 0 && n == 0;)
			n = count_results(s->tasks->at[i]);
		return n;
	case SIGNATURE_CHORD:
		return count_results(s->body);
	default:
		return 1;
	}
}

struct members {
	VEC(struct signature *) at;
	VEC(struct outcome *) results;
};

static int
gather(struct canvas *c, const struct signature_list *tasks, const struct place *at,
    struct members *out)
{
	struct outcome *result;
	struct signature *s;

	if (canvas_descend(c))
		return -1;
	for (size_t i = 0; i < tasks->n; i++) {
		if (!(s = canvas_copy(c, tasks->at[i])))
			return -1;
		if (s->kind == SIGNATURE_GROUP) {
			if (gather(c, s->tasks, at, out))
				return -1;
			continue;
		}
		if (!(result = canvas_freeze(c, s, at)))
			return -1;
		vec_push(&out->at, s);
		vec_push(&out->results, result);
	}
	c->depth--;
	return 0;
}

static void
set_chord_option(struct canvas *c, struct signature_options *o,
    const struct signature_option *chord)
{
	struct signature_option option = { .value = { "null", 4 } };

	if (chord)
		option = *chord;
	option.key = (struct raw){ "\"chord\"", 7 };
	signature_put(o, &c->memory, &option);
}

static const struct signature_option *
chord_of(const struct signature_options *o)
{
	const struct signature_option *found = signature_find(o, "chord");

	return found && (found->signature || raw_kind(found->value) != 'n') ? found : NULL;
}

/* The size is written before the last member can be counted. */
static int
send_members(struct canvas *c, const struct members *members, struct raw args, struct raw id,
    const struct signature_option *chord, const struct signature_options *o)
{
	struct signature_options opts;
	const struct signature_option *of_member;
	struct canvas_step *step;
	size_t size = 0;

	for (size_t i = 0; i < members->at.n; i++) {
		struct signature *s = members->at.at[i];

		of_member = chord ? chord : chord_of(&s->options);
		size += count_results(s);
		if (of_member && i + 1 == members->at.n &&
		    c->setting.chords == CANVAS_CHORDS_NATIVE) {
			step = canvas_step(c, CANVAS_CHORD_SIZE);
			step->size = (int64_t)size;
			if (canvas_string(c, "task_id", id, &step->group))
				return -1;
		}
		canvas_options(c, &opts, o);
		canvas_set(c, &opts, "add_to_parent", (struct raw){ "false", 5 });
		set_chord_option(c, &opts, of_member);
		if (canvas_apply_signature(c, s, args, &opts))
			return -1;
	}
	return 0;
}

static int
send_group(struct canvas *c, const struct signature *s, struct raw args,
    struct signature_options *o, struct members *members, bool in_trail)
{
	struct raw id = canvas_take(o, "task_id");
	const struct signature_option *chord = chord_of(o);
	struct signature_option kept;
	struct place at = PLACE_NONE;
	struct outcome outcome = { .is_group = true };

	if (chord) {
		kept = *chord;
		chord = &kept;
	}
	signature_drop(o, "chord");
	if (!raw_is_true(id))
		id = canvas_new_id(c);
	canvas_set(c, o, "group_id", id);
	at.group_id = id;
	at.root_id = signature_value(o, "root_id");
	if (gather(c, s->tasks, &at, members) || send_members(c, members, args, id, chord, o))
		return -1;
	outcome.id = id;
	outcome.members = members->results.at;
	outcome.n = members->results.n;
	if (in_trail)
		canvas_trail(c, outcome.n == 1 && outcome.members[0]->is_group ?
		    outcome.members[0] : &outcome);
	return 0;
}

static int
apply_group(struct canvas *c, const struct signature *s, struct raw args,
    const struct signature_options *opts)
{
	const struct signature_option *add = signature_find(opts, "add_to_parent");
	bool in_trail = !add || raw_is_true(add->value);
	struct signature_options given, o;
	struct members members = { 0 };
	int rc;

	if (signature_value(opts, "link").text || signature_value(opts, "link_error").text)
		return canvas_error(c, "TypeError", "builtins",
		    "Cannot add link to group: use a chord");
	if (s->tasks->n == 0)
		return 0;
	canvas_options(c, &given, opts);
	signature_drop(&given, "add_to_parent");
	signature_drop(&given, "link");
	signature_drop(&given, "link_error");
	canvas_options(c, &o, &s->options);
	canvas_update(c, &o, &given);
	rc = send_group(c, s, args, &o, &members, in_trail);
	vec_done(&members.at);
	vec_done(&members.results);
	return rc;
}

/* --- chunks --- */

static struct signature *
make_part(struct canvas *c, struct raw task, struct str *items)
{
	struct signature *s = canvas_make(c, SIGNATURE_TASK, "celery.starmap");
	struct str kwargs = STR_INIT;

	if (!s)
		return NULL;
	canvas_put(&kwargs, "{\"task\": ", task);
	str_puts(&kwargs, ", \"it\": [");
	str_add(&kwargs, str_text(items), items->len);
	str_puts(&kwargs, "]}");
	str_clear(items);
	s->immutable = true;
	s->kwargs = canvas_keep(c, &kwargs);
	return s;
}

static int
make_parts(struct canvas *c, struct raw kwargs, int64_t size, struct signature_list *parts)
{
	struct raw items = raw_get(kwargs, "it"), task = raw_get(kwargs, "task"), key, item;
	struct raw_walk walk = raw_walk(items);
	struct str s = STR_INIT;
	int64_t n = 0;
	bool failed = false;

	parts->at = arena_alloc(&c->memory, raw_count(items) * sizeof *parts->at);
	while (!failed && raw_next(&walk, &key, &item)) {
		if (n++)
			str_puts(&s, ", ");
		str_add(&s, item.text, item.len);
		if (n == size) {
			n = 0;
			failed = !(parts->at[parts->n++] = make_part(c, task, &s));
		}
	}
	if (!failed && n > 0)
		failed = !(parts->at[parts->n++] = make_part(c, task, &s));
	str_done(&s);
	return failed ? -1 : 0;
}

static int
apply_chunks(struct canvas *c, const struct signature *s, struct raw args,
    const struct signature_options *opts)
{
	struct signature *group = canvas_make(c, SIGNATURE_GROUP, "celery.group");
	struct signature_list *parts = arena_alloc(&c->memory, sizeof *parts);
	int64_t size;

	*parts = (struct signature_list){ 0 };
	if (!group)
		return -1;
	if (raw_kind(raw_get(s->kwargs, "task")) != '{' ||
	    raw_kind(raw_get(s->kwargs, "it")) != '[' ||
	    raw_integer(raw_get(s->kwargs, "n"), &size) || size < 1)
		return canvas_error(c, CANVAS_INVALID, "chunks without task, it, or n");
	if (make_parts(c, s->kwargs, size, parts))
		return -1;
	group->tasks = parts;
	return canvas_apply_signature(c, group, args, opts);
}

/* --- all --- */

static int
apply_kind(struct canvas *c, const struct signature *s, struct raw args,
    const struct signature_options *opts)
{
	switch (s->kind) {
	case SIGNATURE_CHAIN:
		return apply_chain(c, s, args, opts);
	case SIGNATURE_GROUP:
		return apply_group(c, s, args, opts);
	case SIGNATURE_CHORD:
		return canvas_apply_chord(c, s, args, opts);
	case SIGNATURE_CHUNKS:
		return apply_chunks(c, s, args, opts);
	default:
		return apply_task(c, s, args, opts);
	}
}

int
canvas_descend(struct canvas *c)
{
	if (c->depth == CANVAS_DEPTH_MAX)
		return canvas_error(c, CANVAS_INVALID, "a flow with too many flows in one another");
	c->depth++;
	return 0;
}

int
canvas_apply_signature(struct canvas *c, struct signature *s, struct raw args,
    const struct signature_options *opts)
{
	int rc;

	if (canvas_descend(c))
		return -1;
	rc = apply_kind(c, s, args, opts);
	c->depth--;
	return rc;
}
