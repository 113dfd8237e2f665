/* panel.c - which command it is.
 *
 * A command is looked up by Celery's name or its older one, and answers into a
 * string of JSON.  What Python would raise, and answer with the exception's repr,
 * is answered in the same words. */
#include "engine/panel.h"
#include <stdlib.h>
#include <string.h>
#include "base/conf.h"
#include "base/json.h"
#include "base/log.h"
#include "engine/panel_inner.h"

static const struct command {
	const char *name, *older;
	panel_command *run;
	bool changes;			/* something: it is told of in the log */
} commands[] = {
	{ "active", "dump_active", panel_active, false },
	{ "active_queues", NULL, panel_active_queues, false },
	{ "add_consumer", NULL, panel_add_consumer, true },
	{ "autoscale", NULL, panel_autoscale, true },
	{ "cancel_consumer", NULL, panel_cancel_consumer, true },
	{ "clock", NULL, panel_clock, false },
	{ "conf", "dump_conf", panel_conf, false },
	{ "disable_events", NULL, panel_disable_events, true },
	{ "election", NULL, panel_election, false },
	{ "enable_events", NULL, panel_enable_events, true },
	{ "heartbeat", NULL, panel_heartbeat, false },
	{ "memsample", NULL, panel_memsample, false },
	{ "ping", NULL, panel_ping, false },
	{ "pool_grow", NULL, panel_pool_grow, true },
	{ "pool_restart", NULL, panel_pool_restart, true },
	{ "pool_shrink", NULL, panel_pool_shrink, true },
	{ "query_task", NULL, panel_query_task, false },
	{ "rate_limit", NULL, panel_rate_limit, true },
	{ "registered", "dump_tasks", panel_registered, false },
	{ "report", NULL, panel_report, false },
	{ "reserved", "dump_reserved", panel_reserved, false },
	{ "revoke", NULL, panel_revoke, true },
	{ "revoke_by_stamped_headers", NULL, panel_revoke_by_stamped_headers, true },
	{ "revoked", "dump_revoked", panel_revoked, false },
	{ "scheduled", "dump_schedule", panel_scheduled, false },
	{ "shutdown", NULL, panel_shutdown, true },
	{ "stats", NULL, panel_stats, false },
	{ "terminate", NULL, panel_terminate, true },
	{ "time_limit", NULL, panel_time_limit, true },
};

void
panel_comma(struct str *s)
{
	char last = s->len ? s->text[s->len - 1] : '[';

	if (last != '[' && last != '{')
		str_puts(s, ", ");
}

void
panel_add(struct str *s, json_t *value)
{
	json_append(s, value);
	json_decref(value);
}

void
panel_missing(struct str *s, const char *command, const char *argument)
{
	celery_control_raised(s, "TypeError", "%s() missing 1 required positional argument: '%s'",
	    command, argument);
}

static const struct command *
find(const char *name)
{
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
		if (!strcmp(commands[i].name, name) ||
		    (commands[i].older && !strcmp(commands[i].older, name)))
			return &commands[i];
	return NULL;
}

static bool
asked(void *arg, const struct celery_control *request, struct str *answer)
{
	const struct command *c = find(request->method);

	if (!c) {
		log_warn("remote control asks for what is not known here", "method",
		    request->method);
		celery_control_raised(answer, "KeyError", "%s", request->method);
		return true;
	}
	if (!request->arguments) {
		celery_control_raised(answer, "TypeError", "%s() argument after ** must be a mapping",
		    c->name);
		return true;
	}
	if (c->changes)
		log_info("remote control", "command", c->name);
	return c->run(arg, request->arguments, answer);
}

struct panel *
panel_new(const struct panel_settings *set, struct err *err)
{
	struct worker *w = set->worker;
	char *node = panel_node_name(w->conf, set->process, err);
	struct panel *p;
	struct remote_settings remote = { .node = node, .listens = w->conf->remote_control,
		.events = w->conf->enable_events, .load = panel_load, .asked = asked,
		.say_revoked = panel_say_revoked, .revoked = panel_hear_revoked };

	if (!node)
		return NULL;
	p = xcalloc(1, sizeof *p);
	p->set = *set;
	p->worker = w;
	p->conf = w->conf;
	p->node = node;
	p->installation = *set->installation;
	p->since = clock_monotonic();
	remote.arg = p;
	p->remote = remote_new(w->set.transport, &remote);
	w->panel = p;
	requests_listen(w->requests, panel_told, p);
	return p;
}

void
panel_free(struct panel *p)
{
	if (!p)
		return;
	p->worker->panel = NULL;
	requests_listen(p->worker->requests, NULL, NULL);
	json_decref(p->revoked_stamps);
	remote_free(p->remote);
	free(p->node);
	free(p);
}

const char *
panel_node(const struct panel *p)
{
	return p ? p->node : "";
}

bool
panel_has_mingled(const struct panel *p)
{
	return !p || remote_has_mingled(p->remote);
}

void
panel_turn(struct panel *p)
{
	if (p)
		remote_turn(p->remote);
}

void
panel_leave(struct panel *p)
{
	if (p)
		remote_leave(p->remote);
}
