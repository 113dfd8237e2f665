/* model.c - many definitions, by name, and as a graph. */
#include "model/model.h"
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/toml.h"
#include "graph/graph.h"
#include "model/index.h"

static const char *const tables[KIND_COUNT] = {
	[VARIABLE] = "variables", [EVIDENCE] = "evidences", [EVENT] = "events",
	[REACTION] = "reactions",
};

const char *
kind_table(enum kind kind)
{
	return tables[kind];
}

const char *
kind_with_article(enum kind kind)
{
	static const char *const texts[KIND_COUNT] = {
		[VARIABLE] = "a variable", [EVIDENCE] = "an evidence",
		[EVENT] = "an event", [REACTION] = "a reaction",
	};

	return texts[kind];
}

struct model *
model_new(void)
{
	struct model *m = xcalloc(1, sizeof *m);

	m->index = xcalloc(1, sizeof *m->index);
	for (int i = 0; i < KIND_COUNT; i++)
		m->index->places[i] = json_object();
	return m;
}

static void
definition_free(struct definition *d)
{
	switch (d->kind) {
	case VARIABLE: variable_done(&d->u.variable); break;
	case EVIDENCE: evidence_done(&d->u.evidence); break;
	case EVENT: event_done(&d->u.event); break;
	case REACTION: reaction_done(&d->u.reaction); break;
	case KIND_COUNT: break;
	}
	free(d->name);
	free(d->file);
	json_decref(d->body);
	free(d);
}

void
model_free(struct model *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n; i++)
		definition_free(m->at[i]);
	free(m->at);
	for (int i = 0; i < KIND_COUNT; i++)
		json_decref(m->index->places[i]);
	for (size_t i = 0; i < m->index->files.n; i++)
		toml_free(m->index->files.at[i]);
	vec_done(&m->index->files);
	free(m->index);
	free(m);
}

struct definition *
model_find(const struct model *m, enum kind kind, const char *name)
{
	const json_t *place = json_object_get(m->index->places[kind], name);

	return place ? m->at[json_integer_value(place)] : NULL;
}

bool
definition_is_active(const struct definition *d)
{
	return !json_is_false(json_object_get(d->body, "active"));
}

void
definition_place(const struct definition *d, const char *key, const char *part,
    int *line, int *column)
{
	const char *path[] = { kind_table(d->kind), d->name, key, part };
	size_t depth = part ? 4 : 3;
	bool inside = *line > 0;

	if (key && d->toml && inside)
		toml_place_inside(d->toml, path, depth, line, column);
	else if (key && d->toml)
		toml_place(d->toml, path, depth, line, column);
	if (!key || !d->toml || *line == 0) {
		*line = d->line;
		*column = d->column;
	}
}

/* The names in a definition, upstream of it; of KIND. */
static const struct expr *
upstream(const struct definition *d, enum kind *kind)
{
	if (d->kind == EVIDENCE) {
		*kind = VARIABLE;
		return d->u.evidence.expr;
	}
	if (d->kind == EVENT) {
		*kind = EVIDENCE;
		return d->u.event.expr;
	}
	return NULL;
}

struct graph *
model_graph(const struct model *m)
{
	struct graph *g = graph_new();

	for (size_t i = 0; i < m->n; i++)
		if (m->at[i]->kind != REACTION)
			graph_node(g, kind_text(m->at[i]->kind), m->at[i]->name);
	for (size_t i = 0; i < m->n; i++) {
		const struct definition *d = m->at[i];
		const char *const *names;
		enum kind kind;
		const struct expr *e = upstream(d, &kind);
		size_t n = e ? expr_names(e, &names) : 0;

		for (size_t j = 0; j < n; j++)
			graph_edge(g, graph_node(g, kind_text(kind), names[j]),
			    graph_node(g, kind_text(d->kind), d->name));
	}
	return g;
}
