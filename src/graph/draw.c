/* draw.c - the graph as a picture's source, or as JSON.
 *
 * Names and notes come from elsewhere and may hold anything.  In a picture they
 * are first made visible (no control characters, valid UTF-8) and shortened, then
 * quoted; ids are ours (n0, n1 ...), so no name is ever taken for syntax. */
#include "graph/graph.h"
#include <string.h>
#include "base/json.h"
#include "base/str.h"
#include "base/vec.h"

#define LABEL 120		/* characters of a name or note in a picture */

struct drawing {
	const struct graph *graph;
	struct graph_look (*look)(void *arg, int node);
	void *arg;
	VEC(const char *) kinds;	/* each once, as they are first met */
	struct str *out;
};

static const struct {
	const char *state, *fill, *line;
} colours[] = {
	{ "waiting", "#ffffff", "#9e9e9e" }, { "queued", "#e3f2fd", "#1565c0" },
	{ "running", "#fff3c4", "#f9a825" }, { "done", "#d9f2d9", "#2e7d32" },
	{ "failed", "#f8d0d0", "#c62828" }, { "skipped", "#eeeeee", "#757575" },
	{ "raising", "#f8d0d0", "#c62828" }, { "not_raising", "#d9f2d9", "#2e7d32" },
};
#define N_COLOURS ((int)(sizeof colours / sizeof colours[0]))

static const struct {
	const char *kind, *dot, *mermaid_open, *mermaid_close;
} shapes[] = {		/* the last is for all other kinds */
	{ "variable", "shape=box", "[", "]" },
	{ "evidence", "shape=box, style=\"rounded,filled\"", "(", ")" },
	{ "event", "shape=hexagon", "{{", "}}" },
	{ NULL, "shape=box", "[", "]" },
};

static size_t
shape_of(const char *kind)
{
	size_t i = 0;

	while (shapes[i].kind && strcmp(shapes[i].kind, kind))
		i++;
	return i;
}

/* -1: a state without a colour, or none. */
static int
colour_of(const char *state)
{
	for (int i = 0; state && i < N_COLOURS; i++)
		if (!strcmp(colours[i].state, state))
			return i;
	return -1;
}

static struct graph_look
look_at(const struct drawing *d, int node)
{
	struct graph_look none = { 0 };

	return d->look ? d->look(d->arg, node) : none;
}

/* TEXT as one line of a label, each character of N bytes through QUOTE. */
static void
add_label(struct str *out, const char *text,
    void (*quote)(struct str *, const char *c, size_t n))
{
	struct str all = STR_INIT, line = STR_INIT;
	size_t n;

	str_visible(&all, text);
	str_clip(&line, str_text(&all), LABEL);
	for (const char *c = str_text(&line); *c; c += n) {
		n = str_char(c, 4);
		quote(out, c, n);
	}
	str_done(&line);
	str_done(&all);
}

/* --- DOT --- */

/* Inside quotes a backslash begins an escape (\N is the node's name), and '&'
 * an entity, although nothing else of HTML is understood there. */
static void
quote_dot(struct str *out, const char *c, size_t n)
{
	if (*c == '&')
		str_puts(out, "&amp;");
	else {
		if (*c == '"' || *c == '\\')
			str_putc(out, '\\');
		str_add(out, c, n);
	}
}

static void
dot_node(struct drawing *d, int node)
{
	struct graph_look look = look_at(d, node);
	int colour = colour_of(look.state);

	str_printf(d->out, "\t\tn%d [label=\"", node);
	add_label(d->out, graph_name(d->graph, node), quote_dot);
	if (look.note) {
		str_puts(d->out, "\\n");
		add_label(d->out, look.note, quote_dot);
	}
	str_printf(d->out, "\", %s", shapes[shape_of(graph_kind(d->graph, node))].dot);
	if (look.state) {
		str_puts(d->out, ", tooltip=\"");
		add_label(d->out, look.state, quote_dot);
		str_putc(d->out, '"');
	}
	if (colour >= 0)
		str_printf(d->out, ", class=\"%s\", fillcolor=\"%s\", color=\"%s\"",
		    colours[colour].state, colours[colour].fill, colours[colour].line);
	str_puts(d->out, "];\n");
}

static void
draw_dot(struct drawing *d)
{
	size_t n, count = graph_count(d->graph);

	str_puts(d->out, "digraph tocsin {\n"
	    "\trankdir=LR;\n"
	    "\tnode [fontname=\"sans-serif\", fontsize=11, style=filled, fillcolor=\"#ffffff\"];\n"
	    "\tgraph [fontname=\"sans-serif\", fontsize=11, color=\"#bdbdbd\"];\n"
	    "\tedge [color=\"#757575\"];\n");
	for (size_t k = 0; k < d->kinds.n; k++) {
		str_printf(d->out, "\tsubgraph cluster_%zu {\n\t\tlabel=\"", k);
		add_label(d->out, d->kinds.at[k], quote_dot);
		str_puts(d->out, "\";\n");
		for (size_t i = 0; i < count; i++)
			if (!strcmp(graph_kind(d->graph, (int)i), d->kinds.at[k]))
				dot_node(d, (int)i);
		str_puts(d->out, "\t}\n");
	}
	for (size_t i = 0; i < count; i++) {
		const int *down = graph_downstream(d->graph, (int)i, &n);

		for (size_t j = 0; j < n; j++)
			str_printf(d->out, "\tn%zu -> n%d;\n", i, down[j]);
	}
	str_puts(d->out, "}\n");
}

