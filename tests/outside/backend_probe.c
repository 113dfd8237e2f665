/* backend_probe.c - a result backend that obeys its standard input.
 *
 * Each line is a JSON array, a command and its arguments; each event is a JSON
 * object on standard output.  test_backends.py speaks with it.  JSON values come
 * and go as texts that hold JSON, for jansson cannot hold all of them.  Settings
 * are those of the environment. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "celery/refusal.h"
#include "celery/result.h"
#include "io/loop.h"
#include "wire/amqp.h"
#include "wire/backend.h"
#include "wire/wire.h"

extern char **environ;

struct probe {
	struct loop *loop;
	struct conf *conf;
	struct transport *transport;
	struct backend *backend;
	struct watch *input;
	struct str line;
	bool over;
};

static void
say(json_t *event)
{
	char *text = json_dumps(event, JSON_COMPACT);

	puts(text);
	fflush(stdout);
	free(text);
	json_decref(event);
}

static json_t *
text_of(struct raw v)
{
	return v.text ? json_stringn(v.text, v.len) : json_null();
}

static json_t *
exception_of(const struct celery_exception *e)
{
	struct str repr = STR_INIT;
	json_t *v;

	if (!e || !e->type)
		return json_null();
	celery_exception_repr(&repr, e);
	v = json_string(str_text(&repr));
	str_done(&repr);
	return v;
}

/* --- events; the argument is a text of the caller's --- */

static void
stored(void *arg, bool ok)
{
	say(json_pack("{s:s, s:s, s:b}", "event", "stored", "id", arg, "ok", ok));
	free(arg);
}

static void
fetched(void *arg, const struct celery_result *results, size_t n)
{
	json_t *all = json_array();

	for (size_t i = 0; results && i < n; i++)
		json_array_append_new(all, json_pack("{s:s, s:s, s:o, s:o, s:s?, s:o}", "id",
		    results[i].id, "state", results[i].state, "value", text_of(results[i].value),
		    "exception", exception_of(&results[i].exception), "traceback",
		    results[i].traceback, "children", text_of(results[i].children)));
	say(json_pack("{s:s, s:b, s:o}", "event", "fetched", "ok", results != NULL,
	    "results", all));
	free(arg);
}

static void
counted(void *arg, const struct chord_answer *a)
{
	json_t *results = json_array();

	for (size_t i = 0; i < a->n; i++)
		json_array_append_new(results, text_of(a->results[i]));
	say(json_pack("{s:s, s:s, s:b, s:b, s:o, s:s?, s:o, s:b}", "event", "counted", "id", arg,
	    "ok", a->ok, "complete", a->complete, "results", results, "failed", a->failed_id,
	    "exception", exception_of(a->exception), "joined", a->joined));
	free(arg);
}

/* --- commands --- */

