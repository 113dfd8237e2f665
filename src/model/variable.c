/* variable.c - a measurement: what computes it, with what arguments, how long
 * it may take, and how old its value may get. */
#include <string.h>
#include "base/mem.h"
#include "base/str.h"
#include "model/params.h"
#include "model/read.h"

#define MOST_ARGS 1000

static const char *const keys[] = {
	"sql", "shell", "celery", "args", "queue", "soft_time_limit", "time_limit", "max_age", NULL,
};

/* Exactly one of the executors' keys, which are their names. */
static void
read_source(struct variable *v, struct body *b)
{
	const char *first = NULL, *text;

	for (int i = 0; i < EXECUTOR_COUNT; i++) {
		const char *key = executor_text((enum executor)i);

		if (!json_object_get(b->json, key))
			continue;
		if (first) {
			body_key_fault(b, key, NULL, "there is '%s' too; a variable has one of them",
			    first);
			return;
		}
		first = key;
		v->executor = (enum executor)i;
		if ((text = body_text(b, key)))
			v->source = xstrdup(text);
	}
	if (!first)
		body_fault(b, NULL, NULL, "what computes it is missing: 'sql', 'shell' "
		    "or 'celery'");
}

/* In SQL it is :name, in a command's environment TOCSIN_ARG_NAME, in Python a
 * keyword. */
const char *
variable_arg_fault(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
	size_t n = strlen(name);

	if (n == 0 || n > PARAMS_MAX_NAME || !strchr(letters, *name) ||
	    name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789")])
		return "is not a name of an argument: at most 63 ASCII letters, digits and '_', "
		    "not beginning with a digit";
	return strcmp(name, "now") ? NULL : "is the time of the cycle";
}

static void
check_arg_name(struct body *b, const char *name)
{
	const char *fault = variable_arg_fault(name);

	if (fault)
		body_key_fault(b, "args", name, "'%.80s' %s", name, fault);
}

static void
read_args(struct variable *v, struct body *b)
{
	const json_t *args = body_table(b, "args");
	const char *name;
	json_t *value;

	v->args = args ? json_deep_copy(args) : json_object();
	if (json_object_size(v->args) > MOST_ARGS)
		body_fault(b, "args", NULL, "more than %d arguments", MOST_ARGS);
	json_object_foreach(v->args, name, value)
		check_arg_name(b, name);
}

static void
missing_arg(struct variable *v, struct body *b, const struct params *p, size_t i,
    const char *name)
{
	VEC(const char *) given = { 0 };
	const char *key, *near;
	struct err err;
	json_t *value;
	int line, column;

	json_object_foreach(v->args, key, value)
		vec_push(&given, key);
	near = str_nearest(name, given.at, given.n);
	params_place(p, i, &line, &column);
	err_at(&err, line, column, near ? "there is no argument for :%s; did you mean ':%s'?" :
	    "there is no argument for :%s; give it by args = { %s = ... }",
	    name, near ? near : name);
	body_take_fault(b, "sql", &err);
	vec_done(&given);
}

/* Each :name has its argument, and each argument its :name. */
static void
check_params(struct variable *v, struct body *b)
{
	const char *const *names, *arg;
	struct params *p;
	struct err err;
	json_t *value;
	size_t n;

	if (!(p = params_parse(v->source, &err))) {
		body_take_fault(b, "sql", &err);
		return;
	}
	names = params_names(p, &n);
	for (size_t i = 0; i < n; i++)
		if (strcmp(names[i], "now") && !json_object_get(v->args, names[i]))
			missing_arg(v, b, p, i, names[i]);
	json_object_foreach(v->args, arg, value) {
		size_t i = 0;

		while (i < n && strcmp(names[i], arg))
			i++;
		if (i == n && strcmp(arg, "now"))
			body_key_fault(b, "args", arg, "the SQL text has no :%s", arg);
	}
	params_free(p);
}

/* The jobs of a Celery task travel by the default queue: its own is where the
 * task waits for somebody else's worker. */
static void
read_queue(struct variable *v, struct body *b)
{
	char *queue = body_queue(b, "queue");

	if (!v->source || v->executor != EXEC_CELERY)
		v->queue = queue;
	else
		v->task_queue = queue ? queue : xstrdup(CELERY_QUEUE);
}

void
variable_read_limits(struct variable *v, struct body *b)
{
	bool soft = body_limit(b, "soft_time_limit", &v->soft),
	    hard = body_limit(b, "time_limit", &v->hard);

	if (!hard)
		v->hard = soft && v->soft > MINUTE ? v->soft + v->soft / 2 : HARD_LIMIT;
	if (!hard && v->hard > 7 * DAY)
		v->hard = 7 * DAY;
	if (!soft)
		v->soft = v->hard < MINUTE ? v->hard : MINUTE;
	if (v->soft > v->hard)
		body_fault(b, "soft_time_limit", NULL, "this is longer than the time limit");
}

void
variable_read(struct variable *v, struct body *b)
{
	*v = (struct variable){ .max_age = -1 };
	body_check_keys(b, keys);
	read_source(v, b);
	read_args(v, b);
	if (v->source && v->executor == EXEC_SQL)
		check_params(v, b);
	if (v->source && v->executor == EXEC_CELERY)
		body_check_task(b, "celery", v->source);
	read_queue(v, b);
	variable_read_limits(v, b);
	body_span(b, "max_age", &v->max_age);
}

int
variable_init(struct variable *v, const json_t *json, struct err *err)
{
	struct body b = { .json = json };
	int rc;

	variable_read(v, &b);
	if ((rc = body_done(&b, err)))
		variable_done(v);
	return rc;
}

void
variable_done(struct variable *v)
{
	free(v->source);
	json_decref(v->args);
	free(v->queue);
	free(v->task_queue);
	*v = (struct variable){ 0 };
}
