/* versions.c - definitions, parsed once and kept.
 *
 * A hash table by id, chained, and a list in the order of use. */
#include "engine/versions.h"
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "store/claim.h"

enum { SLOTS = 1 << 17 };	/* untouched ones cost no memory */

struct entry {
	struct version version;		/* first: a version is its entry */
	char *why;
	size_t held;
	struct entry *chain;
	struct entry *newer, *older;
};

struct versions {
	struct entry *slot[SLOTS];
	struct entry *newest, *oldest;
	size_t n, most;
};

struct versions *
versions_new(size_t most)
{
	struct versions *v = xcalloc(1, sizeof *v);

	v->most = most;
	return v;
}

static void
entry_free(struct entry *e)
{
	if (!e->version.broken)
		switch (e->version.kind) {
		case VARIABLE: variable_done(&e->version.u.variable); break;
		case EVIDENCE: evidence_done(&e->version.u.evidence); break;
		case EVENT: event_done(&e->version.u.event); break;
		default: reaction_done(&e->version.u.reaction); break;
		}
	free(e->version.hash);
	free(e->why);
	free(e);
}

void
versions_free(struct versions *v)
{
	struct entry *older;

	if (!v)
		return;
	for (struct entry *e = v->newest; e; e = older) {
		older = e->older;
		entry_free(e);
	}
	free(v);
}

static struct entry **
slot_of(struct versions *v, int64_t id)
{
	struct entry **e = &v->slot[(uint64_t)id % SLOTS];

	while (*e && (*e)->version.id != id)
		e = &(*e)->chain;
	return e;
}

static void
unlist(struct versions *v, struct entry *e)
{
	*(e->newer ? &e->newer->older : &v->newest) = e->older;
	*(e->older ? &e->older->newer : &v->oldest) = e->newer;
}

static void
list_newest(struct versions *v, struct entry *e)
{
	e->newer = NULL;
	e->older = v->newest;
	*(v->newest ? &v->newest->newer : &v->oldest) = e;
	v->newest = e;
}

struct version *
versions_hold(struct versions *v, int64_t id)
{
	struct entry *e = *slot_of(v, id);

	if (!e)
		return NULL;
	e->held++;
	unlist(v, e);
	list_newest(v, e);
	return &e->version;
}

void
versions_release(struct versions *v, struct version *version)
{
	if (version)
		((struct entry *)version)->held--;
}

static void
drop_oldest(struct versions *v)
{
	struct entry *e = v->oldest, **slot;

	while (e && e->held)
		e = e->newer;
	if (!e)
		return;
	slot = slot_of(v, e->version.id);
	*slot = e->chain;
	unlist(v, e);
	entry_free(e);
	v->n--;
}

static struct entry *
add(struct versions *v, int64_t id)
{
	struct entry **slot = slot_of(v, id), *e;

	if (*slot)
		return NULL;
	e = *slot = xcalloc(1, sizeof *e);
	e->version.id = id;
	list_newest(v, e);
	if (++v->n > v->most) {
		e->held++;		/* not this one */
		drop_oldest(v);
		e->held--;
	}
	return e;
}

static int
init(struct version *version, const json_t *body, struct err *err)
{
	switch (version->kind) {
	case VARIABLE: return variable_init(&version->u.variable, body, err);
	case EVIDENCE: return evidence_init(&version->u.evidence, body, err);
	case EVENT: return event_init(&version->u.event, body, err);
	default: return reaction_init(&version->u.reaction, body, err);
	}
}

static void
read_one(void *arg, int64_t id, enum kind kind, const char *body, const char *hash)
{
	struct entry *e = add(arg, id);
	struct err err;
	json_t *json;

	if (!e)
		return;
	e->version.kind = kind;
	e->version.hash = xstrdup(hash);
	json = json_read(body, strlen(body), &err);
	if (!json || init(&e->version, json, &err)) {
		e->why = xasprintf("its definition cannot be read: %s", err.message);
		e->version.broken = e->why;
	}
	json_decref(json);
}

void
versions_read(struct versions *v, const PGresult *r)
{
	claim_read_versions(r, read_one, v);
}

void
versions_add_missing(struct versions *v, int64_t id)
{
	struct entry *e = add(v, id);

	if (e)
		e->version.broken = "its definition is not in the books";
}
