/* The rows of a result, as they arrive, made into one JSON value.
 *
 * One by one is a scalar, one row an object, one column an array, otherwise an
 * array of objects; no row is null. */
#ifndef EXEC_ROWS_H
#define EXEC_ROWS_H

#include <libpq-fe.h>
#include <stdbool.h>
#include "base/err.h"
#include "base/str.h"

struct rows {
	struct str items;	/* with commas between them */
	size_t n, most;		/* rows; bytes of the value */
	bool started, failed;
	struct err err;		/* why */
};

void rows_init(struct rows *, size_t most);
void rows_done(struct rows *);

/* False: it has failed, no more are wanted. */
bool rows_take(struct rows *, const PGresult *);
char *rows_value(const struct rows *);		/* the caller frees */

#endif
