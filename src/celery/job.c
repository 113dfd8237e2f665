/* job.c - the messages that we send to ourselves.
 *
 * kwargs are a whitelist: a member that we do not know comes from a newer
 * tocsin, or from somebody who hopes that we look at it.  Either way this
 * program does not know what was meant. */
#include "celery/job.h"
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "base/str.h"
#include "celery/message.h"
#include "celery/refusal.h"
#include "celery/repr.h"

#define TASK_NAME(name, text) [name] = text,
static const char *const task_names[] = { CELERY_TASKS(TASK_NAME) };

const char *
celery_task_name(enum celery_task task)
{
	return task_names[task];
}

int
celery_task_find(const char *name)
{
	for (int i = 0; i < CELERY_TASK_COUNT; i++)
		if (!strcmp(name, task_names[i]))
			return i;
	return -1;
}

void
celery_job_done(struct celery_job *job)
{
	vec_done(&job->jobs);
	free(job->event);
	free(job->reaction);
}

char *
celery_job_id(const struct uuid *installation, int64_t run, int job, char out[UUID_TEXT])
{
	char name[48];
	int n = snprintf(name, sizeof name, "%" PRId64 "/%d", run, job);
	struct uuid id = uuid_v5(installation, name, (size_t)n);

	uuid_format(&id, out);
	return out;
}

char *
celery_delivery_id(const struct uuid *installation, int64_t run, const char *event,
    const char *reaction, char out[UUID_TEXT])
{
	/* Their names hold no slash: it is nobody else's. */
	char *name = xasprintf("%" PRId64 "/%s/%s", run, event, reaction);
	struct uuid id = uuid_v5(installation, name, strlen(name));

	free(name);
	uuid_format(&id, out);
	return out;
}

static void
add_names(struct str *s, const char *const *names, size_t n)
{
	str_putc(s, '[');
	for (size_t i = 0; i < n && i < CELERY_NAMES_MAX; i++) {
		str_puts(s, i ? ", " : "");
		json_append_text(s, names[i], strlen(names[i]));
	}
	str_puts(s, n > CELERY_NAMES_MAX ? ", \"...\"]" : "]");
}

static void
add_kwargs(struct str *s, const struct celery_job *job, const char *names)
{
	char uuid[UUID_TEXT];

	str_printf(s, "{\"installation\": \"%s\", \"run\": %" PRId64 ", ",
	    uuid_format(&job->installation, uuid), job->run);
	if (job->task == TASK_REACTION) {
		str_puts(s, "\"event\": ");
		json_append_text(s, job->event, strlen(job->event));
		str_puts(s, ", \"reaction\": ");
		json_append_text(s, job->reaction, strlen(job->reaction));
		str_putc(s, '}');
		return;
	}
	str_puts(s, "\"jobs\": [");
	for (size_t i = 0; i < job->jobs.n; i++)
		str_printf(s, "%s%d", i ? ", " : "", job->jobs.at[i]);
	str_printf(s, "], \"names\": %s}", names);
}

static char *
task_id(const struct celery_job *job, char out[UUID_TEXT])
{
	if (job->task == TASK_REACTION)
		return celery_delivery_id(&job->installation, job->run, job->event,
		    job->reaction, out);
	return celery_job_id(&job->installation, job->run, job->jobs.n ? job->jobs.at[0] : -1,
	    out);
}

void
celery_job_encode(const struct celery_job *job, const char *const *names, size_t n,
    const char *origin, struct celery_envelope *e)
{
	struct str kwargs = STR_INIT, said = STR_INIT, shown = STR_INIT;
	char id[UUID_TEXT], run[UUID_TEXT];
	struct celery_message m;

	celery_message_init(&m);
	if (job->task == TASK_REACTION)
		add_names(&said, (const char *const[]){ job->event, job->reaction }, 2);
	else
		add_names(&said, names, n);
	add_kwargs(&kwargs, job, str_text(&said));
	celery_repr(&shown, (struct raw){ str_text(&said), said.len }, true, CELERY_REPR_MAX);
	m.task = celery_task_name(job->task);
	m.id = task_id(job, id);
	m.root_id = celery_job_id(&job->installation, job->run, -1, run);
	m.argsrepr = str_text(&shown);
	m.origin = origin;
	m.ignore_result = true;
	m.kwargs = (struct raw){ str_text(&kwargs), kwargs.len };
	celery_encode(&m, 0, e);
	/* The id must outlive this function: the headers have it. */
	e->correlation_id = json_string_value(json_object_get(e->headers, "id"));
	str_done(&kwargs);
	str_done(&said);
	str_done(&shown);
}

static int
wrong(struct refusal *refusal, const char *what)
{
	return refuse(refusal, REFUSED_KWARGS, "%s", what);
}

