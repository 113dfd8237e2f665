/* graph.c - draw the graph, of what is loaded or of one cycle. */
#include "cli/cmd.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "base/vec.h"
#include "cli/number.h"
#include "cli/print.h"
#include "cli/read.h"
#include "graph/graph.h"
#include "model/model.h"
#include "store/report.h"
#include "store/store.h"

struct drawing {
	struct graph *graph;
	json_t *rows;			/* of the books; NULL: from files */
	VEC(char *) notes;
};

static const char *
text_of(const json_t *row, const char *key)
{
	return json_string_value(json_object_get(row, key));
}

/* Nodes are numbered as the rows are. */
static struct graph_look
look(void *arg, int node)
{
	struct drawing *d = arg;
	const json_t *row = json_array_get(d->rows, (size_t)node), *value, *truth;
	struct graph_look looks = { text_of(row, "state"), NULL };
	char *note = NULL;

	value = json_object_get(row, "value");
	truth = json_object_get(row, "truth");
	if (json_is_boolean(truth))
		note = xstrdup(json_is_true(truth) ? "true" : "false");
	else if (value && !json_is_null(value))
		note = json_canonical(value);
	if (note) {
		cut_text(note, 40);
		vec_push(&d->notes, note);
	}
	looks.note = note;
	return looks;
}

static void
build(struct drawing *d)
{
	size_t i, k;
	json_t *row, *up;

	d->graph = graph_new();
	json_array_foreach(d->rows, i, row)
		graph_node(d->graph, text_of(row, "kind"), text_of(row, "name"));
	json_array_foreach(d->rows, i, row) {
		const char *below = !strcmp(text_of(row, "kind"), "event") ? "evidence" : "variable";

		json_array_foreach(json_object_get(row, "upstream"), k, up)
			graph_edge(d->graph, graph_node(d->graph, below, json_string_value(up)),
			    (int)i);
	}
}

/* Let graphviz make a picture of TEXT. */
static int
print_svg(const char *dot, struct err *err)
{
	FILE *pipe;
	int status;

	fflush(stdout);
	pipe = popen("exec dot -Tsvg", "w");
	if (!pipe)
		return err_set(err, "cannot start dot: %s", strerror(errno));
	fputs(dot, pipe);
	status = pclose(pipe);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return err_set(err, "there is no 'dot' here: install graphviz, "
		    "or use --format dot");
	if (status)
		return err_set(err, "dot could not draw the graph");
	return 0;
}

static int
draw(struct drawing *d, const char *format, struct err *err)
{
	struct str out = STR_INIT;
	bool svg = !strcmp(format, "svg");
	enum graph_format f = !strcmp(format, "mermaid") ? GRAPH_MERMAID
	    : !strcmp(format, "json") ? GRAPH_JSON : GRAPH_DOT;
	int rc = 0;

	graph_draw(d->graph, f, d->rows ? look : NULL, d, &out);
	if (svg)
		rc = print_svg(str_text(&out), err);
	else
		fputs(str_text(&out), stdout);
	str_done(&out);
	return rc;
}

static int
from_books(struct call *call, struct drawing *d, struct err *err)
{
	const char *cycle = opts_get(call, "cycle");
	int64_t run = 0;
	PGconn *conn;

	if (cycle && read_number(cycle, "--cycle", &run, err))
		return -1;
	if (!(conn = store_open(call->conf, err)))
		return -1;
	d->rows = report_graph(conn, run, err);
	PQfinish(conn);
	if (!d->rows)
		return -1;
	if (run && !json_array_size(d->rows))
		return err_set(err, "there is no cycle %s, or it had nothing to do", cycle);
	build(d);
	return 0;
}

static int
run(struct call *call, struct err *err)
{
	static const char *const formats[] = { "dot", "mermaid", "json", "svg" };
	const char *format = opts_get(call, "format") ? opts_get(call, "format") : "dot";
	struct model *model = call->n_arguments ? model_new() : NULL;
	struct drawing d = { 0 };
	struct str warnings = STR_INIT;
	bool known = false;
	int rc = -1;

	for (size_t i = 0; i < 4; i++)
		known |= !strcmp(format, formats[i]);
	if (model && opts_has(call, "cycle"))
		err_class(err, ERR_USAGE, "--cycle is of the books, and FILE is not: give one of them");
	else if (!known)
		err_class(err, ERR_USAGE, "--format is dot, mermaid, json or svg, not '%s'", format);
	else if (!model)
		rc = from_books(call, &d, err);
	else if (!(rc = read_model(model, call, NULL, NULL, &warnings, err)))
		d.graph = model_graph(model);
	if (!rc)
		rc = draw(&d, format, err);
	for (size_t i = 0; i < d.notes.n; i++)
		free(d.notes.at[i]);
	vec_done(&d.notes);
	json_decref(d.rows);
	graph_free(d.graph);
	str_done(&warnings);
	if (model)
		model_free(model);
	return rc;
}

static const struct opt options[] = {
	{ "format", 'f', "FORMAT", "dot (default), mermaid, svg (needs graphviz) or json" },
	{ "cycle", 0, "N", "the graph of cycle N, with states and values" },
	{ NULL, 0, NULL, NULL },
};

const struct command cmd_graph = {
	.name = "graph",
	.synopsis = "[FILE...] [--format dot|mermaid|svg|json] [--cycle N]",
	.summary = "draw variables, evidences and events",
	.description = "Draws the graph of what is loaded, of definitions in files (no database needed), or\n"
	    "of one cycle with the states of its jobs.",
	.most = ARGUMENTS_MANY,
	.options = options,
	.run = run,
};
