/* versions.c - definitions, parsed once and kept.
 *
 * A hash table by id, chained, and a list in which who is looked for and found has a
 * second chance (the clock algorithm): a use costs no more than the look. */
#include "engine/versions.h"
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "store/claim.h"

enum { SLOTS = VERSIONS_KEPT };	/* untouched ones cost no memory */

struct entry {
	struct version version;		/* first: a version is its entry */
	char *why;
	size_t held;
	bool used;			/* since its last chance */
	struct entry *chain;
	struct entry *newer;
};

struct versions {
	struct entry *slot[SLOTS];
	struct entry *oldest, **end;
	size_t n, most;
};

struct versions *
versions_new(size_t most)
{
	struct versions *v = xcalloc(1, sizeof *v);

	v->most = most;
	v->end = &v->oldest;
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
	struct entry *newer;

	if (!v)
		return;
	for (struct entry *e = v->oldest; e; e = newer) {
		newer = e->newer;
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

struct version *
versions_hold(struct versions *v, int64_t id)
{
	struct entry *e = *slot_of(v, id);

	if (!e)
		return NULL;
	e->held++;
	e->used = true;
	return &e->version;
}

void
versions_release(struct versions *v, struct version *version)
{
	if (version)
		((struct entry *)version)->held--;
}

static struct entry *
take_oldest(struct versions *v)
{
	struct entry *e = v->oldest;

	if (!(v->oldest = e->newer))
		v->end = &v->oldest;
	return e;
}

static void
list(struct versions *v, struct entry *e)
{
	e->newer = NULL;
	*v->end = e;
	v->end = &e->newer;
}

/* The oldest that is neither held nor has been used since it was the oldest last. */
static void
drop_one(struct versions *v)
{
	for (size_t chances = 2 * v->n; chances; chances--) {
		struct entry *e = take_oldest(v);

		if (!e->held && !e->used) {
			*slot_of(v, e->version.id) = e->chain;
			entry_free(e);
			v->n--;
			return;
		}
		e->used = false;
		list(v, e);
	}
}

static struct entry *
add(struct versions *v, int64_t id)
{
	struct entry **slot = slot_of(v, id), *e;

	if (*slot)
		return NULL;
	if (v->n >= v->most) {
		drop_one(v);
		slot = slot_of(v, id);	/* it may have been the last of the chain */
	}
	e = *slot = xcalloc(1, sizeof *e);
	e->version.id = id;
	list(v, e);
	v->n++;
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
