/* definition.c - load definitions into the books.
 *
 * All changes of a load are one statement over arrays, whatever their number;
 * rows are locked by id before, in the order in which settling locks them. */
#include "store/definition.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"
#include "io/pg.h"
#include "store/array.h"
#include "store/row.h"

static int
by_kind_and_name(const void *a, const void *b)
{
	const struct stored *x = a, *y = b;

	return x->kind != y->kind ? (x->kind < y->kind ? -1 : 1) : strcmp(x->name, y->name);
}

int
definition_read_all(PGconn *conn, struct stored_list *list, struct err *err)
{
	PGresult *r = pg_exec(conn,
	    "select v.kind, v.name, v.hash, v.body::text from tocsin.version v"
	    " join (select version from tocsin.variable"
	    "  union all select version from tocsin.evidence"
	    "  union all select version from tocsin.event"
	    "  union all select version from tocsin.reaction) c on c.version = v.id",
	    0, NULL, err);

	if (!r)
		return -1;
	for (int i = 0; i < PQntuples(r); i++) {
		const char *body = row_text(r, i, 3);
		struct stored s = { (enum kind)kind_find(PQgetvalue(r, i, 0)),
			row_text_dup(r, i, 1), row_text_dup(r, i, 2),
			json_read(body, strlen(body), err) };

		vec_push(list, s);
		if (!s.body) {
			err_wrap(err, "the definition of %s '%s' in the books",
			    kind_text(s.kind), s.name);
			PQclear(r);
			return -1;
		}
	}
	PQclear(r);
	if (list->n)
		qsort(list->at, list->n, sizeof *list->at, by_kind_and_name);
	return 0;
}

const struct stored *
definition_find(const struct stored_list *list, enum kind kind, const char *name)
{
	struct stored key = { .kind = kind, .name = (char *)(uintptr_t)name };

	return list->n ? bsearch(&key, list->at, list->n, sizeof key, by_kind_and_name) : NULL;
}

void
stored_list_done(struct stored_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		free(list->at[i].name);
		free(list->at[i].hash);
		json_decref(list->at[i].body);
	}
	vec_done(list);
}

/* --- comparing --- */

static void
fingerprint(const struct definition *d, char hash[SHA256_TEXT])
{
	char *text = json_for_books(d->body);

	sha256_hex(text, strlen(text), hash);
	free(text);
}

static int
compare_event(const struct definition *to, const struct stored *from, struct change *c,
    struct err *err)
{
	struct event old;

	if (event_init(&old, from->body, err)) {
		/* Written by an older version: its schedule counts as another. */
		c->reschedules = true;
		return 0;
	}
	c->reschedules = !event_same_schedule(&to->u.event, &old);
	event_done(&old);
	return 0;
}

static int
compare_one(const struct definition *d, const struct stored_list *stored,
    struct changes *changes, struct err *err)
{
	const struct stored *old = definition_find(stored, d->kind, d->name);
	struct change c = { CHANGE_ADD, d->kind, d->name, d, old, true };
	char hash[SHA256_TEXT];

	fingerprint(d, hash);
	if (old && !strcmp(old->hash, hash)) {
		changes->same++;
		return 0;
	}
	if (old) {
		c.what = CHANGE_ALTER;
		if (d->kind == EVENT && compare_event(d, old, &c, err))
			return -1;
	}
	vec_push(changes, c);
	return 0;
}

int
definition_compare(const struct model *model, const struct stored_list *stored, bool prune,
    struct changes *changes, struct err *err)
{
	for (size_t i = 0; i < model->n; i++)
		if (compare_one(model->at[i], stored, changes, err))
			return -1;
	for (size_t i = 0; prune && i < stored->n; i++) {
		const struct stored *s = &stored->at[i];

		if (!model_find(model, s->kind, s->name))
			vec_push(changes, ((struct change){ CHANGE_REMOVE, s->kind, s->name,
			    NULL, s, false }));
	}
	return 0;
}

void
changes_done(struct changes *changes)
{
	vec_done(changes);
}

/* --- applying --- */

static int
run(PGconn *conn, const char *sql, int n, const char *const *params, struct err *err)
{
	PGresult *r = pg_exec(conn, sql, n, params, err);

	PQclear(r);
	return r ? 0 : -1;
}

int
definition_begin(PGconn *conn, struct err *err)
{
	return run(conn, "begin", 0, NULL, err) || run(conn,
	    "select pg_advisory_xact_lock(hashtext('tocsin.load'))", 0, NULL, err) ? -1 : 0;
}

