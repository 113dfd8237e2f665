/* settle.c - the statements that write down what jobs have come to.
 *
 * Locks are taken in one order: the runs, then the standing rows by kind and
 * id, then the jobs; settlings of one run so come one after the other.  Claims,
 * renewals and the sweep lock jobs alone, in the order of their keys, and never
 * wait for more than those.  A fenced outcome is
 * stored only where the job is still running under the same fence, so whoever
 * was given up for dead changes nothing.  Only waiting jobs are counted down:
 * an event that was decided early is none any more. */
#include "store/settle.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "io/pg.h"
#include "store/array.h"
#include "store/row.h"

void
outcome_done(struct outcome *o)
{
	free(o->name);
	free(o->error);
	free(o->value);
	free(o->note);
	*o = (struct outcome){ 0 };
}

void
moved_done(struct moved *m)
{
	free(m->note);
	m->note = NULL;
}

static void
inputs_done(struct input *at, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(at[i].name);
		free(at[i].value);
	}
}

void
settled_done(struct settled *s)
{
	for (size_t i = 0; i < s->candidates.n; i++) {
		struct candidate *c = &s->candidates.at[i];

		inputs_done(c->inputs.at, c->inputs.n);
		vec_done(&c->inputs);
		free(c->name);
		free(c->stale);
	}
	vec_done(&s->ours);
	vec_done(&s->candidates);
	vec_done(&s->standings);
}

/* --- a round of outcomes --- */

static const char lock_runs[] =
    "select from tocsin.run where id = any ($1::bigint[]) order by id for update";
static const char lock_variables[] =
    "select from tocsin.variable where name = any ($1::text[]) order by id for update";
static const char lock_evidences[] =
    "select from tocsin.evidence where name = any ($1::text[]) order by id for update";
static const char make_partition[] = "select tocsin.history_partition(now())";

static const char store_outcomes[] =
    "with o as ("
    " select * from unnest($1::bigint[], $2::integer[], $3::integer[], $4::text[],"
    "  $5::text[], $6::text[], $7::jsonb[], $8::boolean[], $9::text[])"
    "  o (run_id, id, fence, state, reason, error, value, truth, note)"
    "), s as ("
    " update tocsin.job j set state = o.state, reason = o.reason, error = o.error,"
    "  note = o.note,"
    "  finished_at = now(), lease_until = null,"
    "  value = case when o.state = 'done' then o.value else j.value end,"
    "  truth = case when o.state = 'done' then o.truth"
    "   when o.reason = 'expired' then null else j.truth end,"
    "  computed_at = case when o.state = 'done' then now() else j.computed_at end,"
    "  as_of = case when j.kind = 'variable' and o.state = 'done' then r.as_of else j.as_of end,"
    "  stale = j.stale and o.state <> 'done'"
    " from o join tocsin.run r on r.id = o.run_id where j.run_id = o.run_id and j.id = o.id"
    "  and (j.state = 'running' and j.fence = o.fence"
    "   or j.state = 'waiting' and o.fence = -1)"
    " returning j.run_id, j.id, j.kind, j.name, j.state, j.downstream, j.value, j.truth,"
    "  j.as_of"
    "), h as ("
    " insert into tocsin.history (run_id, kind, name, value, truth)"
    " select run_id, kind, name, value, truth from s where state = 'done'"
    "), v as ("
    " update tocsin.variable x set value = s.value, run_id = s.run_id, computed_at = now(),"
    "  as_of = s.as_of"
    " from s where s.kind = 'variable' and s.state = 'done' and x.name = s.name"
    "), e as ("
    " update tocsin.evidence x set value = s.value, bool_value = s.truth,"
    "  run_id = s.run_id, evaluated_at = now()"
    " from s where s.kind = 'evidence' and s.state = 'done' and x.name = s.name"
    "), d as ("
    " select s.run_id, t.id, count(*)::integer as n, bool_or(s.state = 'done') as ok"
    " from s cross join lateral unnest(s.downstream) t (id) group by 1, 2"
    "), w as ("
    " update tocsin.job j set unsettled = j.unsettled - d.n, succeeded = j.succeeded or d.ok"
    " from d where j.run_id = d.run_id and j.id = d.id and j.state = 'waiting'"
    ") select run_id, id from s";

/* A new statement, so that it sees what everybody has counted down.  A stale
 * variable is one that could not be computed: being done ends that. */
#define DOWNSTREAM \
	"from (select distinct j.run_id, t.id" \
	"  from unnest($1::bigint[], $2::integer[]) k (run_id, id)" \
	"  join tocsin.job j using (run_id, id)" \
	"  cross join lateral unnest(j.downstream) t (id)" \
	"  where j.state in ('done', 'failed', 'skipped')) d" \
	" join tocsin.job j using (run_id, id)"

