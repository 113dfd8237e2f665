/* check.c - do the objects fit together?
 *
 * What one definition says is checked when it is read; here it is about the
 * names in it.  What is not in the files may be in the books: the caller's
 * KNOWN tells. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "graph/graph.h"
#include "model/index.h"
#include "model/problem.h"

struct check {
	const struct model *model;
	bool (*known)(void *arg, enum kind kind, const char *name);
	void *arg;
	struct problems problems, warnings;
	json_t *used[KIND_COUNT];	/* the names that something uses */
};

static bool
exists(const struct check *c, enum kind kind, const char *name)
{
	return model_find(c->model, kind, name) || (c->known && c->known(c->arg, kind, name));
}

static const char *
nearest(const struct check *c, enum kind kind, const char *name)
{
	VEC(const char *) names = { 0 };
	const char *near;

	for (size_t i = 0; i < c->model->n; i++)
		if (c->model->at[i]->kind == kind)
			vec_push(&names, c->model->at[i]->name);
	near = str_nearest(name, names.at, names.n);
	vec_done(&names);
	return near;
}

/* NAME, in the KEY of D, is to be one of the KIND.  *LINE, *COLUMN as for
 * definition_place(). */
static void
check_name(struct check *c, const struct definition *d, const char *key, const char *part,
    enum kind kind, const char *name, int line, int column)
{
	static const enum kind others[] = { VARIABLE, EVIDENCE, EVENT };
	const char *near;

	json_object_set_new(c->used[kind], name, json_true());
	if (exists(c, kind, name))
		return;
	definition_place(d, key, part, &line, &column);
	for (int i = 0; i < 3; i++)
		if (others[i] != kind && exists(c, others[i], name)) {
			problem_add(&c->problems, d->file, line, column,
			    "%s.%s.%s: '%s' is %s; %s's %s names %s", kind_table(d->kind), d->name,
			    key, name, kind_with_article(others[i]), kind_with_article(d->kind),
			    d->kind == REACTION ? "list" : "definition", kind_table(kind));
			return;
		}
	/* The search is dear, and what is not shown needs none. */
	near = c->problems.n < PROBLEM_MOST ? nearest(c, kind, name) : NULL;
	problem_add(&c->problems, d->file, line, column, near ?
	    "%s.%s.%s: there is no %s '%s'; did you mean '%s'?" :
	    "%s.%s.%s: there is no %s '%s'", kind_table(d->kind), d->name, key,
	    kind_text(kind), name, near);
}

static void
check_expression(struct check *c, const struct definition *d, const struct expr *e,
    enum kind kind)
{
	const char *const *names;
	size_t n = e ? expr_names(e, &names) : 0;

	for (size_t i = 0; i < n; i++) {
		int line, column;

		expr_name_at(e, i, &line, &column);
		check_name(c, d, "definition", NULL, kind, names[i], line, column);
	}
}

static void
check_reaction(struct check *c, const struct definition *d)
{
	char part[24];

	for (size_t i = 0; d->u.reaction.events && d->u.reaction.events[i]; i++) {
		snprintf(part, sizeof part, "%zu", i);
		check_name(c, d, "events", part, EVENT, d->u.reaction.events[i], 0, 0);
	}
}

/* Variables and evidences share their names, also with those in the books. */
static void
check_rival(struct check *c, const struct definition *d)
{
	enum kind other = d->kind == VARIABLE ? EVIDENCE : VARIABLE;

	if (c->known && d->kind <= EVIDENCE && !c->known(c->arg, d->kind, d->name) &&
	    c->known(c->arg, other, d->name))
		problem_add(&c->problems, d->file, d->line, d->column,
		    "%s.%s: '%s' is %s in the books already (variables and evidences "
		    "share their names)",
		    kind_table(d->kind), d->name, d->name, kind_with_article(other));
}

static void
check_definition(struct check *c, const struct definition *d)
{
	check_rival(c, d);
	if (d->kind == EVIDENCE)
		check_expression(c, d, d->u.evidence.expr, VARIABLE);
	else if (d->kind == EVENT)
		check_expression(c, d, d->u.event.expr, EVIDENCE);
	else if (d->kind == REACTION)
		check_reaction(c, d);
}

static void
check_circles(struct check *c)
{
	struct graph *g = model_graph(c->model);
	int *levels = xcalloc(graph_count(g), sizeof *levels);
	struct err err;

	if (graph_levels(g, levels, &err))
		problem_add(&c->problems, c->model->at[0]->file, 0, 0, "%s", err.message);
	free(levels);
	graph_free(g);
}

static void
warn_unused(struct check *c, const struct definition *d)
{
	if (d->kind > EVIDENCE || json_object_get(c->used[d->kind], d->name))
		return;
	problem_add(&c->warnings, d->file, d->line, d->column, d->kind == VARIABLE ?
	    "warning: %s.%s: no evidence uses this variable, so it is never computed" :
	    "warning: %s.%s: no event uses this evidence, so it is never evaluated",
	    kind_table(d->kind), d->name);
}

int
model_check(const struct model *m,
    bool (*known)(void *arg, enum kind kind, const char *name), void *arg,
    struct str *problems, struct str *warnings)
{
	struct check c = { .model = m, .known = known, .arg = arg,
		.problems = { .out = problems }, .warnings = { .out = warnings } };

	for (int i = 0; i < KIND_COUNT; i++)
		c.used[i] = json_object();
	for (size_t i = 0; i < m->n; i++)
		check_definition(&c, m->at[i]);
	if (m->n > 0)
		check_circles(&c);
	for (size_t i = 0; warnings && i < m->n; i++)
		warn_unused(&c, m->at[i]);
	for (int i = 0; i < KIND_COUNT; i++)
		json_decref(c.used[i]);
	problem_end(&c.warnings);
	return problem_end(&c.problems);
}
