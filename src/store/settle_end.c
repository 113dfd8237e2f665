/* settle_end.c - the last statements of a settling: what its rounds lead to.
 *
 * What is ready is queued, events move, signals and their deliveries are made,
 * runs are counted down and closed; then the commit.  The runs are locked since the
 * first round, so here nobody waits for anybody. */
#include "store/settle.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "io/pg.h"
#include "store/array.h"
#include "store/row.h"

static const char queue_fired[] =
    "update tocsin.job j set state = 'queued', succeeded = k.succeeded,"
    " unsettled = case when k.is_early then j.unsettled else 0 end,"
    " queued_at = (select " SETTLED_AT " from tocsin.run where id = k.run_id)"
    " from unnest($1::bigint[], $2::integer[], $3::boolean[], $4::boolean[])"
    "  k (run_id, id, succeeded, is_early)"
    " where j.run_id = k.run_id and j.id = k.id and j.state = 'waiting'"
    " returning j.run_id, j.id, j.kind, j.queue, j.name";

static const char move_events[] =
    "with m as materialized ("
    " select * from unnest($1::integer[], $2::bigint[], $3::text[], $4::text[],"
    "  $5::integer[], $6::timestamptz[], $7::boolean[], $8::timestamptz[], $9::integer[],"
    "  $10::text[]) m (id, run_id, state, action, hold, next_call, keep, as_of, job, note)"
    "), n as ("
    " update tocsin.job j set note = concat_ws('; ', j.note, m.note)"
    " from m where j.run_id = m.run_id and j.id = m.job and m.note is not null"
    ") update tocsin.event e set state = m.state, action = m.action,"
    " hold = case when m.keep then e.hold else m.hold end,"
    " next_call = case when m.keep then e.next_call else m.next_call end,"
    " as_of = case when m.keep then e.as_of else m.as_of end,"
    " run_id = m.run_id, evaluated_at = now() from m where e.id = m.id";

/* An array of documents is read far slower than a document that is an array. */
static const char make_signals[] =
    "insert into tocsin.signal (run_id, event, action, version, hold, decided_by)"
    " select * from rows from (unnest($1::bigint[]), unnest($2::text[]), unnest($3::text[]),"
    "  unnest($4::bigint[]), unnest($5::integer[]), jsonb_array_elements($6::jsonb)) m";

static const char make_deliveries[] =
    "insert into tocsin.delivery (run_id, event, reaction, version, resend_at)"
    " select j.run_id, j.name, v.name, v.id, now() + $4::interval"
    " from unnest($1::bigint[], $2::integer[], $3::text[]) m (run_id, id, action)"
    " join tocsin.job j on j.run_id = m.run_id and j.id = m.id"
    " join tocsin.version v on v.id = any (j.reactions)"
    " where coalesce(v.body -> 'on', '[\"raise\", \"stop_raising\"]') ? m.action"
    " order by j.run_id, j.id, v.id returning run_id, event, reaction";

static const char count_runs[] =
    "update tocsin.run r set unsettled = r.unsettled - c.settled,"
    " failed = r.failed + c.failed, written_at = " SETTLED_AT ", trouble = null, trouble_at = null,"
    " finished_at = case when r.unsettled = c.settled then " SETTLED_AT " end,"
    " state = case when r.unsettled = c.settled then"
    "   case when r.failed + c.failed > 0 then 'DONE_WITH_ERRORS' else 'DONE' end"
    "  when r.failed + c.failed > 0 then 'ERRORED' else r.state end"
    " from unnest($1::bigint[], $2::integer[], $3::integer[]) c (id, settled, failed)"
    " where r.id = c.id returning r.id, r.state, r.unsettled, r.failed, r.jobs,"
    "  (extract(epoch from clock_timestamp() - r.created_at) * 1000000)::bigint";

/* What a transaction settles and fires bears its instant. */
#define SETTLED_TOGETHER \
	"select distinct o.run_id, o.finished_at" \
	" from unnest($1::bigint[], $2::integer[]) k (run_id, id)" \
	" join tocsin.job o on o.run_id = k.run_id and o.id = k.id" \
	" where o.state in ('done', 'failed', 'skipped')"

