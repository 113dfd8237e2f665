/* report.c - questions that people ask of the books.
 *
 * PostgreSQL builds the JSON; the commands print it as it is, or as a table. */
#include "store/report.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "base/vec.h"
#include "io/pg.h"
#include "store/row.h"

/* The one value of SQL, as JSON; SQL null is NULL without an error in ERR. */
static json_t *
ask(PGconn *conn, const char *sql, int n, const char *const *params, struct err *err)
{
	PGresult *r = pg_exec(conn, sql, n, params, err);
	const char *text;
	json_t *json = NULL;

	if (!r)
		return NULL;
	text = PQntuples(r) ? row_text(r, 0, 0) : NULL;
	if (!text)
		err_set(err, "nothing found");
	else
		json = json_read(text, strlen(text), err);
	PQclear(r);
	return json;
}

#define IS_OPEN(r) r ".kind = 'cycle' and " r ".state in ('CREATED', 'STARTED', 'ERRORED')"
#define STALLED(r, lease) \
	"(" IS_OPEN(r) " and not exists (select from tocsin.job j where j.run_id = " r ".id" \
	" and (j.state = 'running' and j.lease_until > now() or" \
	" greatest(j.queued_at, j.started_at, j.finished_at) > now() - " lease "::interval)))"
#define RUN_JSON(r, lease) \
	"jsonb_build_object('id', " r ".id, 'kind', " r ".kind, 'agent', " r ".agent," \
	" 'state', " r ".state, 'origin', " r ".origin, 'as_of', " r ".as_of," \
	" 'created_at', " r ".created_at, 'started_at', " r ".started_at," \
	" 'finished_at', " r ".finished_at, 'seconds'," \
	" extract(epoch from coalesce(" r ".finished_at, now()) - " r ".created_at)," \
	" 'jobs', " r ".jobs, 'unsettled', " r ".unsettled, 'failed', " r ".failed," \
	" 'stalled', " STALLED(r, lease) "," \
	" 'trouble', " r ".trouble, 'trouble_age', extract(epoch from now() - " r ".trouble_at))"

/* A delivery D that must wait for one of its event to its reaction, and one that
 * nobody has taken for long, though it was sent, and sent again. */
#define HAS_OLDER \
	"exists (select from tocsin.delivery o where o.event = d.event" \
	" and o.reaction = d.reaction and o.state in ('pending', 'sending') and o.id < d.id)"
#define UNCLAIMED(lease) \
	"(d.attempts = 0 and d.due_at < now() - 2 * " lease "::interval)"

static const char *
interval(char buf[32], span length)
{
	snprintf(buf, 32, "%" PRId64 " us", length);
	return buf;
}