static const char read_candidates[] =
    "select j.run_id, j.id, j.kind, j.name, j.version, j.unsettled, j.succeeded,"
    " case when j.kind = 'evidence' then (select string_agg(format('%s (as of %s)', u.name,"
    "  to_char(u.as_of, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')), ', ' order by u.id) from tocsin.job u where u.run_id = j.run_id"
    "  and u.id = any (j.upstream) and u.stale) end "
    DOWNSTREAM
    " where j.state = 'waiting' and (j.unsettled = 0 or j.kind = 'event' and j.succeeded)"
    " order by 1, 2";

static const char read_early[] =
    "select j.run_id, j.id, u.name,"
    " case when u.state in ('waiting', 'queued', 'running') then 'open'"
    "  else u.truth::text end "
    DOWNSTREAM
    " cross join lateral unnest(j.upstream) x (id)"
    " join tocsin.job u on u.run_id = j.run_id and u.id = x.id"
    " where j.state = 'waiting' and j.kind = 'event' and j.succeeded = (j.unsettled > 0)"
    " order by 1, 2";

static const char read_standings[] =
    "select j.run_id, j.id, j.version, e.id, e.state, e.action, e.hold,"
    " e.schedule = j.schedule, e.dtstart, r.as_of, j.truth,"
    " coalesce(e.as_of, '-infinity')"
    " from unnest($1::bigint[], $2::integer[]) k (run_id, id)"
    " join tocsin.job j using (run_id, id)"
    " join tocsin.run r on r.id = j.run_id"
    " join tocsin.event e on e.id = j.event"
    " where j.kind = 'event' and j.state = 'done' and j.finished_at = now()"
    " order by e.id for update of e";

static void
say_locks(struct pg *pg, const struct outcome *outcomes, size_t n)
{
	struct array runs = { 0 }, variables = { 0 }, evidences = { 0 };
	const char *params[1];

	for (size_t i = 0; i < n; i++) {
		const struct outcome *o = &outcomes[i];

		if (i == 0 || o->key.run != outcomes[i - 1].key.run)
			array_int(&runs, o->key.run);
		if (o->state == JOB_DONE && o->kind == VARIABLE)
			array_text(&variables, o->name);
		if (o->state == JOB_DONE && o->kind == EVIDENCE)
			array_text(&evidences, o->name);
	}
	pg_say(pg, "begin", 0, NULL);
	params[0] = array_literal(&runs);
	pg_say_prepared(pg, lock_runs, 1, params);
	params[0] = array_literal(&variables);
	pg_say_prepared(pg, lock_variables, 1, params);
	params[0] = array_literal(&evidences);
	pg_say_prepared(pg, lock_evidences, 1, params);
	pg_say_prepared(pg, make_partition, 0, NULL);
	array_done(&runs);
	array_done(&variables);
	array_done(&evidences);
}
enum { LOCK_STATEMENTS = 5 };

/* Whatever follows belongs to the transaction that the first round began.  If
 * the connection was lost and made again meanwhile there is none, and these
 * two fail outside of one, and all behind them with them. */
static void
say_guard(struct pg *pg)
{
	pg_say(pg, "savepoint settling", 0, NULL);
	pg_say(pg, "release savepoint settling", 0, NULL);
}
enum { GUARD_STATEMENTS = 2 };

static int
truth_bool(enum truth truth)
{
	return truth == TRUTH_TRUE ? 1 : truth == TRUTH_FALSE ? 0 : -1;
}

enum { OUTCOME_COLUMNS = 9 };

void
settle_say_outcomes(struct pg *pg, const struct outcome *outcomes, size_t n, bool first)
{
	struct array a[OUTCOME_COLUMNS] = { 0 };
	const char *params[OUTCOME_COLUMNS];

	if (first)
		say_locks(pg, outcomes, n);
	else
		say_guard(pg);
	for (size_t i = 0; i < n; i++) {
		const struct outcome *o = &outcomes[i];
		char *error = o->error ? log_redact(o->error) : NULL;

		array_int(&a[0], o->key.run);
		array_int(&a[1], o->key.id);
		array_int(&a[2], o->fence);
		array_text(&a[3], job_state_text(o->state));
		array_text(&a[4], reason_text(o->reason));
		array_text(&a[5], error);
		free(error);
		array_text(&a[6], o->value);
		array_bool(&a[7], truth_bool(o->truth));
		array_text(&a[8], o->note);
	}
	for (int i = 0; i < OUTCOME_COLUMNS; i++)
		params[i] = array_literal(&a[i]);
	pg_say_prepared(pg, store_outcomes, OUTCOME_COLUMNS, params);
	pg_say_prepared(pg, read_candidates, 2, params);
	pg_say_prepared(pg, read_early, 2, params);
	pg_say_prepared(pg, read_standings, 2, params);
	for (int i = 0; i < OUTCOME_COLUMNS; i++)
		array_done(&a[i]);
}

