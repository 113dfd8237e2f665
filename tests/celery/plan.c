/* plan.c - what follows a task, for a checking program: one JSON a line, in and out.
 *
 * In: {"do", "properties", "headers", "body": text, "chords": 0..2, "reply_to", "now",
 * "inherit"}, and with "do"
 *   "succeed": "result": JSON text     "fail", "retry": nothing more ("eta" of a retry)
 *   "apply": "signature", "args"       "chord_done": "chord", "id", "root_id", "results"
 *   "chord_fail": ..., "text"          "unlock": "states": [[state, JSON text, type], ...]
 * Out: {"steps": [...], "children": text}, or {"error", "type"}. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "celery/canvas.h"
#include "celery/refusal.h"

static const char *
get_text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static struct raw
get_raw(const json_t *object, const char *key)
{
	const json_t *v = json_object_get(object, key);
	struct refusal refusal;
	struct raw value = { NULL, 0 };

	if (json_is_string(v) && raw_check(json_string_value(v), json_string_length(v), &value,
	    &refusal))
		fprintf(stderr, "plan: %s: %s\n", key, refusal.err.message);
	return value;
}

static int
get_priority(const json_t *object)
{
	const json_t *v = json_object_get(object, "priority");

	return json_is_integer(v) ? (int)json_integer_value(v) : -1;
}

static json_t *
text_or_null(const char *s)
{
	return s ? json_string(s) : json_null();
}

static json_t *
raw_or_null(struct raw v)
{
	return v.text ? json_stringn(v.text, v.len) : json_null();
}

static json_t *
show_post(const struct canvas_step *s, instant now)
{
	struct celery_envelope e;
	json_t *v;

	celery_encode(&s->message, now, &e);
	v = json_pack("{ss so so so sO s{so so so si si} ss%}", "step", "post",
	    "queue", text_or_null(s->queue), "exchange", text_or_null(s->exchange),
	    "routing_key", text_or_null(s->routing_key), "headers", e.headers, "properties",
	    "correlation_id", text_or_null(e.correlation_id), "reply_to", text_or_null(e.reply_to),
	    "expiration", text_or_null(e.expiration), "priority", e.priority,
	    "delivery_mode", s->delivery_mode, "body", e.body, e.body_len);
	celery_envelope_done(&e);
	return v;
}

static json_t *
show_failure(const struct canvas_step *s)
{
	return json_pack("{ss so so so so so sI so so so so so so}",
	    "step", s->kind == CANVAS_FAIL ? "fail" : "count", "id", text_or_null(s->id),
	    "task", text_or_null(s->task), "parent_id", text_or_null(s->parent_id),
	    "group_id", text_or_null(s->group_id), "group", text_or_null(s->group),
	    "group_index", (json_int_t)s->group_index, "body", raw_or_null(s->body),
	    "reply_to", text_or_null(s->reply_to), "root_id", text_or_null(s->root_id),
	    "error_type", text_or_null(s->error_type),
	    "error_module", text_or_null(s->error_module),
	    "error_args", raw_or_null(s->error_args));
}

static json_t *
show_step(const struct canvas_step *s, instant now)
{
	switch (s->kind) {
	case CANVAS_POST:
		return show_post(s, now);
	case CANVAS_CHORD_SIZE:
		return json_pack("{ss ss sI}", "step", "size", "group", s->group, "size",
		    (json_int_t)s->size);
	case CANVAS_SAVE_GROUP:
		return json_pack("{ss ss so}", "step", "save", "group", s->group, "document",
		    raw_or_null(s->document));
	default:
		return show_failure(s);
	}
}

static json_t *
show_plan(const struct canvas *c)
{
	json_t *steps = json_array();

	for (size_t i = 0; i < c->steps.n; i++)
		json_array_append_new(steps, show_step(&c->steps.at[i], c->setting.now));
	return json_pack("{so so}", "steps", steps, "children", raw_or_null(c->children));
}

static int
plan_unlock(struct canvas *c, const struct celery_message *m, const json_t *q, struct err *err)
{
	const json_t *states = json_object_get(q, "states"), *state;
	struct canvas_state *at = xcalloc(json_array_size(states) + 1, sizeof *at);
	struct canvas_unlock unlock;
	size_t i;
	int rc = canvas_unlock_read(&unlock, m, err);

	json_array_foreach(states, i, state) {
		const char *word = json_string_value(json_array_get(state, 0));
		const char *value = json_string_value(json_array_get(state, 1));

		at[i].state = !strcmp(word, "SUCCESS") ? CANVAS_SUCCEEDED :
		    !strcmp(word, "PENDING") ? CANVAS_WAITS : CANVAS_FAILED;
		at[i].value = (struct raw){ value, strlen(value) };
		at[i].type = json_string_value(json_array_get(state, 2));
	}
	if (!rc && unlock.ids.at.n == json_array_size(states))
		rc = canvas_unlock(c, m, &unlock, at, "celery", err);
	canvas_unlock_done(&unlock);
	free(at);
	return rc;
}

static int
plan(struct canvas *c, const struct celery_message *m, const json_t *q, struct err *err)
{
	const char *what = get_text(q, "do");
	struct canvas_chord chord = { get_raw(q, "chord"), get_text(q, "id"),
		get_text(q, "root_id"), get_priority(q) };
	struct canvas_retry retry = { .eta = json_integer_value(json_object_get(q, "eta")),
		.queue = "celery" };

	if (!strcmp(what, "succeed"))
		return canvas_succeed(c, m, get_raw(q, "result"), err);
	if (!strcmp(what, "fail"))
		return canvas_fail(c, m, err);
	if (!strcmp(what, "retry"))
		return canvas_retry(c, m, &retry, err);
	if (!strcmp(what, "apply"))
		return canvas_apply(c, get_raw(q, "signature"), get_raw(q, "args"), err);
	if (!strcmp(what, "chord_done"))
		return canvas_chord_done(c, &chord, get_raw(q, "results"), err);
	if (!strcmp(what, "chord_fail"))
		return canvas_chord_fail(c, &chord, get_text(q, "text"), err);
	return plan_unlock(c, m, q, err);
}

static json_t *
answer(const json_t *q)
{
	const json_t *properties = json_object_get(q, "properties");
	struct celery_envelope e = {
		.content_type = CELERY_CONTENT_TYPE,
		.content_encoding = CELERY_CONTENT_ENCODING,
		.correlation_id = get_text(properties, "correlation_id"),
		.reply_to = get_text(properties, "reply_to"),
		.priority = get_priority(properties),
		.headers = json_object_get(q, "headers"),
		.body = get_text(q, "body"),
		.body_len = json_string_length(json_object_get(q, "body")),
	};
	struct canvas_setting setting = {
		.chords = (enum canvas_chords)json_integer_value(json_object_get(q, "chords")),
		.reply_to = get_text(q, "reply_to"),
		.now = json_integer_value(json_object_get(q, "now")),
		.inherit_priority = json_is_true(json_object_get(q, "inherit")),
	};
	struct celery_message m;
	struct canvas c;
	struct refusal refusal = { 0 };
	struct err err = { 0 };
	json_t *reply;

	celery_message_init(&m);
	canvas_init(&c, &setting);
	if (e.body && celery_decode(&m, &e, &refusal))
		reply = json_pack("{ss ss}", "error", refusal.err.message, "type", "refused");
	else if (plan(&c, &m, q, &err))
		reply = json_pack("{ss so}", "error", err.message, "type",
		    text_or_null(c.error_type));
	else
		reply = show_plan(&c);
	canvas_done(&c);
	celery_message_done(&m);
	return reply;
}

int
main(void)
{
	char *line = NULL;
	size_t room = 0;

	while (getline(&line, &room, stdin) > 0) {
		json_t *question = json_loads(line, JSON_ALLOW_NUL, NULL), *reply;

		if (!get_text(question, "do")) {
			fputs("plan: a line is not JSON, or does not say what to do\n", stderr);
			return 2;
		}
		reply = answer(question);
		json_dumpf(reply, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
		putchar('\n');
		fflush(stdout);	/* whoever asks waits for it */
		json_decref(reply);
		json_decref(question);
	}
	free(line);
	return 0;
}
