/* delivery.c - deliveries as rows.
 *
 * Whatever is asked here begins with the open ones, by an index that knows no
 * others: deliveries that have ended may be many. */
#include "store/delivery.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/vec.h"
#include "io/pg.h"
#include "store/array.h"
#include "store/migrate.h"
#include "store/row.h"

#define AT_ONCE "1000"			/* messages of one sweep */

void
due_delivery_done(struct due_delivery *d)
{
	free(d->event);
	free(d->signal);
	free(d->reaction);
	free(d->cycle);
	free(d->key);
	free(d->payload);
}

void
delivery_keys_done(struct delivery_keys *keys)
{
	for (size_t i = 0; i < keys->n; i++) {
		free(keys->at[i].event);
		free(keys->at[i].reaction);
	}
	vec_done(keys);
}

void
delivery_read_keys(const PGresult *r, struct delivery_keys *keys)
{
	for (int i = 0; i < PQntuples(r); i++) {
		struct delivery_key key = { row_number(r, i, 0), row_text_dup(r, i, 1),
			row_text_dup(r, i, 2) };

		vec_push(keys, key);
	}
}

/* --- claiming --- */

/* What is told of an event is told in its order: an open delivery waits for the
 * older ones of its event to its reaction. */
#define IS_OLDEST \
	" and not exists (select from tocsin.delivery o where o.event = d.event" \
	"  and o.reaction = d.reaction and o.state in ('pending', 'sending') and o.id < d.id)"
#define MAY_BE_CLAIMED \
	" d.state = 'pending' and d.due_at <= now()" \
	" and not v.body ?| $1::text[]" IS_OLDEST

/* Of the rows that C has found and locked; with the whole signal. */
#define CLAIM(c) \
	"with c as materialized (" c " for update of d skip locked), u as (" \
	" update tocsin.delivery d set state = 'sending', attempts = d.attempts + 1," \
	"  fence = d.fence + 1, worker = $2, lease_until = now() + $3::interval" \
	" from c where d.id = c.id returning d.*" \
	") select u.id, u.version, u.fence, u.attempts, u.event, s.action, u.reaction," \
	"  u.run_id, u.key, jsonb_build_object('event', u.event, 'signal', s.action," \
	"   'cycle', u.run_id, 'reaction', u.reaction, 'key', u.key, 'at', s.at," \
	"   'as_of', r.as_of, 'agent', r.agent, 'hold', s.hold," \
	"   'level', coalesce(v.body -> 'level', '\"info\"'), 'description', e.body -> 'description'," \
	"   'owner', e.body -> 'owner', 'severity', e.body -> 'severity'," \
	"   'runbook', e.body -> 'runbook', 'tags', e.body -> 'tags'," \
	"   'decided_by', s.decided_by)" \
	" from u join tocsin.signal s on s.run_id = u.run_id and s.event = u.event" \
	" join tocsin.run r on r.id = u.run_id" \
	" join tocsin.version v on v.id = u.version" \
	" join tocsin.version e on e.id = s.version order by u.id"

static const char claim_named[] = CLAIM(
    "select d.id from unnest($4::bigint[], $5::text[], $6::text[]) k (run_id, event, reaction)"
    " join tocsin.delivery d on d.run_id = k.run_id and d.event = k.event"
    "  and d.reaction = k.reaction"
    " join tocsin.version v on v.id = d.version where" MAY_BE_CLAIMED
    " and " NOT_NEWER("7") " order by d.id");

static const char claim_due[] = CLAIM(
    "select d.id from tocsin.delivery d join tocsin.version v on v.id = d.version"
    " where" MAY_BE_CLAIMED " and " NOT_NEWER("5") " order by d.due_at, d.id limit $4");

/* The keys of reactions that stay pending. */
static const char *
cannot(const struct delivery_claim *claim)
{
	if (claim->shell)
		return claim->celery ? "{}" : "{celery}";
	return claim->celery ? "{command}" : "{command,celery}";
}

