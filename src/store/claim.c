/* claim.c - take jobs for a lease.
 *
 * Only queued jobs are taken, and rows are locked in the order of their keys,
 * so claims neither wait in a circle nor meet a settling (which touches only
 * running and waiting rows).  Claim and inputs are one transaction: what is
 * read is what the claim saw. */
#include "store/claim.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/pg.h"
#include "store/array.h"
#include "store/migrate.h"
#include "store/row.h"

static const char claim_jobs[] =
    "with q as materialized ("
    " select j.run_id, j.id, j.alone and j.kind = 'variable' as alone from tocsin.job j"
    " join unnest($1::bigint[], $2::integer[]) k (run_id, id) using (run_id, id)"
    " where j.state = 'queued' and " NOT_NEWER("5")
    " order by 1, 2 for update of j"
    "), c as materialized ("
    " select run_id, id from q where not alone union all"
    " (select run_id, id from q where alone order by 1, 2 limit 1)"
    "), u as ("
    " update tocsin.job j set state = 'running', attempts = j.attempts + 1,"
    "  fence = j.fence + 1, worker = $3, started_at = now(),"
    "  lease_until = now() + $4::interval, asked_at = null"
    " from c, tocsin.run r"
    " where j.run_id = c.run_id and j.id = c.id and r.id = c.run_id"
    " returning j.run_id, j.id, j.kind, j.name, j.version, j.fence, j.attempts,"
    "  j.active, j.alone, r.as_of"
    ") select * from u union all"
    " select run_id, id, null, null, null, null, null, null, null, null"
    " from q where alone and (run_id, id) not in (select run_id, id from c)";

static const char read_inputs[] =
    "select j.run_id, j.id, u.name, case u.kind when 'variable' then u.value::text end,"
    " case when u.state in ('waiting', 'queued', 'running') then 'open'"
    "  else u.truth::text end"
    " from unnest($1::bigint[], $2::integer[]) k (run_id, id)"
    " join tocsin.job j using (run_id, id)"
    " cross join lateral unnest(j.upstream) x (id)"
    " join tocsin.job u on u.run_id = j.run_id and u.id = x.id"
    " where j.kind <> 'variable' and j.state = 'running' and j.worker = $3"
    "  and j.started_at = now()";

static void
key_arrays(const struct job_key *keys, size_t n, struct array *runs, struct array *ids)
{
	for (size_t i = 0; i < n; i++) {
		array_int(runs, keys[i].run);
		array_int(ids, keys[i].id);
	}
}

void
claim_say(struct pg *pg, const struct job_key *keys, size_t n, bool with_inputs,
    const char *worker, span lease)
{
	struct array runs = { 0 }, ids = { 0 };
	char length[32];
	const char *params[5];

	key_arrays(keys, n, &runs, &ids);
	snprintf(length, sizeof length, "%" PRId64 " us", lease);
	params[0] = array_literal(&runs);
	params[1] = array_literal(&ids);
	params[2] = worker;
	params[3] = length;
	params[4] = migrate_known();
	pg_say_prepared(pg, claim_jobs, 5, params);
	if (with_inputs)
		pg_say_prepared(pg, read_inputs, 3, params);
	migrate_say_version(pg);
	array_done(&runs);
	array_done(&ids);
}

