/* graph_test.c - nodes, order, and pictures that no name can break. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "graph/graph.h"

/* Nodes that bear one letter each, edges as "ab bc". */
static struct graph *
graph_of(const char *nodes, const char *edges)
{
	struct graph *g = graph_new();

	for (; *nodes; nodes++)
		graph_node(g, "variable", (char []){ *nodes, '\0' });
	for (; *edges; edges += 2 + (edges[2] == ' '))
		graph_edge(g, graph_find(g, (char []){ edges[0], '\0' }),
		    graph_find(g, (char []){ edges[1], '\0' }));
	return g;
}

static void
a_node_is_found_again(void **state)
{
	struct graph *g = graph_new();
	char name[32];

	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof name, "v%d", i);
		assert_int_equal(graph_node(g, "variable", name), i);
	}
	assert_int_equal(graph_node(g, "variable", "v77"), 77);
	assert_int_equal(graph_find(g, "v4999"), 4999);
	assert_int_equal(graph_find(g, "v5000"), -1);
	assert_int_equal(graph_count(g), 5000);
	assert_string_equal(graph_name(g, 77), "v77");
	assert_string_equal(graph_kind(g, 77), "variable");
	graph_free(g);
	graph_free(NULL);
}

static void
two_kinds_may_use_one_name(void **state)
{
	struct graph *g = graph_new();
	int levels[2], evidence = graph_node(g, "evidence", "crisis");
	int event = graph_node(g, "event", "crisis");
	struct err err;
	char name[32];

	assert_int_not_equal(evidence, event);
	graph_edge(g, evidence, event);
	assert_int_equal(graph_levels(g, levels, &err), 0);
	for (int i = 0; i < 1000; i++) {	/* the table grows under them */
		snprintf(name, sizeof name, "n%d", i);
		graph_node(g, "event", name);
	}
	assert_int_equal(graph_find(g, "crisis"), evidence);
	assert_int_equal(graph_node(g, "event", "crisis"), event);
	graph_free(g);
}

static void
an_edge_counts_once_however_often_said(void **state)
{
	struct graph *g = graph_of("abc", "ac bc ac ac bc ca");
	size_t n;
	const int *at;

	assert_int_equal(graph_edges(g), 3);
	at = graph_upstream(g, 2, &n);
	assert_int_equal(n, 2);
	assert_int_equal(at[0], 0);
	assert_int_equal(at[1], 1);
	at = graph_downstream(g, 2, &n);
	assert_int_equal(n, 1);
	assert_int_equal(at[0], 0);
	graph_upstream(g, 1, &n);
	assert_int_equal(n, 0);
	graph_free(g);
}

static void
a_hub_is_no_slower_than_others(void **state)
{
	enum { SPOKES = 200000 };	/* looking through a list, this would take an hour */
	struct graph *g = graph_new();
	int hub = graph_node(g, "event", "hub");
	char name[32];
	size_t n;

	for (int i = 0; i < SPOKES; i++) {
		snprintf(name, sizeof name, "s%d", i);
		graph_edge(g, graph_node(g, "evidence", name), hub);
		graph_edge(g, i / 2 + 1, hub);
	}
	assert_int_equal(graph_edges(g), SPOKES);
	assert_int_equal(graph_upstream(g, hub, &n)[SPOKES - 1], SPOKES);
	assert_int_equal(n, SPOKES);
	graph_free(g);
}

static void
a_level_is_one_above_the_highest_upstream(void **state)
{
	struct graph *g = graph_of("abcdef", "cb ba ca da df");
	int levels[6], expected[] = { 2, 1, 0, 0, 0, 1 };
	struct err err;

	assert_int_equal(graph_levels(g, levels, &err), 0);
	assert_memory_equal(levels, expected, sizeof expected);
	graph_free(g);
	g = graph_new();
	assert_int_equal(graph_levels(g, levels, &err), 0);
	graph_free(g);
}

static void
a_circle_is_named_whole(void **state)
{
	static const struct {
		const char *edges, *circle;
	} table[] = {
		{ "aa", ": a -> a" }, { "ab ba", ": a -> b -> a" },
		{ "ba cb ac", ": a -> c -> b -> a" },
		/* what leads to it and from it is no part of it */
		{ "ab bc cd db de ef", ": b -> c -> d -> b" },
		{ "ab bc cb fe ef", ": b -> c -> b" },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct graph *g = graph_of("abcdef", table[i].edges);
		struct err err = { 0 };
		int levels[6];
		const char *circle;

		assert_int_equal(graph_levels(g, levels, &err), -1);
		circle = strchr(err.message, ':');
		assert_non_null(circle);
		assert_string_equal(circle, table[i].circle);
		graph_free(g);
	}
}

static struct graph *
chain(int n)
{
	struct graph *g = graph_new();
	char name[32];

	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof name, "n%d", i);
		graph_node(g, "variable", name);
		if (i > 0)
			graph_edge(g, i - 1, i);
	}
	return g;
}

