/* panel_command.c - what a worker is told to do. */
#include <inttypes.h>
#include <stdlib.h>
#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "engine/panel_inner.h"
#include "engine/request.h"
#include "io/loop.h"
#include "wire/amqp.h"

enum { CONCURRENCY_MOST = 1000 };

bool
panel_ping(struct panel *p, const json_t *arguments, struct str *answer)
{
	(void)p;
	(void)arguments;
	celery_control_ok(answer, "pong");
	return true;
}

bool
panel_enable_events(struct panel *p, const json_t *arguments, struct str *answer)
{
	(void)arguments;
	celery_control_ok(answer, remote_wants_events(p->remote) ?
	    "task events already enabled" : "task events enabled");
	remote_want_events(p->remote, true);
	return true;
}

bool
panel_disable_events(struct panel *p, const json_t *arguments, struct str *answer)
{
	(void)arguments;
	celery_control_ok(answer, remote_wants_events(p->remote) ?
	    "task events disabled" : "task events already disabled");
	remote_want_events(p->remote, false);
	return true;
}

/* Celery's workers say five seconds here, whatever is true. */
bool
panel_heartbeat(struct panel *p, const json_t *arguments, struct str *answer)
{
	(void)arguments;
	remote_beat(p->remote, 5);
	str_puts(answer, "null");
	return true;
}

bool
panel_pool_restart(struct panel *p, const json_t *arguments, struct str *answer)
{
	(void)p;
	(void)arguments;
	celery_control_raised(answer, "ValueError", "Pool restarts not enabled");
	return true;
}

bool
panel_autoscale(struct panel *p, const json_t *arguments, struct str *answer)
{
	(void)p;
	(void)arguments;
	celery_control_raised(answer, "ValueError", "Autoscale not enabled");
	return true;
}

static const char *
given(const json_t *arguments, const char *key)
{
	const char *text = celery_control_text(arguments, key);

	return text && *text ? text : NULL;
}

bool
panel_add_consumer(struct panel *p, const json_t *arguments, struct str *answer)
{
	struct amqp_source source = { given(arguments, "queue"), given(arguments, "exchange"),
		given(arguments, "exchange_type"), given(arguments, "routing_key") };
	struct err err;

	if (!source.queue)
		panel_missing(answer, "add_consumer", "queue");
	else if (transport_amqp_add_consumer(p->worker->set.transport, &source, &err))
		celery_control_error(answer, "%s", err.message);
	else
		celery_control_ok(answer, "add consumer %s", source.queue);
	return true;
}

bool
panel_cancel_consumer(struct panel *p, const json_t *arguments, struct str *answer)
{
	const char *queue = celery_control_text(arguments, "queue");

	if (!queue) {
		panel_missing(answer, "cancel_consumer", "queue");
		return true;
	}
	transport_amqp_cancel_consumer(p->worker->set.transport, queue);
	celery_control_ok(answer, "no longer consuming from %s", queue);
	return true;
}

/* BY hands more, or fewer. */
static void
grow(struct panel *p, int64_t by, const char *ok, struct str *answer)
{
	struct worker *w = p->worker;
	int64_t n = worker_concurrency(w) + by;

	if (n < 1 || n > CONCURRENCY_MOST) {
		celery_control_raised(answer, "ValueError",
		    "a worker runs 1 to %d tasks at once, this one %" PRId64, CONCURRENCY_MOST,
		    worker_concurrency(w));
		return;
	}
	worker_grow(w, by);
	requests_tell_prefetch(w);
	celery_control_ok(answer, "%s", ok);
}

static bool
change_pool(struct panel *p, const json_t *arguments, int sign, const char *ok,
    struct str *answer)
{
	double n = 1;

	if (json_object_get(arguments, "n") && !celery_control_number(arguments, "n", &n))
		celery_control_raised(answer, "TypeError", "n is no number");
	else if (n < -CONCURRENCY_MOST || n > CONCURRENCY_MOST)
		celery_control_raised(answer, "ValueError", "n is too large");
	else
		grow(p, sign * (int64_t)n, ok, answer);
	return true;
}

bool
panel_pool_grow(struct panel *p, const json_t *arguments, struct str *answer)
{
	return change_pool(p, arguments, 1, "pool will grow", answer);
}

bool
panel_pool_shrink(struct panel *p, const json_t *arguments, struct str *answer)
{
	return change_pool(p, arguments, -1, "pool will shrink", answer);
}

/* It is not answered: neither does Celery's worker. */
bool
panel_shutdown(struct panel *p, const json_t *arguments, struct str *answer)
{
	const char *why = celery_control_text(arguments, "msg");

	(void)answer;
	log_warn("remote control stops the worker", "why", why ? why : "Got shutdown from remote");
	p->set.shutdown(p->set.arg);
	loop_nudge(p->worker->loop);
	return false;
}

/* What the elected one is to do we leave to Celery's own workers. */
bool
panel_election(struct panel *p, const json_t *arguments, struct str *answer)
{
	struct celery_election election = { celery_control_text(arguments, "id"),
		celery_control_text(arguments, "topic"), { NULL, 0 } };
	const json_t *action = json_object_get(arguments, "action");
	struct str text = STR_INIT;

	if (action)
		json_append(&text, action);
	if (text.len)
		election.action = (struct raw){ str_text(&text), text.len };
	if (election.id)
		remote_stand(p->remote, &election);
	str_puts(answer, "null");
	str_done(&text);
	return true;
}
