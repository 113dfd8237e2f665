/* request_builtin.c - tasks that every worker of Celery has, and one of ours.
 *
 *	celery.map, celery.starmap	a task over each element of an array
 *	celery.accumulate		its own arguments
 *	celery.chord_unlock		is a chord complete?  For backends that do not count
 *	celery.backend_cleanup		results that are too old: the backend's own affair
 *	celery.chain, group, chord	sent so by very old clients
 *	tocsin.cycle			see request_cycle.c
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "celery/bind.h"
#include "celery/signature.h"
#include "engine/request_inner.h"
#include "exec/exec.h"

struct builtin {
	const char *name;
	void (*begin)(struct request *);
	bool uses_hand;			/* it measures, as a task does */
	bool silent;			/* its result is nobody's */
};

/* --- celery.map --- */

#define MAP_BYTES ((size_t)64 * 1024 * 1024)	/* of all its results */

struct mapping {
	const struct task *task;
	struct raw_walk walk;
	bool star;
	struct str results;
	size_t n;
};

static void map_next(struct request *);

static void
mapping_free(struct request *r)
{
	struct mapping *m = r->own;

	str_done(&m->results);
	free(m);
	r->own = NULL;
}

static void
mapped(void *arg, const struct exec_outcome *o)
{
	struct request *r = arg;
	struct mapping *m = r->own;

	r->exec = NULL;
	json_decref(r->how.args);
	r->how.args = NULL;
	if (o->reason != REASON_OK) {
		mapping_free(r);
		request_fail_run(r, o);
		return;
	}
	str_puts(&m->results, m->n++ ? ", " : "[");
	str_puts(&m->results, o->value);
	if (m->results.len <= MAP_BYTES) {
		map_next(r);
		return;
	}
	mapping_free(r);
	request_fail(r, "ValueError", "builtins", "the results are larger than %zu bytes",
	    MAP_BYTES);
}

static void
map_next(struct request *r)
{
	struct mapping *m = r->own;
	struct raw key, item;
	struct str args = STR_INIT, error = STR_INIT;

	if (!raw_next(&m->walk, &key, &item)) {
		char *value;

		str_puts(&m->results, m->n ? "]" : "[]");
		value = str_take(&m->results);
		mapping_free(r);
		request_succeed(r, value);
		return;
	}
	if (m->star && raw_kind(item) == '[')
		str_add(&args, item.text, item.len);
	else {
		str_putc(&args, '[');
		str_add(&args, item.text, item.len);
		str_putc(&args, ']');
	}
	if (request_bind(r, m->task, (struct raw){ str_text(&args), args.len },
	    (struct raw){ "{}", 2 }, &error)) {
		mapping_free(r);
		request_fail(r, "TypeError", "builtins", "%s", str_text(&error));
	} else
		request_run(r, m->task, mapped, r);
	str_done(&args);
	str_done(&error);
}

/* Given by place or by name, as any task's. */
static int
bind(struct request *r, const char *function, const char *const *names, size_t n,
    struct raw *values)
{
	const struct celery_message *m = request_message(r);
	struct bind_parameters p = { .function = function, .names = names, .n = n };
	struct str error = STR_INIT;
	int rc = bind_arguments(&p, m->args, m->kwargs, values, &error);

	if (rc)
		request_fail(r, "TypeError", "builtins", "%s", str_text(&error));
	str_done(&error);
	return rc;
}

static void
map(struct request *r, bool star)
{
	static const char *const names[] = { "task", "it" };
	struct raw values[2], name;
	struct str text = STR_INIT;
	struct mapping *m;
	const struct task *task = NULL;

	if (bind(r, star ? "xstarmap" : "xmap", names, 2, values))
		return;
	name = raw_kind(values[0]) == '{' ? raw_get(values[0], "task") : values[0];
	if (raw_kind(name) == '"' && raw_string(name, &text))
		task = registry_find(r->of->registry, str_text(&text));
	if (raw_kind(values[1]) != '[')
		request_fail(r, "TypeError", "builtins", "'it' is no array");
	else if (!task)
		request_fail_with(r, "NotRegistered", "celery.exceptions",
		    request_argument(str_text(&text)));
	else {
		r->registry = registry_hold(r->of->registry);
		r->own = m = xcalloc(1, sizeof *m);
		m->task = task;
		m->star = star;
		m->walk = raw_walk(values[1]);
		map_next(r);
	}
	str_done(&text);
}

static void
begin_map(struct request *r)
{
	map(r, false);
}

static void
begin_starmap(struct request *r)
{
	map(r, true);
}

/* --- small ones --- */

static void
begin_accumulate(struct request *r)
{
	const struct celery_message *m = request_message(r);
	struct raw index = raw_get(m->kwargs, "index"), key, item;
	struct raw_walk walk = raw_walk(m->args);
	int64_t at, n = (int64_t)raw_count(m->args);

	if (!index.text || raw_kind(index) == 'n') {
		request_succeed(r, xstrndup(m->args.text, m->args.len));
		return;
	}
	if (raw_integer(index, &at) || at >= n || at < -n) {
		request_fail(r, "IndexError", "builtins", "tuple index out of range");
		return;
	}
	for (at = at < 0 ? at + n : at; raw_next(&walk, &key, &item) && at; at--)
		;
	request_succeed(r, xstrndup(item.text, item.len));
}

static void
cleaned(void *arg, bool ok)
{
	struct request *r = arg;

	r->waiting = false;
	if (r->of->leaving)
		return;
	if (ok)
		request_succeed(r, xstrdup("null"));
	else
		request_fail(r, "RuntimeError", "builtins",
		    "the result backend cannot be cleaned up");
}

