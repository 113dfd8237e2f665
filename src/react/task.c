/* task.c - a reaction that is a task of a Celery worker.
 *
 * It is delivered when the broker has confirmed it: what the task comes to is its
 * worker's affair.  Its id is made of the delivery's key, so that one that is sent
 * again is known.  While the broker is away the attempt waits; nothing is charged
 * for that. */
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/uuid.h"
#include "celery/message.h"
#include "react/way.h"
#include "wire/letter.h"
#include "wire/wire.h"

/* The transport tells it once, and cannot be stopped from that. */
struct sending {
	struct attempt *attempt;	/* NULL: nobody asks any more */
	char *queue;
};

static void
confirmed(void *arg, bool ok)
{
	struct sending *sending = arg;

	struct attempt *attempt = sending->attempt;
	const struct err *trouble = attempt && !ok ? attempt->broker->trouble(attempt->broker) :
	    NULL;

	if (trouble)
		react_postpone(attempt, xstrdup(trouble->message));
	else if (attempt)
		react_finish(attempt, ok ? NULL : xasprintf("the broker has not taken the task "
		    "for queue %.200s", sending->queue));
	free(sending->queue);
	free(sending);
}

static void
add(struct str *s, const char *name, const char *text)
{
	str_printf(s, "\"%s\": ", name);
	json_append_text(s, text, strlen(text));
	str_puts(s, ", ");
}

/* The variables that the event was decided by, by their names. */
static void
add_values(struct str *s, const json_t *signal)
{
	json_t *values = json_object(), *evidence, *variable;
	size_t i, j;

	json_array_foreach(json_object_get(json_object_get(signal, "decided_by"), "evidences"),
	    i, evidence)
		json_array_foreach(json_object_get(evidence, "variables"), j, variable)
			json_object_set(values,
			    json_string_value(json_object_get(variable, "name")),
			    json_object_get(variable, "value"));
	json_append(s, values);
	json_decref(values);
}

static char *
make_kwargs(const struct react_task *task)
{
	struct str s = STR_INIT;
	struct err err;
	json_t *signal = json_read(task->payload, strlen(task->payload), &err);

	str_putc(&s, '{');
	add(&s, "event", task->event);
	add(&s, "signal", task->signal);
	str_printf(&s, "\"cycle\": %s, ", task->cycle);		/* a number */
	add(&s, "level", task->level);
	add(&s, "key", task->key);
	str_puts(&s, "\"values\": ");
	add_values(&s, signal);
	str_printf(&s, ", \"details\": %s}", task->payload);
	json_decref(signal);
	return str_take(&s);
}

static int
make_id(const char *key, char id[UUID_TEXT], struct err *err)
{
	struct uuid space, uuid;

	if (uuid_parse(key, &space, err))
		return -1;
	uuid = uuid_v5(&space, "celery", strlen("celery"));
	uuid_format(&uuid, id);
	return 0;
}

static void
task_start(struct attempt *attempt, const struct react_task *task)
{
	const struct reaction *r = task->reaction;
	struct celery_envelope e = { 0 };
	struct post post = { .exchange = "", .routing_key = r->queue, .declare = true,
		.mandatory = true, .envelope = &e };
	struct celery_message m;
	struct sending *sending;
	char id[UUID_TEXT], *kwargs;
	struct err err;

	if (!attempt->broker || make_id(task->key, id, &err)) {
		react_finish(attempt, xstrdup(attempt->broker ? err.message :
		    "there is no broker here that the task could be sent to"));
		return;
	}
	kwargs = make_kwargs(task);
	celery_message_init(&m);
	m.task = r->target;
	m.id = id;
	m.kwargs = (struct raw){ kwargs, strlen(kwargs) };
	celery_encode(&m, 0, &e);
	attempt->own = sending = xcalloc(1, sizeof *sending);
	sending->attempt = attempt;
	sending->queue = xstrdup(r->queue);
	attempt->broker->post(attempt->broker, &post, confirmed, sending);
	celery_envelope_done(&e);
	free(kwargs);
}

static void
task_kill(struct attempt *attempt)
{
	((struct sending *)attempt->own)->attempt = NULL;
}

const struct way react_celery = { task_start, task_kill };
