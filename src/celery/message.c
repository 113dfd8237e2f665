/* message.c - read Celery's messages, of either protocol.
 *
 * Protocol 1 is read by turning it into protocol 2: what stands in its body and
 * has a header in protocol 2 becomes that header.  Of a hybrid's two, the real
 * header wins.
 *
 * Only task, id, and a body of three parts are really required.  Clients in
 * other languages leave out nearly everything, so a circumstance that is
 * missing, or of the wrong type, counts as null; but a wrong eta or expires,
 * and wrong values, change what would happen, and are refused. */
#include "celery/message.h"
#include <math.h>
#include <string.h>
#include "base/json.h"
#include "celery/compress.h"
#include "celery/refusal.h"
#include "celery/signature.h"

/* All headers of protocol 2, in the order of Celery 5.2.6. */
static const char *const header_names[] = { "lang", "task", "id", "shadow", "eta", "expires",
	"group", "group_index", "retries", "timelimit", "root_id", "parent_id", "argsrepr",
	"kwargsrepr", "origin", "ignore_result", "compression" };
#define HEADER_COUNT (sizeof header_names / sizeof header_names[0])

void
celery_message_init(struct celery_message *m)
{
	memset(m, 0, sizeof *m);
	m->protocol = 2;
	m->group_index = -1;
	m->eta = m->expires = INSTANT_NEVER;
}

void
celery_message_done(struct celery_message *m)
{
	json_decref(m->others);
	arena_done(&m->memory);
	celery_message_init(m);
}

static bool
is_header(const char *name)
{
	for (size_t i = 0; i < HEADER_COUNT; i++)
		if (!strcmp(name, header_names[i]))
			return true;
	return false;
}

/* Python drops them too: they would grow with every round. */
static bool
is_dead_letter_trail(const char *name)
{
	return !strncmp(name, "x-death", 7) || !strncmp(name, "x-first-death-", 14) ||
	    !strncmp(name, "x-last-death-", 13);
}

static const char *
text_of(struct celery_message *m, const json_t *v)
{
	const char *s = json_string_value(v);
	size_t n = json_string_length(v);

	return s && strlen(s) == n ? arena_strndup(&m->memory, s, n) : NULL;
}

static const char *
read_text(struct celery_message *m, const json_t *headers, const char *name)
{
	return text_of(m, json_object_get(headers, name));
}

/* A task's name or an id: neither empty nor endless. */
static int
read_name(struct celery_message *m, const json_t *headers, const char *name, const char **out,
    enum celery_reason reason, struct refusal *refusal)
{
	const json_t *v = json_object_get(headers, name);
	const char *s = json_string_length(v) <= CELERY_NAME_MAX ? text_of(m, v) : NULL;

	if (!s || !*s)
		return refuse(refusal, reason, "'%s' is %s; it must be a text of 1 to %d bytes "
		    "without NUL", name, json_is_string(v) ? "no such text" : json_kind(v),
		    CELERY_NAME_MAX);
	*out = s;
	return 0;
}

/* Go and Java write nanoseconds; we have six digits. */
static void
cut_fraction(const char *text, size_t room, char *out)
{
	size_t digits = 0, n = 0;
	bool in_fraction = false;

	for (; *text && n + 1 < room; text++) {
		bool digit = *text >= '0' && *text <= '9';

		in_fraction = *text == '.' || (in_fraction && digit);
		if (!in_fraction || !digit || ++digits <= 6)
			out[n++] = *text;
	}
	out[n] = '\0';
}

static int
read_instant(const json_t *headers, const char *name, instant *out, enum celery_reason reason,
    struct refusal *refusal)
{
	const json_t *v = json_object_get(headers, name);
	char text[80];
	struct err err;

	if (!v || json_is_null(v) || (json_is_string(v) && json_string_length(v) == 0))
		return 0;
	if (!json_is_string(v))
		return refuse(refusal, reason, "'%s' is of type %s; it must be a time",
		    name, json_kind(v));
	cut_fraction(json_string_value(v), sizeof text, text);
	if (clock_parse(text, out, &err) || !clock_isfinite(*out)) {
		*out = INSTANT_NEVER;
		return refuse(refusal, reason, "'%s' is no time: %.80s", name, text);
	}
	return 0;
}

static double
seconds_of(const json_t *v)
{
	double seconds = json_number_value(v);	/* 0 of what is no number */

	return isfinite(seconds) && seconds > 0 ? seconds : 0;
}

