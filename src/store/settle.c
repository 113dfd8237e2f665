/* settle.c - the statements of a round: what jobs have come to, written down.
 *
 * Each job is found by its whole key, or by the place that a statement has just seen
 * it at, and the statements say so in a way that leaves no other plan: whatever is
 * known of the table, which has been empty until the first cycle, a job must not cost
 * what its run is large.
 *
 * Locks are taken in one order: the runs, then the jobs that others may hold, then the
 * standing rows by kind and id; settlings of one run so come one after the other, and
 * nobody else writes its waiting jobs.  Claims, renewals and the sweep lock jobs alone,
 * in the order of their keys, and never wait for more than those; loading locks
 * standing rows alone.  A fenced outcome is stored only where the job is still running
 * under the same fence, so whoever was given up for dead changes nothing; that of a
 * waiting job, where nobody else has settled it.  Only waiting jobs are counted down:
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

void
fact_done(struct fact *f)
{
	vec_done(&f->upstream);
	free(f->name);
	free(f->value);
	free(f->stale);
	free(f->note);
}

void
candidate_done(struct candidate *c)
{
	vec_done(&c->upstream);
	vec_done(&c->inputs);
	free(c->name);
	free(c->stale);
}

void
settled_done(struct settled *s)
{
	for (size_t i = 0; i < s->ours.n; i++) {
		vec_done(&s->ours.at[i].upstream);
		free(s->ours.at[i].name);
		free(s->ours.at[i].value);
	}
	for (size_t i = 0; i < s->candidates.n; i++)
		candidate_done(&s->candidates.at[i]);
	for (size_t i = 0; i < s->facts.n; i++)
		fact_done(&s->facts.at[i]);
	for (size_t i = 0; i < s->standings.n; i++)
		free(s->standings.at[i].name);
	vec_done(&s->runs);
	vec_done(&s->ours);
	vec_done(&s->candidates);
	vec_done(&s->facts);
	vec_done(&s->standings);
}

/* --- a round of outcomes --- */

static const char lock_runs[] =
    "select id, " SETTLED_AT " from tocsin.run where id = any ($1::bigint[])"
    " order by id for update";
static const char make_partition[] = "select tocsin.history_partition(now())";

/* A value as text, if it is not too large to be handed round or to be told by a
 * signal: as text, or in the table, and then it is not even written out. */
#define TOLD "case when pg_column_size(value) <= 8192 then value::text end"
#define LARGE "value is not null and coalesce(octet_length(told) > 8192, true)"

/* Nobody else writes a waiting job while we have locked its run: what is counted here
 * is the whole count, and the row stays where it was seen.  Of whoever has nothing left to wait for it is written with
 * what becomes of him, in this transaction.  What large values make of something
 * is decided by a job of its own, so they are not told. */
