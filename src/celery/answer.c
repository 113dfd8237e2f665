/* answer.c - ask another worker, and understand what he says.
 *
 * The two callbacks are signatures of one task.  They are not immutable, so that
 * Celery prepends what there is to say, and they name JSON as their serializer:
 * what the other side has set for its own tasks is not for us. */
#include "celery/answer.h"
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "base/str.h"
#include "celery/message.h"
#include "celery/refusal.h"

#define NAME_MAX_BYTES 255

char *
celery_question_id(const struct uuid *installation, int64_t run, int job, int fence,
    char out[UUID_TEXT])
{
	char name[64];
	int n = snprintf(name, sizeof name, "%" PRId64 "/%d/%d", run, job, fence);
	struct uuid id = uuid_v5(installation, name, (size_t)n);

	uuid_format(&id, out);
	return out;
}

/* --- asking --- */

static void
add_signature(struct str *s, const struct celery_question *q, bool failed)
{
	char uuid[UUID_TEXT];

	str_printf(s, "[{\"task\": \"%s\", \"args\": [], \"kwargs\": {\"installation\": \"%s\", "
	    "\"run\": %" PRId64 ", \"job\": %d, \"fence\": %d, \"name\": ", CELERY_ANSWER,
	    uuid_format(&q->installation, uuid), q->run, q->job, q->fence);
	json_append_text(s, q->name, strlen(q->name));
	if (failed) {
		str_puts(s, ", \"failed\": ");
		json_append_text(s, q->task, strlen(q->task));
	}
	str_puts(s, "}, \"options\": {\"queue\": ");
	json_append_text(s, q->answer_to, strlen(q->answer_to));
	str_puts(s, ", \"serializer\": \"json\", \"ignore_result\": true}, "
	    "\"subtask_type\": null, \"immutable\": false}]");
}

void
celery_question_encode(const struct celery_question *q, const char *origin, instant now,
    struct celery_envelope *e)
{
	struct str done = STR_INIT, failed = STR_INIT;
	char id[UUID_TEXT];
	struct celery_message m;

	celery_message_init(&m);
	add_signature(&done, q, false);
	add_signature(&failed, q, true);
	m.task = q->task;
	m.id = celery_question_id(&q->installation, q->run, q->job, q->fence, id);
	m.expires = q->expires;
	m.soft_time_limit = q->soft;
	m.time_limit = q->hard;
	m.origin = origin;
	m.ignore_result = true;
	m.kwargs = q->kwargs;
	m.callbacks = (struct raw){ str_text(&done), done.len };
	m.errbacks = (struct raw){ str_text(&failed), failed.len };
	celery_encode(&m, now, e);
	/* The id must outlive this function: the headers have it. */
	e->correlation_id = json_string_value(json_object_get(e->headers, "id"));
	str_done(&done);
	str_done(&failed);
}

/* --- being answered --- */

bool
celery_is_answer(const struct celery_message *m)
{
	return m->task && !strcmp(m->task, CELERY_ANSWER);
}

void
celery_answer_done(struct celery_answer *answer)
{
	free(answer->name);
	free(answer->failed);
	answer->name = answer->failed = NULL;
}

static int
wrong(struct refusal *refusal, const char *what)
{
	return refuse(refusal, REFUSED_KWARGS, "%s", what);
}

static int
read_number(int *out, struct raw v, int least)
{
	int64_t n;

	if (raw_integer(v, &n) || n < least || n > INT_MAX)
		return -1;
	*out = (int)n;
	return 0;
}

static int
read_text(char **out, struct raw v)
{
	struct str text = STR_INIT;

	if (raw_kind(v) != '"' || v.len > NAME_MAX_BYTES + 2 || !raw_string(v, &text)) {
		str_done(&text);
		return -1;
	}
	free(*out);
	*out = str_take(&text);
	return 0;
}

static int
read_installation(struct celery_answer *a, struct raw v)
{
	char *text = NULL;
	struct err err;
	int rc = read_text(&text, v) || uuid_parse(text, &a->installation, &err) ? -1 : 0;

	free(text);
	return rc;
}

static int
read_member(struct celery_answer *a, struct raw key, struct raw v, struct refusal *refusal)
{
	if (raw_is(key, "installation"))
		return read_installation(a, v) ? wrong(refusal, "'installation' is no UUID") : 0;
	if (raw_is(key, "run"))
		return raw_integer(v, &a->run) || a->run < 1 ?
		    wrong(refusal, "'run' is no run's number") : 0;
	if (raw_is(key, "job"))
		return read_number(&a->job, v, 0) ? wrong(refusal, "'job' is no job's number") : 0;
	/* Below 1 it would mean something else to a settling. */
	if (raw_is(key, "fence"))
		return read_number(&a->fence, v, 1) ? wrong(refusal, "'fence' is no fence") : 0;
	if (raw_is(key, "name"))
		return read_text(&a->name, v) ? wrong(refusal, "'name' is no name") : 0;
	if (raw_is(key, "failed"))
		return read_text(&a->failed, v) ? wrong(refusal, "'failed' is no task's name") : 0;
	return refuse(refusal, REFUSED_KWARGS, "an unknown member %.*s",
	    (int)(key.len < 60 ? key.len : 60), key.text);
}

int
celery_answer_decode(struct celery_answer *a, const struct celery_message *m,
    struct refusal *refusal)
{
	struct raw_walk walk = raw_walk(m->kwargs);
	struct raw key, member;
	bool has_installation = false;

	a->job = -1;
	while (raw_next(&walk, &key, &member)) {
		if (read_member(a, key, member, refusal))
			return -1;
		has_installation |= raw_is(key, "installation");
	}
	if (!has_installation || a->run < 1 || a->job < 0 || a->fence < 1 || !a->name)
		return wrong(refusal, "'installation', 'run', 'job', 'fence' or 'name' is missing");
	if (raw_count(m->args) != 1)
		return refuse(refusal, REFUSED_ARGS, "an answer is one positional argument");
	walk = raw_walk(m->args);
	raw_next(&walk, &key, &a->value);
	return 0;
}
