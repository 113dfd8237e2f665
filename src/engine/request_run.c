/* request_run.c - a task is computed: its arguments, its limits, its executor,
 * and what that has come to, as a client of Celery knows it. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/conf.h"
#include "base/json.h"
#include "base/str.h"
#include "engine/request_inner.h"
#include "engine/worker.h"
#include "celery/bind.h"
#include "exec/exec.h"
#include "io/child.h"

/* --- what it comes to --- */

static bool
take_off(struct request *r)
{
	struct requests *all = r->of;

	for (size_t i = 0; i < all->active.n; i++)
		if (all->active.at[i] == r) {
			all->active.at[i] = all->active.at[--all->active.n];
			return true;
		}
	return false;
}

static void
over(struct request *r, enum celery_state outcome)
{
	if (take_off(r))
		r->runtime = (double)(clock_monotonic() - r->started) / SECOND;
	r->outcome = outcome;
	request_end(r);
}

void
request_succeed(struct request *r, char *value)
{
	r->value = value;
	over(r, STATE_SUCCESS);
}

void
request_fail_with(struct request *r, const char *type, const char *module, char *message)
{
	r->type = xstrdup(type);
	r->module = xstrdup(module);
	r->message = message;
	over(r, STATE_FAILURE);
}

char *
request_argument(const char *text)
{
	struct str s = STR_INIT;

	str_putc(&s, '[');
	json_append_text(&s, text, strlen(text));
	str_putc(&s, ']');
	return str_take(&s);
}

void
request_fail(struct request *r, const char *type, const char *module, const char *format, ...)
{
	struct str s = STR_INIT;
	va_list ap;

	va_start(ap, format);
	str_vprintf(&s, format, ap);
	va_end(ap);
	request_fail_with(r, type, module, request_argument(str_text(&s)));
	str_done(&s);
}

/* --- arguments --- */

static bool
may_miss(const void *task, size_t i)
{
	return task_may_miss(task, i);
}