static const char store_outcomes[] =
    "with r as materialized ("
    " select id, as_of, " SETTLED_AT " as settled_at from tocsin.run"
    " where id = any ($1::bigint[])"
    "), o as ("
    " select o.*, (fence = -1 and state <> 'skipped')::integer as begun, r.as_of, r.settled_at"
    " from unnest($1::bigint[], $2::integer[], $3::integer[], $4::text[],"
    "  $5::text[], $6::text[], $7::jsonb[], $8::boolean[], $9::text[], $10::boolean[],"
    "  $11::integer[], $12::boolean[])"
    "  o (run_id, id, fence, state, reason, error, value, truth, note, is_answer,"
    "   unsettled, succeeded)"
    " join r on r.id = o.run_id"
    "), s as ("
    " update tocsin.job j set state = o.state, reason = o.reason, error = o.error,"
    "  note = o.note, attempts = j.attempts + o.begun, fence = j.fence + o.begun,"
    "  worker = case when o.begun > 0 then $13 else j.worker end,"
    "  unsettled = coalesce(o.unsettled, j.unsettled),"
    "  succeeded = coalesce(o.succeeded, j.succeeded),"
    "  started_at = case when o.begun > 0 then o.settled_at else j.started_at end,"
    "  finished_at = o.settled_at, lease_until = null,"
    "  value = case when o.state = 'done' then o.value else j.value end,"
    "  truth = case when o.state = 'done' then o.truth"
    "   when o.reason = 'expired' then null else j.truth end,"
    "  computed_at = case when o.state = 'done' then o.settled_at else j.computed_at end,"
    "  as_of = case when j.kind = 'variable' and o.state = 'done' then o.as_of"
    "   else j.as_of end,"
    "  stale = j.stale and o.state <> 'done'"
    " from o where j.run_id = o.run_id and j.id = o.id"
    "  and (j.state = 'running' and j.fence = o.fence"
    "   or j.state = 'waiting' and o.fence = -1)"
    /* What comes from outside decides nothing but what was asked outside. */
    "  and (not o.is_answer or exists (select from tocsin.version v"
    "   where v.id = j.version and v.kind = 'variable' and v.body ? 'celery'))"
    " returning j.run_id, j.id, j.kind, j.name, j.version, j.state, j.upstream, j.downstream,"
    "  j.value, j.truth"
    "), h as ("
    " insert into tocsin.history (run_id, kind, name, value, truth)"
    " select run_id, kind, name, value, truth from s where state = 'done'"
    "), d as ("
    " select s.run_id, t.id, count(*)::integer as n, bool_or(s.state = 'done') as ok"
    " from s cross join lateral unnest(s.downstream) t (id) group by 1, 2"
    "), c as materialized ("
    " select d.run_id, d.id, j.kind, j.name, j.version, j.unsettled - d.n as unsettled,"
    "  j.succeeded or d.ok as succeeded, j.upstream, j.row"
    " from d cross join lateral (select *, ctid as row from tocsin.job"
    "  where run_id = d.run_id and id = d.id and state = 'waiting' offset 0) j"
    "), w as ("
    " update tocsin.job j set unsettled = c.unsettled, succeeded = c.succeeded"
    " from c where j.ctid = c.row and c.unsettled > 0"
    ") select run_id, id, null as kind, name, version, null, null, upstream,"
    "  state, truth, case when state = 'done' and not (" LARGE ") then told end, " LARGE
    "  from (select *, " TOLD " as told from s) s"
    " union all select run_id, id, kind, name, version, unsettled, succeeded, upstream,"
    "  null, null, null, null"
    " from c where unsettled = 0 or kind = 'event' and succeeded";

/* A stale variable is one that could not be computed: being done ends that. */
static const char read_facts[] =
    "select k.run_id, k.id, u.kind, u.name, u.version, u.state, u.reason, u.truth,"
    " case when not (" LARGE ") then told end, " LARGE ", u.computed_at,"
    " case when u.stale then to_char(u.as_of, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') end, u.upstream"
    " from unnest($1::bigint[], $2::integer[], $3::boolean[]) k (run_id, id, is_asked)"
    " cross join lateral (select *, case when k.is_asked then " TOLD " end as told"
    "  from tocsin.job where run_id = k.run_id and id = k.id offset 0) u";

/* Whom another has settled meanwhile is not ours: then the row is not of this
 * transaction. */
#define WE_HAVE_DONE "j.state = 'done' and j.xmin = pg_current_xact_id()::xid"
#define JUST_DONE(of) \
	"from unnest($1::bigint[], $2::integer[]) k (run_id, id)" \
	" join tocsin.job j using (run_id, id) join tocsin." of " x on x.name = j.name" \
	" where j.kind = '" of "' and " WE_HAVE_DONE \
	" order by x.id for update of x"

static const char write_variables[] =
    "with s as (select x.id, j.run_id, j.value, j.as_of, j.finished_at "
    JUST_DONE("variable") ")"
    " update tocsin.variable x set value = s.value, run_id = s.run_id,"
    "  computed_at = s.finished_at, as_of = s.as_of from s where x.id = s.id";

