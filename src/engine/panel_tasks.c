/* panel_tasks.c - what a worker does, and what waits for it.
 *
 * Our own jobs are tasks to whoever looks: a job has the id of its message, and
 * its name is its argument.  What waits in the inbox is known by numbers only,
 * and what its message says of them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/conf.h"
#include "base/json.h"
#include "celery/repr.h"
#include "engine/panel_inner.h"
#include "wire/letter.h"

enum {
	SHOWN_MOST = 1000,		/* tasks in one answer */
	VALUE_MOST = 64 * 1024,		/* bytes of arguments; more are shown as a text */
};

/* Of a task, as `inspect' shows it. */
struct info {
	const char *id, *name, *type;
	struct raw args, kwargs;	/* JSON; or, if it is to be safe, their texts: */
	const char *argsrepr, *kwargsrepr;	/* NULL: made of them */
	instant started_at;		/* INSTANT_NEVER: not yet */
	bool acknowledged, redelivered;
	const char *exchange, *routing_key;
	int priority;			/* -1: none */
};

/* A list that is being written. */
struct listing {
	struct panel *panel;
	struct str *out;
	bool safe;
	const json_t *ids;		/* NULL: all; else {id: [state, info]} of these keys */
	enum request_state state;	/* of requests */
	size_t n;
};

/* --- one --- */

static void
add_text(struct str *s, const char *before, const char *text)
{
	str_puts(s, before);
	json_append_text(s, text, strlen(text));
}

static void
add_value(struct str *s, struct raw v, const char *repr, bool as_tuple, bool safe)
{
	struct str shown = STR_INIT;

	if (!safe && v.len <= VALUE_MOST) {
		str_add(s, v.text, v.len);
		return;
	}
	if (repr)
		str_puts(&shown, repr);
	else
		celery_repr(&shown, v, as_tuple, CELERY_REPR_MAX);
	json_append_text(s, str_text(&shown), shown.len);
	str_done(&shown);
}

static void
add_info(const struct listing *l, const struct info *i)
{
	struct str *s = l->out;
	char real[JSON_REAL_TEXT];

	add_text(s, "{\"id\": ", i->id);
	add_text(s, ", \"name\": ", i->name);
	str_puts(s, ", \"args\": ");
	add_value(s, i->args, i->argsrepr, true, l->safe);
	str_puts(s, ", \"kwargs\": ");
	add_value(s, i->kwargs, i->kwargsrepr, false, l->safe);
	add_text(s, ", \"type\": ", i->type);
	add_text(s, ", \"hostname\": ", l->panel->node);
	str_printf(s, ", \"time_start\": %s, \"acknowledged\": %s",
	    i->started_at == INSTANT_NEVER ? "null" :
	    json_format_real((double)i->started_at / SECOND, real),
	    i->acknowledged ? "true" : "false");
	add_text(s, ", \"delivery_info\": {\"exchange\": ", i->exchange);
	add_text(s, ", \"routing_key\": ", i->routing_key);
	str_puts(s, ", \"priority\": ");
	if (i->priority >= 0)
		str_printf(s, "%d", i->priority);
	else
		str_puts(s, "null");
	str_printf(s, ", \"redelivered\": %s}, \"worker_pid\": ", i->redelivered ? "true" : "false");
	if (i->started_at == INSTANT_NEVER)
		str_puts(s, "null}");
	else
		str_printf(s, "%ld}", (long)getpid());
}

static bool
is_wanted(const struct listing *l, const char *id)
{
	return !l->ids || json_object_get(l->ids, id);
}

static void
list(struct listing *l, const char *state, const struct info *i)
{
	if (l->n >= SHOWN_MOST || !is_wanted(l, i->id))
		return;
	l->n++;
	panel_comma(l->out);
	if (!l->ids) {
		add_info(l, i);
		return;
	}
	add_text(l->out, "", i->id);
	str_printf(l->out, ": [\"%s\", ", state);
	add_info(l, i);
	str_putc(l->out, ']');
}

/* --- our own jobs --- */

char *
panel_job_id(const struct panel *p, struct job_key key, char out[UUID_TEXT])
{
	return celery_job_id(&p->installation, key.run, key.id, out);
}