static void
begin_cleanup(struct request *r)
{
	r->waiting = true;
	backend_clean(r->of->backend, cleaned, r);
}

/* --- flows that were sent as tasks --- */

static void
begin_flow(struct request *r)
{
	const struct celery_message *m = request_message(r);
	struct flow *flow = flow_new(r);
	struct str s = STR_INIT;
	const char *kind = strchr(m->task, '.') + 1;
	struct err err;

	str_printf(&s, "{\"task\": \"%s\", \"args\": ", m->task);
	str_add(&s, m->args.text, m->args.len);
	str_puts(&s, ", \"kwargs\": ");
	str_add(&s, m->kwargs.text, m->kwargs.len);
	str_printf(&s, ", \"options\": {}, \"subtask_type\": \"%s\", \"immutable\": false}", kind);
	if (!canvas_apply(&flow->canvas, (struct raw){ arena_strndup(&flow->canvas.memory,
	    str_text(&s), s.len), s.len }, (struct raw){ 0 }, &err))
		request_end_with(r, flow);
	else {
		flow_free(flow);
		request_fail(r, "ValueError", "builtins", "%s", err.message);
	}
	str_done(&s);
}

/* --- celery.chord_unlock --- */

struct unlocking {
	struct canvas_unlock unlock;
};

static void
unlocking_free(struct request *r)
{
	struct unlocking *u = r->own;

	canvas_unlock_done(&u->unlock);
	free(u);
	r->own = NULL;
}

/* What is planned from it outlives the answer. */
static struct raw
keep(struct flow *flow, struct raw v)
{
	return (struct raw){ v.text ? arena_strndup(&flow->canvas.memory, v.text, v.len) : NULL,
		v.len };
}

static void
fill_state(struct flow *flow, struct canvas_state *s, const struct celery_result *result)
{
	if (!strcmp(result->state, celery_state_name(STATE_SUCCESS))) {
		s->state = CANVAS_SUCCEEDED;
		s->value = keep(flow, result->value);
	} else if (celery_state_is_ready(result->state)) {
		s->state = CANVAS_FAILED;
		s->value = keep(flow, result->exception.message);
		s->type = arena_strndup(&flow->canvas.memory, result->exception.type,
		    strlen(result->exception.type));
	} else
		s->state = CANVAS_WAITS;
}

static void
plan_unlock(struct request *r, const struct celery_result *results, size_t n)
{
	struct flow *flow = flow_new(r);
	struct unlocking *u = r->own;
	struct canvas_state *states = arena_alloc(&flow->canvas.memory,
	    (n + 1) * sizeof *states);
	struct err err;
	int rc;

	memset(states, 0, (n + 1) * sizeof *states);
	for (size_t i = 0; i < n; i++)
		fill_state(flow, &states[i], &results[i]);
	rc = canvas_unlock(&flow->canvas, request_message(r), &u->unlock, states, r->queue, &err);
	if (!rc) {
		request_end_with(r, flow);
		return;
	}
	flow_free(flow);
	if (rc > 0)
		request_fail(r, "MaxRetriesExceededError", "celery.exceptions",
		    "Can't retry celery.chord_unlock[%s]", request_message(r)->id);
	else
		request_fail(r, "ValueError", "builtins", "%s", err.message);
}

static void
fetched(void *arg, const struct celery_result *results, size_t n)
{
	struct request *r = arg;

	r->waiting = false;
	if (r->of->leaving)
		return;
	if (results)
		plan_unlock(r, results, n);
	else
		request_fail(r, "NotImplementedError", "builtins",
		    "the result backend cannot be asked for results");
}

static void
begin_unlock(struct request *r)
{
	struct unlocking *u = xcalloc(1, sizeof *u);
	struct err err;

	if (canvas_unlock_read(&u->unlock, request_message(r), &err)) {
		free(u);
		request_fail(r, "ValueError", "builtins", "%s", err.message);
		return;
	}
	r->own = u;
	r->waiting = true;
	backend_fetch(r->of->backend, u->unlock.ids.at.at, u->unlock.ids.at.n, fetched, r);
}

/* --- all of them --- */

static const struct builtin builtins[] = {
	{ "celery.accumulate", begin_accumulate, false, false },
	{ "celery.backend_cleanup", begin_cleanup, false, false },
	{ "celery.chain", begin_flow, false, false },
	{ "celery.chord", begin_flow, false, false },
	{ "celery.chord_unlock", begin_unlock, false, true },
	{ "celery.group", begin_flow, false, false },
	{ "celery.map", begin_map, true, false },
	{ "celery.starmap", begin_starmap, true, false },
	{ "tocsin.cycle", cycle_begin, false, false },
};
enum { BUILTINS = sizeof builtins / sizeof builtins[0] };

const struct builtin *
builtin_find(const char *name)
{
	for (size_t i = 0; i < BUILTINS; i++)
		if (!strcmp(builtins[i].name, name))
			return &builtins[i];
	return NULL;
}

const struct builtin *
builtin_get(size_t i)
{
	return i < BUILTINS ? &builtins[i] : NULL;
}

const char *
builtin_name(const struct builtin *b)
{
	return b->name;
}

bool
builtin_uses_hand(const struct builtin *b)
{
	return b->uses_hand;
}

bool
builtin_is_silent(const struct builtin *b)
{
	return b->silent;
}

void
builtin_begin(struct request *r)
{
	r->builtin->begin(r);
}

void
builtin_kill(struct request *r)
{
	if (!r->own)
		return;
	if (r->builtin->begin == begin_unlock)
		unlocking_free(r);
	else
		mapping_free(r);
}
