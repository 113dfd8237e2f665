/* Between the files of the panel.  For nobody else.
 *
 *	panel.c           which command it is; the beginning and the end
 *	panel_name.c      the worker's name among the nodes
 *	panel_tasks.c     what it does, has done and is going to do
 *	panel_self.c      what it is: settings, queues, statistics
 *	panel_command.c   what it is told to do
 *	panel_request.c   what concerns tasks of clients alone
 *	panel_event.c     jobs as events
 */
#ifndef ENGINE_PANEL_INNER_H
#define ENGINE_PANEL_INNER_H

#include <jansson.h>
#include "base/clock.h"
#include "base/str.h"
#include "base/uuid.h"
#include "celery/control.h"
#include "celery/job.h"
#include "engine/panel.h"
#include "engine/request.h"
#include "engine/worker.h"
#include "wire/remote.h"

struct panel {
	struct panel_settings set;
	struct worker *worker;
	const struct conf *conf;
	struct remote *remote;
	char *node;
	struct uuid installation;
	span since;			/* monotonic */
	int64_t total[TASK_CYCLE];	/* of our own tasks, those that have begun */
	json_t *revoked_stamps;		/* {name: [text]}; NULL: none */
	size_t n_stamps;
};

/* A command adds the value of its answer.  False: it has none, whoever asks. */
typedef bool panel_command(struct panel *, const json_t *arguments, struct str *answer);

/* Add a comma if something stands before it. */
void panel_comma(struct str *);
/* Add VALUE, and give it back. */
void panel_add(struct str *, json_t *value);

/* The answer to COMMAND without ARGUMENT. */
void panel_missing(struct str *, const char *command, const char *argument);

/* panel_tasks.c */
panel_command panel_active, panel_reserved, panel_scheduled, panel_query_task, panel_registered;
void panel_load(void *panel, struct celery_load *);
/* Of a job: its id, and "('name',)" or something else that says what it is. */
char *panel_job_id(const struct panel *, struct job_key, char out[UUID_TEXT]);
void panel_add_totals(const struct panel *, struct str *);

/* panel_request.c */
panel_command panel_revoked, panel_revoke, panel_terminate, panel_revoke_by_stamped_headers,
    panel_rate_limit, panel_time_limit;
void panel_say_revoked(void *panel, struct str *);
void panel_hear_revoked(void *panel, const char *id);
void panel_told(void *panel, enum request_event, const struct request_view *);

/* panel_self.c */
panel_command panel_stats, panel_active_queues, panel_conf, panel_report, panel_clock,
    panel_memsample;

/* panel_command.c */
panel_command panel_ping, panel_enable_events, panel_disable_events, panel_heartbeat,
    panel_pool_restart, panel_autoscale, panel_shutdown, panel_election, panel_add_consumer,
    panel_cancel_consumer, panel_pool_grow, panel_pool_shrink;

#endif