/* NAME may be NULL. */
static void
list_job(struct listing *l, const char *state, struct job_key key, enum kind kind,
    const char *name, const struct message *from, const char *queue, instant started_at)
{
	struct str args = STR_INIT, kwargs = STR_INIT;
	char id[UUID_TEXT];
	struct info info = { .id = panel_job_id(l->panel, key, id),
		.name = celery_task_name((enum celery_task)kind), .started_at = started_at,
		.acknowledged = !from, .exchange = "", .routing_key = queue, .priority = -1 };

	if (!is_wanted(l, id))
		return;
	info.type = info.name;
	str_putc(&args, '[');
	if (name)
		json_append_text(&args, name, strlen(name));
	str_putc(&args, ']');
	str_printf(&kwargs, "{\"run\": %" PRId64 ", \"job\": %d}", key.run, key.id);
	info.args = (struct raw){ str_text(&args), args.len };
	info.kwargs = (struct raw){ str_text(&kwargs), kwargs.len };
	list(l, state, &info);
	str_done(&args);
	str_done(&kwargs);
}

static void
list_flights(struct listing *l, const char *state, const struct flights *flights)
{
	for (size_t i = 0; i < flights->n; i++) {
		const struct flight *f = flights->at[i];

		list_job(l, state, f->job.key, f->job.kind, f->job.name, f->from,
		    f->from ? f->from->queue : f->queue ? f->queue : "",
		    f->started_at ? f->started_at : INSTANT_NEVER);
	}
}

static void
list_slips(struct listing *l, const struct slip *slips, size_t n)
{
	for (size_t i = 0; i < n; i++)
		list_job(l, "reserved", slips[i].key, slips[i].from->kind, NULL, slips[i].from,
		    slips[i].from->queue, INSTANT_NEVER);
}

/* --- those of clients --- */

static struct info
info_of(const struct request_view *view)
{
	const struct celery_message *m = &view->letter->message;

	return (struct info){ .id = m->id, .name = m->shadow ? m->shadow : m->task,
		.type = m->task, .args = m->args, .kwargs = m->kwargs,
		.argsrepr = m->argsrepr, .kwargsrepr = m->kwargsrepr,
		.started_at = view->started_at, .acknowledged = view->acknowledged,
		.redelivered = view->letter->redelivered, .exchange = view->letter->exchange,
		.routing_key = view->letter->routing_key, .priority = m->priority };
}

static void
list_request(void *arg, const struct request_view *view)
{
	struct listing *l = arg;
	struct info info = info_of(view);

	if (view->state == l->state)
		list(l, view->state == REQUEST_ACTIVE ? "active" : "reserved", &info);
}

static void
list_requests(struct listing *l, enum request_state state)
{
	l->state = state;
	requests_each(l->panel->worker->requests, list_request, l);
}

static void
list_active(struct listing *l)
{
	list_flights(l, "active", &l->panel->worker->running);
	list_requests(l, REQUEST_ACTIVE);
}

static void
list_reserved(struct listing *l)
{
	const struct worker *w = l->panel->worker;

	list_requests(l, REQUEST_RESERVED);
	list_flights(l, "reserved", &w->claimed);
	list_flights(l, "reserved", &w->alone);
	list_slips(l, w->claiming.at, w->claiming.n);
	list_slips(l, w->decisions.at, w->decisions.n);
	list_slips(l, w->variables.at + w->variables_head, w->variables.n - w->variables_head);
}

/* --- commands --- */

bool
panel_active(struct panel *p, const json_t *arguments, struct str *answer)
{
	struct listing l = { .panel = p, .out = answer,
		.safe = celery_control_truth(arguments, "safe") };

	str_putc(answer, '[');
	list_active(&l);
	str_putc(answer, ']');
	return true;
}

bool
panel_reserved(struct panel *p, const json_t *arguments, struct str *answer)
{
	struct listing l = { .panel = p, .out = answer };

	(void)arguments;
	str_putc(answer, '[');
	list_reserved(&l);
	str_putc(answer, ']');
	return true;
}

static void
list_scheduled(void *arg, const struct request_view *view)
{
	struct listing *l = arg;
	struct info info = info_of(view);
	char text[INSTANT_TEXT];

	if (view->state != REQUEST_SCHEDULED || l->n++ >= SHOWN_MOST)
		return;
	panel_comma(l->out);
	str_printf(l->out, "{\"eta\": \"%s+00:00\", \"priority\": 6, \"request\": ",
	    celery_result_time(view->eta, text));
	add_info(l, &info);
	str_putc(l->out, '}');
}

