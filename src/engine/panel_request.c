/* panel_request.c - clients' tasks: revoked, limited, terminated, and as events. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "celery/repr.h"
#include "engine/panel_inner.h"
#include "engine/request.h"
#include "wire/amqp.h"
#include "wire/letter.h"

enum { STAMPS_MOST = 1000 };		/* that are revoked */

/* --- revoked tasks --- */

/* A map of them that is being written, or a list. */
struct writing {
	struct str *out;
	bool map;
};

static void
write_revoked(void *arg, const char *id, span at)
{
	const struct writing *w = arg;

	if (w->map) {
		celery_control_add_revoked(w->out, id, (double)at / SECOND);
		return;
	}
	panel_comma(w->out);
	json_append_text(w->out, id, strlen(id));
}

void
panel_say_revoked(void *arg, struct str *s)
{
	const struct panel *p = arg;

	str_putc(s, '{');
	requests_each_revoked(p->worker->requests, write_revoked, &(struct writing){ s, true });
	str_putc(s, '}');
}

void
panel_hear_revoked(void *arg, const char *id)
{
	const struct panel *p = arg;

	requests_revoke(p->worker->requests, id, true);
}

bool
panel_revoked(struct panel *p, const json_t *arguments, struct str *answer)
{
	(void)arguments;
	str_putc(answer, '[');
	requests_each_revoked(p->worker->requests, write_revoked,
	    &(struct writing){ answer, false });
	str_putc(answer, ']');
	return true;
}

/* "KILL", "SIGKILL", "kill", 9; SIGTERM if nothing is said.  -1: there is none. */
static int
read_signal(const json_t *arguments)
{
	const json_t *given = json_object_get(arguments, "signal");
	const char *name = json_string_value(given);
	double n;

	if (!given || json_is_null(given))
		return SIGTERM;
	if (celery_control_number(arguments, "signal", &n))
		return n >= 1 && n < NSIG ? (int)n : -1;
	if (name && !strncasecmp(name, "SIG", 3))
		name += 3;
	for (int i = 1; name && i < NSIG; i++)
		if (sigabbrev_np(i) && !strcasecmp(sigabbrev_np(i), name))
			return i;
	return -1;
}

static void
note_id(void *arg, const struct request_view *view)
{
	json_object_set_new(arg, view->letter->message.id, json_true());
}

static void
add_name(struct str *s, const char *id)
{
	str_printf(s, "%s%s", s->len ? ", " : "", id);
}

/* A request that waits is revoked, which Celery counts as terminated too. */
static void
terminate(struct panel *p, const char *const *ids, int signum, struct str *answer)
{
	json_t *here = json_object();
	struct str names = STR_INIT;

	requests_each(p->worker->requests, note_id, here);
	for (; *ids; ids++) {
		if (!json_object_get(here, *ids)) {
			requests_revoke(p->worker->requests, *ids, false);
			continue;
		}
		json_object_del(here, *ids);
		requests_terminate(p->worker->requests, *ids, signum);
		add_name(&names, *ids);
	}
	celery_control_ok(answer, "terminate: %s", names.len ? str_text(&names) : "tasks unknown");
	str_done(&names);
	json_decref(here);
}

static void
flag_revoked(struct panel *p, const char *const *ids, struct str *answer)
{
	struct str names = STR_INIT;

	for (; *ids; ids++) {
		requests_revoke(p->worker->requests, *ids, false);
		add_name(&names, *ids);
	}
	celery_control_ok(answer, "tasks %s flagged as revoked", str_text(&names));
	str_done(&names);
}

static bool
revoke_or_terminate(struct panel *p, const char *command, bool terminates,
    const json_t *arguments, struct str *answer)
{
	const char **ids = celery_control_texts(arguments, "task_id");
	int signum = read_signal(arguments);

	if (!json_object_get(arguments, "task_id"))
		panel_missing(answer, command, "task_id");
	else if (!terminates)
		flag_revoked(p, ids, answer);
	else if (signum < 0)
		celery_control_raised(answer, "AttributeError", "there is no such signal");
	else
		terminate(p, ids, signum, answer);
	free(ids);
	return true;
}

bool
panel_revoke(struct panel *p, const json_t *arguments, struct str *answer)
{
	return revoke_or_terminate(p, "revoke", celery_control_truth(arguments, "terminate"),
	    arguments, answer);
}

