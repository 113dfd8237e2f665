/* Looking at the books: answers as JSON, for people and programs alike.
 *
 * Each returns a new reference, or NULL with ERR.  Times are RFC 3339 texts as
 * PostgreSQL writes them in JSON; ages and durations are seconds. */
#ifndef STORE_REPORT_H
#define STORE_REPORT_H

#include <jansson.h>
#include <libpq-fe.h>
#include <stdint.h>
#include "base/clock.h"
#include "model/states.h"

struct err;
struct graph;

/* The last cycles, what is loaded, raising, due, undelivered. */
json_t *report_status(PGconn *, int cycles, span lease, struct err *);
/* One cycle: its jobs counted, what failed and why, signals, deliveries. */
json_t *report_cycle(PGconn *, int64_t run, span lease, struct err *);
/* Everything of this name (an event may bear the name of an evidence), an
 * array: definition, standing, what uses it, history. */
json_t *report_show(PGconn *, const char *name, int history, struct err *);
/* Why an event is in its state: the tree down to the values, in its last
 * evaluation or in RUN (0: the last). */
json_t *report_explain(PGconn *, const char *event, int64_t run, struct err *);
/* Of AGENT ("": all): is a cycle overdue or stuck? */
json_t *report_health(PGconn *, const char *agent, span max_age, span lease, struct err *);
/* The nodes of a cycle, or with 0 all that is current: an array of
 * {kind, name, state, note, upstream: [name]}. */
json_t *report_graph(PGconn *, int64_t run, struct err *);

#endif
