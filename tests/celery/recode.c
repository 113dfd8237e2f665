/* recode.c - Celery's messages read and written, for a checking program: one
 * JSON a line, in and out.
 *
 * {"do": "decode", "properties", "headers", "body": hexadecimal}: the message,
 * raw parts as text, or {"refused": word, "text"}.
 * {"do": "recode", ...}: the same, encoded again: {"properties", "headers",
 * "body": text}.
 * {"do": "job", "task", "installation", "run", "jobs", "names", "origin"}: a
 * message of ours, encoded.
 * {"do": "own", ...}: as decode, but as a message of ours.
 * {"do": "repr", "json": text, "tuple", "limit"}: {"repr"}. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "celery/job.h"
#include "celery/message.h"
#include "celery/refusal.h"
#include "celery/repr.h"

static const char *
get_text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static int
get_small(const json_t *object, const char *key)
{
	const json_t *v = json_object_get(object, key);

	return json_is_integer(v) ? (int)json_integer_value(v) : -1;
}

static char *
unhex(const char *hex, size_t *n)
{
	char *bytes = xmalloc(strlen(hex) / 2 + 1);
	unsigned byte;

	for (*n = 0; sscanf(hex + 2 * *n, "%2x", &byte) == 1; ++*n)
		bytes[*n] = (char)byte;
	return bytes;
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
time_or_null(instant t)
{
	return clock_isfinite(t) ? json_integer(t) : json_null();
}

static json_t *
show_message(const struct celery_message *m)
{
	json_t *v = json_pack("{si so so so so so sI so so so sI sf sf sb so so si}",
	    "protocol", m->protocol, "task", text_or_null(m->task), "id", text_or_null(m->id),
	    "root_id", text_or_null(m->root_id), "parent_id", text_or_null(m->parent_id),
	    "group", text_or_null(m->group), "group_index", (json_int_t)m->group_index,
	    "shadow", text_or_null(m->shadow), "eta", time_or_null(m->eta),
	    "expires", time_or_null(m->expires), "retries", (json_int_t)m->retries,
	    "time_limit", m->time_limit, "soft_time_limit", m->soft_time_limit,
	    "ignore_result", m->ignore_result, "reply_to", text_or_null(m->reply_to),
	    "correlation_id", text_or_null(m->correlation_id), "priority", m->priority);

	json_object_set_new(v, "args", raw_or_null(m->args));
	json_object_set_new(v, "kwargs", raw_or_null(m->kwargs));
	json_object_set_new(v, "callbacks", raw_or_null(m->callbacks));
	json_object_set_new(v, "errbacks", raw_or_null(m->errbacks));
	json_object_set_new(v, "chain", raw_or_null(m->chain));
	json_object_set_new(v, "chord", raw_or_null(m->chord));
	json_object_set_new(v, "argsrepr", text_or_null(m->argsrepr));
	json_object_set_new(v, "kwargsrepr", text_or_null(m->kwargsrepr));
	json_object_set_new(v, "origin", text_or_null(m->origin));
	json_object_set_new(v, "others", m->others ? json_incref(m->others) : json_object());
	return v;
}

static json_t *
show_envelope(const struct celery_envelope *e)
{
	json_t *properties = json_pack("{so so so so so si si}",
	    "content_type", text_or_null(e->content_type),
	    "content_encoding", text_or_null(e->content_encoding),
	    "correlation_id", text_or_null(e->correlation_id),
	    "reply_to", text_or_null(e->reply_to), "expiration", text_or_null(e->expiration),
	    "priority", e->priority, "delivery_mode", e->delivery_mode);

	return json_pack("{so sO ss%}", "properties", properties, "headers", e->headers,
	    "body", e->body, e->body_len);
}

static json_t *
show_job(const struct celery_job *job)
{
	char uuid[UUID_TEXT];
	json_t *jobs;

	if (job->event)
		return json_pack("{ss ss sI ss ss}", "task", celery_task_name(job->task),
		    "installation", uuid_format(&job->installation, uuid), "run",
		    (json_int_t)job->run, "event", job->event, "reaction", job->reaction);
	jobs = json_array();
	for (size_t i = 0; i < job->jobs.n; i++)
		json_array_append_new(jobs, json_integer(job->jobs.at[i]));
	return json_pack("{ss ss sI so}", "task", celery_task_name(job->task), "installation",
	    uuid_format(&job->installation, uuid), "run", (json_int_t)job->run, "jobs", jobs);
}

static json_t *
show_recoded(const struct celery_message *m, const json_t *question)
{
	struct celery_envelope e;
	json_t *reply;

	celery_encode(m, json_integer_value(json_object_get(question, "now")), &e);
	reply = show_envelope(&e);
	celery_envelope_done(&e);
	return reply;
}

static json_t *
read_own(const struct celery_message *m, struct refusal *refusal)
{
	struct celery_job job = { 0 };
	json_t *reply = celery_job_decode(&job, m, refusal) ? NULL : show_job(&job);

	celery_job_done(&job);
	return reply;
}

static json_t *
read_message(const json_t *question, const char *what)
{
	const json_t *properties = json_object_get(question, "properties");
	struct celery_envelope e = {
		.content_type = get_text(properties, "content_type"),
		.content_encoding = get_text(properties, "content_encoding"),
		.correlation_id = get_text(properties, "correlation_id"),
		.reply_to = get_text(properties, "reply_to"),
		.priority = get_small(properties, "priority"),
		.headers = json_object_get(question, "headers"),
	};
	char *body = unhex(get_text(question, "body"), &e.body_len);
	struct celery_message m;
	struct refusal refusal = { 0 };
	json_t *reply = NULL;

	e.body = body;
	celery_message_init(&m);
	if (!celery_decode(&m, &e, &refusal))
		reply = !strcmp(what, "recode") ? show_recoded(&m, question) :
		    !strcmp(what, "own") ? read_own(&m, &refusal) : show_message(&m);
	if (!reply)
		reply = json_pack("{ss ss so}", "refused", refusal_word(refusal.reason),
		    "text", refusal.err.message, "id", text_or_null(m.id));
	celery_message_done(&m);
	free(body);
	return reply;
}

static json_t *
make_job(const json_t *question)
{
	const json_t *jobs = json_object_get(question, "jobs");
	const json_t *names = json_object_get(question, "names");
	struct celery_job job = {
		.task = (enum celery_task)celery_task_find(get_text(question, "task")),
		.run = json_integer_value(json_object_get(question, "run")),
	};
	VEC(const char *) texts = { 0 };
	struct celery_envelope e;
	struct err err;
	json_t *reply;

	uuid_parse(get_text(question, "installation"), &job.installation, &err);
	for (size_t i = 0; i < json_array_size(jobs); i++)
		vec_push(&job.jobs, (int)json_integer_value(json_array_get(jobs, i)));
	for (size_t i = 0; i < json_array_size(names); i++)
		vec_push(&texts, json_string_value(json_array_get(names, i)));
	if (job.task == TASK_REACTION) {
		job.event = xstrdup(get_text(question, "event"));
		job.reaction = xstrdup(get_text(question, "reaction"));
	}
	celery_job_encode(&job, texts.at, texts.n, get_text(question, "origin"), &e);
	reply = show_envelope(&e);
	celery_envelope_done(&e);
	celery_job_done(&job);
	vec_done(&texts);
	return reply;
}

static json_t *
make_repr(const json_t *question)
{
	const char *text = get_text(question, "json");
	struct str s = STR_INIT;
	struct refusal refusal;
	struct raw value;
	json_t *reply;

	if (raw_check(text, strlen(text), &value, &refusal))
		return json_pack("{ss ss}", "refused", refusal_word(refusal.reason),
		    "text", refusal.err.message);
	celery_repr(&s, value, json_is_true(json_object_get(question, "tuple")),
	    (long)json_integer_value(json_object_get(question, "limit")));
	reply = json_pack("{ss%}", "repr", str_text(&s), s.len);
	str_done(&s);
	return reply;
}

int
main(void)
{
	char *line = NULL;
	size_t room = 0;

	while (getline(&line, &room, stdin) > 0) {
		json_t *question = json_loads(line, JSON_ALLOW_NUL, NULL), *reply;
		const char *what = get_text(question, "do");

		if (!what) {
			fputs("recode: a line is not JSON, or does not say what to do\n", stderr);
			return 2;
		}
		reply = !strcmp(what, "job") ? make_job(question) :
		    !strcmp(what, "repr") ? make_repr(question) : read_message(question, what);
		json_dumpf(reply, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
		putchar('\n');
		fflush(stdout);	/* whoever asks waits for it */
		json_decref(reply);
		json_decref(question);
	}
	free(line);
	return 0;
}
