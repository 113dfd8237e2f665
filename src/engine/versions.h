/* Definitions by the number of their version, parsed once.
 *
 * Versions never change, so a cache of them is never stale.  Bounded: when it
 * is full, one goes that has not been used for long.  One takes about 1.2 KiB. */
#ifndef ENGINE_VERSIONS_H
#define ENGINE_VERSIONS_H

#include <libpq-fe.h>
#include <stdint.h>
#include "model/model.h"

struct versions;

/* Larger graphs are computed, too, but all their definitions are read in each cycle. */
enum { VERSIONS_KEPT = 1 << 19 };

struct version {
	int64_t id;
	enum kind kind;
	const char *broken;		/* why it cannot be used, or NULL */
	char *hash;			/* of an event's definition; else NULL */
	union {
		struct variable variable;
		struct evidence evidence;
		struct event event;
		struct reaction reaction;
	} u;
};

struct versions *versions_new(size_t most);
void versions_free(struct versions *);
/* Held until released: a version in use is never dropped. NULL: not known here. */
struct version *versions_hold(struct versions *, int64_t id);
void versions_release(struct versions *, struct version *);
/* All of an answer to claim_say_versions() or claim_say_versions_of_jobs(). */
void versions_read(struct versions *, const PGresult *);
/* The id, if it is not known by now, is not in the books: remember that, as a broken version. */
void versions_add_missing(struct versions *, int64_t id);

#endif
