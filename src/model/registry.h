/* The tasks that this worker does for Celery's clients: the table [tasks] of the
 * settings, read.  Pure.
 *
 *	[tasks."shop.total"]
 *	sql = "select sum(amount) from sale where customer = :customer"
 *	args = ["customer"]
 *
 * What computes one is what computes a variable.  A registry does not change;
 * who reads the settings again makes a new one, and the old one lives as long
 * as somebody holds it. */
#ifndef MODEL_REGISTRY_H
#define MODEL_REGISTRY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include "model/model.h"

struct err;
struct registry;
struct toml;

#define REGISTRY_MOST 10000		/* tasks */
#define TASK_LONGEST_NAME 255

struct task {
	char *name;
	const char *function;		/* the last part of the name, for messages */
	struct variable how;		/* executor, source, limits; its args are the defaults */
	char **parameters;		/* in their order */
	size_t n;
	bool acks_late, track_started, ignore_result, reject_on_worker_lost;
	int max_retries;		/* automatic ones */
	span retry_backoff, retry_backoff_most;
	char *rate_limit;		/* "10/m", or NULL */
	double rate;			/* a second; 0: no limit */
};

/* What a task does not say about itself. */
struct task_defaults {
	bool acks_late, track_started;
};

/* TABLE is the value of "tasks" (NULL: there is none).  With what is wrong NULL
 * and ERR, which names the place in FILE if there is TOML. */
struct registry *registry_new(const json_t *table, const struct task_defaults *,
    const struct toml *, const char *file, struct err *);
struct registry *registry_hold(struct registry *);
void registry_release(struct registry *);	/* NULL is fine */

const struct task *registry_find(const struct registry *, const char *name);	/* lends */
size_t registry_count(const struct registry *);
const struct task *registry_get(const struct registry *, size_t i);

/* Is the parameter I one that may be left out? */
bool task_may_miss(const struct task *, size_t i);

/* "10/s", "10/m", "10/h", or a number a second; "0": none.  -1 with ERR. */
int task_parse_rate(const char *text, double *rate, struct err *);

#endif