bool
panel_terminate(struct panel *p, const json_t *arguments, struct str *answer)
{
	return revoke_or_terminate(p, "terminate", true, arguments, answer);
}

/* --- revoked stamps --- */

/* A stamp is a text, or several in an array. */
static bool
is_one_of(const char *text, const json_t *stamps)
{
	const json_t *one;
	size_t i;

	if (json_is_string(stamps))
		return !strcmp(json_string_value(stamps), text);
	json_array_foreach(stamps, i, one)
		if (json_is_string(one) && !strcmp(json_string_value(one), text))
			return true;
	return false;
}

static bool
has_common(const json_t *stamps, const json_t *others)
{
	const json_t *one;
	size_t i;

	if (json_is_string(stamps))
		return is_one_of(json_string_value(stamps), others);
	json_array_foreach(stamps, i, one)
		if (json_is_string(one) && is_one_of(json_string_value(one), others))
			return true;
	return false;
}

static bool
bears_stamps(const struct request_view *view, const json_t *revoked)
{
	const json_t *stamps = view->letter->message.others ?
	    json_object_get(view->letter->message.others, "stamps") : NULL;
	const json_t *values;
	const char *name;

	json_object_foreach((json_t *)revoked, name, values) {
		const json_t *borne = json_object_get(stamps, name);

		if (borne && has_common(borne, values))
			return true;
	}
	return false;
}

/* Those of a kind, and what befalls them. */
struct stamped {
	struct panel *panel;
	const json_t *headers;
	VEC(char *) ids;
};

static void
collect_stamped(void *arg, const struct request_view *view)
{
	struct stamped *s = arg;

	if (bears_stamps(view, s->headers))
		vec_push(&s->ids, xstrdup(view->letter->message.id));
}

static void
remember_stamp(struct panel *p, const char *name, json_t *text)
{
	json_t *known = json_object_get(p->revoked_stamps, name);

	if (!json_is_string(text) || (known && is_one_of(json_string_value(text), known)))
		return;
	if (p->n_stamps >= STAMPS_MOST) {
		log_warn("too many stamps are revoked, one is not kept", "stamp", name);
		return;
	}
	p->n_stamps++;
	if (!known)
		json_object_set_new(p->revoked_stamps, name, known = json_array());
	json_array_append(known, text);
}

/* Whoever comes later is looked at when he comes. */
static void
remember_stamps(struct panel *p, const json_t *headers)
{
	const char *name;
	json_t *stamps, *one;
	size_t i;

	if (!p->revoked_stamps)
		p->revoked_stamps = json_object();
	json_object_foreach((json_t *)headers, name, stamps) {
		remember_stamp(p, name, stamps);
		json_array_foreach(stamps, i, one)
			remember_stamp(p, name, one);
	}
}

bool
panel_revoke_by_stamped_headers(struct panel *p, const json_t *arguments, struct str *answer)
{
	const json_t *headers = json_object_get(arguments, "headers");
	bool terminates = celery_control_truth(arguments, "terminate");
	struct stamped s = { .panel = p, .headers = headers };
	struct str text = STR_INIT, shown = STR_INIT;
	int signum = read_signal(arguments);

	if (!json_is_object(headers)) {
		panel_missing(answer, "revoke_by_stamped_headers", "headers");
		return true;
	}
	remember_stamps(p, headers);
	requests_each(p->worker->requests, collect_stamped, &s);
	for (size_t i = 0; i < s.ids.n; i++) {
		if (terminates && signum > 0)
			requests_terminate(p->worker->requests, s.ids.at[i], signum);
		else
			requests_revoke(p->worker->requests, s.ids.at[i], false);
		free(s.ids.at[i]);
	}
	json_append(&text, headers);
	celery_repr(&shown, (struct raw){ str_text(&text), text.len }, false, CELERY_REPR_MAX);
	if (!terminates)
		celery_control_ok(answer, "headers %s flagged as revoked, but not terminated",
		    str_text(&shown));
	else
		celery_control_ok(answer, s.ids.n ? "headers %s revoked" :
		    "headers %s were not terminated", str_text(&shown));
	vec_done(&s.ids);
	str_done(&text);
	str_done(&shown);
	return true;
}