/* --- Mermaid --- */

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Mermaid looks for syntax everywhere, also inside quotes ("%%{init" is a
 * directive, "`" begins Markdown, "1. " a list, "#" an entity): only what is
 * certainly plain goes through. */
static void
quote_mermaid(struct str *out, const char *c, size_t n)
{
	if (n > 1 || *c == ' ' || *c == '_' || is_digit(*c) || (*c == '.' && is_digit(c[1])) ||
	    (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z'))
		str_add(out, c, n);
	else
		str_printf(out, "#%d;", *c);
}

static void
mermaid_node(struct drawing *d, int node)
{
	struct graph_look look = look_at(d, node);
	size_t shape = shape_of(graph_kind(d->graph, node));
	int colour = colour_of(look.state);

	str_printf(d->out, "\t\tn%d%s\"", node, shapes[shape].mermaid_open);
	add_label(d->out, graph_name(d->graph, node), quote_mermaid);
	if (look.note) {
		str_puts(d->out, "<br/>");
		add_label(d->out, look.note, quote_mermaid);
	}
	str_printf(d->out, "\"%s", shapes[shape].mermaid_close);
	if (colour >= 0)
		str_printf(d->out, ":::%s", colours[colour].state);
	str_putc(d->out, '\n');
}

static void
draw_mermaid(struct drawing *d)
{
	size_t n, count = graph_count(d->graph);

	str_puts(d->out, "flowchart LR\n");
	for (size_t k = 0; k < d->kinds.n; k++) {
		str_printf(d->out, "\tsubgraph k%zu [\"", k);
		add_label(d->out, d->kinds.at[k], quote_mermaid);
		str_puts(d->out, "\"]\n");
		for (size_t i = 0; i < count; i++)
			if (!strcmp(graph_kind(d->graph, (int)i), d->kinds.at[k]))
				mermaid_node(d, (int)i);
		str_puts(d->out, "\tend\n");
	}
	for (size_t i = 0; i < count; i++) {
		const int *down = graph_downstream(d->graph, (int)i, &n);

		for (size_t j = 0; j < n; j++)
			str_printf(d->out, "\tn%zu --> n%d\n", i, down[j]);
	}
	for (int i = 0; d->look && i < N_COLOURS; i++)
		str_printf(d->out, "\tclassDef %s fill:%s,stroke:%s\n",
		    colours[i].state, colours[i].fill, colours[i].line);
}

/* --- JSON --- */

static void
json_pair(struct str *out, const char *key, const char *value)
{
	if (!value)
		return;
	str_printf(out, ",\"%s\":", key);
	json_append_text(out, value, strlen(value));
}

static void
draw_json(struct drawing *d)
{
	size_t n, count = graph_count(d->graph);
	const char *comma = "";

	str_puts(d->out, "{\"nodes\":[");
	for (size_t i = 0; i < count; i++) {
		struct graph_look look = look_at(d, (int)i);

		str_printf(d->out, "%s\n{\"id\":%zu", i ? "," : "", i);
		json_pair(d->out, "kind", graph_kind(d->graph, (int)i));
		json_pair(d->out, "name", graph_name(d->graph, (int)i));
		json_pair(d->out, "state", look.state);
		json_pair(d->out, "note", look.note);
		str_putc(d->out, '}');
	}
	str_puts(d->out, "],\n\"edges\":[");
	for (size_t i = 0; i < count; i++) {
		const int *down = graph_downstream(d->graph, (int)i, &n);

		for (size_t j = 0; j < n; j++, comma = ",")
			str_printf(d->out, "%s\n{\"from\":%zu,\"to\":%d}", comma, i, down[j]);
	}
	str_puts(d->out, "]}\n");
}

static void
find_kinds(struct drawing *d)
{
	size_t count = graph_count(d->graph), k;

	for (size_t i = 0; i < count; i++) {
		const char *kind = graph_kind(d->graph, (int)i);

		for (k = 0; k < d->kinds.n && strcmp(d->kinds.at[k], kind); k++)
			;
		if (k == d->kinds.n)
			vec_push(&d->kinds, kind);
	}
}

void
graph_draw(const struct graph *g, enum graph_format format,
    struct graph_look (*look)(void *arg, int node), void *arg, struct str *out)
{
	static void (*const draw[])(struct drawing *) = {
		[GRAPH_DOT] = draw_dot, [GRAPH_MERMAID] = draw_mermaid,
		[GRAPH_JSON] = draw_json,
	};
	struct drawing d = { .graph = g, .look = look, .arg = arg, .out = out };

	find_kinds(&d);
	draw[format](&d);
	vec_done(&d.kinds);
}
