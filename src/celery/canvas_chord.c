/* canvas_chord.c - a header, and a body that waits for all of it.
 *
 * The body is frozen first, then each member of the header is told of it.  How
 * the members are counted depends on the result backend: it counts them itself,
 * or celery.chord_unlock is sent, which looks again and again. */
#include "celery/canvas_inner.h"
#include "base/err.h"

int
canvas_no_chords(struct canvas *c)
{
	return canvas_error(c, "NotImplementedError", "builtins",
	    "Starting chords requires a result backend to be configured.");
}

/* Results that are groups keep their form on the way to the body. */
static int
save_group(struct canvas *c, const struct outcome *group)
{
	struct canvas_step *step;
	struct str s = STR_INIT;
	bool nested = false;

	for (size_t i = 0; i < group->n; i++)
		nested = nested || group->members[i]->is_group;
	if (!nested)
		return 0;
	str_puts(&s, "{\"result\": ");
	canvas_put_tuple(&s, group);
	str_putc(&s, '}');
	step = canvas_step(c, CANVAS_SAVE_GROUP);
	step->document = canvas_keep(c, &s);
	return canvas_string(c, "task_id", group->id, &step->group);
}

/* Somebody has to look, again and again, whether all are there. */
static int
send_unlock(struct canvas *c, const struct signature *body, struct raw body_text,
    const struct outcome *group, const struct signature_options *named)
{
	struct signature_options o = { 0 };
	const struct signature_option *priority = signature_find(&body->options, "priority");
	struct raw countdown = signature_value(named, "countdown"), args;
	struct raw queue = signature_value(&body->options, "queue");
	struct str s = STR_INIT;

	str_putc(&s, '[');
	str_add(&s, group->id.text, group->id.len);
	canvas_put(&s, ", ", body_text);
	str_putc(&s, ']');
	args = canvas_keep(c, &s);
	canvas_put(&s, "{\"interval\": ", signature_value(named, "interval"));
	canvas_put(&s, ", \"max_retries\": ", signature_value(named, "max_retries"));
	str_puts(&s, ", \"result\": [");
	for (size_t i = 0; i < group->n; i++) {
		if (i)
			str_puts(&s, ", ");
		canvas_put_tuple(&s, group->members[i]);
	}
	str_puts(&s, "]}");
	canvas_set(c, &o, "countdown", countdown.text ? countdown : (struct raw){ "1", 1 });
	canvas_set(c, &o, "queue", raw_is_true(queue) ? queue :
	    canvas_quote(c, c->setting.default_queue));
	/* Flows are tasks that have none. */
	canvas_set(c, &o, "priority", priority ? priority->value :
	    body->kind == SIGNATURE_TASK ? (struct raw){ "0", 1 } : (struct raw){ NULL, 0 });
	canvas_set(c, &o, "ignore_result", (struct raw){ "true", 4 });
	return canvas_send(c, canvas_quote(c, "celery.chord_unlock"), args, canvas_keep(c, &s), &o);
}

static int
start_chord(struct canvas *c, const struct signature *body, struct raw body_text,
    const struct outcome *group, const struct signature_options *named)
{
	switch (c->setting.chords) {
	case CANVAS_CHORDS_NATIVE:
		return save_group(c, group);
	case CANVAS_CHORDS_UNLOCK:
		return send_unlock(c, body, body_text, group, named);
	default:
		return canvas_no_chords(c);
	}
}

static struct signature *
make_header(struct canvas *c, const struct signature *s)
{
	struct signature *header;

	if (!(header = canvas_make(c, SIGNATURE_GROUP, "celery.group")))
		return NULL;
	header->tasks = s->tasks;
	if (s->header)
		canvas_options(c, &header->options, &s->header->options);
	return header;
}

/* What is for the chord itself, not for its body and its header. */
static void
drop_named(struct signature_options *o)
{
	static const char *const names[] = { "interval", "countdown", "max_retries", "eager",
		"app" };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		signature_drop(o, names[i]);
}

/* Freeze the body, then the header, each member of which is told of it.  The rest
 * of an outer chain waits for the body, and so does an outer chord. */
static int
run_chord(struct canvas *c, const struct signature *s, struct signature *body, struct raw args,
    struct raw id, struct signature_options *o)
{
	struct signature *header = make_header(c, s);
	struct signature_options named;
	struct signature_option chord = { 0 };
	struct place of_body = PLACE_NONE, of_header = PLACE_NONE;
	struct outcome *group;

	if (!header)
		return -1;
	canvas_options(c, &named, o);
	drop_named(o);
	of_body.id = id;
	of_body.root_id = of_header.root_id = signature_value(&body->options, "root_id");
	canvas_update(c, &body->options, o);
	if (!canvas_freeze(c, body, &of_body) || canvas_text(c, body, &chord.value))
		return -1;
	signature_drop(o, "chain");
	signature_drop(o, "chord");
	of_header.chord = canvas_is_empty(body) ? NULL : &chord;
	of_header.group_id = signature_value(&header->options, "task_id");
	if (!raw_is_true(of_header.group_id))
		of_header.group_id = canvas_new_id(c);
	if (!(group = canvas_freeze(c, header, &of_header)))
		return -1;
	if (header->tasks->n == 0)
		return canvas_apply_signature(c, body, (struct raw){ "[[]]", 4 },
		    &(struct signature_options){ 0 });
	if (start_chord(c, body, chord.value, group, &named))
		return -1;
	/* A link is the body's; Celery gives it to the header too, and fails. */
	signature_drop(o, "link");
	signature_drop(o, "link_error");
	canvas_set(c, o, "task_id", of_header.group_id);
	return canvas_apply_signature(c, header, args, o);
}

int
canvas_apply_chord(struct canvas *c, const struct signature *s, struct raw args,
    const struct signature_options *opts)
{
	struct signature_options given, o;
	struct signature *body = canvas_copy(c, s->body);
	struct raw id, own_id;

	if (!body)
		return -1;
	canvas_options(c, &given, opts);
	id = canvas_take(&given, "task_id");
	canvas_merge(c, &body->options, &given, true);
	canvas_options(c, &o, &s->options);
	canvas_update(c, &o, &given);
	own_id = canvas_take(&o, "task_id");
	return run_chord(c, s, body, s->immutable ? s->args : canvas_join(c, args, s->args),
	    id.text ? id : own_id, &o);
}
