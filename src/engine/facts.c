/* facts.c - a hash table by key, chained, and a list in the order of arrival. */
#include "engine/facts.h"
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"

enum { SLOTS = 1 << 16 };		/* untouched ones cost no memory */

struct entry {
	struct fact fact;
	size_t bytes;
	struct entry *chain;
	struct entry *newer;
};

struct facts {
	struct entry *slot[SLOTS];
	struct entry *oldest, **end;
	size_t bytes, most;
};

struct facts *
facts_new(size_t most_bytes)
{
	struct facts *f = xcalloc(1, sizeof *f);

	f->most = most_bytes;
	f->end = &f->oldest;
	return f;
}

/* Ids of a run are dense, and a worker sees few runs at a time. */
static struct entry **
slot_of(struct facts *f, struct job_key key)
{
	struct entry **e = &f->slot[((uint64_t)key.run * 40503 + (uint64_t)key.id) % SLOTS];

	while (*e && job_key_compare(&(*e)->fact.key, &key))
		e = &(*e)->chain;
	return e;
}

static void
drop_oldest(struct facts *f)
{
	struct entry *e = f->oldest;

	*slot_of(f, e->fact.key) = e->chain;
	if (!(f->oldest = e->newer))
		f->end = &f->oldest;
	f->bytes -= e->bytes;
	fact_done(&e->fact);
	free(e);
}

void
facts_clear(struct facts *f)
{
	while (f->oldest)
		drop_oldest(f);
}

void
facts_free(struct facts *f)
{
	facts_clear(f);
	free(f);
}

const struct fact *
facts_find(const struct facts *f, struct job_key key)
{
	struct entry *e = *slot_of((struct facts *)f, key);

	return e ? &e->fact : NULL;
}

static size_t
length(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

void
facts_take(struct facts *f, struct fact *fact)
{
	struct entry **slot = slot_of(f, fact->key), *e = *slot;

	if (e)
		fact_done(fact);
	else {
		e = *slot = *f->end = xcalloc(1, sizeof *e);
		f->end = &e->newer;
		e->fact = *fact;
		e->bytes = sizeof *e + length(fact->name) + length(fact->value) +
		    length(fact->note) + fact->upstream.room * sizeof *fact->upstream.at;
		f->bytes += e->bytes;
	}
	*fact = (struct fact){ 0 };
	while (f->bytes > f->most)
		drop_oldest(f);
}