static const char find_fired[] =
    "select j.run_id, j.id, j.kind, j.queue, j.name"
    " from (" SETTLED_TOGETHER ") o"
    " join tocsin.job j on j.run_id = o.run_id"
    " where j.state = 'queued' and j.queued_at = o.finished_at order by 1, 2";

static const char find_deliveries[] =
    "select d.run_id, d.event, d.reaction"
    " from (" SETTLED_TOGETHER ") o"
    " join tocsin.job j on j.run_id = o.run_id"
    " join tocsin.delivery d on d.run_id = j.run_id and d.event = j.name"
    " where j.kind = 'event' and j.finished_at = o.finished_at and d.state = 'pending'"
    " order by d.id";

void
settle_say_keys(struct pg *pg, const char *const *statements, const struct job_key *keys, size_t n)
{
	struct array runs = { 0 }, ids = { 0 };
	const char *params[2];

	for (size_t i = 0; i < n; i++) {
		array_int(&runs, keys[i].run);
		array_int(&ids, keys[i].id);
	}
	params[0] = array_literal(&runs);
	params[1] = array_literal(&ids);
	for (; *statements; statements++)
		pg_say_prepared(pg, *statements, 2, params);
	array_done(&runs);
	array_done(&ids);
}

static void
say_fired(struct pg *pg, const struct fired *fired, size_t n)
{
	struct array runs = { 0 }, ids = { 0 }, succeeded = { 0 }, early = { 0 };

	for (size_t i = 0; i < n; i++) {
		array_int(&runs, fired[i].key.run);
		array_int(&ids, fired[i].key.id);
		array_bool(&succeeded, fired[i].succeeded);
		array_bool(&early, fired[i].is_early);
	}
	pg_say_prepared(pg, queue_fired, 4, (const char *[]){ array_literal(&runs),
	    array_literal(&ids), array_literal(&succeeded), array_literal(&early) });
	array_done(&runs);
	array_done(&ids);
	array_done(&succeeded);
	array_done(&early);
}

static void
say_moved(struct pg *pg, const struct moved *moved, size_t n)
{
	struct array event = { 0 }, run = { 0 }, id = { 0 }, state = { 0 }, action = { 0 },
	    hold = { 0 }, next = { 0 }, keep = { 0 }, as_of = { 0 }, note = { 0 };
	struct array *all[] = { &event, &run, &id, &state, &action, &hold, &next, &keep, &as_of,
		&note };
	char buf[INSTANT_TEXT];

	for (size_t i = 0; i < n; i++) {
		const struct moved *m = &moved[i];

		array_int(&event, m->event);
		array_int(&run, m->key.run);
		array_int(&id, m->key.id);
		array_text(&state, event_state_text(m->after.state));
		array_text(&action, signal_text(m->after.action));
		array_int(&hold, m->after.hold);
		array_text(&next, clock_format(m->next_call, buf));
		array_bool(&keep, m->keep_schedule);
		array_text(&as_of, clock_format(m->after.as_of, buf));
		array_text(&note, m->note);
	}
	pg_say_prepared(pg, move_events, 10, (const char *[]){ array_literal(&event),
	    array_literal(&run), array_literal(&state), array_literal(&action),
	    array_literal(&hold), array_literal(&next), array_literal(&keep),
	    array_literal(&as_of), array_literal(&id), array_literal(&note) });
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		array_done(all[i]);
}

/* True if there are any. */
static bool
say_signals(struct pg *pg, const struct moved *moved, size_t n, span lease)
{
	struct array run = { 0 }, id = { 0 }, event = { 0 }, action = { 0 }, version = { 0 },
	    hold = { 0 };
	struct array *all[] = { &run, &id, &event, &action, &version, &hold };
	struct str decided_by = STR_INIT;
	char length[32];
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		const struct moved *m = &moved[i];

		if (m->after.action == DO_NOTHING)
			continue;
		any = true;
		array_int(&run, m->key.run);
		array_int(&id, m->key.id);
		array_text(&event, m->name);
		array_text(&action, signal_text(m->after.action));
		array_int(&version, m->version);
		array_int(&hold, m->after.hold);
		str_putc(&decided_by, decided_by.len ? ',' : '[');
		str_puts(&decided_by, m->decided_by ? m->decided_by : "null");
	}
	if (any) {
		str_putc(&decided_by, ']');
		pg_say_prepared(pg, make_signals, 6, (const char *[]){ array_literal(&run),
		    array_literal(&event), array_literal(&action), array_literal(&version),
		    array_literal(&hold), str_text(&decided_by) });
		snprintf(length, sizeof length, "%" PRId64 " us", lease);
		pg_say_prepared(pg, make_deliveries, 4, (const char *[]){ array_literal(&run),
		    array_literal(&id), array_literal(&action), length });
	}
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		array_done(all[i]);
	str_done(&decided_by);
	return any;
}