json_t *
report_status(PGconn *conn, int cycles, span lease, struct err *err)
{
	char most[16], length[32];
	const char *params[] = { most, interval(length, lease) };

	snprintf(most, sizeof most, "%d", cycles);
	return ask(conn,
	    "select jsonb_build_object("
	    "'installation', (select uuid from tocsin.installation),"
	    "'schema', (select max(version) from tocsin.migration),"
	    "'now', now(),"
	    "'definitions', jsonb_build_object("
	    " 'variables', (select count(*) from tocsin.variable),"
	    " 'evidences', (select count(*) from tocsin.evidence),"
	    " 'events', (select count(*) from tocsin.event),"
	    " 'reactions', (select count(*) from tocsin.reaction)),"
	    "'due', (select count(*) from tocsin.event where active and next_call <= now()),"
	    "'cycles', coalesce((select jsonb_agg(" RUN_JSON("r", "$2") " order by r.id desc)"
	    " from (select * from tocsin.run order by id desc limit $1) r), '[]'),"
	    "'raising', coalesce((select jsonb_agg(jsonb_build_object('event', e.name,"
	    "  'agent', e.agent, 'priority', e.priority, 'action', e.action,"
	    "  'since', (select max(s.at) from tocsin.signal s"
	    "   where s.event = e.name and s.action = 'raise'),"
	    "  'evaluated_at', e.evaluated_at, 'age', extract(epoch from now() - e.evaluated_at),"
    "  'description', v.body -> 'description')"
	    "  order by e.priority, e.name)"
	    " from tocsin.event e join tocsin.version v on v.id = e.version"
	    " where e.state = 'raising'), '[]'),"
	    "'deliveries', jsonb_build_object("
	    " 'pending', (select count(*) from tocsin.delivery where state = 'pending'),"
	    " 'sending', (select count(*) from tocsin.delivery where state = 'sending'),"
	    " 'unclaimed', (select count(*) from tocsin.delivery d where d.state = 'pending'"
	    "  and not " HAS_OLDER " and " UNCLAIMED("$2") "),"
	    " 'waiting', coalesce((select jsonb_agg(jsonb_build_object('cycle', d.run_id,"
	    "  'event', d.event, 'signal', s.action, 'reaction', d.reaction,"
	    "  'attempts', d.attempts, 'due_at', d.due_at, 'error', d.error,"
	    "  'needs', case when v.body ? 'command' then 'shell'"
	    "   when v.body ? 'celery' then 'broker' end,"
	    "  'why', case when " HAS_OLDER " then 'older' when " UNCLAIMED("$2")
	    "   then 'unclaimed' when d.due_at > now() then 'retry' else 'due' end)"
	    "  order by d.due_at, d.id)"
	    "  from (select * from tocsin.delivery where state = 'pending'"
	    "   order by due_at, id limit 10) d"
	    "  join tocsin.signal s on s.run_id = d.run_id and s.event = d.event"
	    "  join tocsin.version v on v.id = d.version), '[]'),"
	    " 'failed', (select count(*) from tocsin.delivery d where d.run_id >"
	    "   (select coalesce(max(id), 0) - 1000 from tocsin.run) and d.state = 'failed')))",
	    2, params, err);
}

json_t *
report_cycle(PGconn *conn, int64_t run, span lease, struct err *err)
{
	char id[24], length[32];
	const char *params[] = { id, interval(length, lease) };
	json_t *json;

	snprintf(id, sizeof id, "%" PRId64, run);
	json = ask(conn,
	    "select " RUN_JSON("r", "$2") " || jsonb_build_object("
	    "'counts', coalesce((select jsonb_object_agg(k.kind, k.states) from ("
	    "  select c.kind, jsonb_object_agg(c.state, c.n) as states from ("
	    "   select kind, state, count(*) as n from tocsin.job where run_id = r.id"
	    "   group by kind, state) c group by c.kind) k), '{}'),"
	    "'troubled', coalesce((select jsonb_agg(jsonb_build_object('kind', j.kind,"
	    "  'name', j.name, 'state', j.state, 'reason', j.reason, 'error', j.error,"
	    "  'attempts', j.attempts, 'worker', j.worker, 'finished_at', j.finished_at)"
	    "  order by j.id) from tocsin.job j where j.run_id = r.id"
	    "  and j.state in ('failed', 'skipped')), '[]'),"
	    "'repeated', coalesce((select jsonb_agg(jsonb_build_object('kind', j.kind,"
	    "  'name', j.name, 'attempts', j.attempts, 'worker', j.worker,"
	    "  'finished_at', j.finished_at)"
	    "  order by j.id) from tocsin.job j where j.run_id = r.id"
	    "  and j.state = 'done' and j.attempts > 1), '[]'),"
	    "'running', coalesce((select jsonb_agg(jsonb_build_object('kind', j.kind,"
	    "  'name', j.name, 'attempts', j.attempts, 'worker', j.worker,"
	    "  'started_at', j.started_at, 'lease_until', j.lease_until,"
	    "  'asked', case when j.asked_at is not null then j.note end)"
	    "  order by j.id) from tocsin.job j where j.run_id = r.id"
	    "  and j.state = 'running'), '[]'),"
	    "'signals', coalesce((select jsonb_agg(jsonb_build_object('event', s.event,"
	    "  'action', s.action, 'at', s.at) order by s.at, s.event)"
	    "  from tocsin.signal s where s.run_id = r.id), '[]'),"
	    "'deliveries', coalesce((select jsonb_agg(jsonb_build_object('event', d.event,"
	    "  'reaction', d.reaction, 'state', d.state, 'attempts', d.attempts,"
	    "  'error', d.error, 'due_at', d.due_at, 'delivered_at', d.delivered_at)"
	    "  order by d.id) from tocsin.delivery d where d.run_id = r.id), '[]'))"
	    " from tocsin.run r where r.id = $1", 2, params, err);
	if (!json && err->class == ERR_GIVEN)
		err_set(err, "there is no cycle %" PRId64, run);
	return json;
}

