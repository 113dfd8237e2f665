/* reaction.c - what is done about the signals of events. */
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "model/read.h"

#define MOST_EVENTS 10000
#define LONGEST_NOTIFY 63	/* PostgreSQL's names */

static const char *const keys[] = {
	"events", "on", "level", "command", "notify", "celery", "queue", "time_limit", NULL,
};

static void
read_events(struct reaction *r, struct body *b)
{
	const json_t *names = body_texts(b, "events"), *seen;
	json_t *once = json_object();
	char part[24];

	if (!json_object_get(b->json, "events"))
		body_fault(b, NULL, NULL, "its 'events' are missing");
	else if (names && json_array_size(names) == 0)
		body_fault(b, "events", NULL, "this array is empty");
	else if (names && json_array_size(names) > MOST_EVENTS)
		body_fault(b, "events", NULL, "more than %d events", MOST_EVENTS);
	r->events = xcalloc(json_array_size(names) + 1, sizeof *r->events);
	for (size_t i = 0; i < json_array_size(names); i++) {
		const char *name = json_string_value(json_array_get(names, i));

		seen = json_object_get(once, name);
		snprintf(part, sizeof part, "%zu", i);
		if (seen)
			body_fault(b, "events", part, "'%.80s' is there twice", name);
		json_object_set_new(once, name, json_true());
		r->events[i] = xstrdup(name);
	}
	json_decref(once);
}

static void
read_on(struct reaction *r, struct body *b)
{
	const json_t *signals = body_texts(b, "on");
	char part[24];

	if (!json_object_get(b->json, "on"))
		r->on[RAISE] = r->on[STOP_RAISING] = true;
	else if (signals && json_array_size(signals) == 0)
		body_fault(b, "on", NULL, "this array is empty");
	for (size_t i = 0; i < json_array_size(signals); i++) {
		const char *name = json_string_value(json_array_get(signals, i));
		int signal = signal_find(name);

		if (signal < 0 || signal == DO_NOTHING) {
			snprintf(part, sizeof part, "%zu", i);
			body_fault(b, "on", part, "'%.80s' is no signal; there are: %s, %s, %s",
			    name, signal_text(RAISE), signal_text(CONTINUE_RAISING),
			    signal_text(STOP_RAISING));
		} else
			r->on[signal] = true;
	}
}

/* Exactly one of the channels' keys, which are their names. */
static void
read_channel(struct reaction *r, struct body *b)
{
	const char *first = NULL, *text;

	for (int i = 0; i < CHANNEL_COUNT; i++) {
		const char *key = channel_text((enum channel)i);

		if (!json_object_get(b->json, key))
			continue;
		if (first) {
			body_key_fault(b, key, NULL, "there is '%s' too; a reaction has one of them",
			    first);
			return;
		}
		first = key;
		r->channel = (enum channel)i;
		if ((text = body_text(b, key)))
			r->target = xstrdup(text);
	}
	if (!first)
		body_fault(b, NULL, NULL, "what it does is missing: 'command', 'notify' or "
		    "'celery'");
	else if (r->target && r->channel == CHANNEL_NOTIFY && strlen(r->target) > LONGEST_NOTIFY)
		body_fault(b, "notify", NULL, "the name of a channel has at most %d bytes",
		    LONGEST_NOTIFY);
}

/* Only a task has one. */
static void
read_queue(struct reaction *r, struct body *b)
{
	if (r->target && r->channel == CHANNEL_CELERY) {
		body_check_task(b, "celery", r->target);
		if (!(r->queue = body_queue(b, "queue")))
			r->queue = xstrdup(CELERY_QUEUE);
	} else if (r->target && json_object_get(b->json, "queue"))
		body_key_fault(b, "queue", NULL, "only a 'celery' has one");
}

static void
read_limit(struct reaction *r, struct body *b)
{
	if (r->channel == CHANNEL_COMMAND)
		r->time_limit = MINUTE;
	else if (json_object_get(b->json, "time_limit"))
		body_key_fault(b, "time_limit", NULL, "only a 'command' has one");
	body_limit(b, "time_limit", &r->time_limit);
}

void
reaction_read(struct reaction *r, struct body *b)
{
	const char *level;

	*r = (struct reaction){ 0 };
	body_check_keys(b, keys);
	read_events(r, b);
	read_on(r, b);
	level = body_text(b, "level");
	r->level = xstrdup(level ? level : "info");
	read_channel(r, b);
	read_queue(r, b);
	read_limit(r, b);
}

int
reaction_init(struct reaction *r, const json_t *json, struct err *err)
{
	struct body b = { .json = json };
	int rc;

	reaction_read(r, &b);
	if ((rc = body_done(&b, err)))
		reaction_done(r);
	return rc;
}

void
reaction_done(struct reaction *r)
{
	for (char **name = r->events; name && *name; name++)
		free(*name);
	free(r->events);
	free(r->level);
	free(r->target);
	free(r->queue);
	*r = (struct reaction){ 0 };
}
