/* The panel: what Celery's tools may ask of a worker, and make it do.
 *
 * The commands of `celery inspect' and `celery control', answered from the state
 * of the worker, on its loop, whatever its hands do: nothing is looked up
 * elsewhere and nothing is waited for.  Our own jobs appear there as tasks, under
 * the ids that their messages have.  (The plan calls it engine/remote.) */
#ifndef ENGINE_PANEL_H
#define ENGINE_PANEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/clock.h"

struct conf;
struct err;
struct flight;
struct message;
struct panel;
struct str;
struct transport;
struct uuid;
struct worker;

struct panel_settings {
	struct worker *worker;
	const struct uuid *installation;
	int process;			/* which of several, from 1; 0: the only one */
	/* Somebody has told the worker to stop. */
	void (*shutdown)(void *arg);
	void *arg;
};

/* NULL with ERR (ERR_CONFIG) if node_name is wrong.  The worker has it then as
 * its panel, and worker_free() ends it. */
struct panel *panel_new(const struct panel_settings *, struct err *);
void panel_free(struct panel *);	/* NULL is fine */

/* Of our own jobs: counted, and told of if somebody wants to know.  WORKER may
 * have no panel. */
void panel_message_received(struct worker *, const struct message *);
void panel_message_ended(struct worker *, const struct message *);	/* all of its jobs */
void panel_job_started(struct worker *, const struct flight *);		/* a variable */
void panel_job_ended(struct worker *, const struct flight *);
void panel_delivery_started(struct worker *, int64_t run, const char *event,
    const char *reaction);
void panel_delivery_ended(struct worker *, int64_t run, const char *event,
    const char *reaction, const char *error, span took);	/* ERROR NULL: well */

void panel_turn(struct panel *);	/* NULL is fine */
void panel_leave(struct panel *);	/* the worker has stopped; NULL is fine */
const char *panel_node(const struct panel *);	/* "" of NULL */
/* Revoked tasks of other workers are known: see remote_has_mingled(). */
bool panel_has_mingled(const struct panel *);

/* The name of this process among the nodes, from the setting node_name; the
 * caller frees.  NULL with ERR. */
char *panel_node_name(const struct conf *, int process, struct err *);

#endif
