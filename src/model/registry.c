/* registry.c - the tasks of the settings.
 *
 * They are read as definitions are, with the same keys for the same things, but
 * here the arguments come from the caller: args are their names. */
#include "model/registry.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/mem.h"
#include "base/toml.h"
#include "model/params.h"
#include "model/read.h"

enum { PARAMETERS_MOST = 255, RETRIES_MOST = 1000 };

struct registry {
	struct task *at;
	size_t n;
	json_t *places;			/* by name */
	unsigned holders;
};

static const char *const keys[] = {
	"sql", "shell", "args", "defaults", "soft_time_limit", "time_limit", "rate_limit",
	"acks_late", "track_started", "ignore_result", "reject_on_worker_lost", "max_retries",
	"retry_backoff", "retry_backoff_max", NULL,
};

/* --- rates --- */

int
task_parse_rate(const char *text, double *rate, struct err *err)
{
	static const struct { const char *unit; double seconds; } units[] = {
		{ "", 1 }, { "/s", 1 }, { "/m", 60 }, { "/h", 3600 },
	};
	char *end;
	double n = strtod(text, &end);

	if (end != text && isfinite(n) && n >= 0 && n <= 1e9)
		for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
			if (!strcmp(end, units[i].unit)) {
				*rate = n / units[i].seconds;
				return 0;
			}
	return err_set(err, "'%.80s' is no rate; such are \"10/s\", \"10/m\", \"10/h\"", text);
}

static void
read_rate(struct task *t, struct body *b)
{
	const json_t *v = json_object_get(b->json, "rate_limit");
	char number[32];
	struct err err;

	if (!v)
		return;
	if (json_is_number(v)) {
		snprintf(number, sizeof number, "%.15g/s", json_number_value(v));
		t->rate_limit = xstrdup(number);
	} else
		t->rate_limit = xstrdup(body_text(b, "rate_limit"));
	if (t->rate_limit && task_parse_rate(t->rate_limit, &t->rate, &err))
		body_take_fault(b, "rate_limit", &err);
}

/* --- parameters --- */

static bool
has_parameter(const struct task *t, const char *name)
{
	for (size_t i = 0; i < t->n; i++)
		if (!strcmp(t->parameters[i], name))
			return true;
	return false;
}

bool
task_may_miss(const struct task *t, size_t i)
{
	return json_object_get(t->how.args, t->parameters[i]) != NULL;
}

static void
read_parameter(struct task *t, struct body *b, size_t i, const char *name)
{
	const char *fault = variable_arg_fault(name);
	char part[24];

	snprintf(part, sizeof part, "%zu", i);
	if (fault)
		body_fault(b, "args", part, "'%.80s' %s", name, fault);
	else if (has_parameter(t, name))
		body_fault(b, "args", part, "'%s' is there twice", name);
	else
		t->parameters[t->n++] = xstrdup(name);
}

static void
read_parameters(struct task *t, struct body *b)
{
	const json_t *names = body_texts(b, "args"), *defaults = body_table(b, "defaults"), *name;
	const char *key;
	json_t *value;
	size_t i;

	t->parameters = xcalloc(json_array_size(names) + 1, sizeof *t->parameters);
	if (json_array_size(names) > PARAMETERS_MOST)
		body_fault(b, "args", NULL, "more than %d arguments", PARAMETERS_MOST);
	json_array_foreach(names, i, name)
		read_parameter(t, b, i, json_string_value(name));
	t->how.args = defaults ? json_deep_copy(defaults) : json_object();
	json_object_foreach(t->how.args, key, value)
		if (!has_parameter(t, key))
			body_key_fault(b, "defaults", key, "'%.80s' is none of args", key);
	for (i = 1; i < t->n; i++)
		if (task_may_miss(t, i - 1) && !task_may_miss(t, i))
			body_fault(b, "args", NULL, "'%s', which has a default, stands before '%s', "
			    "which has none", t->parameters[i - 1], t->parameters[i]);
}

static void
check_sql(const struct task *t, struct body *b)
{
	const char *const *names;
	struct params *params;
	struct err err;
	int line, column;
	size_t n;

	if (!(params = params_parse(t->how.source, &err))) {
		body_take_fault(b, "sql", &err);
		return;
	}
	names = params_names(params, &n);
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(names[i], "now") || has_parameter(t, names[i]))
			continue;
		params_place(params, i, &line, &column);
		err_at(&err, line, column, "args does not name '%s'", names[i]);
		body_take_fault(b, "sql", &err);
	}
	params_free(params);
}

/* --- one task --- */

static bool
read_bool(struct body *b, const char *key, bool standard)
{
	const json_t *v = json_object_get(b->json, key);

	if (!v)
		return standard;
	if (!json_is_boolean(v))
		body_fault(b, key, NULL, "this is %s; true or false is wanted", body_kind(v));
	return json_is_true(v);
}

static void
read_source(struct task *t, struct body *b)
{
	const char *sql = body_text(b, "sql"), *shell = body_text(b, "shell");

	if (json_object_get(b->json, "sql") && json_object_get(b->json, "shell"))
		body_key_fault(b, "shell", NULL, "there is 'sql' too; a task has one of them");
	else if (!json_object_get(b->json, "sql") && !json_object_get(b->json, "shell"))
		body_fault(b, NULL, NULL, "what computes it is missing: 'sql' or 'shell'");
	t->how.executor = shell ? EXEC_SHELL : EXEC_SQL;
	t->how.source = xstrdup(sql ? sql : shell);
}