static void
read_circumstances(struct celery_message *m, const json_t *headers)
{
	const json_t *limits = json_object_get(headers, "timelimit");
	const json_t *index = json_object_get(headers, "group_index");
	json_int_t retries = json_integer_value(json_object_get(headers, "retries"));

	m->root_id = read_text(m, headers, "root_id");
	m->parent_id = read_text(m, headers, "parent_id");
	m->group = read_text(m, headers, "group");
	if (json_is_integer(index) && json_integer_value(index) >= 0)
		m->group_index = json_integer_value(index);
	m->shadow = read_text(m, headers, "shadow");
	m->retries = retries > 0 ? retries : 0;
	if (json_array_size(limits) == 2) {	/* [hard, soft] */
		m->time_limit = seconds_of(json_array_get(limits, 0));
		m->soft_time_limit = seconds_of(json_array_get(limits, 1));
	}
	m->argsrepr = read_text(m, headers, "argsrepr");
	m->kwargsrepr = read_text(m, headers, "kwargsrepr");
	m->origin = read_text(m, headers, "origin");
	m->ignore_result = json_is_true(json_object_get(headers, "ignore_result"));
}

static void
keep_others(struct celery_message *m, json_t *headers)
{
	const char *name;
	json_t *v;

	json_object_foreach(headers, name, v) {
		if (is_header(name) || is_dead_letter_trail(name))
			continue;
		if (!m->others)
			m->others = json_object();
		json_object_set(m->others, name, v);
	}
}

static void
read_properties(struct celery_message *m, const struct celery_envelope *e)
{
	if (e->correlation_id)
		m->correlation_id = arena_strndup(&m->memory, e->correlation_id,
		    strlen(e->correlation_id));
	if (e->reply_to)
		m->reply_to = arena_strndup(&m->memory, e->reply_to, strlen(e->reply_to));
	m->priority = e->priority;
}

static int
read_headers(struct celery_message *m, json_t *headers, struct refusal *refusal)
{
	keep_others(m, headers);
	read_circumstances(m, headers);
	if (read_name(m, headers, "id", &m->id, REFUSED_ID, refusal) ||
	    read_name(m, headers, "task", &m->task, REFUSED_TASK, refusal) ||
	    read_instant(headers, "eta", &m->eta, REFUSED_ETA, refusal) ||
	    read_instant(headers, "expires", &m->expires, REFUSED_EXPIRES, refusal))
		return -1;
	return 0;
}

static int
check_signatures(struct raw *v, const char *name, enum celery_reason reason,
    struct refusal *refusal)
{
	struct raw_walk walk = raw_walk(*v);
	struct raw key, member;

	if (raw_kind(*v) == 'n')
		v->text = NULL;
	if (!v->text)
		return 0;
	if (raw_kind(*v) != '[')
		return refuse(refusal, reason, "'%s' is no array of signatures", name);
	for (size_t i = 0; raw_next(&walk, &key, &member); i++)
		if (!signature_is(member))
			return refuse(refusal, reason, "%s[%zu] is no signature", name, i);
	return 0;
}

static int
check_values(struct celery_message *m, struct refusal *refusal)
{
	if (raw_kind(m->args) != '[')
		return refuse(refusal, REFUSED_ARGS, "the arguments are no array");
	if (raw_kind(m->kwargs) != '{')
		return refuse(refusal, REFUSED_KWARGS, "the keyword arguments are no object");
	if (raw_kind(m->chord) == 'n')
		m->chord.text = NULL;
	if (m->chord.text && !signature_is(m->chord))
		return refuse(refusal, REFUSED_CHORD, "'chord' is no signature");
	return check_signatures(&m->callbacks, "callbacks", REFUSED_CALLBACKS, refusal) ||
	    check_signatures(&m->errbacks, "errbacks", REFUSED_ERRBACKS, refusal) ||
	    check_signatures(&m->chain, "chain", REFUSED_CHAIN, refusal) ? -1 : 0;
}

/* OBJECT is the embed of protocol 2, or the whole body of protocol 1. */
static void
read_parts(struct celery_message *m, struct raw object)
{
	struct { const char *name; struct raw *part; } parts[] = {
		{ "callbacks", &m->callbacks }, { "errbacks", &m->errbacks },
		{ "chord", &m->chord }, { "chain", &m->chain },
		/* of protocol 1 alone: */
		{ "args", &m->args }, { "kwargs", &m->kwargs },
	};
	size_t n = m->protocol == 2 ? 4 : 6;
	struct raw_walk walk = raw_walk(object);
	struct raw key, member;

	while (raw_next(&walk, &key, &member))
		for (size_t i = 0; i < n; i++)
			if (raw_is(key, parts[i].name))
				*parts[i].part = member;
	if (m->protocol == 1)
		m->chain.text = NULL;	/* it has none: followers are nested callbacks */
}