/* A number that C has not (NaN, 2**70) is its text: SQL reads it all the same. */
static json_t *
json_of(struct raw value)
{
	json_t *v = json_loadb(value.text, value.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

	return v ? v : json_stringn(value.text, value.len);
}

static void
put_input(struct request *r, const struct task *t, const struct raw *values)
{
	struct str s = STR_INIT;

	for (size_t i = 0; i < t->n; i++) {
		str_printf(&s, "%s\"%s\": ", i ? ", " : "{", t->parameters[i]);
		if (values[i].text)
			str_add(&s, values[i].text, values[i].len);
		else
			json_append(&s, json_object_get(t->how.args, t->parameters[i]));
	}
	str_puts(&s, t->n ? "}" : "{}");
	free(r->input);
	r->input = str_take(&s);
}

int
request_bind(struct request *r, const struct task *t, struct raw args, struct raw kwargs,
    struct str *error)
{
	const struct bind_parameters parameters = { .function = t->function,
		.names = (const char *const *)t->parameters, .n = t->n, .may_miss = may_miss,
		.arg = t };
	struct raw values[BIND_PARAMETERS_MAX + 1];

	if (bind_arguments(&parameters, args, kwargs, values, error))
		return -1;
	r->how = t->how;
	r->how.args = json_object();
	for (size_t i = 0; i < t->n; i++)
		json_object_set_new(r->how.args, t->parameters[i], values[i].text ?
		    json_of(values[i]) :
		    json_incref(json_object_get(t->how.args, t->parameters[i])));
	put_input(r, t, values);
	return 0;
}

/* --- limits --- */

static span
span_of(double seconds)
{
	return seconds < 7.0 * 86400 ? (span)llround(seconds * SECOND) : 7 * DAY;
}

/* What the message says counts most, then what was told by remote control. */
void
request_limits(struct request *r)
{
	const struct celery_message *m = request_message(r);
	double soft = m->soft_time_limit > 0 ? m->soft_time_limit : r->use->soft,
	    hard = m->time_limit > 0 ? m->time_limit : r->use->hard;

	r->how.soft = r->task ? r->task->how.soft : 7 * DAY;
	r->how.hard = r->task ? r->task->how.hard : 7 * DAY;
	if (hard > 0)
		r->how.hard = span_of(hard);
	if (soft > 0)
		r->how.soft = span_of(soft);
	if (r->how.hard < r->how.soft && !(hard > 0))
		r->how.hard = r->how.soft + r->how.soft / 2;
	/* With one limit alone it is the hard one that strikes, and never by a hair
	 * the other. */
	if (r->how.soft >= r->how.hard)
		r->how.soft = r->how.hard + SECOND;
}

/* --- running --- */

static void
end_run(struct request *r)
{
	json_decref(r->how.args);
	r->how.args = NULL;
	free(r->input);
	r->input = NULL;
}

/* A command that was killed is what Celery calls a lost worker. */
static void
lost(struct request *r, const char *error)
{
	int signum = 0;
	const char *name;

	sscanf(error, "signal %d", &signum);
	name = signum > 0 ? sigabbrev_np(signum) : NULL;
	if (r->task && r->task->reject_on_worker_lost && r->from) {
		struct transport *t = r->of->worker->set.transport;

		take_off(r);
		request_tell(r, REQUEST_REJECTED);
		t->give_back(t, r->from);
		r->from = NULL;
		request_free(r);
		return;
	}
	request_fail(r, "WorkerLostError", "billiard.exceptions",
	    "Worker exited prematurely: signal %d (SIG%s)", signum, name ? name : "?");
}

static void
out_of_time(struct request *r, const char *error)
{
	if (strncmp(error, "hard", 4))
		request_fail_with(r, "SoftTimeLimitExceeded", "billiard.exceptions",
		    xstrdup("[]"));
	else
		request_fail_with(r, "TimeLimitExceeded", "billiard.exceptions",
		    xasprintf("[%.15g]", (double)r->how.hard / SECOND));
}

static bool
may_retry(const struct request *r, enum reason reason)
{
	return r->task && (reason == REASON_ERROR || reason == REASON_EXIT) &&
	    request_message(r)->retries < r->task->max_retries;
}

static void
retry(struct request *r, const char *error)
{
	int64_t n = request_message(r)->retries;
	span wait = r->task->retry_backoff, most = r->task->retry_backoff_most;

	for (; n > 0 && wait < most; n--)
		wait *= 2;
	r->retry_at = clock_now() + (wait < most ? wait : most);
	r->type = xstrdup("RuntimeError");
	r->module = xstrdup("builtins");
	r->message = request_argument(error);
	over(r, STATE_RETRY);
}

void
request_end_terminated(struct request *r)
{
	take_off(r);
	request_end_revoked(r, "terminated");
}

void
request_fail_run(struct request *r, const struct exec_outcome *o)
{
	if (r->terminated)
		request_end_terminated(r);
	else if (o->reason == REASON_SIGNAL)
		lost(r, o->error);
	else if (o->reason == REASON_TIMEOUT)
		out_of_time(r, o->error);
	else if (may_retry(r, o->reason))
		retry(r, o->error);
	else
		request_fail(r, "RuntimeError", "builtins", "%s", o->error);
}

static void
finished(void *arg, const struct exec_outcome *o)
{
	struct request *r = arg;

	r->exec = NULL;
	end_run(r);
	if (o->reason == REASON_OK)
		request_succeed(r, xstrdup(o->value));
	else
		request_fail_run(r, o);
}

void
request_run(struct request *r, const struct task *t, void (*done)(void *,
    const struct exec_outcome *), void *arg)
{
	struct exec_task task = { .name = t->name, .variable = &r->how, .now = clock_now(),
		.key = request_message(r)->id, .input = r->input };
	span soft = r->how.soft, hard = r->how.hard;

	request_limits(r);
	if (!r->task) {
		r->how.soft = soft;
		r->how.hard = hard;
	}
	r->exec = exec_start(r->of->worker->hands, &task, done, arg);
}

void
request_begin(struct request *r)
{
	struct str error = STR_INIT;

	if (r->builtin)
		builtin_begin(r);
	else if (request_bind(r, r->task, request_message(r)->args, request_message(r)->kwargs,
	    &error))
		request_fail(r, "TypeError", "builtins", "%s", str_text(&error));
	else
		request_run(r, r->task, finished, r);
	str_done(&error);
}

void
request_kill(struct request *r)
{
	if (r->exec)
		exec_kill(r->exec);
	if (r->child)
		child_kill(r->child);
	r->exec = NULL;
	r->child = NULL;
	cycle_over(r);
	end_run(r);
	builtin_kill(r);
}
