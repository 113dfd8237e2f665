/* A directed acyclic graph of named nodes.  Pure: no clock, no I/O.
 *
 * Nodes are numbered from 0 in the order they are added; the number is the
 * handle.  An edge points the way values flow: from a variable to its
 * evidence, from an evidence to its event.  Adding is amortised constant time
 * but for the circle check, which is done once, by graph_order(). */
#ifndef GRAPH_GRAPH_H
#define GRAPH_GRAPH_H

#include <stdbool.h>
#include <stddef.h>

struct err;
struct graph;
struct str;

struct graph *graph_new(void);
void graph_free(struct graph *);

/* Add a node, or find it.  NAME and KIND are copied; KIND ("variable",
 * "evidence", "event") groups nodes in drawings.  Two kinds may use one name:
 * these are two nodes. */
int graph_node(struct graph *, const char *kind, const char *name);
int graph_find(const struct graph *, const char *name);		/* the first of that name; -1: none */
void graph_edge(struct graph *, int from, int to);		/* once, however often said */

size_t graph_count(const struct graph *);
size_t graph_edges(const struct graph *);
const char *graph_name(const struct graph *, int node);
const char *graph_kind(const struct graph *, int node);
/* Neighbours, lent until the graph changes; *N is their number.  In the order
 * the edges were added. */
const int *graph_upstream(const struct graph *, int node, size_t *n);
const int *graph_downstream(const struct graph *, int node, size_t *n);

/* The level of each node: 0 without upstream, else one more than the highest
 * upstream; LEVELS has graph_count() places.  Iterative: a chain of 100 000
 * nodes is fine.  -1 with ERR naming one whole circle ("a -> b -> a"). */
int graph_levels(const struct graph *, int *levels, struct err *);

/* Which nodes have all their upstream in DONE (a flag for each node) and are
 * not done themselves; into READY (graph_count() places).  Returns how many. */
size_t graph_ready(const struct graph *, const bool *done, int *ready);

/* How a node looks in a drawing: texts may be NULL. */
struct graph_look {
	const char *state;	/* of the job: "done", "failed" ...; colours it */
	const char *note;	/* a second line under the name: a value, a truth */
};

/* Draw: LOOK (may be NULL) is asked for each node. Names and notes may hold
 * anything; they are quoted for the format.  The order is that of the nodes,
 * so equal graphs give equal drawings. */
enum graph_format { GRAPH_DOT, GRAPH_MERMAID, GRAPH_JSON };
void graph_draw(const struct graph *, enum graph_format,
    struct graph_look (*look)(void *arg, int node), void *arg, struct str *out);

#endif
