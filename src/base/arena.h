/* Memory that is given back all at once.
 *
 * The first allocations come from the caller's own BUF, if it lends one, so
 * that small work needs no malloc.  What comes out is aligned for anything
 * and not initialised.  Zeroed memory is an empty arena without a buffer. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
	struct arena_block *blocks;
	char *at, *end;		/* what is left of the newest block */
	size_t next;		/* the size of the next block */
};

void arena_init(struct arena *, void *buf, size_t n);
void arena_done(struct arena *);
void *arena_alloc(struct arena *, size_t n);
char *arena_strndup(struct arena *, const char *, size_t);	/* adds a NUL */

#endif