static void
say_counts(struct pg *pg, const struct run_count *counts, size_t n)
{
	struct array run = { 0 }, settled = { 0 }, failed = { 0 };

	for (size_t i = 0; i < n; i++) {
		array_int(&run, counts[i].run);
		array_int(&settled, counts[i].settled);
		array_int(&failed, counts[i].failed);
	}
	pg_say_prepared(pg, count_runs, 3, (const char *[]){ array_literal(&run),
	    array_literal(&settled), array_literal(&failed) });
	array_done(&run);
	array_done(&settled);
	array_done(&failed);
}

struct end_said
settle_say_end(struct pg *pg, const struct fired *fired, size_t n_fired,
    const struct moved *moved, size_t n_moved, const struct run_count *counts,
    size_t n_counts, span lease)
{
	struct end_said said = { -1, -1, -1 };
	int n = SETTLE_GUARD_STATEMENTS;

	settle_say_guard(pg);
	if (n_fired) {
		say_fired(pg, fired, n_fired);
		said.fired = n++;
	}
	if (n_moved) {
		say_moved(pg, moved, n_moved);
		n++;
	}
	if (say_signals(pg, moved, n_moved, lease)) {
		said.deliveries = n + 1;
		n += 2;
	}
	if (n_counts) {
		say_counts(pg, counts, n_counts);
		said.runs = n++;
	}
	pg_say(pg, "commit", 0, NULL);
	return said;
}

void
settle_say_fired_before(struct pg *pg, const struct job_key *settled, size_t n)
{
	settle_say_keys(pg, (const char *const []){ find_fired, find_deliveries, NULL }, settled, n);
}

static void
read_fired(const PGresult *fired, struct ended *ended)
{
	for (int i = 0; i < PQntuples(fired); i++) {
		struct fired_job job = { { row_number(fired, i, 0), (int)row_number(fired, i, 1) },
			(enum kind)kind_find(PQgetvalue(fired, i, 2)),
			xstrdup(PQgetvalue(fired, i, 3)), xstrdup(PQgetvalue(fired, i, 4)) };

		vec_push(&ended->fired, job);
	}
}

void
settle_read_fired_before(const struct pg_answer *answer, struct ended *ended)
{
	read_fired(answer->results[0], ended);
	delivery_read_keys(answer->results[1], &ended->deliveries);
}

static void
read_runs(const PGresult *runs, struct ended *ended)
{
	for (int i = 0; i < PQntuples(runs); i++) {
		struct run_end end = { row_number(runs, i, 0),
			(enum run_state)run_state_find(PQgetvalue(runs, i, 1)),
			(int)row_number(runs, i, 2), (int)row_number(runs, i, 3),
			(int)row_number(runs, i, 4), row_number(runs, i, 5) };

		vec_push(&ended->runs, end);
	}
}

void
settle_read_end(const struct pg_answer *answer, struct end_said said, struct ended *ended)
{
	if (said.fired >= 0)
		read_fired(answer->results[said.fired], ended);
	if (said.deliveries >= 0)
		delivery_read_keys(answer->results[said.deliveries], &ended->deliveries);
	if (said.runs >= 0)
		read_runs(answer->results[said.runs], ended);
}

void
moved_done(struct moved *m)
{
	free(m->name);
	free(m->note);
	free(m->decided_by);
	m->name = m->note = m->decided_by = NULL;
}

void
fired_jobs_done(struct fired_jobs *jobs)
{
	for (size_t i = 0; i < jobs->n; i++) {
		free(jobs->at[i].queue);
		free(jobs->at[i].name);
	}
	vec_done(jobs);
}

void
ended_done(struct ended *ended)
{
	fired_jobs_done(&ended->fired);
	delivery_keys_done(&ended->deliveries);
	vec_done(&ended->runs);
}