bool
panel_scheduled(struct panel *p, const json_t *arguments, struct str *answer)
{
	struct listing l = { .panel = p, .out = answer };

	(void)arguments;
	str_putc(answer, '[');
	requests_each(p->worker->requests, list_scheduled, &l);
	str_putc(answer, ']');
	return true;
}

bool
panel_query_task(struct panel *p, const json_t *arguments, struct str *answer)
{
	const char **texts = celery_control_texts(arguments, "ids");
	json_t *ids = json_object();
	struct listing l = { .panel = p, .out = answer, .ids = ids };

	for (size_t i = 0; texts[i]; i++)
		json_object_set_new(ids, texts[i], json_true());

	if (!json_object_get(arguments, "ids"))
		panel_missing(answer, "query_task", "ids");
	else {
		str_putc(answer, '{');
		list_active(&l);
		list_reserved(&l);
		str_putc(answer, '}');
	}
	json_decref(ids);
	free(texts);
	return true;
}

/* --- all tasks that are done here --- */

/* Their names, as `registered' shows them. */
struct roll {
	VEC(char *) lines;
	bool builtins, rates;
};

static void
enrol(void *arg, const char *name, bool builtin, const char *rate, int64_t total)
{
	struct roll *roll = arg;

	(void)total;
	if (builtin && !roll->builtins && !strncmp(name, "celery.", 7))
		return;
	vec_push(&roll->lines, rate && roll->rates ? xasprintf("%s [rate_limit=%s]", name, rate) :
	    xstrdup(name));
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* What is asked for of each task; of Celery's three things we have the rate. */
static bool
wants_rates(const json_t *arguments)
{
	const char **items = celery_control_texts(arguments, "taskinfoitems");
	bool wants = !items[0];

	for (size_t i = 0; items[i]; i++)
		wants |= !strcmp(items[i], "rate_limit");
	free(items);
	return wants;
}

bool
panel_registered(struct panel *p, const json_t *arguments, struct str *answer)
{
	struct roll roll = { .builtins = celery_control_truth(arguments, "builtins"),
		.rates = wants_rates(arguments) };

	for (int i = 0; i < TASK_CYCLE; i++)
		enrol(&roll, celery_task_name((enum celery_task)i), false, NULL, 0);
	requests_each_task(p->worker->requests, enrol, &roll);
	qsort(roll.lines.at, roll.lines.n, sizeof *roll.lines.at, by_name);
	str_putc(answer, '[');
	for (size_t i = 0; i < roll.lines.n; i++) {
		panel_comma(answer);
		add_text(answer, "", roll.lines.at[i]);
		free(roll.lines.at[i]);
	}
	str_putc(answer, ']');
	vec_done(&roll.lines);
	return true;
}

static void
add_total(void *arg, const char *name, bool builtin, const char *rate, int64_t total)
{
	struct str *s = arg;

	(void)builtin;
	(void)rate;
	if (!total)
		return;
	panel_comma(s);
	add_text(s, "", name);
	str_printf(s, ": %" PRId64, total);
}

void
panel_add_totals(const struct panel *p, struct str *s)
{
	str_putc(s, '{');
	for (int i = 0; i < TASK_CYCLE; i++)
		add_total(s, celery_task_name((enum celery_task)i), false, NULL, p->total[i]);
	requests_each_task(p->worker->requests, add_total, s);
	str_putc(s, '}');
}

static void
sum_up(void *arg, const char *name, bool builtin, const char *rate, int64_t total)
{
	(void)name;
	(void)builtin;
	(void)rate;
	*(int64_t *)arg += total;
}

static void
count_active(void *arg, const struct request_view *view)
{
	*(int64_t *)arg += view->state == REQUEST_ACTIVE;
}

void
panel_load(void *arg, struct celery_load *load)
{
	const struct panel *p = arg;

	load->active = (int64_t)p->worker->running.n;
	requests_each(p->worker->requests, count_active, &load->active);
	for (int i = 0; i < TASK_CYCLE; i++)
		load->processed += p->total[i];
	requests_each_task(p->worker->requests, sum_up, &load->processed);
}
