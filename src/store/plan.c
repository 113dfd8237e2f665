/* plan.c - from the due events to the jobs of a run.
 *
 * One statement reads the due events, their evidences and the variables of those, as
 * one moment has them; the free names that loading left with each version are the
 * edges.  The graph is built here, for that is where a node costs least.  What is
 * written is as it was read, and only the values of a node are those of the moment
 * when it is written.
 *
 * Nodes are numbered variables, evidences, events, each kind as it is met from the
 * most urgent event on.  So the urgent is sent first, and what belongs together is
 * computed together.  What is not active is planned without upstream, and skipped
 * when it is claimed. */
#include "store/plan.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/str.h"
#include "base/vec.h"
#include "graph/graph.h"
#include "io/pg.h"
#include "model/states.h"
#include "store/array.h"
#include "store/row.h"

static const char read_nodes[] =
    "with due as materialized ("
    " select e.id, e.name, e.version, e.priority, e.schedule, v.upstream"
    " from tocsin.event e join tocsin.version v on v.id = e.version"
    " where e.active and e.agent = $2 and"
    "  case when $3::text[] is null"
    "   then e.next_call <= (select as_of from tocsin.run where id = $1)"
    "   else e.name = any ($3) end"
    "), ev as materialized ("
    " select x.id, x.name, x.version, x.active,"
    "  case when x.active then v.upstream else '{}' end as upstream"
    " from (select distinct unnest(upstream) as name from due) n"
    " join tocsin.evidence x on x.name = n.name"
    " join tocsin.version v on v.id = x.version"
    ") select 'event', id, name, version, true, array_to_string(upstream, ' '), priority,"
    "  schedule from due"
    " union all select 'evidence', id, name, version, active, array_to_string(upstream, ' '),"
    "  null, null from ev"
    " union all select 'variable', x.id, x.name, x.version, x.active, '', null, null"
    " from (select distinct unnest(upstream) as name from ev) n"
    " join tocsin.variable x on x.name = n.name";
enum { KIND_OF, OBJECT, NAME_OF, VERSION_OF, ACTIVE, UPSTREAM, PRIORITY, SCHEDULE };

/* Nodes as many rows: $1 the run, $2 how many nodes are numbered before these. */
#define INSERT "insert into tocsin.job (run_id, id, kind, name, version, queue, active, state," \
	" upstream, downstream, unsettled, queued_at,"
#define NODE(kind) "select $1::bigint, ($2 + n)::integer, '" kind "', k.name, k.version,"
#define STATE "k.active, case when k.up = '{}' then 'queued' else 'waiting' end," \
	" k.up::integer[], k.down::integer[], cardinality(k.up::integer[])," \
	" case when k.up = '{}' then now() end,"
#define NODES \
	"unnest($4::integer[], $5::text[], $6::bigint[], $7::boolean[], $8::text[], $9::text[]," \
	" $10::bigint[]) with ordinality" \
	" k (object, name, version, active, up, down, schedule, n)"

static const char write_variables[] =
    INSERT " value, computed_at, as_of, stale) " NODE("variable")
    " coalesce(case when not v.body ? 'celery' then v.body ->> 'queue' end, $3), " STATE
    " x.value, x.computed_at, x.as_of,"
    " coalesce((select as_of from tocsin.run where id = $1) - x.as_of > v.max_age, false)"
    " from " NODES " join tocsin.version v on v.id = k.version"
    " left join tocsin.variable x on x.id = k.object";

static const char write_evidences[] =
    INSERT " value, truth, computed_at) " NODE("evidence") " $3, " STATE
    " x.value, x.bool_value, x.evaluated_at"
    " from " NODES " left join tocsin.evidence x on x.id = k.object";

static const char write_events[] =
    "with reaction as materialized ("
    " select n.name as event, array_agg(r.version order by r.id) as versions"
    " from tocsin.reaction r join tocsin.version v on v.id = r.version"
    " cross join lateral jsonb_array_elements_text(v.body -> 'events') n (name)"
    " where r.active group by n.name"
    ") " INSERT " event, schedule, reactions) " NODE("event") " $3, " STATE
    " k.object, k.schedule, coalesce(x.versions, '{}')"
    " from " NODES " left join reaction x on x.event = k.name";

/* The rows that were read are the nodes, by their numbers. */
struct plan {
	PGconn *conn;
	char run[24];
	const char *queue;
	PGresult *rows;
	size_t n;
	struct graph *graph;
	VEC(int) met[EVENT + 1];	/* the nodes of a kind, in the order of their ids */
	int *id;			/* of each node; 0: not met yet */
};

static void
meet(struct plan *p, int node, enum kind kind)
{
	if (p->id[node])
		return;
	vec_push(&p->met[kind], node);
	p->id[node] = (int)p->met[kind].n;	/* of its kind, so far */
}

/* What NODE uses is of the kind BELOW. */
static void
follow(struct plan *p, int node, enum kind below)
{
	const char *at = PQgetvalue(p->rows, node, UPSTREAM);
	struct str name = STR_INIT;
	size_t len;

	for (; *at; at += len + (at[len] == ' ')) {
		int up;

		len = strcspn(at, " ");
		str_clear(&name);
		str_add(&name, at, len);
		up = graph_node(p->graph, kind_text(below), str_text(&name));
		if ((size_t)up >= p->n)
			continue;	/* it is not in the books */
		graph_edge(p->graph, up, node);
		meet(p, up, below);
	}
	str_done(&name);
}

struct due {
	int64_t priority, object;
	int node;
};