int
job_key_compare(const void *a, const void *b)
{
	const struct job_key *x = a, *y = b;

	if (x->run != y->run)
		return x->run < y->run ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static void
read_claimed(const PGresult *r, int row, struct claimed *c)
{
	c->key = (struct job_key){ row_number(r, row, 0), (int)row_number(r, row, 1) };
	c->kind = (enum kind)kind_find(PQgetvalue(r, row, 2));
	c->name = row_text_dup(r, row, 3);
	c->version = row_number(r, row, 4);
	c->fence = (int)row_number(r, row, 5);
	c->attempts = (int)row_number(r, row, 6);
	c->active = row_true(r, row, 7);
	c->alone = row_true(r, row, 8);
	c->as_of = row_instant(r, row, 9);
}

struct claims *
claim_read(const struct pg_answer *answer)
{
	/* The last is of migrate_say_version(). */
	const PGresult *jobs = answer->results[0],
	    *inputs = answer->n > 2 ? answer->results[1] : NULL;
	struct claims *claims = xcalloc(1, sizeof *claims);

	claims->at = xcalloc((size_t)PQntuples(jobs), sizeof *claims->at);
	for (int i = 0; i < PQntuples(jobs); i++)
		if (PQgetisnull(jobs, i, 2)) {
			struct job_key key = { row_number(jobs, i, 0), (int)row_number(jobs, i, 1) };

			vec_push(&claims->later, key);
		} else
			read_claimed(jobs, i, &claims->at[claims->n++]);
	qsort(claims->at, claims->n, sizeof *claims->at, job_key_compare);
	for (int i = 0; inputs && i < PQntuples(inputs); i++) {
		struct claimed key = { .key = { row_number(inputs, i, 0), (int)row_number(inputs, i, 1) } },
		    *c = bsearch(&key, claims->at, claims->n, sizeof key, job_key_compare);
		struct input input = { row_text_dup(inputs, i, 2), row_text_dup(inputs, i, 3),
			row_truth(inputs, i, 4) };

		vec_push(&c->inputs, input);
	}
	return claims;
}

void
claimed_done(struct claimed *c)
{
	for (size_t i = 0; i < c->inputs.n; i++) {
		free(c->inputs.at[i].name);
		free(c->inputs.at[i].value);
	}
	vec_done(&c->inputs);
	free(c->name);
	c->name = NULL;
}

void
claims_free(struct claims *claims)
{
	if (!claims)
		return;
	for (size_t i = 0; i < claims->n; i++)
		claimed_done(&claims->at[i]);
	free(claims->at);
	vec_done(&claims->later);
	free(claims);
}

static void
say_held(struct pg *pg, const char *sql, const struct held *held, size_t n, span lease)
{
	struct array runs = { 0 }, ids = { 0 }, fences = { 0 };
	char length[32];
	const char *params[4];

	for (size_t i = 0; i < n; i++) {
		array_int(&runs, held[i].key.run);
		array_int(&ids, held[i].key.id);
		array_int(&fences, held[i].fence);
	}
	snprintf(length, sizeof length, "%" PRId64 " us", lease);
	params[0] = array_literal(&runs);
	params[1] = array_literal(&ids);
	params[2] = array_literal(&fences);
	params[3] = length;
	pg_say_prepared(pg, sql, lease ? 4 : 3, params);
	array_done(&runs);
	array_done(&ids);
	array_done(&fences);
}

#define HELD \
	"with c as (" \
	" select j.run_id, j.id from tocsin.job j" \
	" join unnest($1::bigint[], $2::integer[], $3::integer[]) k (run_id, id, fence)" \
	"  using (run_id, id, fence)" \
	" where j.state = 'running' order by 1, 2 for update of j) "

void
claim_say_renew(struct pg *pg, const struct held *held, size_t n, span lease)
{
	/* What is asked of others, though that is not told yet, keeps its deadline. */
	say_held(pg, HELD "update tocsin.job j set lease_until ="
	    "  case when j.asked_at is null then now() + $4::interval else j.lease_until end"
	    " from c where j.run_id = c.run_id and j.id = c.id"
	    " returning j.run_id, j.id, j.fence", held, n, lease);
}

bool
claim_read_renewed(const struct pg_answer *answer, const struct held *held)
{
	const PGresult *r = answer->results[0];

	for (int i = 0; i < PQntuples(r); i++)
		if (row_number(r, i, 0) == held->key.run && row_number(r, i, 1) == held->key.id &&
		    row_number(r, i, 2) == held->fence)
			return true;
	return false;
}

void
claim_say_asked(struct pg *pg, const struct asked *asked, size_t n)
{
	struct array a[5] = { 0 };
	const char *params[5];

	for (size_t i = 0; i < n; i++) {
		array_int(&a[0], asked[i].held.key.run);
		array_int(&a[1], asked[i].held.key.id);
		array_int(&a[2], asked[i].held.fence);
		array_int(&a[3], asked[i].patience);
		array_text(&a[4], asked[i].note);
	}
	for (int i = 0; i < 5; i++)
		params[i] = array_literal(&a[i]);
	pg_say_prepared(pg, "with c as ("
	    " select j.run_id, j.id, k.patience, k.note from tocsin.job j"
	    " join unnest($1::bigint[], $2::integer[], $3::integer[], $4::bigint[], $5::text[])"
	    "  k (run_id, id, fence, patience, note) using (run_id, id, fence)"
	    " where j.state = 'running' order by 1, 2 for update of j)"
	    " update tocsin.job j set asks = j.asks + 1, asked_at = now(), note = c.note,"
	    "  lease_until = now() + c.patience * interval '1 microsecond'"
	    " from c where j.run_id = c.run_id and j.id = c.id", 5, params);
	for (int i = 0; i < 5; i++)
		array_done(&a[i]);
}

void
claim_say_hand_back(struct pg *pg, const struct held *held, size_t n)
{
	say_held(pg, HELD "update tocsin.job j set state = 'queued', worker = null,"
	    " lease_until = null, attempts = attempts - 1, started_at = null, queued_at = now(),"
	    " asked_at = null"
	    " from c where j.run_id = c.run_id and j.id = c.id", held, n, 0);
}

#define VERSIONS "select id, kind, body::text, case when kind = 'event' then hash end" \
	" from tocsin.version where "

void
claim_say_versions(struct pg *pg, const int64_t *ids, size_t n)
{
	struct array array = { 0 };
	const char *params[1];

	for (size_t i = 0; i < n; i++)
		array_int(&array, ids[i]);
	params[0] = array_literal(&array);
	pg_say_prepared(pg, VERSIONS "id = any ($1::bigint[])", 1, params);
	array_done(&array);
}

void
claim_say_versions_of_jobs(struct pg *pg, int64_t run, int first, int last)
{
	char text[3][24];

	snprintf(text[0], sizeof text[0], "%" PRId64, run);
	snprintf(text[1], sizeof text[1], "%d", first);
	snprintf(text[2], sizeof text[2], "%d", last);
	/* As an array, or the whole table might be read for each piece. */
	pg_say_prepared(pg, VERSIONS "id = any (array(select version from tocsin.job"
	    " where run_id = $1 and id between $2 and $3"
	    " and state in ('waiting', 'queued', 'running')))",
	    3, (const char *[]){ text[0], text[1], text[2] });
}

void
claim_read_versions(const PGresult *r, void (*version)(void *, int64_t,
    enum kind, const char *, const char *), void *arg)
{
	for (int i = 0; i < PQntuples(r); i++)
		version(arg, row_number(r, i, 0), (enum kind)kind_find(PQgetvalue(r, i, 1)),
		    PQgetvalue(r, i, 2), row_text(r, i, 3));
}
