/* delivery.c - deliveries as rows. */
#include "store/delivery.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/mem.h"
#include "io/pg.h"
#include "store/array.h"
#include "store/row.h"

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
delivery_say_claim(struct pg *pg, int n, bool shell, const char *worker, span lease,
    int most)
{
	char number[16], limit[16], length[32];
	const char *params[] = { number, shell ? "t" : "f", worker, length };

	snprintf(number, sizeof number, "%d", n);
	snprintf(limit, sizeof limit, "%d", most);
	pg_say_prepared(pg,
	    "with c as (select id from tocsin.delivery where state in ('pending', 'sending')"
	    "  and due_at <= now() and state = 'sending' and lease_until < now()"
	    "  and attempts >= $1 order by id for update skip locked)"
	    " update tocsin.delivery d set state = 'failed', lease_until = null,"
	    "  error = 'its worker was lost during the last attempt'"
	    " from c where d.id = c.id", 1, (const char *const[]){ limit });
	snprintf(length, sizeof length, "%" PRId64 " us", lease);
	pg_say_prepared(pg,
	    "with c as ("
	    " select d.id from tocsin.delivery d join tocsin.version v on v.id = d.version"
	    " where d.state in ('pending', 'sending') and d.due_at <= now()"
	    "  and (d.state = 'pending' or d.lease_until < now())"
	    "  and ($2::boolean or not v.body ? 'command')"
	    " order by d.due_at, d.id limit $1 for update of d skip locked"
	    "), u as ("
	    " update tocsin.delivery d set state = 'sending', attempts = d.attempts + 1,"
	    "  fence = d.fence + 1, worker = $3, lease_until = now() + $4::interval"
	    " from c where d.id = c.id returning d.*"
	    ") select u.id, u.version, u.fence, u.attempts, u.event, s.action, u.reaction,"
	    "  u.run_id, u.key, jsonb_build_object('event', u.event, 'signal', s.action,"
	    "   'cycle', u.run_id, 'reaction', u.reaction, 'key', u.key, 'at', s.at,"
	    "   'as_of', r.as_of, 'agent', r.agent, 'hold', s.hold,"
	    "   'level', coalesce(v.body -> 'level', '\"info\"'), 'description', e.body -> 'description',"
	    "   'owner', e.body -> 'owner', 'severity', e.body -> 'severity',"
	    "   'runbook', e.body -> 'runbook', 'tags', e.body -> 'tags',"
	    "   'decided_by', s.decided_by)"
	    " from u join tocsin.signal s on s.run_id = u.run_id and s.event = u.event"
	    " join tocsin.run r on r.id = u.run_id"
	    " join tocsin.version v on v.id = u.version"
	    " join tocsin.version e on e.id = s.version order by u.id", 4, params);
}

size_t
delivery_read_claim(const struct pg_answer *answer, struct due_delivery **out)
{
	const PGresult *r = answer->results[1];
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

void
delivery_say_renew(struct pg *pg, const struct due_delivery *const *rows, size_t n,
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
	pg_say_prepared(pg,
	    "update tocsin.delivery d set lease_until = now() + $3::interval"
	    " from unnest($1::bigint[], $2::integer[]) k (id, fence)"
	    " where d.id = k.id and d.fence = k.fence and d.state = 'sending'", 3, params);
	array_done(&ids);
	array_done(&fences);
}

void
delivery_say_end(struct pg *pg, const struct due_delivery *d, const char *error, int most,
    span backoff)
{
	char id[24], fence[16], attempts[16], wait[32];
	const char *params[] = { id, fence, error, attempts, wait };

	snprintf(id, sizeof id, "%" PRId64, d->id);
	snprintf(fence, sizeof fence, "%d", d->fence);
	snprintf(attempts, sizeof attempts, "%d", most);
	snprintf(wait, sizeof wait, "%" PRId64 " us", backoff);
	pg_say_prepared(pg,
	    "update tocsin.delivery set lease_until = null, error = $3,"
	    " state = case when $3::text is null then 'delivered'"
	    "  when attempts >= $4::integer then 'failed' else 'pending' end,"
	    " delivered_at = case when $3::text is null then now() end,"
	    " due_at = case when $3::text is null then due_at"
	    "  else now() + least($5::interval * power(2, least(attempts - 1, 20)),"
	    "   interval '1 day') end"
	    " where id = $1 and fence = $2::integer and state = 'sending'", 5, params);
}
