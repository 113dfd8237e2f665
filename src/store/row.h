/* Reading a row of a result: columns as what they are. */
#ifndef STORE_ROW_H
#define STORE_ROW_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/clock.h"
#include "expr/expr.h"

/* SQL: the jobs of RUN whose ids are in the array IDS, as ALIAS, each by its key.
 * "offset 0" keeps the planner from reading all jobs of the run instead, which is
 * what it likes as long as nobody has told it how many there are. */
#define EACH_JOB(alias, run, ids) \
	"unnest(" ids ") " alias "_id (id) cross join lateral (select * from tocsin.job" \
	" where run_id = " run " and id = " alias "_id.id offset 0) " alias

int64_t row_number(const PGresult *, int row, int column);	/* null is 0 */
bool row_true(const PGresult *, int row, int column);
const char *row_text(const PGresult *, int row, int column);	/* lends; null is NULL */
char *row_text_dup(const PGresult *, int row, int column);
/* The numbers of an array, "{3,14}", one after the other: AT begins as the
 * column's text, and is NULL after the last. */
const char *row_next_number(const char *at, int *number);
instant row_instant(const PGresult *, int row, int column);	/* null is INSTANT_NEVER */
/* A boolean as text, or 'open'; null is TRUTH_UNKNOWN. */
enum truth row_truth(const PGresult *, int row, int column);

#endif
