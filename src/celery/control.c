/* control.c - requests of remote control, and answers.
 *
 * What arrives here was published by anybody who may publish to the exchange: all
 * of it is checked as a message is, and only then read. */
#include "celery/control.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "base/mem.h"
#include "celery/compress.h"
#include "celery/message.h"
#include "celery/refusal.h"
#include "celery/repr.h"

enum { PATTERN_MAX = 1000, TICKET_MAX = 255, AMQP_NAME_MAX = 255 };

/* --- patterns --- */

static uint32_t
take_char(const char **at)
{
	size_t n = str_char(*at, strlen(*at));
	const unsigned char *s = (const unsigned char *)*at;
	uint32_t c;

	*at += n ? n : 1;
	if (n < 2)
		return s[0];
	c = s[0] & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++)
		c = c << 6 | (s[i] & 0x3f);
	return c;
}

/* The ']' that ends the set at AT, behind its '['; NULL: it is a bracket alone. */
static const char *
end_of_set(const char *at)
{
	at += *at == '!';
	return *at ? strchr(at + 1, ']') : NULL;
}

static bool
in_set(const char *at, const char *end, uint32_t c)
{
	bool negated = *at == '!', found = false;

	at += negated;
	while (at < end) {
		uint32_t low = take_char(&at), high = low;

		if (at[0] == '-' && at + 1 < end) {
			at++;
			high = take_char(&at);
		}
		found |= low <= c && c <= high;
	}
	return found != negated;
}

/* One character of TEXT against one place of PATTERN; both move on if it fits. */
static bool
fits(const char **pattern, const char **text)
{
	const char *p = *pattern, *t = *text, *end;
	uint32_t c = take_char(&t), wanted = take_char(&p);
	bool good = wanted == c || wanted == '?';

	if (wanted == '[' && (end = end_of_set(p))) {
		good = in_set(p, end, c);
		p = end + 1;
	}
	if (good) {
		*pattern = p;
		*text = t;
	}
	return good;
}

/* Only the last star is tried again: what an earlier one took does not matter. */
bool
celery_control_glob(const char *pattern, const char *text)
{
	const char *star = NULL, *from = NULL;

	for (;;) {
		if (*pattern == '*') {
			star = ++pattern;
			from = text;
		} else if (!*text) {
			return !*pattern;
		} else if (!*pattern || !fits(&pattern, &text)) {
			if (!star || !*from)
				return false;
			take_char(&from);
			text = from;
			pattern = star;
		}
	}
}

/* --- requests --- */

static int
check_form(const struct celery_envelope *e, struct refusal *refusal)
{
	if (!e->content_type || strcmp(e->content_type, CELERY_CONTENT_TYPE))
		return refuse(refusal, REFUSED_CONTENT_TYPE, "a request is JSON, not '%.80s'",
		    e->content_type ? e->content_type : "");
	if (e->body_len > CELERY_BODY_MAX)
		return refuse(refusal, REFUSED_SIZE, "%zu bytes", e->body_len);
	return 0;
}

/* The body of E, in UNPACKED if it was compressed. */
static int
unpack(const struct celery_envelope *e, struct str *unpacked, struct raw *body,
    struct refusal *refusal)
{
	const char *format = e->headers ?
	    json_string_value(json_object_get(e->headers, "compression")) : NULL;

	*body = (struct raw){ e->body, e->body_len };
	if (!format)
		return 0;
	if (compress_unpack(format, e->body, e->body_len, CELERY_BODY_MAX, unpacked, refusal))
		return -1;
	*body = (struct raw){ str_text(unpacked), unpacked->len };
	return 0;
}

static json_t *
read_object(const char *body, size_t len, struct refusal *refusal)
{
	struct raw value;
	json_error_t error;
	json_t *v;

	if (raw_check(body, len, &value, refusal))
		return NULL;
	if (raw_kind(value) != '{') {
		refuse(refusal, REFUSED_BODY, "it is no object");
		return NULL;
	}
	if (!(v = json_loadb(value.text, value.len, JSON_ALLOW_NUL, &error)))
		refuse(refusal, REFUSED_JSON, "%s", error.text);
	return v;
}

