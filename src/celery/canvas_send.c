/* canvas_send.c - a task and its options become a message.
 *
 * Options say nearly all that is in the headers and properties of a message,
 * where it goes, and what follows it.  What they leave open, the task that is
 * just ending says: it is the parent. */
#include "celery/canvas_inner.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"

/* --- options --- */

static int
get_text(struct canvas *c, const struct signature_options *o, const char *name, const char **out)
{
	if (canvas_string(c, name, signature_value(o, name), out))
		return -1;
	if (*out && !**out)
		*out = NULL;
	return 0;
}

static double
get_seconds(const struct signature_options *o, const char *name)
{
	struct raw v = signature_value(o, name);
	char digits[64];
	double seconds;

	if (raw_kind(v) != '0' || v.len >= sizeof digits)
		return 0;
	memcpy(digits, v.text, v.len);
	digits[v.len] = '\0';
	seconds = strtod(digits, NULL);
	return isfinite(seconds) ? seconds : 0;
}

static int64_t
get_integer(const struct signature_options *o, const char *name, int64_t otherwise)
{
	int64_t n;

	return raw_integer(signature_value(o, name), &n) ? otherwise : n;
}

static instant
later(const struct canvas *c, double seconds)
{
	double limit = 100.0 * 365 * 86400;

	seconds = seconds > limit ? limit : seconds < -limit ? -limit : seconds;
	return c->setting.now + (span)(seconds * (double)SECOND);
}

/* A time, or a number of seconds from now. */
static int
get_instant(struct canvas *c, const struct signature_options *o, const char *name, instant *out)
{
	struct raw v = signature_value(o, name);
	const char *text;
	struct err err;

	if (raw_kind(v) == '0') {
		*out = later(c, get_seconds(o, name));
		return 0;
	}
	if (get_text(c, o, name, &text))
		return -1;
	if (text && (clock_parse(text, out, &err) || !clock_isfinite(*out)))
		return canvas_error(c, CANVAS_INVALID, "a signature's '%s' is no time: %.80s",
		    name, text);
	return 0;
}

static int
no_signature(struct canvas *c, const char *name)
{
	return canvas_error(c, CANVAS_INVALID, "a signature's '%s' is no signature", name);
}

/* Signatures: an array, or one alone. */
static int
get_list(struct canvas *c, const struct signature_options *o, const char *name, struct raw *out)
{
	struct raw v = signature_value(o, name), key, member;
	struct raw_walk walk = raw_walk(v);
	struct str s = STR_INIT;

	*out = v;
	if (!v.text)
		return 0;
	if (raw_kind(v) == '[') {
		while (raw_next(&walk, &key, &member))
			if (!signature_is(member))
				return no_signature(c, name);
		return 0;
	}
	if (!signature_is(v))
		return no_signature(c, name);
	str_putc(&s, '[');
	str_add(&s, v.text, v.len);
	str_putc(&s, ']');
	*out = canvas_keep(c, &s);
	return 0;
}

static int
get_chord(struct canvas *c, const struct signature_options *o, struct raw *out)
{
	const struct signature_option *found = signature_find(o, "chord");

	if (found && found->signature)
		return canvas_text(c, found->signature, out);
	*out = signature_value(o, "chord");
	return out->text && !signature_is(*out) ? no_signature(c, "chord") : 0;
}

/* --- headers --- */

/* Jansson cannot hold all that Python sends; what it cannot is left out. */
static json_t *
load(struct raw v)
{
	return v.text ? json_loadb(v.text, v.len, JSON_DECODE_ANY, NULL) : NULL;
}

/* Stamps lie among a signature's options, each under its own name. */
static void
add_stamps(json_t *headers, const struct signature_options *o)
{
	json_t *names = load(signature_value(o, "stamped_headers")), *name, *v, *stamps;
	size_t i;

	if (!json_is_array(names)) {
		json_decref(names);
		return;
	}
	stamps = json_object();
	json_array_foreach(names, i, name) {
		v = json_is_string(name) ? load(signature_value(o, json_string_value(name))) : NULL;
		if (v)
			json_object_set_new(stamps, json_string_value(name), v);
	}
	json_object_set_new(headers, "stamped_headers", names);
	json_object_set_new(headers, "stamps", stamps);
}

/* A follower that was not stamped itself bears the stamps of its parent. */
static void
inherit_stamps(json_t *headers, const json_t *parent)
{
	static const char *const names[] = { "stamped_headers", "stamps" };

	if (json_object_get(headers, names[0]) || !json_object_get(parent, names[0]))
		return;
	for (size_t i = 0; i < 2; i++)
		json_object_set(headers, names[i], json_object_get(parent, names[i]));
}

static json_t *
make_others(struct canvas *c, const struct signature_options *o)
{
	json_t *headers = load(signature_value(o, "headers"));

	if (!json_is_object(headers)) {
		json_decref(headers);
		headers = json_object();
	}
	add_stamps(headers, o);
	if (c->of && c->of->others)
		inherit_stamps(headers, c->of->others);
	if (json_object_size(headers) == 0) {
		json_decref(headers);
		return NULL;
	}
	vec_push(&c->headers, headers);
	return headers;
}

/* --- the message --- */

