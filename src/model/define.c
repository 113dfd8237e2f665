/* define.c - TOML files into definitions.
 *
 * A file has a table for each kind; in it each object is a table, which as
 * JSON is the object's body.  The body is read by the same function that a
 * worker will use on the one from the books, and what that finds wrong is put
 * where it stands in the file. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/toml.h"
#include "model/index.h"
#include "model/problem.h"
#include "model/read.h"

#define DEEPEST_DIRECTORY 32

/* One reading of files into a model. */
struct reading {
	struct model *model;
	struct problems problems;
	const char *file;
	const struct toml *toml;
};

/* --- one object --- */

/* Variables and evidences share their names. */
static const struct definition *
find_rival(const struct model *m, enum kind kind, const char *name)
{
	const struct definition *d = model_find(m, kind, name);

	if (!d && kind == VARIABLE)
		d = model_find(m, EVIDENCE, name);
	if (!d && kind == EVIDENCE)
		d = model_find(m, VARIABLE, name);
	return d;
}

static bool
name_is_free(struct reading *r, enum kind kind, const char *name, int line, int column)
{
	const struct definition *rival = find_rival(r->model, kind, name);
	struct err err;

	if (expr_check_name(name, &err))
		problem_add(&r->problems, r->file, line, column, "%s.%s: %s",
		    kind_table(kind), name, err.message);
	else if (rival)
		problem_add(&r->problems, r->file, line, column,
		    "%s.%s: '%s' is %s already, at %s:%d:%d%s", kind_table(kind), name, name,
		    kind_with_article(rival->kind), rival->file, rival->line, rival->column,
		    rival->kind == kind ? "" : " (variables and evidences share their names)");
	else
		return true;
	return false;
}

static struct definition *
add_definition(struct reading *r, enum kind kind, const char *name, const json_t *body)
{
	struct definition *d = xcalloc(1, sizeof *d);
	struct model *m = r->model;

	d->kind = kind;
	d->name = xstrdup(name);
	d->file = xstrdup(r->file);
	d->toml = r->toml;
	d->body = json_incref((json_t *)(uintptr_t)body);
	if (m->n == m->index->room) {
		m->index->room = m->n < 64 ? 64 : m->n * 2;
		m->at = xreallocarray(m->at, m->index->room, sizeof *m->at);
	}
	json_object_set_new(m->index->places[kind], name, json_integer((json_int_t)m->n));
	m->at[m->n++] = d;
	return d;
}

static void
read_object(struct definition *d, struct body *b)
{
	switch (d->kind) {
	case VARIABLE: variable_read(&d->u.variable, b); break;
	case EVIDENCE: evidence_read(&d->u.evidence, b); break;
	case EVENT: event_read(&d->u.event, b); break;
	case REACTION: reaction_read(&d->u.reaction, b); break;
	case KIND_COUNT: break;
	}
}

struct placed {
	int line, column;
	const struct fault *fault;
};

static struct placed
place_fault(struct reading *r, const struct definition *d, const struct fault *f)
{
	const char *path[] = { kind_table(d->kind), d->name, f->key, f->part };
	struct placed p = { .line = f->err.line, .column = f->err.column, .fault = f };

	if (f->in_key) {
		toml_key_place(r->toml, path, f->part ? 4 : 3, &p.line, &p.column);
		if (p.line > 0)
			return p;
	}
	definition_place(d, f->key, f->part, &p.line, &p.column);
	return p;
}

static int
by_place(const void *a, const void *b)
{
	const struct placed *p = a, *q = b;

	return p->line != q->line ? p->line - q->line :
	    p->column != q->column ? p->column - q->column :
	    p->fault < q->fault ? -1 : p->fault > q->fault;
}

static void
report_faults(struct reading *r, const struct definition *d, const struct body *b)
{
	VEC(struct placed) placed = { 0 };

	for (size_t i = 0; i < b->faults.n; i++)
		vec_push(&placed, place_fault(r, d, &b->faults.at[i]));
	if (placed.n > 0)
		qsort(placed.at, placed.n, sizeof *placed.at, by_place);
	for (size_t i = 0; i < placed.n; i++) {
		const struct fault *f = placed.at[i].fault;

		problem_add(&r->problems, r->file, placed.at[i].line, placed.at[i].column,
		    "%s.%s%s%s: %s", kind_table(d->kind), d->name, f->key ? "." : "",
		    f->key ? f->key : "", f->err.message);
	}
	vec_done(&placed);
}