/* Lends the text of KEY, if it has no NUL and no more than MOST bytes. */
static const char *
text_of(const json_t *object, const char *key, size_t most)
{
	const json_t *v = json_object_get(object, key);
	size_t len = json_string_length(v);

	if (!json_is_string(v) || len > most || strlen(json_string_value(v)) != len)
		return NULL;
	return json_string_value(v);
}

static bool
is_nothing(const json_t *v)
{
	return !v || json_is_null(v) || json_is_false(v) ||
	    (json_is_array(v) && !json_array_size(v)) ||
	    (json_is_string(v) && !json_string_length(v));
}

static bool
names_node(const json_t *destination, const char *node)
{
	const json_t *v;
	size_t i;

	if (json_is_string(destination))
		return !strcmp(json_string_value(destination), node);
	json_array_foreach(destination, i, v)
		if (json_is_string(v) && !strcmp(json_string_value(v), node))
			return true;
	return false;
}

/* 1: for NODE, 0: for others, -1: it cannot be told. */
static int
is_for(const json_t *body, const char *node, struct refusal *refusal)
{
	const json_t *destination = json_object_get(body, "destination");
	const char *pattern = text_of(body, "pattern", PATTERN_MAX);
	const char *matcher = text_of(body, "matcher", PATTERN_MAX);

	if (!is_nothing(destination))
		return names_node(destination, node);
	if (is_nothing(json_object_get(body, "pattern")) ||
	    is_nothing(json_object_get(body, "matcher")))
		return 1;
	if (!pattern || !matcher)
		return refuse(refusal, REFUSED_BODY, "its pattern or matcher is no text");
	if (strcmp(matcher, "glob"))
		return refuse(refusal, REFUSED_UNKNOWN,
		    "nodes can be matched by 'glob', not by '%.40s'", matcher);
	return celery_control_glob(pattern, node);
}

static void
read_reply(struct celery_control *request, const json_t *reply_to)
{
	const char *exchange = text_of(reply_to, "exchange", AMQP_NAME_MAX);
	const char *key = text_of(reply_to, "routing_key", AMQP_NAME_MAX);

	if (!exchange || !key)
		return;
	request->reply_exchange = xstrdup(exchange);
	request->reply_key = xstrdup(key);
}

static json_t *
read_arguments(json_t *v)
{
	if (is_nothing(v))
		return json_object();
	return json_is_object(v) ? json_incref(v) : NULL;
}

int
celery_control_read(struct celery_control *request, const struct celery_envelope *e,
    const char *node, struct refusal *refusal)
{
	const json_t *clock = e->headers ? json_object_get(e->headers, "clock") : NULL;
	struct str unpacked = STR_INIT;
	struct raw text;
	const char *method;
	json_t *body = NULL;
	int rc = -1;

	if (json_is_integer(clock))
		request->clock = json_integer_value(clock);
	if (check_form(e, refusal) || unpack(e, &unpacked, &text, refusal) ||
	    !(body = read_object(text.text, text.len, refusal)))
		goto out;
	if (!(method = text_of(body, "method", CELERY_METHOD_MAX))) {
		refuse(refusal, REFUSED_BODY, "it has no method");
		goto out;
	}
	if ((rc = is_for(body, node, refusal)) <= 0)
		goto out;
	request->method = xstrdup(method);
	request->arguments = read_arguments(json_object_get(body, "arguments"));
	if (text_of(body, "ticket", TICKET_MAX))
		request->ticket = xstrdup(text_of(body, "ticket", TICKET_MAX));
	read_reply(request, json_object_get(body, "reply_to"));
out:
	json_decref(body);
	str_done(&unpacked);
	return rc;
}

void
celery_control_done(struct celery_control *request)
{
	json_decref(request->arguments);
	free(request->method);
	free(request->ticket);
	free(request->reply_exchange);
	free(request->reply_key);
	memset(request, 0, sizeof *request);
}

/* --- arguments --- */

const char *
celery_control_text(const json_t *arguments, const char *key)
{
	return text_of(arguments, key, CELERY_BODY_MAX);
}

const char **
celery_control_texts(const json_t *arguments, const char *key)
{
	const json_t *list = json_object_get(arguments, key), *v;
	const char **texts = xcalloc(json_array_size(list) + 2, sizeof *texts);
	size_t i, n = 0;

	if (json_is_string(list))
		texts[n++] = json_string_value(list);
	json_array_foreach(list, i, v)
		if (json_is_string(v))
			texts[n++] = json_string_value(v);
	return texts;
}

