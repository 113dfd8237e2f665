/* result.c - write results as Celery does, and read those of others.
 *
 * The members stand in the order in which 5.2.6 writes them.  Values are text
 * that somebody has checked before, and are passed on as they are. */
#include "celery/result.h"
#include <stdio.h>
#include <string.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "celery/refusal.h"
#include "celery/repr.h"

const char *
celery_state_name(enum celery_state state)
{
#define STATE_TEXT(name, text) [name] = text,
	static const char *const names[] = { CELERY_STATES(STATE_TEXT) };

	return names[state];
}

bool
celery_state_is_ready(const char *state)
{
	return !strcmp(state, "SUCCESS") || !strcmp(state, "FAILURE") || !strcmp(state, "REVOKED");
}

bool
celery_state_is_exception(const char *state)
{
	return !strcmp(state, "FAILURE") || !strcmp(state, "RETRY") || !strcmp(state, "REVOKED");
}

/* --- writing --- */

static void
add_text(struct str *s, const char *text)
{
	if (text)
		json_append_text(s, text, strlen(text));
	else
		str_puts(s, "null");
}

static void
add_raw(struct str *s, struct raw v, const char *none)
{
	if (v.text)
		str_add(s, v.text, v.len);
	else
		str_puts(s, none);
}

static void
add_exception(struct str *s, const struct celery_exception *e)
{
	bool lonely = e->message.text && raw_kind(e->message) != '[';

	str_puts(s, "{\"exc_type\": ");
	add_text(s, e->type ? e->type : "Exception");
	str_puts(s, lonely ? ", \"exc_message\": [" : ", \"exc_message\": ");
	add_raw(s, e->message, "[]");
	str_puts(s, lonely ? "], \"exc_module\": " : ", \"exc_module\": ");
	add_text(s, e->module);
	str_putc(s, '}');
}

void
celery_result_value(struct str *s, const struct celery_result *r)
{
	if (celery_state_is_exception(r->state))
		add_exception(s, &r->exception);
	else
		add_raw(s, r->value, "null");
}

const char *
celery_result_time(instant t, char buf[INSTANT_TEXT])
{
	struct civil c;

	clock_civil(t, &c);
	snprintf(buf, INSTANT_TEXT, "%04d-%02d-%02dT%02d:%02d:%02d.%06d", c.year, c.month % 100,
	    c.day % 100, c.hour % 100, c.minute % 100, c.second % 100, c.micro % 1000000);
	return buf;
}

static void
add_time(struct str *s, const struct celery_result *r, instant now)
{
	char buf[INSTANT_TEXT];

	if (celery_state_is_ready(r->state))
		str_printf(s, "\"%s\"", celery_result_time(r->done_at ? r->done_at : now, buf));
	else
		str_puts(s, "null");
}

static void
add_extended(struct str *s, const struct celery_result *r)
{
	str_puts(s, ", \"name\": ");
	add_text(s, r->name);
	str_puts(s, ", \"args\": ");
	add_raw(s, r->args, "null");
	str_puts(s, ", \"kwargs\": ");
	add_raw(s, r->kwargs, "null");
	str_puts(s, ", \"worker\": ");
	add_text(s, r->worker);
	str_printf(s, ", \"retries\": %lld, \"queue\": ", (long long)r->retries);
	add_text(s, r->queue);
}

/* What both documents hold, without its braces. */
static void
add_outcome(struct str *s, const struct celery_result *r)
{
	str_puts(s, "\"status\": ");
	add_text(s, r->state);
	str_puts(s, ", \"result\": ");
	celery_result_value(s, r);
	str_puts(s, ", \"traceback\": ");
	add_text(s, r->traceback);
	str_puts(s, ", \"children\": ");
	add_raw(s, r->children, "[]");
}

void
celery_result_document(struct str *s, const struct celery_result *r, bool extended, instant now)
{
	str_putc(s, '{');
	add_outcome(s, r);
	str_puts(s, ", \"date_done\": ");
	add_time(s, r, now);
	if (r->group) {
		str_puts(s, ", \"group_id\": ");
		add_text(s, r->group);
	}
	if (r->parent_id) {
		str_puts(s, ", \"parent_id\": ");
		add_text(s, r->parent_id);
	}
	if (extended)
		add_extended(s, r);
	str_puts(s, ", \"task_id\": ");
	add_text(s, r->id);
	str_putc(s, '}');
}