static const char write_evidences[] =
    "with s as (select x.id, j.run_id, j.value, j.truth, j.finished_at "
    JUST_DONE("evidence") ")"
    " update tocsin.evidence x set value = s.value, bool_value = s.truth, run_id = s.run_id,"
    "  evaluated_at = s.finished_at from s where x.id = s.id";

static const char read_standings[] =
    "select j.run_id, j.id, j.version, e.id, e.name, e.state, e.action, e.hold,"
    " e.schedule = j.schedule, e.dtstart, r.as_of, j.truth,"
    " coalesce(e.as_of, '-infinity')"
    " from unnest($1::bigint[], $2::integer[]) k (run_id, id)"
    " join tocsin.job j using (run_id, id)"
    " join tocsin.run r on r.id = j.run_id"
    " join tocsin.event e on e.id = j.event"
    " where j.kind = 'event' and " WE_HAVE_DONE
    " order by e.id for update of e";

static void
say_locks(struct pg *pg, const struct outcome *outcomes, size_t n)
{
	struct array runs = { 0 };

	for (size_t i = 0; i < n; i++)
		if (i == 0 || outcomes[i].key.run != outcomes[i - 1].key.run)
			array_int(&runs, outcomes[i].key.run);
	pg_say(pg, "begin", 0, NULL);
	pg_say_prepared(pg, lock_runs, 1, (const char *[]){ array_literal(&runs) });
	pg_say_prepared(pg, make_partition, 0, NULL);
	array_done(&runs);
}
enum { LOCK_STATEMENTS = 3 };

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

enum { OUTCOME_COLUMNS = 12 };

void
settle_say_outcomes(struct pg *pg, const struct outcome *outcomes, size_t n, bool first,
    const char *worker)
{
	struct array a[OUTCOME_COLUMNS] = { 0 };
	const char *params[OUTCOME_COLUMNS + 1];

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
		if (o->fence == -1)
			array_int(&a[10], o->unsettled);
		else
			array_text(&a[10], NULL);
		array_bool(&a[11], o->fence == -1 ? o->succeeded : -1);
	}
	for (int i = 0; i < OUTCOME_COLUMNS; i++)
		params[i] = array_literal(&a[i]);
	params[OUTCOME_COLUMNS] = worker;
	pg_say_prepared(pg, store_outcomes, OUTCOME_COLUMNS + 1, params);
	for (int i = 0; i < OUTCOME_COLUMNS; i++)
		array_done(&a[i]);
}

static struct job_key
read_key(const PGresult *r, int row)
{
	return (struct job_key){ row_number(r, row, 0), (int)row_number(r, row, 1) };
}

static struct job_ids
read_ids(const PGresult *r, int row, int column)
{
	const char *at = PQgetvalue(r, row, column);
	struct job_ids ids = { 0 };
	int id;

	while ((at = row_next_number(at, &id)))
		vec_push(&ids, id);
	return ids;
}

static struct stored
read_stored(const PGresult *r, int row)
{
	struct stored s = { .key = read_key(r, row) };

	s.name = row_text_dup(r, row, 3);
	s.version = row_number(r, row, 4);
	s.upstream = read_ids(r, row, 7);
	s.state = (enum job_state)job_state_find(PQgetvalue(r, row, 8));
	s.truth = row_truth(r, row, 9);
	s.value = row_text_dup(r, row, 10);
	s.is_large = row_true(r, row, 11);
	return s;
}

static struct candidate
read_candidate(const PGresult *r, int row)
{
	struct candidate c = { .key = read_key(r, row) };

	c.kind = (enum kind)kind_find(PQgetvalue(r, row, 2));
	c.name = xstrdup(PQgetvalue(r, row, 3));
	c.version = row_number(r, row, 4);
	c.unsettled = (int)row_number(r, row, 5);
	c.succeeded = row_true(r, row, 6);
	c.upstream = read_ids(r, row, 7);
	return c;
}

