/* PostgreSQL arrays as text, for unnest($1, $2, ...): the way to say many rows
 * in one statement. */
#ifndef STORE_ARRAY_H
#define STORE_ARRAY_H

#include <stddef.h>
#include <stdint.h>
#include "base/str.h"

/* Zeroed memory is an empty array; array_done() gives the memory back. */
struct array {
	struct str text;
};

void array_text(struct array *, const char *);	/* NULL is null */
void array_int(struct array *, int64_t);
void array_bool(struct array *, int);		/* 0, 1, or -1 for null */
const char *array_literal(struct array *);	/* lends, until the next change */
void array_clear(struct array *);
void array_done(struct array *);

#endif