void
celery_result_reply(struct str *s, const struct celery_result *r)
{
	str_puts(s, "{\"task_id\": ");
	add_text(s, r->id);
	str_puts(s, ", ");
	add_outcome(s, r);
	str_putc(s, '}');
}

void
celery_result_member(struct str *s, const char *id, const char *state, struct raw result)
{
	str_puts(s, "[1, ");
	add_text(s, id);
	str_puts(s, ", ");
	add_text(s, state);
	str_puts(s, ", ");
	add_raw(s, result, "null");
	str_putc(s, ']');
}

void
celery_exception_repr(struct str *s, const struct celery_exception *e)
{
	const char *type = e->type ? e->type : "Exception", *dot = strrchr(type, '.');

	/* Python says the last part alone */
	celery_repr_exception(s, dot ? dot + 1 : type, e->message);
}

/* --- reading --- */

/* The text under KEY, in TO; NULL where there is none, or C cannot hold it. */
static const char *
take_text(struct raw object, const char *key, struct arena *arena)
{
	struct raw v = raw_get(object, key);
	struct str s = STR_INIT;
	char *text = NULL;

	if (raw_kind(v) == '"' && raw_string(v, &s))
		text = arena_strndup(arena, str_text(&s), s.len);
	str_done(&s);
	return text;
}

/* None for null. */
static struct raw
take_raw(struct raw object, const char *key)
{
	struct raw v = raw_get(object, key);

	return raw_kind(v) == 'n' ? (struct raw){ 0 } : v;
}

int
celery_exception_read(struct celery_exception *e, struct raw object, struct arena *arena,
    struct err *err)
{
	*e = (struct celery_exception){ 0 };
	if (raw_kind(object) != '{')
		return err_set(err, "an exception must be an object");
	if (!(e->type = take_text(object, "exc_type", arena)))
		return err_set(err, "an exception must have a text as exc_type");
	e->module = take_text(object, "exc_module", arena);
	e->message = take_raw(object, "exc_message");
	return 0;
}

/* There are workers that store a FAILURE without saying which. */
static void
take_exception(struct celery_result *r, struct arena *arena)
{
	struct err ignored;

	if (!celery_exception_read(&r->exception, r->value, arena, &ignored))
		return;
	r->exception = (struct celery_exception){ "Exception", "builtins", r->value };
	if (raw_kind(r->value) == 'n')
		r->exception.message = (struct raw){ 0 };
}

static void
take_time(struct celery_result *r, struct raw object, struct arena *arena)
{
	const char *text = take_text(object, "date_done", arena);
	struct err ignored;

	if (text && clock_parse(text, &r->done_at, &ignored))
		r->done_at = 0;
}

int
celery_result_read(struct celery_result *r, const char *text, size_t len, struct arena *arena,
    struct err *err)
{
	struct refusal refusal;
	struct raw object;

	*r = (struct celery_result){ 0 };
	if (raw_check(text, len, &object, &refusal)) {
		*err = refusal.err;
		return err_wrap(err, "a result's document");
	}
	if (raw_kind(object) != '{')
		return err_set(err, "a result's document must be an object");
	if (!(r->state = take_text(object, "status", arena)))
		return err_set(err, "a result's document must have a text as status");
	r->id = take_text(object, "task_id", arena);
	r->value = raw_get(object, "result");
	if (celery_state_is_exception(r->state))
		take_exception(r, arena);
	r->traceback = take_text(object, "traceback", arena);
	r->children = take_raw(object, "children");
	take_time(r, object, arena);
	r->group = take_text(object, "group_id", arena);
	r->parent_id = take_text(object, "parent_id", arena);
	r->name = take_text(object, "name", arena);
	r->args = take_raw(object, "args");
	r->kwargs = take_raw(object, "kwargs");
	r->worker = take_text(object, "worker", arena);
	r->queue = take_text(object, "queue", arena);
	if (raw_integer(raw_get(object, "retries"), &r->retries))
		r->retries = 0;
	return 0;
}