static void
a_long_chain_is_no_danger(void **state)
{
	enum { N = 100000 };
	struct graph *g = chain(N);
	int *levels = malloc(N * sizeof *levels);
	struct err err;
	size_t len;

	assert_int_equal(graph_levels(g, levels, &err), 0);
	for (int i = 0; i < N; i++)
		assert_int_equal(levels[i], i);
	graph_edge(g, N - 1, 0);
	assert_int_equal(graph_levels(g, levels, &err), -1);
	assert_non_null(strstr(err.message, ": n0 -> n1 -> n2 -> "));
	assert_non_null(strstr(err.message, " more) -> n0"));
	len = strlen(err.message);
	assert_string_equal(err.message + len - 6, ") -> n0" + 1);
	free(levels);
	graph_free(g);
}

static void
ready_is_what_waits_for_nothing_more(void **state)
{
	struct graph *g = graph_of("abcdef", "ac bc cd ad");
	bool done[6] = { false };
	int ready[6], first[] = { 0, 1, 4, 5 };

	assert_int_equal(graph_ready(g, done, ready), 4);
	assert_memory_equal(ready, first, sizeof first);
	done[0] = done[4] = done[5] = true;
	assert_int_equal(graph_ready(g, done, ready), 1);
	assert_int_equal(ready[0], 1);
	done[1] = true;
	assert_int_equal(graph_ready(g, done, ready), 1);
	assert_int_equal(ready[0], 2);
	done[2] = true;
	assert_int_equal(graph_ready(g, done, ready), 1);
	assert_int_equal(ready[0], 3);
	done[3] = true;
	assert_int_equal(graph_ready(g, done, ready), 0);
	graph_free(g);
}

/* Names that would break out of any quotes they get. */
static const char *const nasty[] = {
	"plain", "say \"hi\"", "a\nb", "<b>&amp;</b>", "C:\\N\\", "gr\xc3\xbc\xc3\x9f \xf0\x9f\x94\x94",
	"%%{init: {\"theme\":\"dark\"}}%%", "`md`", "1. x", "#35;", "]", "}}", "end", "\xff\033[2J",
	"", "--> n0", "';alert(1)//", "\"];n0 -> n1;\"",
};
#define N_NASTY (sizeof nasty / sizeof nasty[0])

static struct graph_look
nasty_look(void *arg, int node)
{
	return (struct graph_look){ node % 2 ? "failed" : "x\"y", nasty[N_NASTY - 1 - (size_t)node] };
}

static char *
draw_nasty(enum graph_format format)
{
	struct graph *g = graph_new();
	struct str out = STR_INIT;

	for (size_t i = 0; i < N_NASTY; i++)
		graph_node(g, i % 3 == 0 ? "variable" : i % 3 == 1 ? "evidence" : "k\"]", nasty[i]);
	for (int i = 1; i < (int)N_NASTY; i++)
		graph_edge(g, i - 1, i);
	graph_draw(g, format, nasty_look, NULL, &out);
	graph_free(g);
	return str_take(&out);
}

static void
equal_graphs_give_equal_drawings(void **state)
{
	struct graph *g = graph_of("ab", "ab");
	struct str out = STR_INIT;

	graph_node(g, "event", "z");
	graph_edge(g, 1, 2);
	graph_draw(g, GRAPH_MERMAID, NULL, NULL, &out);
	assert_string_equal(str_text(&out), "flowchart LR\n"
	    "\tsubgraph k0 [\"variable\"]\n\t\tn0[\"a\"]\n\t\tn1[\"b\"]\n\tend\n"
	    "\tsubgraph k1 [\"event\"]\n\t\tn2{{\"z\"}}\n\tend\n"
	    "\tn0 --> n1\n\tn1 --> n2\n");
	str_clear(&out);
	graph_draw(g, GRAPH_JSON, NULL, NULL, &out);
	assert_string_equal(str_text(&out), "{\"nodes\":[\n"
	    "{\"id\":0,\"kind\":\"variable\",\"name\":\"a\"},\n"
	    "{\"id\":1,\"kind\":\"variable\",\"name\":\"b\"},\n"
	    "{\"id\":2,\"kind\":\"event\",\"name\":\"z\"}],\n"
	    "\"edges\":[\n{\"from\":0,\"to\":1},\n{\"from\":1,\"to\":2}]}\n");
	str_done(&out);
	graph_free(g);
	g = graph_new();
	graph_draw(g, GRAPH_JSON, NULL, NULL, &out);
	assert_string_equal(str_text(&out), "{\"nodes\":[],\n\"edges\":[]}\n");
	str_done(&out);
	graph_free(g);
}

