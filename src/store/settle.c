/* settle.c - the statements of a round: what jobs have come to, written down.
 *
 * Each job is found by its whole key, and the statements say so in a way that
 * leaves no other plan: whatever is known of the table, which has been empty
 * until the first cycle, a job must not cost what its run is large.
 *
 * Locks are taken in one order: the runs, then the standing rows by kind and
 * id, then the jobs; settlings of one run so come one after the other.  Claims,
 * renewals and the sweep lock jobs alone, in the order of their keys, and never
 * wait for more than those.  A fenced outcome is
 * stored only where the job is still running under the same fence, so whoever
 * was given up for dead changes nothing.  Only waiting jobs are counted down:
 * an event that was decided early is none any more. */
#include "store/settle.h"
#include <stdlib.h>
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
    "  $5::text[], $6::text[], $7::jsonb[], $8::boolean[], $9::text[], $10::boolean[])"
    "  o (run_id, id, fence, state, reason, error, value, truth, note, is_answer)"
    "), s as ("
    " update tocsin.job j set state = o.state, reason = o.reason, error = o.error,"
    "  note = o.note,"
    "  finished_at = now(), lease_until = null,"
    "  value = case when o.state = 'done' then o.value else j.value end,"
    "  truth = case when o.state = 'done' then o.truth"
    "   when o.reason = 'expired' then null else j.truth end,"
    "  computed_at = case when o.state = 'done' then now() else j.computed_at end,"
    "  as_of = case when j.kind = 'variable' and o.state = 'done' then"
    "   (select r.as_of from tocsin.run r where r.id = o.run_id) else j.as_of end,"
    "  stale = j.stale and o.state <> 'done'"
    " from o where j.run_id = o.run_id and j.id = o.id"
    "  and (j.state = 'running' and j.fence = o.fence"
    "   or j.state = 'waiting' and o.fence = -1)"
    /* What comes from outside decides nothing but what was asked outside. */
    "  and (not o.is_answer or exists (select from tocsin.version v"
    "   where v.id = j.version and v.kind = 'variable' and v.body ? 'celery'))"
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
    "  to_char(u.as_of, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')), ', ' order by u.id)"
    "  from " EACH_JOB("u", "j.run_id", "j.upstream") " where u.stale) end "
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

void
settle_say_guard(struct pg *pg)
{
	pg_say(pg, "savepoint settling", 0, NULL);
	pg_say(pg, "release savepoint settling", 0, NULL);
}

static int
truth_bool(enum truth truth)
{
	return truth == TRUTH_TRUE ? 1 : truth == TRUTH_FALSE ? 0 : -1;
}

enum { OUTCOME_COLUMNS = 10 };

void
settle_say_outcomes(struct pg *pg, const struct outcome *outcomes, size_t n, bool first)
{
	struct array a[OUTCOME_COLUMNS] = { 0 };
	const char *params[OUTCOME_COLUMNS];

	if (first)
		say_locks(pg, outcomes, n);
	else
		settle_say_guard(pg);
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
		array_bool(&a[9], o->is_answer);
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
	PGresult **r = answer->results + (first ? LOCK_STATEMENTS : SETTLE_GUARD_STATEMENTS);

	for (int i = 0; i < PQntuples(r[0]); i++)
		vec_push(&s->ours, read_key(r[0], i));
	read_candidate_rows(r[1], s);
	read_early_inputs(r[2], s);
	read_standing_rows(r[3], s);
}
