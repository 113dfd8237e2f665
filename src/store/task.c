/* task.c - delayed and revoked tasks as rows. */
#include "store/task.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "io/pg.h"
#include "store/array.h"
#include "store/row.h"

/* Who delivers a message twice, or dies before it is acknowledged, delays it once. */
static const char delay[] =
    "insert into tocsin.delayed_task (task_id, retries, task, queue, due_at, properties, body)"
    " select * from unnest($1::text[], $2::integer[], $3::text[], $4::text[],"
    "  $5::timestamptz[], $6::json[], $7::text[])"
    " on conflict (task_id, retries) do nothing";

void
task_say_delay(struct pg *pg, const struct delayed_task *tasks, size_t n)
{
	struct array a[7] = { { { 0 } } };
	const char *params[7];
	char due[INSTANT_TEXT];

	for (size_t i = 0; i < n; i++) {
		array_text(&a[0], tasks[i].task_id);
		array_int(&a[1], tasks[i].retries < INT32_MAX ? tasks[i].retries : INT32_MAX);
		array_text(&a[2], tasks[i].task);
		array_text(&a[3], tasks[i].queue);
		array_text(&a[4], clock_format(tasks[i].due, due));
		array_text(&a[5], tasks[i].properties);
		array_text(&a[6], tasks[i].body);
	}
	for (int k = 0; k < 7; k++)
		params[k] = array_literal(&a[k]);
	pg_say_prepared(pg, delay, 7, params);
	for (int k = 0; k < 7; k++)
		array_done(&a[k]);
}

#define NOBODY_SENDS_IT "(lease_until is null or lease_until < now())"

static const char due[] =
    "update tocsin.delayed_task d set lease_until = now() + $1::interval from ("
    " select id from tocsin.delayed_task where due_at <= now() and " NOBODY_SENDS_IT
    " order by due_at limit $2 for update skip locked) c where c.id = d.id"
    " returning d.id, d.task_id, d.task, d.queue, d.properties, d.body";

static const char next[] =
    "select (greatest(extract(epoch from due_at - now()), 0) * 1000000)::bigint"
    " from tocsin.delayed_task where " NOBODY_SENDS_IT " order by due_at limit 1";

void
task_say_due(struct pg *pg, span lease, int n)
{
	char interval[40], limit[16];
	const char *params[] = { interval, limit };

	snprintf(interval, sizeof interval, "%" PRId64 " microseconds", (int64_t)lease);
	snprintf(limit, sizeof limit, "%d", n);
	pg_say_prepared(pg, due, 2, params);
	pg_say_prepared(pg, next, 0, NULL);
}

size_t
task_count_due(const struct pg_answer *answer)
{
	return (size_t)PQntuples(answer->results[0]);
}

void
task_read_due(const struct pg_answer *answer, size_t i, struct delayed_task *t)
{
	const PGresult *r = answer->results[0];
	int row = (int)i;

	*t = (struct delayed_task){ .id = row_number(r, row, 0), .task_id = row_text(r, row, 1),
		.task = row_text(r, row, 2), .queue = row_text(r, row, 3),
		.properties = row_text(r, row, 4), .body = row_text(r, row, 5) };
}

span
task_read_next(const struct pg_answer *answer)
{
	return PQntuples(answer->results[1]) ? row_number(answer->results[1], 0, 0) : -1;
}

static const char sent[] = "delete from tocsin.delayed_task where id = any($1::bigint[])";

void
task_say_sent(struct pg *pg, const int64_t *ids, size_t n)
{
	struct array a = { { 0 } };

	for (size_t i = 0; i < n; i++)
		array_int(&a, ids[i]);
	pg_say_prepared(pg, sent, 1, (const char *const[]){ array_literal(&a) });
	array_done(&a);
}

static const char revoke[] =
    "insert into tocsin.revoked_task (id) select distinct unnest($1::text[])"
    " on conflict (id) do update set at = now()";

static const char forget[] =
    "delete from tocsin.revoked_task where at < now() - interval '3 hours'";

void
task_say_revoke(struct pg *pg, const char *const *ids, size_t n)
{
	struct array a = { { 0 } };

	for (size_t i = 0; i < n; i++)
		array_text(&a, ids[i]);
	pg_say_prepared(pg, revoke, 1, (const char *const[]){ array_literal(&a) });
	pg_say_prepared(pg, forget, 0, NULL);
	array_done(&a);
}

static const char revoked[] =
    "select id from (select id, at from tocsin.revoked_task where at > now() - interval '3 hours'"
    " order by at desc limit 50000) r order by at";

void
task_say_revoked(struct pg *pg)
{
	pg_say_prepared(pg, revoked, 0, NULL);
}
