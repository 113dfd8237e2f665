/* encode.c - write Celery's messages, as 5.2.6 does: all headers are there, in
 * its order, the empty ones as null, and the body has Python's spaces. */
#include "celery/message.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "celery/repr.h"

/* As Python's isoformat(), always with six digits: 5.2.6 reads ".5" as five
 * microseconds. */
static json_t *
json_time(instant t)
{
	struct civil c;
	char text[INSTANT_TEXT + 40];

	if (!clock_isfinite(t))
		return json_null();
	clock_civil(t, &c);
	snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%06d+00:00", c.year,
	    c.month, c.day, c.hour, c.minute, c.second, c.micro);
	return json_string(text);
}

static json_t *
json_text(const char *text)
{
	struct str s = STR_INIT;
	json_t *v = text ? json_string(text) : json_null();
	size_t n;

	if (v)
		return v;
	for (; *text; text += n ? n : 1) {	/* not UTF-8: a host's name, perhaps */
		n = str_char(text, strlen(text));
		if (n)
			str_add(&s, text, n);
		else
			str_puts(&s, "\xef\xbf\xbd");
	}
	v = json_string(str_text(&s));
	str_done(&s);
	return v;
}

static json_t *
json_seconds(double seconds)
{
	if (!(seconds > 0))
		return json_null();
	return seconds == floor(seconds) && seconds < 2147483648.0 ?
	    json_integer((json_int_t)seconds) : json_real(seconds);
}

static json_t *
json_repr(const char *text, struct raw value, const char *empty)
{
	struct str s = STR_INIT;
	json_t *v;

	if (text)
		return json_text(text);
	if (value.text)
		celery_repr(&s, value, true, CELERY_REPR_MAX);
	else
		str_puts(&s, empty);
	v = json_stringn(str_text(&s), s.len);	/* it may hold NUL, as Python's may */
	str_done(&s);
	return v;
}

static void
set(json_t *headers, const char *name, json_t *v)
{
	json_object_set_new(headers, name, v);
}

static json_t *
make_headers(const struct celery_message *m)
{
	json_t *h = json_object();

	set(h, "lang", json_string("py"));	/* workers do not look at it; people might */
	set(h, "task", json_text(m->task));
	set(h, "id", json_text(m->id));
	set(h, "shadow", json_text(m->shadow));
	set(h, "eta", json_time(m->eta));
	set(h, "expires", json_time(m->expires));
	set(h, "group", json_text(m->group));
	set(h, "group_index", m->group_index < 0 ? json_null() : json_integer(m->group_index));
	set(h, "retries", json_integer(m->retries));
	set(h, "timelimit", json_pack("[o, o]", json_seconds(m->time_limit),
	    json_seconds(m->soft_time_limit)));
	set(h, "root_id", json_text(m->root_id ? m->root_id : m->id));
	set(h, "parent_id", json_text(m->parent_id));
	set(h, "argsrepr", json_repr(m->argsrepr, m->args, "()"));
	set(h, "kwargsrepr", json_repr(m->kwargsrepr, m->kwargs, "{}"));
	set(h, "origin", json_text(m->origin));
	set(h, "ignore_result", json_boolean(m->ignore_result));
	if (m->others)
		json_object_update_missing(h, m->others);
	return h;
}

static void
add_part(struct str *s, const char *before, struct raw v, const char *none)
{
	str_puts(s, before);
	if (v.text)
		str_add(s, v.text, v.len);
	else
		str_puts(s, none);
}

static void
set_expiration(struct celery_envelope *e, instant expires, instant now)
{
	/* RabbitMQ closes the channel for more; the header says it all the same. */
	if (!clock_isfinite(expires) || expires - now > UINT32_MAX * (SECOND / 1000))
		return;
	snprintf(e->milliseconds, sizeof e->milliseconds, "%lld",
	    expires > now ? (long long)(expires - now) / 1000 : 0LL);
	e->expiration = e->milliseconds;
}

void
celery_encode(const struct celery_message *m, instant now, struct celery_envelope *e)
{
	*e = (struct celery_envelope){
		.content_type = CELERY_CONTENT_TYPE,
		.content_encoding = CELERY_CONTENT_ENCODING,
		.correlation_id = m->correlation_id ? m->correlation_id : m->id,
		.reply_to = m->reply_to ? m->reply_to : "",
		.priority = m->priority,
		.delivery_mode = CELERY_PERSISTENT,
		.headers = make_headers(m),
	};
	set_expiration(e, m->expires, now);
	add_part(&e->text, "[", m->args, "[]");
	add_part(&e->text, ", ", m->kwargs, "{}");
	add_part(&e->text, ", {\"callbacks\": ", m->callbacks, "null");
	add_part(&e->text, ", \"errbacks\": ", m->errbacks, "null");
	add_part(&e->text, ", \"chain\": ", m->chain, "null");
	add_part(&e->text, ", \"chord\": ", m->chord, "null");
	str_puts(&e->text, "}]");
	e->body = str_text(&e->text);
	e->body_len = e->text.len;
}

void
celery_envelope_done(struct celery_envelope *e)
{
	json_decref(e->headers);
	str_done(&e->text);
	memset(e, 0, sizeof *e);
}
