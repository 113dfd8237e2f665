/* order.c - what comes before what.
 *
 * Levels are Kahn's algorithm: take the nodes that wait for nothing, count down
 * those behind them.  Nodes that are never taken lie on a circle or behind one;
 * each of them has an untaken node upstream, so going upstream from any of them
 * must come back to where it was already: that is the circle we name. */
#include "graph/graph.h"
#include <stdlib.h>
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"

#define UNTAKEN (-1)
#define CIRCLE_TEXT 600		/* bytes of names before a long circle is shortened */

static int
untaken_upstream(const struct graph *g, int node, const int *levels)
{
	size_t n;
	const int *up = graph_upstream(g, node, &n);

	while (levels[*up] != UNTAKEN)
		up++;
	return *up;
}

/* "a -> b -> a" along the edges; N nodes, which CIRCLE holds against them. */
static void
name_circle(const struct graph *g, const int *circle, size_t n, struct err *err)
{
	struct str s = STR_INIT;
	size_t first = 0, shown;

	for (size_t i = 1; i < n; i++)
		if (circle[i] < circle[first])
			first = i;
	for (shown = 0; shown < n && s.len < CIRCLE_TEXT; shown++)
		str_printf(&s, "%.100s -> ",
		    graph_name(g, circle[(first + n - shown) % n]));
	if (shown < n)
		str_printf(&s, "... (%zu more) -> ", n - shown);
	err_set(err, "these depend on each other in a circle: %s%.100s",
	    str_text(&s), graph_name(g, circle[first]));
	str_done(&s);
}

static int
find_circle(const struct graph *g, const int *levels, struct err *err)
{
	VEC(int) path = { 0 };
	int node = 0, *met = xcalloc(graph_count(g), sizeof *met);

	while (levels[node] != UNTAKEN)
		node++;
	for (; !met[node]; node = untaken_upstream(g, node, levels)) {
		vec_push(&path, node);
		met[node] = (int)path.n;	/* its place in the path, from 1 */
	}
	name_circle(g, path.at + met[node] - 1, path.n - (size_t)met[node] + 1, err);
	vec_done(&path);
	free(met);
	return -1;
}

int
graph_levels(const struct graph *g, int *levels, struct err *err)
{
	size_t count = graph_count(g), taken = 0, n;
	size_t *waits = xcalloc(count, sizeof *waits);
	VEC(int) ready = { 0 };
	int rc = 0, *level_of = xcalloc(count, sizeof *level_of);

	for (size_t i = 0; i < count; i++) {
		levels[i] = UNTAKEN;
		graph_upstream(g, (int)i, &waits[i]);
		if (waits[i] == 0)
			vec_push(&ready, (int)i);
	}
	for (; taken < ready.n; taken++) {
		int node = ready.at[taken];
		const int *down = graph_downstream(g, node, &n);

		levels[node] = level_of[node];
		for (size_t i = 0; i < n; i++) {
			if (level_of[down[i]] <= levels[node])
				level_of[down[i]] = levels[node] + 1;
			if (--waits[down[i]] == 0)
				vec_push(&ready, down[i]);
		}
	}
	if (taken < count)
		rc = find_circle(g, levels, err);
	vec_done(&ready);
	free(level_of);
	free(waits);
	return rc;
}

static bool
all_done(const struct graph *g, int node, const bool *done)
{
	size_t n;
	const int *up = graph_upstream(g, node, &n);

	for (size_t i = 0; i < n; i++)
		if (!done[up[i]])
			return false;
	return true;
}

size_t
graph_ready(const struct graph *g, const bool *done, int *ready)
{
	size_t n = 0, count = graph_count(g);

	for (size_t i = 0; i < count; i++)
		if (!done[i] && all_done(g, (int)i, done))
			ready[n++] = (int)i;
	return n;
}
