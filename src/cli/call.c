/* call.c - call a task of a Celery worker, or of ours, and wait for its result.
 *
 * The result comes to a queue of the call's own, as to any rpc:// client; where a
 * result backend is set it is looked for there too, for a stock worker keeps what
 * its own settings say.  It is printed as it came: JSON as Python writes it. */
#include "cli/cmd.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/clock.h"
#include "base/conf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/setting.h"
#include "base/str.h"
#include "base/uuid.h"
#include "celery/message.h"
#include "celery/result.h"
#include "cli/kwargs.h"
#include "io/loop.h"
#include "model/model.h"
#include "wire/backend.h"
#include "wire/enquire.h"
#include "wire/letter.h"

#define LOOK_AGAIN (200 * SECOND / 1000)
#define REPLY_EXPIRES 86400000		/* milliseconds, as Celery has it */

struct calling {
	const struct conf *conf;
	const char *task;
	char id[UUID_TEXT];
	struct enquiring *enquiring;
	struct backend *backend;	/* NULL: none but our queue */
	struct timer *look;
	/* What has come: */
	bool ended, succeeded;
	struct str state, value, error, traceback;
};

/* --- what comes back --- */

static bool
take_result(struct calling *c, const struct celery_result *r)
{
	if (c->ended || !r->state || !celery_state_is_ready(r->state))
		return c->ended;
	c->ended = true;
	c->succeeded = !strcmp(r->state, "SUCCESS");
	str_puts(&c->state, r->state);
	celery_result_value(&c->value, r);
	if (celery_state_is_exception(r->state))
		celery_exception_repr(&c->error, &r->exception);
	str_puts(&c->traceback, r->traceback ? r->traceback : "");
	return true;
}

static bool
heard(void *arg, const char *body, size_t len)
{
	struct calling *c = arg;
	struct celery_result r = { 0 };
	struct arena arena = { 0 };
	struct err err;
	bool enough = false;

	if (celery_result_read(&r, body, len, &arena, &err))
		log_warn("a result cannot be understood", "error", err.message);
	else if (!r.id || !strcmp(r.id, c->id))
		enough = take_result(c, &r);
	arena_done(&arena);
	return enough;
}

static void
fetched(void *arg, const struct celery_result *results, size_t n)
{
	struct calling *c = arg;

	if (results && n == 1 && take_result(c, &results[0]))
		enquiry_end(c->enquiring);
	else
		timer_start(c->look, LOOK_AGAIN);
}

static void
look(void *arg)
{
	struct calling *c = arg;
	const char *ids[] = { c->id };

	backend_fetch(c->backend, ids, 1, fetched, c);
}

/* rpc:// is what our own queue is; nothing is to be looked up. */
static bool
has_store(const struct conf *conf)
{
	return *conf->result_backend && strncmp(conf->result_backend, "rpc", 3) &&
	    strncmp(conf->result_backend, "disabled", 8);
}

static void
said(void *arg, struct loop *loop, struct enquiring *enquiring)
{
	struct calling *c = arg;
	struct err err;

	c->enquiring = enquiring;
	if (!has_store(c->conf))
		return;
	if (!(c->backend = backend_open(loop, c->conf, NULL, NULL, &err))) {
		log_warn("the result backend cannot be used", "error", err.message);
		return;
	}
	c->look = timer_new(loop, look, c);
	look(c);
}

static void
left(void *arg)
{
	struct calling *c = arg;

	backend_free(c->backend);	/* which tells of what it was asked */
	c->backend = NULL;
	timer_free(c->look);
	c->look = NULL;
}

/* --- asking --- */

static int
read_span(struct call *call, const char *name, span *out, struct err *err)
{
	const char *text = opts_get(call, name);

	if (!text)
		return 0;
	if (!clock_parse_span(text, out, err))
		return 0;
	err->class = ERR_USAGE;
	return err_wrap(err, "--%s", name);
}

struct request {
	struct str args, kwargs;
	instant eta, expires;
	span patience;
	const char *queue;
	bool waits;
	char reply_to[UUID_TEXT];
};

/* The setting queue is where our own jobs go; only as an option it is meant here. */
static const char *
queue_given(const struct call *call)
{
	const char *queue = CELERY_QUEUE;

	for (size_t i = 0; i < call->n_flags; i++)
		if (!strcmp(call->flags[i].setting->name, "queue"))
			queue = call->flags[i].value;
	return queue;
}

static int
read_request(struct call *call, struct request *r, struct err *err)
{
	span countdown = -1, expires = -1;
	const char *args = opts_get(call, "args");

	r->patience = MINUTE;
	r->queue = queue_given(call);
	r->waits = opts_has(call, "wait");
	if (!r->waits && opts_has(call, "timeout"))
		return err_class(err, ERR_USAGE, "--timeout belongs to --wait");
	if (kwargs_read_array(args ? args : "[]", "--args", &r->args, err) ||
	    kwargs_read(call->arguments + 1, call->n_arguments - 1, &r->kwargs, err) ||
	    read_span(call, "timeout", &r->patience, err) ||
	    read_span(call, "countdown", &countdown, err) ||
	    read_span(call, "expires", &expires, err))
		return -1;
	r->eta = countdown < 0 ? INSTANT_NEVER : clock_now() + countdown;
	r->expires = expires < 0 ? INSTANT_NEVER : clock_now() + expires;
	return 0;
}

