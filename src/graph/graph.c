/* graph.c - nodes, edges, and how they are found again.
 *
 * Two hash tables with open addressing: nodes by name, and the edges there are.
 * Nothing is ever taken out, so a probe ends at the first empty place.  A node
 * has its neighbours in two arrays, so that a walk touches no table. */
#include "graph/graph.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/vec.h"

struct node {
	char *kind, *name;
	VEC(int) upstream, downstream;
};

struct graph {
	VEC(struct node) nodes;
	size_t edges;
	/* Both have a power of two of places, at most half of them taken. */
	size_t node_places, edge_places;
	int *by_name;		/* a node's number + 1; 0: empty */
	uint64_t *edge_set;	/* edge_key(); 0: empty */
};

static uint64_t
hash_number(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9u;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static uint64_t
hash_name(const char *name)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 0x100000001b3u;
	return hash_number(h);
}

/* Never 0: TO + 1 is not. */
static uint64_t
edge_key(int from, int to)
{
	return (uint64_t)from << 32 | ((uint64_t)to + 1);
}

static bool
is_named(const struct node *n, const char *kind, const char *name)
{
	return !strcmp(n->name, name) && (!kind || !strcmp(n->kind, kind));
}

/* Where NAME stands in the table, or the empty place where it would; KIND NULL:
 * of whatever kind.  Nodes of one name are met in the order of their numbers. */
static int *
name_place(const struct graph *g, const char *kind, const char *name)
{
	for (size_t i = hash_name(name); ; i++) {
		int *place = &g->by_name[i & (g->node_places - 1)];

		if (*place == 0 || is_named(&g->nodes.at[*place - 1], kind, name))
			return place;
	}
}

static uint64_t *
edge_place(const struct graph *g, uint64_t key)
{
	for (size_t i = hash_number(key); ; i++) {
		uint64_t *place = &g->edge_set[i & (g->edge_places - 1)];

		if (*place == 0 || *place == key)
			return place;
	}
}

static void
grow_names(struct graph *g)
{
	free(g->by_name);
	g->node_places *= 2;
	g->by_name = xcalloc(g->node_places, sizeof *g->by_name);
	for (size_t i = 0; i < g->nodes.n; i++)
		*name_place(g, g->nodes.at[i].kind, g->nodes.at[i].name) = (int)i + 1;
}

static void
grow_edges(struct graph *g)
{
	uint64_t *old = g->edge_set;
	size_t n = g->edge_places;

	g->edge_places *= 2;
	g->edge_set = xcalloc(g->edge_places, sizeof *g->edge_set);
	for (size_t i = 0; i < n; i++)
		if (old[i])
			*edge_place(g, old[i]) = old[i];
	free(old);
}

struct graph *
graph_new(void)
{
	struct graph *g = xcalloc(1, sizeof *g);

	g->node_places = g->edge_places = 16;
	g->by_name = xcalloc(g->node_places, sizeof *g->by_name);
	g->edge_set = xcalloc(g->edge_places, sizeof *g->edge_set);
	return g;
}

void
graph_free(struct graph *g)
{
	if (!g)
		return;
	for (size_t i = 0; i < g->nodes.n; i++) {
		struct node *n = &g->nodes.at[i];

		free(n->kind);
		free(n->name);
		vec_done(&n->upstream);
		vec_done(&n->downstream);
	}
	vec_done(&g->nodes);
	free(g->by_name);
	free(g->edge_set);
	free(g);
}

int
graph_node(struct graph *g, const char *kind, const char *name)
{
	struct node n = { 0 };
	int *place = name_place(g, kind, name);

	if (*place)
		return *place - 1;
	n.kind = xstrdup(kind);
	n.name = xstrdup(name);
	vec_push(&g->nodes, n);
	*place = (int)g->nodes.n;
	if (g->nodes.n * 2 > g->node_places)
		grow_names(g);
	return (int)g->nodes.n - 1;
}

int
graph_find(const struct graph *g, const char *name)
{
	return *name_place(g, NULL, name) - 1;
}

void
graph_edge(struct graph *g, int from, int to)
{
	uint64_t key = edge_key(from, to), *place = edge_place(g, key);

	if (*place)
		return;
	*place = key;
	vec_push(&g->nodes.at[from].downstream, to);
	vec_push(&g->nodes.at[to].upstream, from);
	if (++g->edges * 2 > g->edge_places)
		grow_edges(g);
}

size_t
graph_count(const struct graph *g)
{
	return g->nodes.n;
}

size_t
graph_edges(const struct graph *g)
{
	return g->edges;
}

const char *
graph_name(const struct graph *g, int node)
{
	return g->nodes.at[node].name;
}

const char *
graph_kind(const struct graph *g, int node)
{
	return g->nodes.at[node].kind;
}

const int *
graph_upstream(const struct graph *g, int node, size_t *n)
{
	*n = g->nodes.at[node].upstream.n;
	return g->nodes.at[node].upstream.at;
}

const int *
graph_downstream(const struct graph *g, int node, size_t *n)
{
	*n = g->nodes.at[node].downstream.n;
	return g->nodes.at[node].downstream.at;
}