static void
task_read(struct task *t, const struct task_defaults *standard, struct body *b)
{
	body_check_keys(b, keys);
	t->how.max_age = -1;
	read_source(t, b);
	read_parameters(t, b);
	if (t->how.source && t->how.executor == EXEC_SQL)
		check_sql(t, b);
	variable_read_limits(&t->how, b);
	read_rate(t, b);
	t->acks_late = read_bool(b, "acks_late", standard->acks_late);
	t->track_started = read_bool(b, "track_started", standard->track_started);
	t->ignore_result = read_bool(b, "ignore_result", false);
	t->reject_on_worker_lost = read_bool(b, "reject_on_worker_lost", false);
	body_number(b, "max_retries", 0, RETRIES_MOST, &t->max_retries);
	t->retry_backoff = SECOND;
	t->retry_backoff_most = 10 * MINUTE;
	body_span(b, "retry_backoff", &t->retry_backoff);
	body_span(b, "retry_backoff_max", &t->retry_backoff_most);
}

static void
task_done(struct task *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->parameters[i]);
	free(t->parameters);
	free(t->rate_limit);
	free(t->name);
	variable_done(&t->how);
}

static int
check_name(const char *name, struct err *err)
{
	if (!*name || strlen(name) > TASK_LONGEST_NAME)
		return err_set(err, "the name of a task has 1 to %d bytes", TASK_LONGEST_NAME);
	if (!strncmp(name, "tocsin.", 7) || !strncmp(name, "celery.", 7))
		return err_set(err, "names that begin with 'tocsin.' or 'celery.' are taken");
	for (const char *s = name; *s; s++)
		if ((unsigned char)*s <= ' ' || *s == 0x7f)
			return err_set(err, "the name of a task has no spaces and no control characters");
	return 0;
}

/* "tocsin.toml:7:3: tasks.shop.total: sql: ..." */
static int
tell(const struct toml *toml, const char *file, const char *name, const struct fault *f,
    struct err *err)
{
	const char *path[] = { "tasks", name, f ? f->key : NULL, f ? f->part : NULL };
	size_t depth = 2 + (path[2] != NULL) + (path[2] && path[3]);
	int line = err->line, column = err->column;

	if (toml && f && f->in_key)
		toml_key_place(toml, path, depth, &line, &column);
	else if (toml)
		toml_place_inside(toml, path, depth, &line, &column);
	err_wrap(err, "tasks.%.100s", name);
	if (toml && line > 0)
		err_wrap(err, "%.200s:%d:%d", file, line, column);
	err->class = ERR_CONFIG;
	err->line = err->column = 0;
	return -1;
}

static int
add_task(struct registry *r, const char *name, const json_t *json,
    const struct task_defaults *standard, const struct toml *toml, const char *file,
    struct err *err)
{
	struct task *t = &r->at[r->n];
	struct body b = { .json = json };
	const char *dot = strrchr(name, '.');

	if (check_name(name, err))
		return tell(toml, file, name, NULL, err);
	if (!json_is_object(json)) {
		err_set(err, "this is %s; a table is wanted", body_kind(json));
		return tell(toml, file, name, NULL, err);
	}
	r->n++;
	t->name = xstrdup(name);
	t->function = dot && dot[1] ? t->name + (dot + 1 - name) : t->name;
	task_read(t, standard, &b);
	if (b.faults.n) {
		struct fault first = { xstrdup(b.faults.at[0].key), xstrdup(b.faults.at[0].part),
			b.faults.at[0].in_key, b.faults.at[0].err };

		*err = first.err;
		if (first.key) {
			int line = err->line, column = err->column;

			err_wrap(err, "%s", first.key);
			err->line = line;
			err->column = column;
		}
		tell(toml, file, name, &first, err);
		free(first.key);
		free(first.part);
		body_done(&b, &(struct err){ 0 });
		return -1;
	}
	body_done(&b, err);
	json_object_set_new(r->places, name, json_integer((json_int_t)(r->n - 1)));
	return 0;
}

/* --- all of them --- */

struct registry *
registry_new(const json_t *table, const struct task_defaults *standard, const struct toml *toml,
    const char *file, struct err *err)
{
	struct registry *r = xcalloc(1, sizeof *r);
	const char *name;
	json_t *json;

	r->holders = 1;
	r->places = json_object();
	r->at = xcalloc(json_object_size(table) + 1, sizeof *r->at);
	if (table && !json_is_object(table)) {
		err_class(err, ERR_CONFIG, "tasks: this is %s; a table is wanted", body_kind(table));
		goto fail;
	}
	if (json_object_size(table) > REGISTRY_MOST) {
		err_class(err, ERR_CONFIG, "tasks: more than %d", REGISTRY_MOST);
		goto fail;
	}
	json_object_foreach((json_t *)(uintptr_t)table, name, json)
		if (add_task(r, name, json, standard, toml, file, err))
			goto fail;
	return r;
fail:
	registry_release(r);
	return NULL;
}

struct registry *
registry_hold(struct registry *r)
{
	r->holders++;
	return r;
}

void
registry_release(struct registry *r)
{
	if (!r || --r->holders)
		return;
	for (size_t i = 0; i < r->n; i++)
		task_done(&r->at[i]);
	json_decref(r->places);
	free(r->at);
	free(r);
}

const struct task *
registry_find(const struct registry *r, const char *name)
{
	const json_t *place = json_object_get(r->places, name);

	return place ? &r->at[json_integer_value(place)] : NULL;
}

size_t
registry_count(const struct registry *r)
{
	return r->n;
}

const struct task *
registry_get(const struct registry *r, size_t i)
{
	return &r->at[i];
}