static struct job_key
read_key(const PGresult *r, int row)
{
	return (struct job_key){ row_number(r, row, 0), (int)row_number(r, row, 1) };
}

static void
read_candidate_rows(const PGresult *r, struct settled *s)
{
	for (int i = 0; i < PQntuples(r); i++) {
		struct candidate c = { .key = read_key(r, i) };

		c.kind = (enum kind)kind_find(PQgetvalue(r, i, 2));
		c.name = xstrdup(PQgetvalue(r, i, 3));
		c.version = row_number(r, i, 4);
		c.unsettled = (int)row_number(r, i, 5);
		c.succeeded = row_true(r, i, 6);
		c.stale = row_text_dup(r, i, 7);
		vec_push(&s->candidates, c);
	}
}

/* Both lists come in the order of their keys. */
static void
read_early_inputs(const PGresult *r, struct settled *s)
{
	size_t at = 0;

	for (int i = 0; i < PQntuples(r); i++) {
		struct job_key key = read_key(r, i);
		struct input input = { xstrdup(PQgetvalue(r, i, 2)), NULL, row_truth(r, i, 3) };

		while (s->candidates.at[at].key.run != key.run ||
		    s->candidates.at[at].key.id != key.id)
			at++;
		vec_push(&s->candidates.at[at].inputs, input);
	}
}

static void
read_standing_rows(const PGresult *r, struct settled *s)
{
	for (int i = 0; i < PQntuples(r); i++) {
		struct standing st = { .key = read_key(r, i) };

		st.version = row_number(r, i, 2);
		st.event = (int)row_number(r, i, 3);
		st.before.state = (enum event_state)event_state_find(PQgetvalue(r, i, 4));
		st.before.action = (enum signal)signal_find(PQgetvalue(r, i, 5));
		st.before.hold = (int)row_number(r, i, 6);
		st.same_schedule = row_true(r, i, 7);
		st.dtstart = row_instant(r, i, 8);
		st.as_of = row_instant(r, i, 9);
		st.truth = row_truth(r, i, 10);
		st.before.as_of = row_instant(r, i, 11);
		vec_push(&s->standings, st);
	}
}

void
settle_read_outcomes(const struct pg_answer *answer, bool first, struct settled *s)
{
	PGresult **r = answer->results + (first ? LOCK_STATEMENTS : GUARD_STATEMENTS);

	for (int i = 0; i < PQntuples(r[0]); i++)
		vec_push(&s->ours, read_key(r[0], i));
	read_candidate_rows(r[1], s);
	read_early_inputs(r[2], s);
	read_standing_rows(r[3], s);
}

/* --- the end --- */

static const char queue_fired[] =
    "update tocsin.job j set state = 'queued', queued_at = now()"
    " from unnest($1::bigint[], $2::integer[]) k (run_id, id)"
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

/* What decided an event is read from the run's own rows: each evidence with its
 * truth, and under it the variables with their values as this run saw them. */
static const char make_signals[] =
    "insert into tocsin.signal (run_id, event, action, version, hold, decided_by)"
    " select j.run_id, j.name, m.action, j.version, m.hold, jsonb_build_object("
    "  'definition', ev.body -> 'definition', 'version', j.version, 'hash', ev.hash,"
    "  'truth', j.truth, 'note', j.note, 'hold', m.hold, 'evidences', coalesce(("
    "   select jsonb_agg(jsonb_build_object('name', u.name, 'version', u.version,"
    "    'definition', uv.body -> 'definition', 'operator', uv.body -> 'operator',"
    "    'operand', uv.body -> 'operand', 'state', u.state, 'truth', u.truth,"
    "    'value', case when pg_column_size(u.value) <= 8192 then u.value"
    "     else to_jsonb('(larger than 8 KiB)'::text) end,"
    "    'computed_at', u.computed_at, 'variables', coalesce(("
    "     select jsonb_agg(jsonb_build_object('name', w.name, 'version', w.version,"
    "      'state', w.state, 'reason', w.reason, 'value',"
    "      case when pg_column_size(w.value) <= 8192 then w.value"
    "       else to_jsonb('(larger than 8 KiB)'::text) end,"
    "      'computed_at', w.computed_at, 'stale', w.stale, 'age',"
    "      extract(epoch from now() - w.computed_at)) order by w.id)"
    "     from tocsin.job w where w.run_id = u.run_id and w.id = any (u.upstream)), '[]'))"
    "    order by u.id)"
    "   from tocsin.job u join tocsin.version uv on uv.id = u.version"
    "   where u.run_id = j.run_id and u.id = any (j.upstream)), '[]'))"
    " from unnest($1::bigint[], $2::integer[], $3::text[], $4::integer[])"
    "  m (run_id, id, action, hold)"
    " join tocsin.job j on j.run_id = m.run_id and j.id = m.id"
    " join tocsin.version ev on ev.id = j.version"
    " where m.action <> 'do_nothing'";