/* --- limits --- */

/* The rate as a text; "": there is none any more. */
static char *
read_rate(const json_t *arguments)
{
	const char *text = celery_control_text(arguments, "rate_limit");
	double n = 0;

	if (text)
		return xstrdup(text);
	celery_control_number(arguments, "rate_limit", &n);
	return n > 0 ? xasprintf("%.17g", n) : xstrdup("");
}

bool
panel_rate_limit(struct panel *p, const json_t *arguments, struct str *answer)
{
	const char *task = celery_control_text(arguments, "task_name");
	char *rate = read_rate(arguments);
	struct err err;

	if (!task)
		panel_missing(answer, "rate_limit", "task_name");
	else if (!requests_rate_limit(p->worker->requests, task, rate, &err))
		celery_control_ok(answer, *rate ? "new rate limit set successfully" :
		    "rate limit disabled successfully");
	else if (!strcmp(err.message, "unknown task"))
		celery_control_error(answer, "unknown task");
	else
		celery_control_error(answer, "Invalid rate limit string: %s", err.message);
	free(rate);
	return true;
}

bool
panel_time_limit(struct panel *p, const json_t *arguments, struct str *answer)
{
	const char *task = celery_control_text(arguments, "task_name");
	double soft = 0, hard = 0;
	struct err err;

	celery_control_number(arguments, "soft", &soft);
	celery_control_number(arguments, "hard", &hard);
	if (soft < 0 || hard < 0)
		celery_control_raised(answer, "ValueError", "a time limit is not negative");
	else if (requests_time_limit(p->worker->requests, task ? task : "", soft, hard, &err))
		celery_control_error(answer, "%s", err.message);
	else
		celery_control_ok(answer, "time limits set successfully");
	return true;
}

/* --- events --- */

static const enum celery_event event_of[] = {
	[REQUEST_RECEIVED] = EVENT_TASK_RECEIVED,
	[REQUEST_STARTED] = EVENT_TASK_STARTED,
	[REQUEST_SUCCEEDED] = EVENT_TASK_SUCCEEDED,
	[REQUEST_FAILED] = EVENT_TASK_FAILED,
	[REQUEST_RETRIED] = EVENT_TASK_RETRIED,
	[REQUEST_REVOKED] = EVENT_TASK_REVOKED,
	[REQUEST_REJECTED] = EVENT_TASK_REJECTED,
};

static void
tell(struct panel *p, enum celery_event event, const struct request_view *view)
{
	const struct celery_message *m = &view->letter->message;
	struct str args = STR_INIT, kwargs = STR_INIT, exception = STR_INIT;
	struct celery_task_event e = { .uuid = m->id, .name = m->shadow ? m->shadow : m->task, .args = m->argsrepr,
		.kwargs = m->kwargsrepr, .root_id = m->root_id, .parent_id = m->parent_id,
		.retries = m->retries, .eta = m->eta, .expires = m->expires,
		.result = view->value, .runtime = view->runtime,
		.terminated = view->terminated, .expired = view->expired,
		.signum = view->terminated ? view->signum : 0 };

	if (event == EVENT_TASK_RECEIVED && !e.args && m->args.text) {
		celery_repr(&args, m->args, true, CELERY_REPR_MAX);
		e.args = str_text(&args);
	}
	if (event == EVENT_TASK_RECEIVED && !e.kwargs && m->kwargs.text) {
		celery_repr(&kwargs, m->kwargs, false, CELERY_REPR_MAX);
		e.kwargs = str_text(&kwargs);
	}
	if (view->exception.type) {
		celery_exception_repr(&exception, &view->exception);
		e.exception = str_text(&exception);
	}
	remote_tell_task(p->remote, event, &e);
	str_done(&args);
	str_done(&kwargs);
	str_done(&exception);
}

/* One whose stamp is revoked ends when it would begin, as if its id were. */
void
panel_told(void *arg, enum request_event event, const struct request_view *view)
{
	struct panel *p = arg;

	if (event == REQUEST_RECEIVED && p->revoked_stamps && bears_stamps(view, p->revoked_stamps))
		requests_revoke(p->worker->requests, view->letter->message.id, false);
	if (remote_wants_events(p->remote))
		tell(p, event_of[event], view);
}
