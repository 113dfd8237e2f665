/* request_cycle.c - tocsin.cycle: a client begins a cycle, and perhaps waits for it.
 *
 * It is this program that does it, in a child, for planning waits for the books.
 * The child gets our settings on its standard input, where nobody sees them, and
 * answers with the line of JSON that is the task's result. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/conf.h"
#include "base/environment.h"
#include "base/err.h"
#include "base/str.h"
#include "celery/bind.h"
#include "engine/pace.h"
#include "engine/request_inner.h"
#include "engine/worker.h"
#include "io/child.h"
#include "wire/amqp.h"

enum { CYCLES_MOST = 100 };	/* at once that do not take the place of other messages */
enum { ARGUMENTS = 6 };
static const char *const arguments[ARGUMENTS] = {
	"agent", "events", "at", "wait", "if_busy", "force",
};

static bool
may_miss(const void *arg, size_t i)
{
	return true;
}

/* What the child is told: options, each quoted for the shell. */
static void
put_option(struct str *command, const char *option, const char *value)
{
	str_printf(command, " --%s '", option);
	for (; *value; value++)
		if (*value == '\'')
			str_puts(command, "'\\''");
		else
			str_putc(command, *value);
	str_putc(command, '\'');
}

/* -1: it is none, and the request has failed. */
static int
put_text(struct request *r, struct str *command, const char *option, const char *argument,
    struct raw value)
{
	struct str text = STR_INIT;
	int rc = -1;

	if (raw_kind(value) == '"' && raw_string(value, &text) && *str_text(&text)) {
		put_option(command, option, str_text(&text));
		rc = 0;
	} else
		request_fail(r, "TypeError", "builtins", "cycle() wants a text for '%s'", argument);
	str_done(&text);
	return rc;
}

static int
put_events(struct request *r, struct str *command, struct raw events)
{
	struct raw_walk walk = raw_walk(events);
	struct raw key, event;

	if (raw_kind(events) != '[')
		return put_text(r, command, "event", "events", events);
	while (raw_next(&walk, &key, &event))
		if (put_text(r, command, "event", "events", event))
			return -1;
	return 0;
}

static bool
is_given(struct raw value)
{
	return value.text && raw_kind(value) != 'n' && raw_kind(value) != 'f';
}

static int
put_command(struct request *r, struct str *command)
{
	const struct celery_message *m = request_message(r);
	const struct bind_parameters p = { .function = "cycle", .names = arguments,
		.n = ARGUMENTS, .may_miss = may_miss };
	struct raw v[ARGUMENTS];
	struct str error = STR_INIT;

	if (bind_arguments(&p, m->args, m->kwargs, v, &error)) {
		request_fail(r, "TypeError", "builtins", "%s", str_text(&error));
		str_done(&error);
		return -1;
	}
	str_puts(command, "exec \"$TOCSIN_PROGRAM\" cycle --config - --json");
	put_option(command, "origin", m->id);
	if ((is_given(v[0]) && put_text(r, command, "agent", "agent", v[0])) ||
	    (is_given(v[1]) && put_events(r, command, v[1])) ||
	    (is_given(v[2]) && put_text(r, command, "at", "at", v[2])) ||
	    (is_given(v[4]) && put_text(r, command, "if-busy", "if_busy", v[4])))
		return -1;
	if (is_given(v[3]))
		str_puts(command, " --wait");
	if (is_given(v[5]))
		str_puts(command, " --force");
	return 0;
}

void
requests_tell_prefetch(struct worker *w)
{
	size_t cycles = w->requests ? w->requests->cycles : 0,
	    n = pace_prefetch(w->pace, worker_prefetch(w->conf, worker_concurrency(w))) +
	    (cycles < CYCLES_MOST ? cycles : CYCLES_MOST);

	transport_amqp_prefetch(w->set.transport, (uint16_t)(n < UINT16_MAX ? n : UINT16_MAX));
}

static void
begun(struct request *r)
{
	r->in_cycle = true;
	r->of->cycles++;
	requests_tell_prefetch(r->of->worker);
}

void
cycle_over(struct request *r)
{
	if (!r->in_cycle)
		return;
	r->in_cycle = false;
	r->of->cycles--;
	if (!r->of->leaving)
		requests_tell_prefetch(r->of->worker);
}

/* 0 and 1 are ways for a cycle to end; the line of JSON tells which. */
static void
ended(void *arg, const struct child_end *end)
{
	struct request *r = arg;
	bool told = end->output_len && !end->too_large && !end->unread && !end->signum &&
	    !end->hard_limit && !end->soft_limit && (end->status == 0 || end->status == 1);
	char *failure;

	r->child = NULL;
	cycle_over(r);
	if (r->terminated) {
		request_end_terminated(r);
		return;
	}
	if (told) {
		request_succeed(r, xstrndup(end->output,
		    strcspn(end->output, "\n")));
		return;
	}
	failure = child_failure(end);
	request_fail(r, "RuntimeError", "builtins", "%s",
	    failure ? failure : "tocsin cycle has told nothing");
	free(failure);
}

void
cycle_begin(struct request *r)
{
	const struct conf *conf = r->of->worker->conf;
	struct str command = STR_INIT, settings = STR_INIT;
	char program[4096];
	ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
	struct environment e;
	struct child_settings set = { .shell = conf->shell, .mark = request_message(r)->id,
		.soft = r->how.soft, .hard = r->how.hard, .grace = conf->grace,
		.max_output = 65536 };
	struct err err;

	if (put_command(r, &command)) {
		str_done(&command);
		return;
	}
	program[n > 0 ? n : 0] = '\0';
	conf_write(conf, &settings);
	environment_init_ours(&e);
	environment_set(&e, "TOCSIN_PROGRAM", program);
	set.command = str_text(&command);
	set.input = str_text(&settings);
	set.input_len = settings.len;
	set.environment = (const char *const *)e.at;
	if (!(r->child = child_start(r->of->worker->loop, &set, ended, r, &err)))
		request_fail(r, "RuntimeError", "builtins", "%s", err.message);
	else
		begun(r);
	environment_done(&e);
	str_done(&command);
	explicit_bzero(settings.text, settings.len);
	str_done(&settings);
}