static int
send(struct calling *c, const struct request *r, struct err *err)
{
	struct celery_envelope e = { 0 };
	struct post post = { .exchange = "", .routing_key = r->queue, .declare = true,
		.mandatory = true, .envelope = &e };
	struct enquiry enquiry = { .name = "tocsin call", .post = &post,
		.reply_queue = r->waits ? r->reply_to : NULL, .reply_expires = REPLY_EXPIRES,
		.heard = heard, .said = said, .left = left, .arg = c, .patience = r->patience };
	struct celery_message m;
	char host[64] = "localhost", *origin;
	int rc;

	gethostname(host, sizeof host - 1);
	origin = xasprintf("gen%ld@%s", (long)getpid(), host);
	celery_message_init(&m);
	m.task = c->task;
	m.id = c->id;
	m.args = (struct raw){ str_text(&r->args), r->args.len };
	m.kwargs = (struct raw){ str_text(&r->kwargs), r->kwargs.len };
	m.eta = r->eta;
	m.expires = r->expires;
	m.reply_to = r->waits ? r->reply_to : "";
	m.origin = origin;
	celery_encode(&m, clock_now(), &e);
	rc = enquire(c->conf, &enquiry, err);
	celery_envelope_done(&e);
	free(origin);
	return rc;
}

/* --- telling --- */

static void
print_json_end(const struct calling *c, bool waits)
{
	struct str s = STR_INIT;

	str_printf(&s, "{\"task_id\":\"%s\",\"task\":", c->id);
	json_append_text(&s, c->task, strlen(c->task));
	if (waits) {
		str_puts(&s, ",\"state\":");
		if (c->ended)
			json_append_text(&s, str_text(&c->state), c->state.len);
		else
			str_puts(&s, "null");
		str_printf(&s, ",\"result\":%s,\"traceback\":",
		    c->ended ? str_text(&c->value) : "null");
		if (c->traceback.len)
			json_append_text(&s, str_text(&c->traceback), c->traceback.len);
		else
			str_puts(&s, "null");
	}
	str_putc(&s, '}');
	puts(str_text(&s));
	str_done(&s);
}

static int
tell(struct call *call, const struct calling *c, const struct request *r, struct err *err)
{
	char buf[INSTANT_TEXT];

	if (opts_has(call, "json"))
		print_json_end(c, r->waits);
	else if (!r->waits)
		puts(c->id);
	else if (c->succeeded)
		puts(str_text(&c->value));
	if (!r->waits || c->succeeded)
		return 0;
	if (!c->ended)
		return err_class(err, ERR_TEMPFAIL, "no result of %.200s within %s; its id is %s",
		    c->task, clock_format_span(r->patience, buf), c->id);
	return err_set(err, "%.200s (%s): %s", c->task, c->id, str_text(&c->error));
}

static int
run(struct call *call, struct err *err)
{
	struct calling c = { .conf = call->conf, .task = call->arguments[0] };
	struct request r = { .waits = false };
	struct uuid id = uuid_v4(), reply = uuid_v4();
	int rc = -1;

	uuid_format(&id, c.id);
	uuid_format(&reply, r.reply_to);
	if (!*c.task || strlen(c.task) > CELERY_NAME_MAX || !str_is_utf8(c.task, strlen(c.task)))
		err_class(err, ERR_USAGE, "the name of a task has 1 to %d bytes, in UTF-8",
		    CELERY_NAME_MAX);
	else if (!read_request(call, &r, err) && !send(&c, &r, err))
		rc = tell(call, &c, &r, err);
	str_done(&r.args);
	str_done(&r.kwargs);
	str_done(&c.state);
	str_done(&c.value);
	str_done(&c.error);
	str_done(&c.traceback);
	return rc;
}

static const struct opt options[] = {
	{ "args", 'a', "ARRAY", "positional arguments, as an array of JSON" },
	{ "queue", 'Q', "QUEUE", "the queue of its worker (default: celery)" },
	{ "wait", 'w', NULL, "wait for the result, and print it" },
	{ "timeout", 't', "SPAN", "how long to wait for it (default: 1m)" },
	{ "countdown", 0, "SPAN", "it is to begin after so long" },
	{ "expires", 0, "SPAN", "it is not to begin after so long" },
	{ "json", 'j', NULL, "print JSON" },
	{ NULL, 0, NULL, NULL },
};

const struct command cmd_call = {
	.name = "call",
	.synopsis = "TASK [ARG=JSON]... [--args ARRAY] [--queue QUEUE] [--wait [--timeout SPAN]]\n"
	    "            [--countdown SPAN] [--expires SPAN]",
	.summary = "call a task of a Celery worker",
	.description = "Sends a task to any Celery worker, or to a tocsin worker with [tasks], and prints\n"
	    "its id; with --wait its result, as JSON. The result comes to a queue of the call,\n"
	    "as with Celery's rpc://, or from the result_backend that is set.\n\n"
	    "  tocsin call shop.total customer=7 since='\"2026-05-01\"' --queue shop --wait\n\n"
	    "Exit status: 0 sent, or succeeded; 1 the task failed; 75 no result in time, or\n"
	    "the broker is away.",
	.least = 1,
	.most = ARGUMENTS_MANY,
	.options = options,
	.run = run,
};