static int
set_parents(struct canvas *c, struct celery_message *m, const struct signature_options *o)
{
	if (get_text(c, o, "root_id", &m->root_id) || get_text(c, o, "parent_id", &m->parent_id))
		return -1;
	if (!m->root_id)
		m->root_id = c->root_id ? c->root_id : c->id ? c->id : m->id;
	if (!m->parent_id)
		m->parent_id = c->id;
	return 0;
}

static int
set_times(struct canvas *c, struct celery_message *m, const struct signature_options *o)
{
	double countdown = get_seconds(o, "countdown");

	if (get_instant(c, o, "eta", &m->eta) || get_instant(c, o, "expires", &m->expires))
		return -1;
	if (countdown != 0)
		m->eta = later(c, countdown);
	m->time_limit = get_seconds(o, "time_limit");
	m->soft_time_limit = get_seconds(o, "soft_time_limit");
	return 0;
}

/* Nobody says one: 0.  Celery sends none if it is null where a queue is given. */
static int
priority_of(const struct canvas *c, const struct signature_options *o)
{
	int64_t n = get_integer(o, "priority", -1);

	bool orphan = !raw_is_true(signature_value(o, "root_id")) ||
	    !raw_is_true(signature_value(o, "parent_id"));

	if (!signature_find(o, "priority"))
		return c->setting.inherit_priority && c->id && orphan ? c->priority : 0;
	return n >= 0 && n <= 255 ? (int)n : signature_value(o, "queue").text ? -1 : 0;
}

static int
set_circumstances(struct canvas *c, struct celery_message *m, const struct signature_options *o)
{
	if (get_text(c, o, "group_id", &m->group) || get_text(c, o, "shadow", &m->shadow) ||
	    get_text(c, o, "reply_to", &m->reply_to) ||
	    get_text(c, o, "argsrepr", &m->argsrepr) ||
	    get_text(c, o, "kwargsrepr", &m->kwargsrepr) ||
	    set_parents(c, m, o) || set_times(c, m, o))
		return -1;
	if (!m->reply_to)
		m->reply_to = c->setting.reply_to;
	m->group_index = get_integer(o, "group_index", -1);
	m->retries = get_integer(o, "retries", 0);
	m->ignore_result = raw_is_true(signature_value(o, "ignore_result"));
	m->priority = priority_of(c, o);
	m->origin = c->setting.origin;
	m->others = make_others(c, o);
	return 0;
}

static int
set_followers(struct canvas *c, struct celery_message *m, const struct signature_options *o)
{
	if (get_list(c, o, "link", &m->callbacks) || get_list(c, o, "link_error", &m->errbacks) ||
	    get_list(c, o, "chain", &m->chain) || get_chord(c, o, &m->chord))
		return -1;
	return 0;
}

static int
set_id(struct canvas *c, struct celery_message *m, struct raw task,
    const struct signature_options *o)
{
	if (canvas_string(c, "task", task, &m->task) || get_text(c, o, "task_id", &m->id))
		return -1;
	if (strlen(m->task) > CELERY_NAME_MAX || (m->id && strlen(m->id) > CELERY_NAME_MAX))
		return canvas_error(c, CANVAS_INVALID,
		    "a signature's task or id is longer than %d bytes", CELERY_NAME_MAX);
	return m->id ? 0 : canvas_string(c, "task_id", canvas_new_id(c), &m->id);
}

static int
set_destination(struct canvas *c, struct canvas_step *step, const struct signature_options *o)
{
	const char *queue;

	if (get_text(c, o, "queue", &queue) || get_text(c, o, "exchange", &step->exchange) ||
	    get_text(c, o, "routing_key", &step->routing_key))
		return -1;
	step->delivery_mode = get_integer(o, "delivery_mode", CELERY_PERSISTENT) == 1 ? 1 :
	    CELERY_PERSISTENT;
	if (step->exchange && step->routing_key)
		return 0;
	step->exchange = step->routing_key = NULL;
	step->queue = queue ? queue : c->setting.default_queue;
	return 0;
}

/* Large parts are shared by many messages; what counts is what will be sent. */
static int
count(struct canvas *c, const struct celery_message *m)
{
	size_t bytes = m->args.len + m->kwargs.len + m->callbacks.len + m->errbacks.len +
	    m->chain.len + m->chord.len;

	if (c->posts == c->setting.messages_max)
		return canvas_error(c, "RuntimeError", "builtins",
		    "more than %zu messages would follow one task", c->setting.messages_max);
	if (bytes > c->budget.bytes)
		return canvas_error(c, "RuntimeError", "builtins",
		    "more than %zu bytes would follow one task", c->setting.bytes_max);
	c->posts++;
	c->budget.bytes -= bytes;
	return 0;
}

int
canvas_send(struct canvas *c, struct raw task, struct raw args, struct raw kwargs,
    const struct signature_options *o)
{
	struct canvas_step step = { .kind = CANVAS_POST, .group_index = -1 };
	struct celery_message *m = &step.message;
	struct signature_option const *add = signature_find(o, "add_to_parent");
	struct outcome outcome = { 0 };

	celery_message_init(m);
	m->args = args;
	m->kwargs = kwargs;
	if (set_id(c, m, task, o) || set_circumstances(c, m, o) || set_followers(c, m, o) ||
	    set_destination(c, &step, o) || count(c, m))
		return -1;
	vec_push(&c->steps, step);
	if (!add || raw_is_true(add->value)) {
		outcome.id = canvas_quote(c, m->id);
		canvas_trail(c, &outcome);
	}
	return 0;
}