static int
read_three(struct celery_message *m, struct raw body, struct refusal *refusal)
{
	struct raw_walk walk = raw_walk(body);
	struct raw key, embed;

	if (raw_kind(body) != '[' || raw_count(body) != 3)
		return refuse(refusal, REFUSED_BODY,
		    "the body is no array of args, kwargs and embed");
	raw_next(&walk, &key, &m->args);
	raw_next(&walk, &key, &m->kwargs);
	raw_next(&walk, &key, &embed);
	if (raw_kind(embed) != '{' && raw_kind(embed) != 'n')
		return refuse(refusal, REFUSED_EMBED, "embed is no object");
	read_parts(m, embed);
	return check_values(m, refusal);
}

/* What a body of protocol 1 says that protocol 2 has in headers.  A value that
 * jansson cannot hold is as good as none. */
static json_t *
headers_of_body(struct raw body)
{
	struct raw_walk walk = raw_walk(body);
	struct raw key, member;
	json_t *headers = json_object(), *v;

	while (raw_next(&walk, &key, &member)) {
		for (size_t i = 0; i < HEADER_COUNT; i++)
			if (raw_is(key, header_names[i]) && (v = json_loadb(member.text,
			    member.len, JSON_DECODE_ANY, NULL)))
				json_object_set_new(headers, header_names[i], v);
	}
	/* "taskset" is the older name, and wins. */
	member = raw_get(body, "taskset");
	if (member.text && (v = json_loadb(member.text, member.len, JSON_DECODE_ANY, NULL)))
		json_object_set_new(headers, "group", v);
	return headers;
}

/* Protocol 1, or a hybrid if there is a header "task". */
static int
read_object(struct celery_message *m, struct raw body, json_t *real, struct refusal *refusal)
{
	json_t *headers = headers_of_body(body);
	int rc;

	m->protocol = 1;
	m->args = (struct raw){ "[]", 2 };
	m->kwargs = (struct raw){ "{}", 2 };
	if (real)
		json_object_update(headers, real);
	rc = read_headers(m, headers, refusal);
	json_decref(headers);
	if (rc)
		return -1;
	read_parts(m, body);
	return check_values(m, refusal);
}

/* What a body must not be, before anybody looks into it. */
static int
check_form(const struct celery_envelope *e, struct refusal *refusal)
{
	if (!e->content_type || strcmp(e->content_type, CELERY_CONTENT_TYPE))
		return refuse(refusal, REFUSED_CONTENT_TYPE, "the content type is %.80s, not "
		    CELERY_CONTENT_TYPE, e->content_type ? e->content_type : "missing");
	if (e->body_len > CELERY_BODY_MAX)
		return refuse(refusal, REFUSED_SIZE, "a body of %zu bytes; the limit is %d",
		    e->body_len, CELERY_BODY_MAX);
	if (e->body_len == 0)
		return refuse(refusal, REFUSED_BODY, "the body is empty");
	return 0;
}

/* The body's text, unpacked, in the arena. */
static int
read_body(struct celery_message *m, const struct celery_envelope *e, const char **text, size_t *n,
    struct refusal *refusal)
{
	const json_t *compression = json_object_get(e->headers, "compression");
	struct str unpacked = STR_INIT;
	int rc;

	if (!compression || json_is_null(compression)) {
		*text = arena_strndup(&m->memory, e->body, e->body_len);
		*n = e->body_len;
		return 0;
	}
	if (!json_is_string(compression))
		return refuse(refusal, REFUSED_COMPRESSION, "'compression' is of type %s",
		    json_kind(compression));
	rc = compress_unpack(json_string_value(compression), e->body, e->body_len,
	    CELERY_BODY_MAX, &unpacked, refusal);
	if (!rc) {
		*text = arena_strndup(&m->memory, str_text(&unpacked), unpacked.len);
		*n = unpacked.len;
	}
	str_done(&unpacked);
	return rc;
}

int
celery_decode(struct celery_message *m, const struct celery_envelope *e, struct refusal *refusal)
{
	bool has_task = json_object_get(e->headers, "task");
	int headers_rc = 0;
	struct refusal of_headers;
	struct raw body;
	const char *text = NULL;
	size_t n = 0;

	read_properties(m, e);
	/* First the headers: the id is wanted even if the body is bad. */
	if (has_task)
		headers_rc = read_headers(m, e->headers, &of_headers);
	if (check_form(e, refusal))
		return -1;
	if (read_body(m, e, &text, &n, refusal) || raw_check(text, n, &body, refusal))
		return -1;
	if (has_task && raw_kind(body) == '{' && raw_get(body, "args").text) {
		json_decref(m->others);
		m->others = NULL;
		return read_object(m, body, e->headers, refusal);
	}
	if (has_task && headers_rc) {
		*refusal = of_headers;
		return -1;
	}
	if (has_task)
		return read_three(m, body, refusal);
	if (raw_kind(body) == '{' && raw_get(body, "task").text)
		return read_object(m, body, e->headers, refusal);
	return refuse(refusal, REFUSED_UNKNOWN, "neither a header 'task' nor an object with one");
}