bool
celery_control_truth(const json_t *arguments, const char *key)
{
	const json_t *v = json_object_get(arguments, key);

	if (json_is_number(v))
		return fpclassify(json_number_value(v)) != FP_ZERO;
	return !is_nothing(v) && (!json_is_object(v) || json_object_size(v));
}

bool
celery_control_number(const json_t *arguments, const char *key, double *x)
{
	const json_t *v = json_object_get(arguments, key);
	char *end;

	if (json_is_number(v)) {
		*x = json_number_value(v);
		return true;
	}
	if (!json_is_string(v) || !json_string_length(v))
		return false;
	*x = strtod(json_string_value(v), &end);
	return !*end && isfinite(*x);
}

/* --- answers --- */

static void
add_said(struct str *s, const char *before, const char *format, va_list args)
{
	struct str text = STR_INIT;

	str_vprintf(&text, format, args);
	str_puts(s, before);
	json_append_text(s, str_text(&text), text.len);
	str_putc(s, '}');
	str_done(&text);
}

void
celery_control_ok(struct str *s, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add_said(s, "{\"ok\": ", format, args);
	va_end(args);
}

void
celery_control_error(struct str *s, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add_said(s, "{\"error\": ", format, args);
	va_end(args);
}

void
celery_control_raised(struct str *s, const char *type, const char *format, ...)
{
	struct str text = STR_INIT, json = STR_INIT, shown = STR_INIT;
	va_list args;

	va_start(args, format);
	str_vprintf(&text, format, args);
	va_end(args);
	json_append_text(&json, str_text(&text), text.len);
	celery_repr_exception(&shown, type, (struct raw){ str_text(&json), json.len });
	celery_control_error(s, "%s", str_text(&shown));
	str_done(&text);
	str_done(&json);
	str_done(&shown);
}

static void
add_text(struct str *s, const char *text)
{
	json_append_text(s, text, strlen(text));
}

void
celery_control_reply(struct str *s, const char *node, struct raw value)
{
	str_putc(s, '{');
	add_text(s, node);
	str_puts(s, ": ");
	str_add(s, value.text, value.len);
	str_putc(s, '}');
}

void
celery_control_request(struct str *s, const char *method, const char *arguments,
    const char *ticket, const char *reply_key)
{
	str_puts(s, "{\"method\": ");
	add_text(s, method);
	str_printf(s, ", \"arguments\": %s, \"destination\": null, \"pattern\": null, "
	    "\"matcher\": null, \"ticket\": ", arguments);
	add_text(s, ticket);
	str_puts(s, ", \"reply_to\": {\"exchange\": \"" CELERY_PIDBOX_REPLY "\", "
	    "\"routing_key\": ");
	add_text(s, reply_key);
	str_puts(s, "}}");
}

/* --- mingling --- */

void
celery_control_each_revoked(const json_t *map, void (*each)(void *arg, const char *id), void *arg)
{
	const char *id;
	json_t *v;

	json_object_foreach((json_t *)map, id, v)
		if (*id && strlen(id) <= CELERY_NAME_MAX)
			each(arg, id);
}

void
celery_control_add_revoked(struct str *s, const char *id, double at)
{
	char text[JSON_REAL_TEXT];

	if (s->len && s->text[s->len - 1] != '{')
		str_puts(s, ", ");
	add_text(s, id);
	str_printf(s, ": [%s, ", json_format_real(at, text));
	add_text(s, id);
	str_putc(s, ']');
}

json_t *
celery_control_read_hello(const char *body, size_t len, const char *node, int64_t *clock)
{
	struct refusal refusal;
	json_t *reply = read_object(body, len, &refusal), *value, *map = NULL;
	const char *from;

	json_object_foreach(reply, from, value) {
		json_t *revoked = json_object_get(value, "revoked");

		if (!strcmp(from, node) || map)
			continue;
		*clock = json_integer_value(json_object_get(value, "clock"));
		map = json_is_object(revoked) ? json_incref(revoked) :
		    json_is_object(value) ? json_object() : NULL;
	}
	json_decref(reply);
	return map;
}