static int
by_urgency(const void *a, const void *b)
{
	const struct due *x = a, *y = b;

	if (x->priority != y->priority)
		return x->priority < y->priority ? -1 : 1;
	return x->object < y->object ? -1 : x->object > y->object;
}

static void
build(struct plan *p)
{
	VEC(struct due) due = { 0 };

	p->n = (size_t)PQntuples(p->rows);
	p->id = xcalloc(p->n + 1, sizeof *p->id);
	p->graph = graph_new();
	for (int i = 0; i < (int)p->n; i++) {
		const char *kind = PQgetvalue(p->rows, i, KIND_OF);
		struct due event = { row_number(p->rows, i, PRIORITY),
			row_number(p->rows, i, OBJECT), i };

		graph_node(p->graph, kind, PQgetvalue(p->rows, i, NAME_OF));
		if (kind_find(kind) == EVENT)
			vec_push(&due, event);
	}
	if (due.n)
		qsort(due.at, due.n, sizeof *due.at, by_urgency);
	for (size_t i = 0; i < due.n; i++) {
		meet(p, due.at[i].node, EVENT);
		follow(p, due.at[i].node, EVIDENCE);
	}
	vec_done(&due);
	for (size_t i = 0; i < p->met[EVIDENCE].n; i++)
		follow(p, p->met[EVIDENCE].at[i], VARIABLE);
}

/* How many ids come before those of KIND. */
static size_t
before(const struct plan *p, enum kind kind)
{
	return kind == VARIABLE ? 0 : p->met[VARIABLE].n +
	    (kind == EVENT ? p->met[EVIDENCE].n : 0);
}

static int
by_number(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return x < y ? -1 : x > y;
}

/* The ids of NODES, which are all of KIND, as an array within an array. */
static void
add_ids(const struct plan *p, struct array *column, const int *nodes, size_t n, enum kind kind)
{
	VEC(int) ids = { 0 };
	struct array array = { 0 };

	for (size_t i = 0; i < n; i++)
		vec_push(&ids, (int)before(p, kind) + p->id[nodes[i]]);
	if (n)
		qsort(ids.at, n, sizeof *ids.at, by_number);
	for (size_t i = 0; i < n; i++)
		array_int(&array, ids.at[i]);
	array_text(column, array_literal(&array));
	array_done(&array);
	vec_done(&ids);
}

enum { COLUMNS = 7 };

static void
add_node(const struct plan *p, struct array *a, int node, enum kind kind)
{
	const PGresult *r = p->rows;
	const int *near;
	size_t n;

	array_int(&a[0], row_number(r, node, OBJECT));
	array_text(&a[1], PQgetvalue(r, node, NAME_OF));
	array_int(&a[2], row_number(r, node, VERSION_OF));
	array_bool(&a[3], row_true(r, node, ACTIVE));
	near = graph_upstream(p->graph, node, &n);
	add_ids(p, &a[4], near, n, kind == EVENT ? EVIDENCE : VARIABLE);
	near = graph_downstream(p->graph, node, &n);
	add_ids(p, &a[5], near, n, kind == VARIABLE ? EVIDENCE : EVENT);
	array_text(&a[6], row_text(r, node, SCHEDULE));
}

static int
begin_write(const struct plan *p, enum kind kind, struct array *a, struct err *err)
{
	static const char *const sql[] = { write_variables, write_evidences, write_events };
	const char *params[3 + COLUMNS];
	char first[24];

	snprintf(first, sizeof first, "%zu", before(p, kind));
	params[0] = p->run;
	params[1] = first;
	params[2] = p->queue;
	for (int i = 0; i < COLUMNS; i++)
		params[3 + i] = array_literal(&a[i]);
	return pg_exec_begin(p->conn, sql[kind], 3 + COLUMNS, params, err);
}

static int
end_write(const struct plan *p, struct err *err)
{
	PGresult *r = pg_exec_end(p->conn, err);

	PQclear(r);
	return r ? 0 : -1;
}

/* The nodes of a kind are put into words while those of the kind before are written. */
static int
write_nodes(const struct plan *p, struct err *err)
{
	bool under_way = false;
	int rc = 0;

	for (int kind = VARIABLE; kind <= EVENT && !rc; kind++) {
		struct array a[COLUMNS] = { 0 };

		for (size_t i = 0; i < p->met[kind].n; i++)
			add_node(p, a, p->met[kind].at[i], (enum kind)kind);
		if (under_way)
			rc = end_write(p, err);
		if (!rc && p->met[kind].n)
			rc = begin_write(p, (enum kind)kind, a, err);
		under_way = !rc && p->met[kind].n;
		for (int i = 0; i < COLUMNS; i++)
			array_done(&a[i]);
	}
	return under_way ? end_write(p, err) : rc;
}

int
plan_write(PGconn *conn, int64_t run, const char *agent, const char *events,
    const char *queue, size_t *jobs, struct err *err)
{
	struct plan p = { .conn = conn, .queue = queue };
	const char *params[] = { p.run, agent, events };
	int rc;

	snprintf(p.run, sizeof p.run, "%" PRId64, run);
	if (!(p.rows = pg_exec(conn, read_nodes, 3, params, err)))
		return -1;
	build(&p);
	rc = write_nodes(&p, err);
	*jobs = before(&p, EVENT) + p.met[EVENT].n;
	for (int i = 0; i <= EVENT; i++)
		vec_done(&p.met[i]);
	graph_free(p.graph);
	free(p.id);
	PQclear(p.rows);
	return rc;
}