static void
any_name_survives_json(void **state)
{
	char *text = draw_nasty(GRAPH_JSON);
	struct err err = { 0 };
	json_t *v = json_read(text, strlen(text), &err), *nodes;

	if (!v)
		fail_msg("%s", err.message);
	nodes = json_object_get(v, "nodes");
	for (size_t i = 0; i < N_NASTY; i++) {
		const char *name = json_string_value(
		    json_object_get(json_array_get(nodes, i), "name"));

		if (str_is_utf8(nasty[i], strlen(nasty[i])))
			assert_string_equal(name, nasty[i]);
		else
			assert_string_equal(name, "\xef\xbf\xbd\033[2J");
	}
	assert_int_equal(json_array_size(json_object_get(v, "edges")), N_NASTY - 1);
	json_decref(v);
	free(text);
}

/* Between the quotes of a node stands nothing but letters, digits, spaces, '_',
 * "1.5", entities, bytes beyond ASCII, and our one line break. */
static void
no_name_is_syntax_in_mermaid(void **state)
{
	char *text = draw_nasty(GRAPH_MERMAID);
	int nodes = 0;

	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		char *from = strchr(line, '"'), *to = strrchr(line, '"'), *br;

		if (!from)
			continue;
		nodes += line[2] == 'n';
		assert_true(to > from);
		*to = '\0';
		if ((br = strstr(from, "<br/>")))
			memmove(br, br + 5, strlen(br + 5) + 1);
		for (char *c = from + 1; *c; c++) {
			if (*c == '#')
				while (*++c >= '0' && *c <= '9')
					;
			if (!strchr(" _;", *c) && !(*c & 0x80) && !(*c >= '0' && *c <= '9') &&
			    !(*c >= 'A' && *c <= 'Z') && !(*c >= 'a' && *c <= 'z'))
				fail_msg("'%c' in %s", *c, from);
		}
	}
	assert_int_equal(nodes, N_NASTY);
	free(text);
}

static void
long_names_are_shortened_in_pictures(void **state)
{
	struct graph *g = graph_new();
	struct str name = STR_INIT, out = STR_INIT;

	for (int i = 0; i < 1000; i++)
		str_puts(&name, "\xc3\xbc");
	graph_node(g, "variable", str_text(&name));
	graph_draw(g, GRAPH_DOT, NULL, NULL, &out);
	assert_true(out.len < 1000);
	assert_non_null(strstr(str_text(&out), "\xc3\xbc\xe2\x80\xa6\""));
	str_done(&name);
	str_done(&out);
	graph_free(g);
}

/* Graphviz itself shows each name as it is. */
static void
dot_shows_any_name(void **state)
{
	static const char *const shown[] = { ">say &quot;hi&quot;<", ">a\\nb<",
		">&lt;b&gt;&amp;amp;&lt;/b&gt;<", ">C:\\N\\<", ">\\xff\\x1b[2J<",
		">gr\xc3\xbc\xc3\x9f \xf0\x9f\x94\x94<", ">#35;<", ">1. x<" };
	char path[] = "/tmp/graph_test.XXXXXX", command[128], *text;
	static char svg[1 << 18];
	FILE *f;
	size_t n;
	int fd;

	if (system("dot -V >/dev/null 2>&1"))
		skip();
	fd = mkstemp(path);
	text = draw_nasty(GRAPH_DOT);
	n = strlen(text);
	assert_true(write(fd, text, n) == (ssize_t)n);
	snprintf(command, sizeof command, "dot -Tsvg %s 2>&1", path);
	f = popen(command, "r");
	n = fread(svg, 1, sizeof svg - 1, f);
	svg[n] = '\0';
	assert_int_equal(pclose(f), 0);
	assert_null(strstr(svg, "Warning"));
	for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++)
		if (!strstr(svg, shown[i]))
			fail_msg("no %s in %s", shown[i], svg);
	n = 0;
	for (const char *s = svg; (s = strstr(s, "class=\"edge\"")); s++)
		n++;
	assert_int_equal(n, N_NASTY - 1);
	close(fd);
	unlink(path);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_node_is_found_again),
		cmocka_unit_test(two_kinds_may_use_one_name),
		cmocka_unit_test(an_edge_counts_once_however_often_said),
		cmocka_unit_test(a_hub_is_no_slower_than_others),
		cmocka_unit_test(a_level_is_one_above_the_highest_upstream),
		cmocka_unit_test(a_circle_is_named_whole),
		cmocka_unit_test(a_long_chain_is_no_danger),
		cmocka_unit_test(ready_is_what_waits_for_nothing_more),
		cmocka_unit_test(equal_graphs_give_equal_drawings),
		cmocka_unit_test(any_name_survives_json),
		cmocka_unit_test(no_name_is_syntax_in_mermaid),
		cmocka_unit_test(long_names_are_shortened_in_pictures),
		cmocka_unit_test(dot_shows_any_name),
	};

	return cmocka_run_group_tests_name("graph", tests, NULL, NULL);
}
