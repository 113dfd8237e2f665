/* Looking the books over: what a role may do, and whether all holds that must.
 *
 * The answers are JSON, new references; NULL with ERR. */
#ifndef STORE_INSPECT_H
#define STORE_INSPECT_H

#include <jansson.h>
#include <libpq-fe.h>
#include <stddef.h>
#include <stdint.h>

struct conf;
struct err;

/* Promises about the books, each with a query for its breaches: sql/invariants.sql,
 * built into the program.  $1 is the first run to look at. */
struct invariant {
	const char *promise, *sql;
};
extern const struct invariant invariants[];
extern const size_t invariants_count;

/* The id of the oldest of the last RUNS runs; 0 for RUNS 0: all of them. */
int inspect_since(PGconn *, int64_t runs, int64_t *since, struct err *);
/* {"promise", "breaches": how many, "examples": [up to three rows as text]};
 * json null where the promise is kept. */
json_t *inspect_invariant(PGconn *, const struct invariant *, int64_t since, struct err *);

/* The server and what our role is there: version, standby, local, ssl, superuser,
 * may_write, fsync, now, and what else doctor.c reads. */
json_t *inspect_server(PGconn *, struct err *);
/* As what user SQL runs, and what it could do beyond SELECT: role, login, beyond
 * (texts as "may write to table ledger and 2 more"). */
json_t *inspect_measuring(const struct conf *, struct err *);
/* The names of the queues that current variables ask for. */
json_t *inspect_queues(PGconn *, struct err *);

#endif
