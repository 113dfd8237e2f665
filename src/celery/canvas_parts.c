/* canvas_parts.c - what all files of the canvas are made of: errors, text that
 * lives as long as the plan, copies that are counted, options. */
#include "celery/canvas_inner.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/err.h"

int
canvas_error(struct canvas *c, const char *type, const char *module, const char *format, ...)
{
	va_list ap;
	char text[sizeof c->err->message];

	va_start(ap, format);
	vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	c->error_type = type;
	c->error_module = module;
	return err_set(c->err, "%s", text);
}

int
canvas_invalid(struct canvas *c)
{
	c->error_type = "InvalidTaskError";
	c->error_module = "celery.exceptions";
	return -1;
}

struct raw
canvas_keep(struct canvas *c, struct str *s)
{
	struct raw v = { arena_strndup(&c->memory, str_text(s), s->len), s->len };

	str_done(s);
	return v;
}

struct raw
canvas_quote(struct canvas *c, const char *text)
{
	struct str s = STR_INIT;

	raw_put_string(&s, text);
	return canvas_keep(c, &s);
}

struct raw
canvas_new_id(struct canvas *c)
{
	char text[UUID_TEXT];
	struct uuid uuid;

	if (c->setting.make_id)
		c->setting.make_id(c->setting.arg, text);
	else {
		uuid = uuid_v4();
		uuid_format(&uuid, text);
	}
	return canvas_quote(c, text);
}

static struct raw
inside(struct raw array)
{
	const char *end = array.text + array.len - 1;
	const char *at = raw_skip_space(array.text + 1, end);

	while (end > at && strchr(" \t\r\n", end[-1]))
		end--;
	return (struct raw){ at, (size_t)(end - at) };
}

struct raw
canvas_join(struct canvas *c, struct raw a, struct raw b)
{
	struct raw in_a, in_b;
	struct str s = STR_INIT;

	if (!a.text)
		return b;
	if (!b.text)
		return a;
	in_a = inside(a);
	in_b = inside(b);
	if (in_a.len == 0)
		return b;
	if (in_b.len == 0)
		return a;
	str_putc(&s, '[');
	str_add(&s, in_a.text, in_a.len);
	str_puts(&s, ", ");
	str_add(&s, in_b.text, in_b.len);
	str_putc(&s, ']');
	return canvas_keep(c, &s);
}

int
canvas_text(struct canvas *c, const struct signature *signature, struct raw *out)
{
	struct str s = STR_INIT;

	if (signature_write(signature, &s, &c->budget, c->err)) {
		str_done(&s);
		return canvas_invalid(c);
	}
	*out = canvas_keep(c, &s);
	return 0;
}

struct signature *
canvas_read(struct canvas *c, struct raw text)
{
	struct signature *s = signature_read(text, &c->memory, &c->budget, c->err);

	if (!s)
		canvas_invalid(c);
	return s;
}

struct signature *
canvas_copy(struct canvas *c, const struct signature *from)
{
	struct signature *s = signature_copy(from, &c->memory, &c->budget, c->err);

	if (!s)
		canvas_invalid(c);
	return s;
}

struct signature *
canvas_make(struct canvas *c, enum signature_kind kind, const char *task)
{
	struct signature *s = signature_new(kind, &c->memory, &c->budget, c->err);

	if (s)
		s->task = canvas_quote(c, task);
	else
		canvas_invalid(c);
	return s;
}

void
canvas_set(struct canvas *c, struct signature_options *o, const char *name, struct raw value)
{
	signature_set(o, &c->memory, name, value.text ? value : (struct raw){ "null", 4 });
}

void
canvas_update(struct canvas *c, struct signature_options *o, const struct signature_options *more)
{
	for (size_t i = 0; i < more->n; i++)
		signature_put(o, &c->memory, &more->at[i]);
}

void
canvas_merge(struct canvas *c, struct signature_options *o, const struct signature_options *more,
    bool nulls)
{
	bool in_group = signature_find(o, "group_id");

	for (size_t i = 0; i < more->n; i++) {
		if (!nulls && raw_kind(more->at[i].value) == 'n')
			continue;
		if (in_group && raw_is(more->at[i].key, "group_id"))
			continue;
		signature_put(o, &c->memory, &more->at[i]);
	}
}

struct canvas_step *
canvas_step(struct canvas *c, enum canvas_step_kind kind)
{
	struct canvas_step step = { .kind = kind, .group_index = -1 };

	vec_push(&c->steps, step);
	return &c->steps.at[c->steps.n - 1];
}

int
canvas_string(struct canvas *c, const char *what, struct raw v, const char **out)
{
	struct str s = STR_INIT;

	*out = NULL;
	if (!v.text || raw_kind(v) == 'n')
		return 0;
	if (raw_kind(v) != '"' || !raw_string(v, &s) || s.len > CELERY_BODY_MAX) {
		str_done(&s);
		return canvas_error(c, CANVAS_INVALID, "a signature's '%s' is no text", what);
	}
	*out = arena_strndup(&c->memory, str_text(&s), s.len);
	str_done(&s);
	return 0;
}

void
canvas_options(struct canvas *c, struct signature_options *to, const struct signature_options *from)
{
	*to = (struct signature_options){ 0 };
	canvas_update(c, to, from);
}

struct raw
canvas_take(struct signature_options *o, const char *name)
{
	struct raw v = signature_value(o, name);

	signature_drop(o, name);
	return v;
}

void
canvas_put(struct str *s, const char *before, struct raw v)
{
	str_puts(s, before);
	if (v.text)
		str_add(s, v.text, v.len);
	else
		str_puts(s, "null");
}