static const char make_deliveries[] =
    "insert into tocsin.delivery (run_id, event, reaction, version, resend_at)"
    " select j.run_id, j.name, v.name, v.id, now() + $4::interval"
    " from unnest($1::bigint[], $2::integer[], $3::text[]) m (run_id, id, action)"
    " join tocsin.job j on j.run_id = m.run_id and j.id = m.id"
    " join tocsin.version v on v.id = any (j.reactions)"
    " where m.action <> 'do_nothing'"
    "  and coalesce(v.body -> 'on', '[\"raise\", \"stop_raising\"]') ? m.action"
    " order by j.run_id, j.id, v.id returning run_id, event, reaction";

static const char count_runs[] =
    "update tocsin.run r set unsettled = r.unsettled - c.settled,"
    " failed = r.failed + c.failed, written_at = now(), trouble = null, trouble_at = null,"
    " finished_at = case when r.unsettled = c.settled then now() end,"
    " state = case when r.unsettled = c.settled then"
    "   case when r.failed + c.failed > 0 then 'DONE_WITH_ERRORS' else 'DONE' end"
    "  when r.failed + c.failed > 0 then 'ERRORED' else r.state end"
    " from unnest($1::bigint[], $2::integer[], $3::integer[]) c (id, settled, failed)"
    " where r.id = c.id returning r.id, r.state, r.unsettled, r.failed, r.jobs,"
    "  (extract(epoch from clock_timestamp() - r.created_at) * 1000000)::bigint";

static void
say_fired(struct pg *pg, const struct job_key *fired, size_t n)
{
	struct array runs = { 0 }, ids = { 0 };
	const char *params[2];

	for (size_t i = 0; i < n; i++) {
		array_int(&runs, fired[i].run);
		array_int(&ids, fired[i].id);
	}
	params[0] = array_literal(&runs);
	params[1] = array_literal(&ids);
	pg_say_prepared(pg, queue_fired, 2, params);
	array_done(&runs);
	array_done(&ids);
}

static void
say_moved(struct pg *pg, const struct moved *moved, size_t n, span lease)
{
	struct array event = { 0 }, run = { 0 }, id = { 0 }, state = { 0 }, action = { 0 },
	    hold = { 0 }, next = { 0 }, keep = { 0 }, as_of = { 0 }, note = { 0 };
	struct array *all[] = { &event, &run, &id, &state, &action, &hold, &next, &keep, &as_of,
		&note };
	char buf[INSTANT_TEXT], length[32];

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
	pg_say_prepared(pg, make_signals, 4, (const char *[]){ array_literal(&run),
	    array_literal(&id), array_literal(&action), array_literal(&hold) });
	snprintf(length, sizeof length, "%" PRId64 " us", lease);
	pg_say_prepared(pg, make_deliveries, 4, (const char *[]){ array_literal(&run),
	    array_literal(&id), array_literal(&action), length });
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		array_done(all[i]);
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

void
settle_say_end(struct pg *pg, const struct job_key *fired, size_t n_fired,
    const struct moved *moved, size_t n_moved, const struct run_count *counts,
    size_t n_counts, span lease)
{
	say_guard(pg);
	say_fired(pg, fired, n_fired);
	say_moved(pg, moved, n_moved, lease);
	say_counts(pg, counts, n_counts);
	pg_say(pg, "commit", 0, NULL);
}

void
settle_read_end(const struct pg_answer *answer, struct ended *ended)
{
	PGresult **r = answer->results + GUARD_STATEMENTS;
	const PGresult *fired = r[0], *deliveries = r[3], *runs = r[4];

	for (int i = 0; i < PQntuples(fired); i++) {
		struct fired_job job = { read_key(fired, i),
			(enum kind)kind_find(PQgetvalue(fired, i, 2)),
			xstrdup(PQgetvalue(fired, i, 3)), xstrdup(PQgetvalue(fired, i, 4)) };

		vec_push(&ended->fired, job);
	}
	for (int i = 0; i < PQntuples(runs); i++) {
		struct run_end end = { row_number(runs, i, 0),
			(enum run_state)run_state_find(PQgetvalue(runs, i, 1)),
			(int)row_number(runs, i, 2), (int)row_number(runs, i, 3),
			(int)row_number(runs, i, 4), row_number(runs, i, 5) };

		vec_push(&ended->runs, end);
	}
	delivery_read_keys(deliveries, &ended->deliveries);
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