static void
read_definition(struct reading *r, enum kind kind, const char *name, const json_t *body)
{
	const char *path[] = { kind_table(kind), name };
	struct definition *d;
	struct body b = { .json = body };
	struct err ignored;
	int line, column;

	toml_key_place(r->toml, path, 2, &line, &column);
	if (!name_is_free(r, kind, name, line, column))
		return;
	if (!json_is_object(body)) {
		problem_add(&r->problems, r->file, line, column, "%s.%s: this is %s; a table is "
		    "wanted, [%s.%s]", kind_table(kind), name, body_kind(body),
		    kind_table(kind), name);
		return;
	}
	if (r->model->n == MODEL_MAX_OBJECTS) {
		problem_add(&r->problems, r->file, line, column, "%s.%s: more than %d objects",
		    kind_table(kind), name, MODEL_MAX_OBJECTS);
		return;
	}
	d = add_definition(r, kind, name, body);
	d->line = line;
	d->column = column;
	read_object(d, &b);
	report_faults(r, d, &b);
	body_done(&b, &ignored);
}

/* --- one file --- */

static int
table_find(const char *key)
{
	for (int kind = 0; kind < KIND_COUNT; kind++)
		if (!strcmp(kind_table((enum kind)kind), key))
			return kind;
	return -1;
}

static void
unknown_table(struct reading *r, const char *key, int line, int column)
{
	const char *all[KIND_COUNT], *near;

	for (int i = 0; i < KIND_COUNT; i++)
		all[i] = kind_table((enum kind)i);
	near = str_nearest(key, all, KIND_COUNT);
	problem_add(&r->problems, r->file, line, column, near ?
	    "'%s' is nothing that can be defined; did you mean '%s'?" :
	    "'%s' is nothing that can be defined; a file has variables, evidences, "
	    "events and reactions", key, near);
}

static void
read_table(struct reading *r, const char *key, const json_t *table)
{
	int kind = table_find(key), line, column;
	const char *name;
	json_t *body;

	toml_key_place(r->toml, &key, 1, &line, &column);
	if (kind < 0) {
		unknown_table(r, key, line, column);
		return;
	}
	if (!json_is_object(table)) {
		problem_add(&r->problems, r->file, line, column,
		    "'%s' is %s; a table is wanted, as [%s.NAME]", key, body_kind(table), key);
		return;
	}
	json_object_foreach((json_t *)(uintptr_t)table, name, body)
		read_definition(r, (enum kind)kind, name, body);
}

/* Takes TOML, which may be NULL: then ERR says why. */
static void
read_document(struct reading *r, const char *file, struct toml *toml, const struct err *err)
{
	const char *key;
	json_t *table;

	if (!toml) {
		problem_add(&r->problems, file, err->line, err->column, "%s", err->message);
		return;
	}
	vec_push(&r->model->index->files, toml);
	r->file = file;
	r->toml = toml;
	json_object_foreach((json_t *)(uintptr_t)toml_root(toml), key, table)
		read_table(r, key, table);
}

static void
read_file(struct reading *r, const char *path)
{
	struct err err;
	struct toml *toml = toml_open(path, &err);

	read_document(r, strcmp(path, "-") ? path : "(standard input)", toml, &err);
}

/* --- a directory --- */

static bool
ends_in(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n > m && !strcmp(text + n - m, end);
}

static int
is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static int
by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* A link to a file is followed, one to a directory is not: it could lead back.
 * Returns how many files there were. */
static size_t
read_directory(struct reading *r, const char *path, int depth)
{
	struct dirent **entries;
	int n = scandir(path, &entries, is_visible, by_name);
	size_t files = 0;

	if (n < 0)
		problem_add(&r->problems, path, 0, 0, "cannot read the directory: %s",
		    strerror(errno));
	for (int i = 0; i < n; i++) {
		char *inner = xasprintf("%s%s%s", path, ends_in(path, "/") ? "" : "/",
		    entries[i]->d_name);
		struct stat st, link;

		if (stat(inner, &st) || lstat(inner, &link))
			st.st_mode = link.st_mode = S_IFREG;	/* to be opened, and complained of */
		if (S_ISDIR(link.st_mode) && depth < DEEPEST_DIRECTORY) {
			files += read_directory(r, inner, depth + 1);
		} else if (S_ISREG(st.st_mode) && ends_in(inner, ".toml")) {
			read_file(r, inner);
			files++;
		}
		free(inner);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	return files;
}

int
model_read(struct model *m, const char *path, struct str *problems)
{
	struct reading r = { .model = m, .problems = { .out = problems } };
	struct stat st;

	if (!strcmp(path, "-") || stat(path, &st) || !S_ISDIR(st.st_mode))
		read_file(&r, path);
	else if (read_directory(&r, path, 0) == 0 && r.problems.n == 0)
		problem_add(&r.problems, path, 0, 0, "there is no *.toml below this directory");
	return problem_end(&r.problems);
}

int
model_read_text(struct model *m, const char *name, const char *text, size_t len,
    struct str *problems)
{
	struct reading r = { .model = m, .problems = { .out = problems } };
	struct err err;
	struct toml *toml = toml_parse(text, len, &err);

	read_document(&r, name, toml, &err);
	return problem_end(&r.problems);
}