int
definition_end(PGconn *conn, bool commit, struct err *err)
{
	return run(conn, commit ? "commit" : "rollback", 0, NULL, err);
}

void
definition_analyze(PGconn *conn)
{
	struct err ignored;

	run(conn, "set client_min_messages = error", 0, NULL, &ignored);
	run(conn, "analyze tocsin.version, tocsin.variable, tocsin.evidence, tocsin.event,"
	    " tocsin.reaction", 0, NULL, &ignored);
}

static const char load[] =
    "with given as materialized ("
    " select * from unnest($1::text[], $2::text[], $3::text[], $4::jsonb[], $5::jsonb[],"
    "  $6::boolean[], $7::text[], $8::integer[], $9::timestamptz[], $10::timestamptz[],"
    "  $11::interval[]) g (kind, name, hash, body, upstream, active, agent, priority,"
    "  next_call, dtstart, max_age)"
    "), made as ("
    " insert into tocsin.version (kind, name, hash, body, upstream, max_age)"
    " select kind, name, hash, body, array(select jsonb_array_elements_text(upstream)),"
    "  max_age from given returning id, kind, name"
    "), g as ("
    " select m.id, g.* from made m join given g using (kind, name)"
    "), va as ("
    " insert into tocsin.variable (name, version, active)"
    " select name, id, active from g where kind = 'variable' order by id"
    " on conflict (name) do update set version = excluded.version, active = excluded.active"
    "), ec as ("
    " insert into tocsin.evidence (name, version, active)"
    " select name, id, active from g where kind = 'evidence' order by id"
    " on conflict (name) do update set version = excluded.version, active = excluded.active"
    "), re as ("
    " insert into tocsin.reaction (name, version, active)"
    " select name, id, active from g where kind = 'reaction' order by id"
    " on conflict (name) do update set version = excluded.version, active = excluded.active"
    ") insert into tocsin.event as e (name, version, active, agent, priority, next_call, dtstart)"
    " select g.name, g.id, g.active, g.agent, g.priority, g.next_call, g.dtstart"
    " from g where g.kind = 'event' order by g.id"
    " on conflict (name) do update set version = excluded.version,"
    "  active = excluded.active, agent = excluded.agent, priority = excluded.priority";

/* A changed schedule begins afresh; the state stays. */
static const char reschedule[] =
    "update tocsin.event e set next_call = g.next_call, dtstart = g.dtstart, hold = 0,"
    " as_of = null,"
    " schedule = default"
    " from unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) g (name, next_call, dtstart)"
    " where e.name = g.name";

enum { COLUMNS = 11 };

static void
add_upstream(struct array *column, const struct definition *d)
{
	const struct expr *expr = d->kind == EVIDENCE ? d->u.evidence.expr
	    : d->kind == EVENT ? d->u.event.expr : NULL;
	const char *const *names = NULL;
	size_t n = expr ? expr_names(expr, &names) : 0;
	json_t *list = json_array();
	char *text;

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_string(names[i]));
	text = json_for_books(list);
	array_text(column, text);
	free(text);
	json_decref(list);
}

static int
add_schedule(struct array *next_call, struct array *dtstart, const struct definition *d,
    instant now, struct err *err)
{
	const struct event *event = &d->u.event;
	instant start = event->dtstart == INSTANT_ALWAYS ? now - now % SECOND : event->dtstart,
	    next;
	char buf[INSTANT_TEXT];

	if (event_first_call(event, start, now, &next, err))
		return err_wrap(err, "event '%s'", d->name);
	array_text(next_call, clock_format(next, buf));
	array_text(dtstart, clock_format(start, buf));
	return 0;
}

static void
add_max_age(struct array *column, const struct definition *d)
{
	char text[32];
	bool given = d->kind == VARIABLE && d->u.variable.max_age >= 0;

	if (given)
		snprintf(text, sizeof text, "%" PRId64 " us", d->u.variable.max_age);
	array_text(column, given ? text : NULL);
}