/* Nothing bears NAME; but perhaps one of what SQL lists is meant. */
static void
not_found(PGconn *conn, const char *what, const char *name, const char *sql, struct err *err)
{
	struct err ignored;
	PGresult *r = pg_exec(conn, sql, 0, NULL, &ignored);
	VEC(const char *) names = { 0 };
	const char *near;

	for (int i = 0; r && i < PQntuples(r); i++)
		vec_push(&names, row_text(r, i, 0));
	near = str_nearest(name, names.at, names.n);
	err_set(err, "there is no %s '%.200s'%s%s%s", what, name,
	    near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
	vec_done(&names);
	PQclear(r);
}

/* An event's name was wanted, and NAME is something else's. */
static bool
is_no_event(PGconn *conn, const char *name, struct err *err)
{
	const char *params[] = { name };
	struct err ignored;
	PGresult *r = pg_exec(conn,
	    "select 'a variable' from tocsin.variable where name = $1"
	    " union all select 'an evidence' from tocsin.evidence where name = $1"
	    " union all select 'a reaction' from tocsin.reaction where name = $1",
	    1, params, &ignored);
	bool is = r && PQntuples(r);

	if (is)
		err_set(err, "there is no event '%s'; it is %s, see 'tocsin show %s'", name,
		    PQgetvalue(r, 0, 0), name);
	PQclear(r);
	return is;
}

#define VERSION_JSON \
	"'definition', v.body, 'version', v.id, 'hash', v.hash," \
	" 'loaded_at', v.loaded_at, 'loaded_by', v.loaded_by," \
	" 'changes', coalesce((select jsonb_agg(jsonb_build_object('at', a.at," \
	"  'change', a.change, 'loaded_by', a.loaded_by, 'os_user', a.os_user, 'host', a.host," \
	"  'address', a.address, 'file', a.file, 'hash', a.hash, 'definition', a.body, 'keys'," \
	"  (select coalesce(jsonb_agg(k order by k), '[]') from jsonb_object_keys(" \
	"   coalesce(p.body, '{}') || coalesce(a.body, '{}')) k" \
	"   where p.body -> k is distinct from a.body -> k)) order by a.id desc)" \
	" from (select * from tocsin.audit a where a.kind = v.kind and a.name = v.name" \
	"  order by a.id desc limit $2) a left join lateral (select p.body from tocsin.audit p" \
	"  where p.kind = a.kind and p.name = a.name and p.id < a.id" \
	"  order by p.id desc limit 1) p on true), '[]')"
#define HISTORY_JSON(kind) \
	"'history', coalesce((select jsonb_agg(jsonb_build_object('cycle', h.run_id," \
	" 'at', h.at, 'value', h.value, 'truth', h.truth) order by h.at desc)" \
	" from (select * from tocsin.history h where h.name = x.name and h.kind = '" kind "'" \
	" order by h.at desc limit $2) h), '[]')"

json_t *
report_show(PGconn *conn, const char *name, int history, struct err *err)
{
	char most[16];
	const char *params[] = { name, most };
	json_t *json;

	snprintf(most, sizeof most, "%d", history);
	json = ask(conn,
	    "select jsonb_agg(t.j) from ("
	    " select jsonb_build_object('kind', 'variable', 'name', x.name, 'active', x.active,"
	    "  'value', x.value, 'cycle', x.run_id, 'computed_at', x.computed_at,"
	    "  'as_of', x.as_of, 'stale', coalesce(now() - x.as_of > v.max_age, false),"
	    "  'age', extract(epoch from now() - x.computed_at), " VERSION_JSON ","
	    "  'used_by', coalesce((select jsonb_agg(e.name order by e.name) from tocsin.evidence e"
	    "   join tocsin.version w on w.id = e.version where x.name = any (w.upstream)), '[]'),"
	    "  " HISTORY_JSON("variable") ") as j"
	    " from tocsin.variable x join tocsin.version v on v.id = x.version where x.name = $1"
	    " union all"
	    " select jsonb_build_object('kind', 'evidence', 'name', x.name, 'active', x.active,"
	    "  'value', x.value, 'truth', x.bool_value, 'cycle', x.run_id,"
	    "  'evaluated_at', x.evaluated_at,"
	    "  'age', extract(epoch from now() - x.evaluated_at), " VERSION_JSON ","
	    "  'uses', to_jsonb(v.upstream),"
	    "  'used_by', coalesce((select jsonb_agg(e.name order by e.name) from tocsin.event e"
	    "   join tocsin.version w on w.id = e.version where x.name = any (w.upstream)), '[]'),"
	    "  " HISTORY_JSON("evidence") ")"
	    " from tocsin.evidence x join tocsin.version v on v.id = x.version where x.name = $1"
	    " union all"
	    " select jsonb_build_object('kind', 'event', 'name', x.name, 'active', x.active,"
	    "  'agent', x.agent, 'priority', x.priority, 'state', x.state, 'action', x.action,"
	    "  'hold', x.hold, 'next_call', x.next_call, 'cycle', x.run_id,"
	    "  'evaluated_at', x.evaluated_at, 'as_of', x.as_of, " VERSION_JSON ", 'uses', to_jsonb(v.upstream),"
	    "  'used_by', coalesce((select jsonb_agg(e.name order by e.name) from tocsin.reaction e"
	    "   join tocsin.version w on w.id = e.version where w.body -> 'events' ? x.name), '[]'),"
	    "  'signals', coalesce((select jsonb_agg(jsonb_build_object('cycle', s.run_id,"
	    "   'at', s.at, 'action', s.action) order by s.at desc)"
	    "   from (select * from tocsin.signal s where s.event = x.name"
	    "    order by s.at desc limit $2) s), '[]'),"
	    "  " HISTORY_JSON("event") ")"
	    " from tocsin.event x join tocsin.version v on v.id = x.version where x.name = $1"
	    " union all"
	    " select jsonb_build_object('kind', 'reaction', 'name', x.name, 'active', x.active,"
	    "  " VERSION_JSON ","
	    "  'deliveries', coalesce((select jsonb_agg(jsonb_build_object('cycle', d.run_id,"
	    "   'event', d.event, 'state', d.state, 'attempts', d.attempts, 'error', d.error,"
	    "   'delivered_at', d.delivered_at) order by d.id desc)"
	    "   from (select * from tocsin.delivery d where d.reaction = x.name"
	    "    and d.run_id > (select coalesce(max(id), 0) - 1000 from tocsin.run)"
	    "    order by d.id desc limit $2) d), '[]'))"
	    " from tocsin.reaction x join tocsin.version v on v.id = x.version where x.name = $1"
	    ") t", 2, params, err);
	if (!json && err->class == ERR_GIVEN)
		not_found(conn, "variable, evidence, event or reaction", name,
		    "select name from tocsin.variable union select name from tocsin.evidence"
		    " union select name from tocsin.event union select name from tocsin.reaction",
		    err);
	return json;
}

/* The evidences without a truth, and the variables that it would take. */
#define MISSING_JSON \
	"coalesce((select jsonb_agg(jsonb_build_object('evidence', u.name," \
	" 'variable', w.name, 'why', case when w.stale then 'stale'" \
	"  when w.name is not null then 'never computed' else 'no truth yet' end)" \
	" order by u.id, w.id) from tocsin.job u left join tocsin.job w" \
	" on w.run_id = u.run_id and w.id = any (u.upstream) and" \
	"  w.state in ('failed', 'skipped') and (w.stale or w.computed_at is null)" \
	" where u.run_id = j.run_id and u.id = any (j.upstream) and u.truth is null" \
	"  and u.state in ('done', 'failed', 'skipped')), '[]')"

json_t *
report_explain(PGconn *conn, const char *event, int64_t run, struct err *err)
{
	char id[24];
	const char *params[] = { event, run ? id : NULL };
	json_t *json;

	snprintf(id, sizeof id, "%" PRId64, run);
	json = ask(conn,
	    "with x as ("
	    /* Skipped and failed evaluations leave no trace on the event: look
	     * for its job in the last cycles of its agent. */
	    " select e.*, v.body, coalesce($2::bigint, (select max(j.run_id)"
	    "   from (select id from tocsin.run where agent = e.agent"
	    "    order by id desc limit 5) r"
	    "   join tocsin.job j on j.run_id = r.id and j.kind = 'event'"
	    "    and j.name = e.name), e.run_id) as cycle"
	    " from tocsin.event e join tocsin.version v on v.id = e.version where e.name = $1"
	    ") select jsonb_build_object('event', x.name, 'description', x.body -> 'description',"
	    " 'definition', coalesce(jv.body, x.body) -> 'definition', 'agent', x.agent,"
	    " 'active', x.active, 'state', x.state, 'action', x.action, 'hold', x.hold,"
	    " 'interval', x.body -> 'interval', 'time_to_wait', x.body -> 'time_to_wait',"
	    " 'max_gap', x.body -> 'max_gap',"
	    " 'rrule', x.body -> 'rrule', 'next_call', x.next_call,"
	    " 'evaluated_at', x.evaluated_at, 'cycle', j.run_id, 'as_of', r.as_of,"
	    " 'job', j.state, 'reason', j.reason, 'error', j.error, 'truth', j.truth,"
	    " 'note', j.note, 'on_unknown', coalesce(jv.body, x.body) -> 'on_unknown',"
	    " 'missing', " MISSING_JSON ","
	    " 'signal', (select s.action from tocsin.signal s"
	    "  where s.run_id = j.run_id and s.event = x.name),"
	    " 'evidences', case when j.run_id is null then coalesce(("
	    "   select jsonb_agg(jsonb_build_object('name', u.name, 'truth', u.bool_value,"
	    "    'value', u.value, 'computed_at', u.evaluated_at,"
	    "    'definition', uv.body -> 'definition', 'operator', uv.body -> 'operator',"
	    "    'operand', uv.body -> 'operand', 'variables', coalesce(("
	    "     select jsonb_agg(jsonb_build_object('name', w.name, 'value', w.value,"
	    "      'computed_at', w.computed_at, 'age', extract(epoch from now() - w.computed_at))"
	    "      order by w.name) from tocsin.variable w where w.name = any (uv.upstream)), '[]'))"
	    "    order by u.name)"
	    "   from tocsin.version ev, tocsin.evidence u"
	    "   join tocsin.version uv on uv.id = u.version"
	    "   where ev.id = x.version and u.name = any (ev.upstream)), '[]')"
	    "  else coalesce(("
	    "   select jsonb_agg(jsonb_build_object('name', u.name, 'truth', u.truth,"
	    "    'state', u.state, 'reason', u.reason, 'error', u.error,"
	    "    'value', u.value, 'computed_at', u.computed_at,"
	    "    'definition', uv.body -> 'definition', 'operator', uv.body -> 'operator',"
	    "    'operand', uv.body -> 'operand', 'variables', coalesce(("
	    "     select jsonb_agg(jsonb_build_object('name', w.name, 'value', w.value,"
	    "      'state', w.state, 'reason', w.reason, 'error', w.error,"
	    "      'as_of', w.as_of, 'stale', w.stale and w.state in ('failed', 'skipped'),"
	    "      'max_age', (select z.body -> 'max_age' from tocsin.version z where z.id = w.version),"
	    "      'computed_at', w.computed_at, 'age', extract(epoch from now() - w.computed_at))"
	    "      order by w.name) from tocsin.job w"
	    "     where w.run_id = u.run_id and w.id = any (u.upstream)), '[]')) order by u.name)"
	    "   from tocsin.job u join tocsin.version uv on uv.id = u.version"
	    "   where u.run_id = j.run_id and u.id = any (j.upstream)), '[]') end)"
	    " from x left join tocsin.job j on j.run_id = x.cycle and j.kind = 'event'"
	    "  and j.name = x.name"
	    " left join tocsin.run r on r.id = j.run_id"
	    " left join tocsin.version jv on jv.id = j.version", 2, params, err);
	if (!json && err->class == ERR_GIVEN && !is_no_event(conn, event, err))
		not_found(conn, "event", event, "select name from tocsin.event", err);
	else if (json && run && json_is_null(json_object_get(json, "cycle"))) {
		json_decref(json);
		json = NULL;
		err_set(err, "cycle %" PRId64 " did not evaluate event '%s'", run, event);
	}
	return json;
}

json_t *
report_health(PGconn *conn, const char *agent, span max_age, span lease, struct err *err)
{
	char age[32], length[32];
	const char *params[] = { agent, interval(age, max_age), interval(length, lease) };

	/* An agent that has active events must have closed a cycle lately. */
	return ask(conn,
	    "select coalesce(jsonb_agg(jsonb_build_object('agent', a.agent,"
	    " 'events', a.events, 'last', (select " RUN_JSON("r", "$3") " from tocsin.run r"
	    "  where r.agent = a.agent and r.finished_at is not null order by r.id desc limit 1),"
	    " 'open', (select " RUN_JSON("r", "$3") " from tocsin.run r"
	    "  where r.agent = a.agent and " IS_OPEN("r") "),"
	    " 'overdue', not exists (select from tocsin.run r where r.agent = a.agent"
	    "  and r.finished_at > now() - $2::interval),"
	    " 'open_too_long', exists (select from tocsin.run r where r.agent = a.agent"
	    "  and " IS_OPEN("r") " and r.created_at < now() - $2::interval),"
	    " 'raising', (select count(*) from tocsin.event e where e.agent = a.agent"
	    "  and e.state = 'raising'),"
	    " 'failed_deliveries', (select count(*) from tocsin.delivery d"
	    "  join tocsin.run r on r.id = d.run_id where r.agent = a.agent"
	    "  and d.state = 'failed' and d.due_at > now() - $2::interval))"
	    " order by a.agent), '[]')"
	    " from (select agent, count(*) as events from tocsin.event"
	    "  where active and ($1 = '' or agent = $1) group by agent) a", 3, params, err);
}

json_t *
report_graph(PGconn *conn, int64_t run, struct err *err)
{
	char id[24];
	const char *params[] = { id };

	snprintf(id, sizeof id, "%" PRId64, run);
	if (run)
		return ask(conn,
		    "select coalesce(jsonb_agg(jsonb_build_object('kind', j.kind, 'name', j.name,"
		    " 'state', j.state, 'value', case when pg_column_size(j.value) < 200"
		    "  then j.value end, 'truth', j.truth, 'error', j.error,"
		    " 'upstream', to_jsonb(array(select u.name from unnest(j.upstream) x (id)"
		    "  join tocsin.job u on u.run_id = j.run_id and u.id = x.id order by u.id)))"
		    " order by j.id), '[]') from tocsin.job j where j.run_id = $1", 1, params, err);
	return ask(conn,
	    "select coalesce(jsonb_agg(jsonb_build_object('kind', v.kind, 'name', v.name,"
	    " 'upstream', to_jsonb(v.upstream)) order by c.rank, v.name), '[]')"
	    " from (select 1 as rank, version from tocsin.variable"
	    "  union all select 2, version from tocsin.evidence"
	    "  union all select 3, version from tocsin.event) c"
	    " join tocsin.version v on v.id = c.version", 0, NULL, err);
}
