/* panel_command.c - what a worker is told to do. */
#include <stdlib.h>
#include "base/log.h"
#include "engine/panel_inner.h"
#include "io/loop.h"

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

/* We call no elections; those of others we answer (wire/remote_hear.c). */
bool
panel_election(struct panel *p, const json_t *arguments, struct str *answer)
{
	(void)p;
	(void)arguments;
	str_puts(answer, "null");
	return true;
}