static int
add_row(struct array a[COLUMNS], const struct definition *d, instant now, struct err *err)
{
	char *body = json_for_books(d->body), hash[SHA256_TEXT];

	fingerprint(d, hash);
	array_text(&a[0], kind_text(d->kind));
	array_text(&a[1], d->name);
	array_text(&a[2], hash);
	array_text(&a[3], body);
	add_upstream(&a[4], d);
	array_bool(&a[5], definition_is_active(d));
	add_max_age(&a[10], d);
	free(body);
	if (d->kind != EVENT) {
		array_text(&a[6], NULL);
		array_text(&a[7], NULL);
		array_text(&a[8], NULL);
		array_text(&a[9], NULL);
	} else {
		array_text(&a[6], d->u.event.agent);
		array_int(&a[7], d->u.event.priority);
		if (add_schedule(&a[8], &a[9], d, now, err))
			return -1;
	}
	return 0;
}

static int
read_now(PGconn *conn, instant *now, struct err *err)
{
	PGresult *r = pg_exec(conn, "select now()", 0, NULL, err);

	if (!r)
		return -1;
	*now = row_instant(r, 0, 0);
	PQclear(r);
	return 0;
}

static int
lock_rows(PGconn *conn, const struct changes *changes, struct err *err)
{
	static const char *const lock[KIND_COUNT] = {
		[VARIABLE] = "select from tocsin.variable where name = any ($1) order by id for update",
		[EVIDENCE] = "select from tocsin.evidence where name = any ($1) order by id for update",
		[EVENT] = "select from tocsin.event where name = any ($1) order by id for update",
		[REACTION] = "select from tocsin.reaction where name = any ($1) order by id for update",
	};

	for (int kind = 0; kind < KIND_COUNT; kind++) {
		struct array names = { 0 };
		const char *params[1];
		int rc;

		for (size_t i = 0; i < changes->n; i++)
			if ((int)changes->at[i].kind == kind && changes->at[i].from)
				array_text(&names, changes->at[i].name);
		params[0] = array_literal(&names);
		rc = run(conn, lock[kind], 1, params, err);
		array_done(&names);
		if (rc)
			return -1;
	}
	return 0;
}

static int
remove_rows(PGconn *conn, const struct changes *changes, struct err *err)
{
	static const char *const remove[KIND_COUNT] = {
		[VARIABLE] = "delete from tocsin.variable where name = any ($1)",
		[EVIDENCE] = "delete from tocsin.evidence where name = any ($1)",
		[EVENT] = "delete from tocsin.event where name = any ($1)",
		[REACTION] = "delete from tocsin.reaction where name = any ($1)",
	};

	for (int kind = 0; kind < KIND_COUNT; kind++) {
		struct array names = { 0 };
		const char *params[1];
		int rc;

		for (size_t i = 0; i < changes->n; i++)
			if ((int)changes->at[i].kind == kind &&
			    changes->at[i].what == CHANGE_REMOVE)
				array_text(&names, changes->at[i].name);
		params[0] = array_literal(&names);
		rc = run(conn, remove[kind], 1, params, err);
		array_done(&names);
		if (rc)
			return -1;
	}
	return 0;
}

/* Changed schedules of events that are there; added ones have theirs already. */
static int
reschedule_events(PGconn *conn, const struct changes *changes, instant now, struct err *err)
{
	struct array names = { 0 }, next = { 0 }, start = { 0 };
	const char *params[3];
	int rc = 0;

	for (size_t i = 0; i < changes->n && !rc; i++) {
		const struct change *c = &changes->at[i];

		if (c->what != CHANGE_ALTER || c->kind != EVENT || !c->reschedules)
			continue;
		array_text(&names, c->name);
		rc = add_schedule(&next, &start, c->to, now, err);
	}
	params[0] = array_literal(&names);
	params[1] = array_literal(&next);
	params[2] = array_literal(&start);
	if (!rc)
		rc = run(conn, reschedule, 3, params, err);
	array_done(&names);
	array_done(&next);
	array_done(&start);
	return rc;
}

int
definition_apply(PGconn *conn, const struct changes *changes, struct err *err)
{
	struct array a[COLUMNS] = { 0 };
	const char *params[COLUMNS];
	instant now;
	int rc = -1;

	if (read_now(conn, &now, err) || lock_rows(conn, changes, err) ||
	    remove_rows(conn, changes, err))
		return -1;
	for (size_t i = 0; i < changes->n; i++)
		if (changes->at[i].to && add_row(a, changes->at[i].to, now, err))
			goto out;
	for (int i = 0; i < COLUMNS; i++)
		params[i] = array_literal(&a[i]);
	if (!run(conn, load, COLUMNS, params, err) &&
	    !reschedule_events(conn, changes, now, err))
		rc = 0;
out:
	for (int i = 0; i < COLUMNS; i++)
		array_done(&a[i]);
	return rc;
}