void
delivery_say_claim(struct pg *pg, const struct delivery_claim *claim,
    const struct delivery_key *keys, size_t n)
{
	struct array runs = { 0 }, events = { 0 }, reactions = { 0 };
	char length[32];
	const char *params[7] = { cannot(claim), claim->worker, length };

	for (size_t i = 0; i < n; i++) {
		array_int(&runs, keys[i].run);
		array_text(&events, keys[i].event);
		array_text(&reactions, keys[i].reaction);
	}
	snprintf(length, sizeof length, "%" PRId64 " us", claim->lease);
	params[3] = array_literal(&runs);
	params[4] = array_literal(&events);
	params[5] = array_literal(&reactions);
	params[6] = migrate_known();
	pg_say_prepared(pg, claim_named, 7, params);
	array_done(&runs);
	array_done(&events);
	array_done(&reactions);
}

void
delivery_say_claim_due(struct pg *pg, const struct delivery_claim *claim, int n)
{
	char number[16], length[32];
	const char *params[] = { cannot(claim), claim->worker, length, number,
		migrate_known() };

	snprintf(number, sizeof number, "%d", n);
	snprintf(length, sizeof length, "%" PRId64 " us", claim->lease);
	pg_say_prepared(pg, claim_due, 5, params);
}

size_t
delivery_read_claim(const struct pg_answer *answer, struct due_delivery **out)
{
	const PGresult *r = answer->results[answer->n - 1];
	size_t n = (size_t)PQntuples(r);
	struct due_delivery *d = *out = xcalloc(n, sizeof *d);

	for (int i = 0; i < (int)n; i++, d++) {
		d->id = row_number(r, i, 0);
		d->version = row_number(r, i, 1);
		d->fence = (int)row_number(r, i, 2);
		d->attempts = (int)row_number(r, i, 3);
		d->event = row_text_dup(r, i, 4);
		d->signal = row_text_dup(r, i, 5);
		d->reaction = row_text_dup(r, i, 6);
		d->cycle = row_text_dup(r, i, 7);
		d->key = row_text_dup(r, i, 8);
		d->payload = row_text_dup(r, i, 9);
	}
	return n;
}

/* --- what was claimed --- */

static void
say_held(struct pg *pg, const char *sql, const struct due_delivery *const *rows, size_t n,
    span lease)
{
	struct array ids = { 0 }, fences = { 0 };
	char length[32];
	const char *params[3];

	for (size_t i = 0; i < n; i++) {
		array_int(&ids, rows[i]->id);
		array_int(&fences, rows[i]->fence);
	}
	snprintf(length, sizeof length, "%" PRId64 " us", lease);
	params[0] = array_literal(&ids);
	params[1] = array_literal(&fences);
	params[2] = length;
	pg_say_prepared(pg, sql, 3, params);
	array_done(&ids);
	array_done(&fences);
}

#define HELD \
	" from unnest($1::bigint[], $2::integer[]) k (id, fence)" \
	" where d.id = k.id and d.fence = k.fence and d.state = 'sending'"

void
delivery_say_renew(struct pg *pg, const struct due_delivery *const *rows, size_t n,
    span lease)
{
	say_held(pg, "update tocsin.delivery d set lease_until = now() + $3::interval" HELD,
	    rows, n, lease);
}

void
delivery_say_hand_back(struct pg *pg, const struct due_delivery *const *rows, size_t n,
    span lease)
{
	say_held(pg, "update tocsin.delivery d set state = 'pending', worker = null,"
	    " lease_until = null, attempts = d.attempts - 1, resend_at = now() + $3::interval"
	    HELD " returning d.run_id, d.event, d.reaction", rows, n, lease);
}

#define BACKED_OFF \
	"now() + least($5::interval * power(2, least(attempts - 1, 20)), interval '1 day')"

