/* Jobs that are done, as this worker has seen them: they never change again.
 *
 * What is at hand here need not be read from the books when it decides something
 * or when a signal tells of it.  Bounded by bytes: the oldest goes first. */
#ifndef ENGINE_FACTS_H
#define ENGINE_FACTS_H

#include <stddef.h>
#include "store/settle.h"

struct facts;

enum { FACTS_BYTES = 8 << 20 };	/* some 30 000 of them */

struct facts *facts_new(size_t most_bytes);
void facts_free(struct facts *);
/* Lent until the next facts_take(); NULL: not known here. */
const struct fact *facts_find(const struct facts *, struct job_key);
/* Of a job that is done, and committed.  What FACT holds is taken from it. */
void facts_take(struct facts *, struct fact *);
/* They are of other books. */
void facts_clear(struct facts *);

#endif
