/* panel_event.c - jobs as events.
 *
 * A variable is a task of its own; the evidences or events of one message, which
 * are decided together, are one; a delivery is one, begun as often as it is
 * attempted.  Nothing is made of any of it unless somebody wants to know. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "celery/repr.h"
#include "engine/panel_inner.h"

static struct panel *
listening(struct worker *w)
{
	return w->panel && remote_wants_events(w->panel->remote) ? w->panel : NULL;
}

/* Add "RuntimeError('...')". */
static void
add_exception(struct str *s, const char *error)
{
	struct str json = STR_INIT;

	json_append_text(&json, error, strlen(error));
	str_puts(s, "RuntimeError(");
	celery_repr(s, (struct raw){ str_text(&json), json.len }, false, CELERY_REPR_MAX);
	str_putc(s, ')');
	str_done(&json);
}

static void
tell_end(struct panel *p, const char *id, const char *value, const char *error, double runtime)
{
	struct celery_task_event e = { .uuid = id, .runtime = runtime };
	struct str exception = STR_INIT;

	if (error) {
		add_exception(&exception, error);
		e.exception = str_text(&exception);
	} else if (value)
		e.result = (struct raw){ value, strlen(value) };
	remote_tell_task(p->remote, error ? EVENT_TASK_FAILED : EVENT_TASK_SUCCEEDED, &e);
	str_done(&exception);
}

static void
tell_start(struct panel *p, const char *id)
{
	struct celery_task_event e = { .uuid = id };

	remote_tell_task(p->remote, EVENT_TASK_STARTED, &e);
}

/* --- messages --- */

static void
message_id(const struct panel *p, const struct message *m, char id[UUID_TEXT])
{
	if (m->kind == REACTION)
		celery_delivery_id(&p->installation, m->run, m->event, m->reaction, id);
	else
		panel_job_id(p, (struct job_key){ m->run, m->jobs.n ? m->jobs.at[0] : -1 }, id);
}

static bool
is_decided_together(const struct message *m)
{
	return m->kind == EVIDENCE || m->kind == EVENT;
}

void
panel_message_received(struct worker *w, const struct message *m)
{
	struct panel *p = listening(w);
	struct celery_task_event e = { .eta = INSTANT_NEVER, .expires = INSTANT_NEVER };
	struct str kwargs = STR_INIT;
	char id[UUID_TEXT], root[UUID_TEXT];

	if (w->panel && is_decided_together(m))
		w->panel->total[m->kind]++;
	if (!p)
		return;
	message_id(p, m, id);
	e.uuid = id;
	e.name = celery_task_name((enum celery_task)m->kind);
	e.args = m->shown ? m->shown : "()";
	e.root_id = panel_job_id(p, (struct job_key){ m->run, -1 }, root);
	str_printf(&kwargs, "{'run': %" PRId64 "}", m->run);
	e.kwargs = str_text(&kwargs);
	remote_tell_task(p->remote, EVENT_TASK_RECEIVED, &e);
	if (is_decided_together(m))
		tell_start(p, id);
	str_done(&kwargs);
}

void
panel_message_ended(struct worker *w, const struct message *m)
{
	struct panel *p = listening(w);
	char id[UUID_TEXT];

	if (!p || !is_decided_together(m))
		return;
	message_id(p, m, id);
	tell_end(p, id, NULL, NULL, (double)(clock_monotonic() - m->arrived_at) / SECOND);
}

/* --- variables --- */

void
panel_job_started(struct worker *w, const struct flight *f)
{
	struct panel *p = listening(w);
	char id[UUID_TEXT];

	if (w->panel)
		w->panel->total[f->job.kind]++;
	if (p)
		tell_start(p, panel_job_id(p, f->job.key, id));
}

void
panel_job_ended(struct worker *w, const struct flight *f)
{
	struct panel *p = listening(w);
	char id[UUID_TEXT];

	if (p)
		tell_end(p, panel_job_id(p, f->job.key, id), f->outcome.value,
		    f->outcome.state == JOB_DONE ? NULL :
		    f->outcome.error ? f->outcome.error : "",
		    f->started_at ? (double)(clock_now() - f->started_at) / SECOND : 0);
}

/* --- deliveries --- */

void
panel_delivery_started(struct worker *w, int64_t run, const char *event, const char *reaction)
{
	struct panel *p = listening(w);
	char id[UUID_TEXT];

	if (w->panel)
		w->panel->total[REACTION]++;
	if (p)
		tell_start(p, celery_delivery_id(&p->installation, run, event, reaction, id));
}

void
panel_delivery_ended(struct worker *w, int64_t run, const char *event, const char *reaction,
    const char *error, span took)
{
	struct panel *p = listening(w);
	char id[UUID_TEXT];

	if (p)
		tell_end(p, celery_delivery_id(&p->installation, run, event, reaction, id), NULL,
		    error, (double)took / SECOND);
}