void
delivery_say_end(struct pg *pg, const struct due_delivery *d, const char *error, int most,
    span backoff)
{
	char id[24], fence[16], attempts[16], wait[32];
	char *safe = error ? log_redact(error) : NULL;
	const char *params[] = { id, fence, safe, attempts, wait };

	snprintf(id, sizeof id, "%" PRId64, d->id);
	snprintf(fence, sizeof fence, "%d", d->fence);
	snprintf(attempts, sizeof attempts, "%d", most);
	snprintf(wait, sizeof wait, "%" PRId64 " us", backoff);
	pg_say_prepared(pg,
	    "update tocsin.delivery set lease_until = null, error = $3,"
	    " state = case when $3::text is null then 'delivered'"
	    "  when attempts >= $4::integer then 'failed' else 'pending' end,"
	    " delivered_at = case when $3::text is null then now() end,"
	    " due_at = case when $3::text is null then due_at else " BACKED_OFF " end,"
	    " resend_at = case when $3::text is null then resend_at else " BACKED_OFF " end"
	    " where id = $1 and fence = $2::integer and state = 'sending'", 5, params);
	free(safe);
}

void
delivery_say_postpone(struct pg *pg, const struct due_delivery *d, const char *error,
    span wait)
{
	char id[24], fence[16], length[32];
	char *safe = log_redact(error);
	const char *params[] = { id, fence, safe, length };

	snprintf(id, sizeof id, "%" PRId64, d->id);
	snprintf(fence, sizeof fence, "%d", d->fence);
	snprintf(length, sizeof length, "%" PRId64 " us", wait);
	pg_say_prepared(pg,
	    "update tocsin.delivery set state = 'pending', worker = null, lease_until = null,"
	    " attempts = attempts - 1, error = $3, due_at = now() + $4::interval,"
	    " resend_at = now() + $4::interval"
	    " where id = $1 and fence = $2::integer and state = 'sending'", 4, params);
	free(safe);
}

/* --- the sweep --- */

void
delivery_say_lost(struct pg *pg, int most)
{
	char limit[16];
	const char *params[] = { limit };

	snprintf(limit, sizeof limit, "%d", most);
	pg_say_prepared(pg,
	    "with c as (select id from tocsin.delivery where state = 'sending'"
	    "  and lease_until < now() order by id for update skip locked)"
	    " update tocsin.delivery d set lease_until = null, resend_at = now(),"
	    "  state = case when d.attempts >= $1::integer then 'failed' else 'pending' end,"
	    "  error = case when d.attempts >= $1::integer"
	    "   then 'its worker was lost during the last attempt'"
	    "   else 'its worker was lost during the attempt' end"
	    " from c where d.id = c.id", 1, params);
}

#define IS_TO_BE_SENT \
	" d.state = 'pending' and d.resend_at <= now() and d.due_at <= now()" IS_OLDEST

void
delivery_say_wait(struct pg *pg)
{
	pg_say_prepared(pg, "select exists (select from tocsin.delivery d where" IS_TO_BE_SENT ")",
	    0, NULL);
}

void
delivery_say_again(struct pg *pg, span lease, int64_t messages)
{
	char length[32], number[24];
	const char *params[] = { length, number };

	snprintf(length, sizeof length, "%" PRId64 " us", lease);
	snprintf(number, sizeof number, "%" PRId64, messages);
	pg_say_prepared(pg,
	    "with w as materialized (select d.id from tocsin.delivery d where" IS_TO_BE_SENT
	    "  order by d.resend_at limit " AT_ONCE
	    "), c as materialized (select d.id from w join tocsin.delivery d on d.id = w.id"
	    "  where d.state = 'pending' and $2::bigint < (select count(*) from w)"
	    "  order by d.id for update of d skip locked)"
	    " update tocsin.delivery d set resend_at = now() + $1::interval"
	    " from c where d.id = c.id returning d.run_id, d.event, d.reaction", 2, params);
}