static int
read_installation(struct celery_job *job, struct raw v, struct refusal *refusal)
{
	struct str text = STR_INIT;
	struct err err;
	int rc = -1;

	if (raw_kind(v) == '"' && v.len <= UUID_TEXT + 1 && raw_string(v, &text))
		rc = uuid_parse(str_text(&text), &job->installation, &err);
	str_done(&text);
	return rc ? wrong(refusal, "'installation' is no UUID") : 0;
}

static int
read_jobs(struct celery_job *job, struct raw v, struct refusal *refusal)
{
	struct raw_walk walk = raw_walk(v);
	struct raw key, member;
	int64_t n;

	if (raw_kind(v) != '[')
		return wrong(refusal, "'jobs' is no array");
	while (raw_next(&walk, &key, &member)) {
		if (raw_integer(member, &n) || n < 0 || n > INT_MAX)
			return wrong(refusal, "'jobs' holds what is no job's number");
		if (job->jobs.n == CELERY_JOBS_MAX)
			return wrong(refusal, "'jobs' holds too many");
		vec_push(&job->jobs, (int)n);
	}
	return 0;
}

static int
read_name(char **name, struct raw v, const char *what, struct refusal *refusal)
{
	struct str text = STR_INIT;

	if (raw_kind(v) != '"' || v.len > CELERY_EVENT_MAX + 2 || v.len <= 2 || *name ||
	    !raw_string(v, &text)) {
		str_done(&text);
		return refuse(refusal, REFUSED_KWARGS, "'%s' is no name", what);
	}
	*name = str_take(&text);
	return 0;
}

static int
read_member(struct celery_job *job, struct raw key, struct raw v, struct refusal *refusal)
{
	if (raw_is(key, "installation"))
		return read_installation(job, v, refusal);
	if (raw_is(key, "run"))
		return raw_integer(v, &job->run) || job->run < 1 ?
		    wrong(refusal, "'run' is no run's number") : 0;
	if (raw_is(key, "jobs"))
		return read_jobs(job, v, refusal);
	if (raw_is(key, "event"))
		return read_name(&job->event, v, "event", refusal);
	if (raw_is(key, "reaction"))
		return read_name(&job->reaction, v, "reaction", refusal);
	if (raw_is(key, "names"))	/* for people */
		return raw_kind(v) == '[' ? 0 : wrong(refusal, "'names' is no array");
	return refuse(refusal, REFUSED_KWARGS, "an unknown member %.*s",
	    (int)(key.len < 60 ? key.len : 60), key.text);
}

/* What it is about: jobs, a delivery, or the run itself. */
static int
check_matter(const struct celery_job *job, struct refusal *refusal)
{
	if (job->task == TASK_REACTION && (!job->event || !job->reaction))
		return wrong(refusal, "'event' or 'reaction' is missing");
	if (job->task != TASK_REACTION && (job->event || job->reaction))
		return wrong(refusal, "'event' and 'reaction' are of a tocsin.reaction");
	if (job->jobs.n && job->task >= TASK_REACTION)
		return wrong(refusal, "a reaction or a cycle has no jobs");
	if (!job->jobs.n && job->task < TASK_REACTION)
		return wrong(refusal, "'jobs' is empty");
	return 0;
}

static int
check_nothing_follows(const struct celery_message *m, struct refusal *refusal)
{
	if (raw_count(m->args) > 0)
		return refuse(refusal, REFUSED_ARGS, "our tasks have no positional arguments");
	if (m->callbacks.text && raw_count(m->callbacks) > 0)
		return refuse(refusal, REFUSED_CALLBACKS, "our tasks have no callbacks");
	if (m->errbacks.text && raw_count(m->errbacks) > 0)
		return refuse(refusal, REFUSED_ERRBACKS, "our tasks have no errbacks");
	if (m->chain.text && raw_count(m->chain) > 0)
		return refuse(refusal, REFUSED_CHAIN, "our tasks are in no chain");
	if (m->chord.text)
		return refuse(refusal, REFUSED_CHORD, "our tasks are in no chord");
	if (clock_isfinite(m->eta))
		return refuse(refusal, REFUSED_ETA, "our tasks do not wait");
	return 0;
}

int
celery_job_decode(struct celery_job *job, const struct celery_message *m,
    struct refusal *refusal)
{
	struct raw_walk walk = raw_walk(m->kwargs);
	struct raw key, member;
	bool has_installation = false;
	int task = celery_task_find(m->task);

	if (task < 0)
		return refuse(refusal, REFUSED_UNREGISTERED, "no task is called '%.80s'", m->task);
	job->task = (enum celery_task)task;
	if (check_nothing_follows(m, refusal))
		return -1;
	while (raw_next(&walk, &key, &member)) {
		if (read_member(job, key, member, refusal))
			return -1;
		has_installation |= raw_is(key, "installation");
	}
	if (!has_installation || job->run < 1)
		return wrong(refusal, "'installation' or 'run' is missing");
	return check_matter(job, refusal);
}