void
settle_read_outcomes(const struct pg_answer *answer, bool first, struct settled *s)
{
	const PGresult *r =
	    answer->results[first ? LOCK_STATEMENTS : SETTLE_GUARD_STATEMENTS];

	for (int i = 0; first && i < PQntuples(answer->results[1]); i++)
		vec_push(&s->runs, ((struct run_instant){ row_number(answer->results[1], i, 0),
		    row_instant(answer->results[1], i, 1) }));
	for (int i = 0; i < PQntuples(r); i++)
		if (PQgetisnull(r, i, 2))
			vec_push(&s->ours, read_stored(r, i));
		else
			vec_push(&s->candidates, read_candidate(r, i));
}

void
settle_say_facts(struct pg *pg, const struct wanted_fact *wanted, size_t n)
{
	struct array runs = { 0 }, ids = { 0 }, values = { 0 };

	for (size_t i = 0; i < n; i++) {
		array_int(&runs, wanted[i].key.run);
		array_int(&ids, wanted[i].key.id);
		array_bool(&values, wanted[i].value);
	}
	pg_say_prepared(pg, read_facts, 3, (const char *[]){ array_literal(&runs),
	    array_literal(&ids), array_literal(&values) });
	array_done(&runs);
	array_done(&ids);
	array_done(&values);
}

static struct fact
read_fact(const PGresult *r, int row)
{
	struct fact f = { .key = read_key(r, row), .reason = -1 };

	f.kind = (enum kind)kind_find(PQgetvalue(r, row, 2));
	f.name = row_text_dup(r, row, 3);
	f.version = row_number(r, row, 4);
	f.state = (enum job_state)job_state_find(PQgetvalue(r, row, 5));
	if (!PQgetisnull(r, row, 6))
		f.reason = reason_find(PQgetvalue(r, row, 6));
	f.truth = row_truth(r, row, 7);
	f.value = row_text_dup(r, row, 8);
	f.is_untold = row_true(r, row, 9);
	f.computed_at = row_instant(r, row, 10);
	f.stale = row_text_dup(r, row, 11);
	f.upstream = read_ids(r, row, 12);
	return f;
}

void
settle_read_facts(const PGresult *r, struct settled *s)
{
	for (int i = 0; i < PQntuples(r); i++)
		vec_push(&s->facts, read_fact(r, i));
	if (s->facts.n)
		qsort(s->facts.at, s->facts.n, sizeof *s->facts.at, job_key_compare);
}

static void
read_standing_rows(const PGresult *r, struct settled *s)
{
	for (int i = 0; i < PQntuples(r); i++) {
		struct standing st = { .key = read_key(r, i) };

		st.version = row_number(r, i, 2);
		st.event = (int)row_number(r, i, 3);
		st.name = xstrdup(PQgetvalue(r, i, 4));
		st.before.state = (enum event_state)event_state_find(PQgetvalue(r, i, 5));
		st.before.action = (enum signal)signal_find(PQgetvalue(r, i, 6));
		st.before.hold = (int)row_number(r, i, 7);
		st.same_schedule = row_true(r, i, 8);
		st.dtstart = row_instant(r, i, 9);
		st.as_of = row_instant(r, i, 10);
		st.truth = row_truth(r, i, 11);
		st.before.as_of = row_instant(r, i, 12);
		vec_push(&s->standings, st);
	}
}

void
settle_say_standings(struct pg *pg, enum kind kind, const struct job_key *keys, size_t n)
{
	static const char *const statements[] = { write_variables, write_evidences,
		read_standings };

	settle_say_keys(pg, (const char *const []){ statements[kind], NULL }, keys, n);
}

void
settle_read_standings(const struct pg_answer *answer, struct settled *s)
{
	read_standing_rows(answer->results[answer->n - 1], s);
}