static const char *
member(json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static struct raw
raw_member(json_t *object, const char *key)
{
	json_t *v = json_object_get(object, key);
	struct refusal refusal;
	struct raw raw = { 0 };

	if (json_is_string(v) &&
	    raw_check(json_string_value(v), json_string_length(v), &raw, &refusal)) {
		fprintf(stderr, "backend_probe: %s: %s\n", key, refusal.err.message);
		exit(2);
	}
	return raw;
}

static void
store(struct probe *p, json_t *given)
{
	struct celery_result r = {
		.id = member(given, "id"), .state = member(given, "state"),
		.value = raw_member(given, "value"),
		.exception = { member(given, "type"), member(given, "module"),
		    raw_member(given, "message") },
		.traceback = member(given, "traceback"),
		.children = raw_member(given, "children"),
		.group = member(given, "group"), .parent_id = member(given, "parent_id"),
		.reply_to = member(given, "reply_to"),
		.correlation_id = member(given, "correlation_id"),
		.name = member(given, "name"), .args = raw_member(given, "args"),
		.kwargs = raw_member(given, "kwargs"), .worker = member(given, "worker"),
		.retries = json_integer_value(json_object_get(given, "retries")),
		.queue = member(given, "queue"),
	};

	backend_store(p->backend, &r, stored, xstrdup(r.id));
}

static void
store_many(struct probe *p, json_t *command)
{
	const char *prefix = json_string_value(json_array_get(command, 1));
	json_int_t n = json_integer_value(json_array_get(command, 2));
	size_t size = (size_t)json_integer_value(json_array_get(command, 3));
	char *text = xmalloc(size + 2);

	memset(text, 'x', size + 2);
	text[0] = text[size + 1] = '"';
	for (json_int_t i = 0; i < n; i++) {
		char *id = xasprintf("%s-%lld", prefix, (long long)i);
		struct celery_result r = { .id = id, .state = "SUCCESS",
			.value = { text, size + 2 } };

		backend_store(p->backend, &r, stored, id);
	}
	free(text);
}

static void
fetch(struct probe *p, json_t *ids)
{
	size_t n = json_array_size(ids);
	const char **list = xcalloc(n, sizeof *list);

	for (size_t i = 0; i < n; i++)
		list[i] = json_string_value(json_array_get(ids, i));
	backend_fetch(p->backend, list, n, fetched, NULL);
	free(list);
}

static void
count(struct probe *p, json_t *given)
{
	json_t *index = json_object_get(given, "index");
	struct chord_member m = { .group = member(given, "group"), .id = member(given, "id"),
		.state = member(given, "state"), .result = raw_member(given, "result"),
		.index = json_is_integer(index) ? json_integer_value(index) : -1 };

	backend_chord_count(p->backend, &m, counted, xstrdup(m.id));
}

static void
open_backend(struct probe *p, json_t *command)
{
	struct amqp_wire wire = { .name = "backend_probe" };
	struct err err;

	if (json_is_true(json_array_get(command, 2)) &&
	    !(p->transport = transport_amqp(p->loop, p->conf, &wire, &err))) {
		fprintf(stderr, "backend_probe: %s\n", err.message);
		exit(2);
	}
	p->backend = backend_open(p->loop, p->conf, json_string_value(json_array_get(command, 1)),
	    p->transport, &err);
	if (p->backend)
		say(json_pack("{s:s, s:b}", "event", "opened", "chords",
		    backend_has_chords(p->backend)));
	else
		say(json_pack("{s:s, s:i, s:s}", "event", "refused", "class", (int)err.class,
		    "text", err.message));
}

static void
say_state(struct probe *p)
{
	const struct err *trouble = backend_trouble(p->backend);

	say(json_pack("{s:s, s:b, s:s?}", "event", "state", "idle",
	    backend_is_idle(p->backend), "trouble", trouble ? trouble->message : NULL));
}

static void
look(struct probe *p)
{
	struct str what = STR_INIT;
	struct err err = { 0 };
	int rc = backend_look(p->conf, 3 * SECOND, &what, &err);

	say(json_pack("{s:s, s:b, s:s, s:i}", "event", "looked", "ok", rc == 0, "text",
	    rc ? err.message : str_text(&what), "class", (int)err.class));
	str_done(&what);
}

static void
obey(struct probe *p, json_t *command)
{
	const char *verb = json_string_value(json_array_get(command, 0));
	json_t *given = json_array_get(command, 1);
	const char *group = json_string_value(given);

	if (!strcmp(verb, "open"))
		open_backend(p, command);
	else if (!strcmp(verb, "store"))
		store(p, given);
	else if (!strcmp(verb, "store_many"))
		store_many(p, command);
	else if (!strcmp(verb, "fetch"))
		fetch(p, given);
	else if (!strcmp(verb, "size"))
		backend_chord_size(p->backend, group,
		    json_integer_value(json_array_get(command, 2)), stored, xstrdup(group));
	else if (!strcmp(verb, "group"))
		backend_save_group(p->backend, member(given, "id"), raw_member(given, "document"),
		    stored, xstrdup(member(given, "id")));
	else if (!strcmp(verb, "count"))
		count(p, given);
	else if (!strcmp(verb, "forget"))
		backend_chord_forget(p->backend, group);
	else if (!strcmp(verb, "state"))
		say_state(p);
	else if (!strcmp(verb, "look"))
		look(p);
	else if (!strcmp(verb, "free")) {
		backend_free(p->backend);
		p->backend = NULL;
		say(json_pack("{s:s}", "event", "freed"));
	} else {
		fprintf(stderr, "backend_probe: no such command: %s\n", verb);
		exit(2);
	}
}

static void
input_ready(void *arg, int ready)
{
	struct probe *p = arg;
	static char buf[65536];
	ssize_t n = read(0, buf, sizeof buf);

	if (n <= 0) {
		p->over = n == 0 || errno != EAGAIN;
		return;
	}
	for (ssize_t i = 0; i < n; i++) {
		json_t *command;

		if (buf[i] != '\n') {
			str_putc(&p->line, buf[i]);
			continue;
		}
		command = json_loads(str_text(&p->line), 0, NULL);
		str_clear(&p->line);
		obey(p, command);
		json_decref(command);
	}
}

static bool
turn(void *arg)
{
	return !((struct probe *)arg)->over;
}

int
main(void)
{
	struct probe p = { .loop = loop_new(), .conf = conf_new() };
	struct err err;

	if (conf_environment(p.conf, environ, &err)) {
		fprintf(stderr, "backend_probe: %s\n", err.message);
		return 2;
	}
	fcntl(0, F_SETFL, O_NONBLOCK);
	p.input = watch_new(p.loop, 0, input_ready, &p);
	if (!p.input)
		return 1;
	watch_set(p.input, WATCH_READ);
	loop_run(p.loop, turn, &p);
	backend_free(p.backend);
	if (p.transport)
		p.transport->free(p.transport);
	watch_free(p.input);
	loop_free(p.loop);
	conf_free(p.conf);
	str_done(&p.line);
	return 0;
}
