/* backend_db.c - results in PostgreSQL, as rows of Celery's database backend.
 *
 * The tables are made if they are not there, as SQLAlchemy makes them: the ids
 * have no default, so each insert draws from the sequence itself.  Results are
 * pickles; arguments (with result_extended) are JSON. */
#include <stdlib.h>
#include <string.h>
#include "base/conf.h"
#include "base/mem.h"
#include "celery/pickle.h"
#include "io/pg.h"
#include "wire/backend_inner.h"

enum { AT_ONCE = 200 };			/* groups in the pipeline */

struct db_lane {
	struct lane lane;
	struct pg *pg;
	size_t under_way;
	bool known;			/* to have tables; until then one at a time */
	bool making;			/* the tables */
	bool unmade;			/* that did not work, for: */
	struct err err;
};

/* --- rows --- */

static char *
hex(const struct str *bytes)
{
	static const char digits[] = "0123456789abcdef";
	char *text = xmalloc(bytes->len * 2 + 3), *to = text;

	*to++ = '\\';
	*to++ = 'x';
	for (size_t i = 0; i < bytes->len; i++) {
		unsigned char c = (unsigned char)bytes->text[i];

		*to++ = digits[c >> 4];
		*to++ = digits[c & 15];
	}
	*to = '\0';
	return text;
}

/* JSON text as bytes; NULL of none. */
static char *
hex_raw(struct raw v)
{
	struct str s = STR_INIT;
	char *text;

	if (!v.text)
		return NULL;
	str_add(&s, v.text, v.len);
	text = hex(&s);
	str_done(&s);
	return text;
}

static char *
pickled_value(const struct celery_result *r)
{
	struct str json = STR_INIT, pickle = STR_INIT;
	char *text;

	celery_result_value(&json, r);
	pickle_write(&pickle, (struct raw){ str_text(&json), json.len });
	text = hex(&pickle);
	str_done(&json);
	str_done(&pickle);
	return text;
}

static char *
time_of(const struct celery_result *r, instant now)
{
	char buf[INSTANT_TEXT];

	if (!celery_state_is_ready(r->state))
		return NULL;
	return xstrdup(celery_result_time(r->done_at ? r->done_at : now, buf));
}

void
lane_db_row(struct work *w, const struct celery_result *r, bool extended, instant now)
{
	vec_push(&w->words, xstrdup(r->id));
	vec_push(&w->words, xstrdup(r->state));
	vec_push(&w->words, pickled_value(r));
	vec_push(&w->words, time_of(r, now));
	vec_push(&w->words, r->traceback ? str_clean(r->traceback, strlen(r->traceback)) : NULL);
	if (!extended)
		return;
	vec_push(&w->words, xstrdup(r->name));
	vec_push(&w->words, hex_raw(r->args));
	vec_push(&w->words, hex_raw(r->kwargs));
	vec_push(&w->words, xstrdup(r->worker));
	vec_push(&w->words, xasprintf("%lld", (long long)r->retries));
	vec_push(&w->words, xstrdup(r->queue));
}

/* --- the tables --- */

static const char *const tables[] = {
	"create sequence if not exists task_id_sequence",
	"create table if not exists celery_taskmeta (\n"
	"	id integer not null,\n"
	"	task_id varchar(155),\n"
	"	status varchar(50),\n"
	"	result bytea,\n"
	"	date_done timestamp without time zone,\n"
	"	traceback text,\n"
	"	name varchar(155),\n"
	"	args bytea,\n"
	"	kwargs bytea,\n"
	"	worker varchar(155),\n"
	"	retries integer,\n"
	"	queue varchar(155),\n"
	"	primary key (id),\n"
	"	unique (task_id))",
	"create sequence if not exists taskset_id_sequence",
	"create table if not exists celery_tasksetmeta (\n"
	"	id integer not null,\n"
	"	taskset_id varchar(155),\n"
	"	result bytea,\n"
	"	date_done timestamp without time zone,\n"
	"	primary key (id),\n"
	"	unique (taskset_id))",
};

/* Others may make them just now, so the next store tells whether they are there. */
static void
made(void *arg, const struct pg_answer *a)
{
	struct db_lane *lane = arg;

	lane->making = false;
	if ((lane->unmade = a->err != NULL)) {
		lane->err = *a->err;
		lane->err.class = ERR_TEMPFAIL;
	}
	lane_pump(&lane->lane);
}

static void
make_tables(struct db_lane *lane)
{
	if (lane->making)
		return;
	lane->making = true;
	for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
		pg_say(lane->pg, tables[i], 0, NULL);
	pg_ask(lane->pg, made, lane);
}

/* --- answers --- */

/* What may go away by itself, or by somebody's hand; all else is about the row. */
static bool
will_pass(const struct pg_answer *a)
{
	static const char *const classes[] = { "08", "25", "26", "28", "3D", "40", "42", "53", "55",
		"57", "58", "XX" };

	if (a->err->class != ERR_GIVEN)
		return true;
	for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
		if (!strncmp(a->sqlstate, classes[i], 2))
			return true;
	return false;
}

/* A new database has no tables yet: that is no trouble, unless we cannot make them. */
static void
is_without_tables(struct db_lane *lane, struct work *w)
{
	struct err err = lane->err;

	lane->known = false;
	if (!lane->unmade) {
		make_tables(lane);
		work_again(w);
		return;
	}
	lane->unmade = false;		/* the next time we try again */
	err_wrap(&err, "celery_taskmeta cannot be made");
	work_refused(w, &err);
}

static bool
is_answered(struct work *w, const struct pg_answer *a)
{
	struct db_lane *lane = (struct db_lane *)w->lane;
	struct err err;

	lane->under_way--;
	if (!a->err) {
		lane->known = true;
		lane_is_well(&lane->lane);
		return true;
	}
	if (!strcmp(a->sqlstate, "42P01")) {
		is_without_tables(lane, w);
		return false;
	}
	err = *a->err;
	err.class = will_pass(a) ? ERR_TEMPFAIL : ERR_GIVEN;
	work_refused(w, &err);
	return false;
}

static void
stored(void *arg, const struct pg_answer *a)
{
	struct work *w = arg;

	if (is_answered(w, a))
		work_stored(w, true);
}

#define INSERT(columns, values) \
	"insert into celery_taskmeta as t (id, task_id, status, result, date_done, traceback" \
	columns ") values (nextval('task_id_sequence'), $1, $2, $3::bytea, $4::timestamp, $5" \
	values ") on conflict (task_id) do update set status = excluded.status, " \
	"result = excluded.result, date_done = excluded.date_done, traceback = excluded.traceback"
/* As in Redis: a SUCCESS stays. */
#define UNLESS_DONE " where t.status is distinct from 'SUCCESS'"

static const char plain_row[] = INSERT("", "") UNLESS_DONE;
static const char extended_row[] = INSERT(", name, args, kwargs, worker, retries, queue",
    ", left($6, 155), $7::bytea, $8::bytea, left($9, 155), $10::integer, left($11, 155)")
    ", name = excluded.name, args = excluded.args, kwargs = excluded.kwargs, "
    "worker = excluded.worker, retries = excluded.retries, queue = excluded.queue" UNLESS_DONE;

static void
begin_store(struct db_lane *lane, struct work *w)
{
	pg_say_prepared(lane->pg, w->words.n > 5 ? extended_row : plain_row, (int)w->words.n,
	    (const char *const *)w->words.at);
	pg_ask(lane->pg, stored, w);
}

/* --- fetch --- */

/* The ids as PostgreSQL writes an array of texts. */
static char *
array_of(const struct work *w)
{
	struct str s = STR_INIT;

	str_putc(&s, '{');
	for (size_t i = 0; i < w->words.n; i++) {
		str_puts(&s, i ? ",\"" : "\"");
		for (const char *c = w->words.at[i]; *c; c++) {
			if (*c == '"' || *c == '\\')
				str_putc(&s, '\\');
			str_putc(&s, *c);
		}
		str_putc(&s, '"');
	}
	str_putc(&s, '}');
	return str_take(&s);
}

static const char *
column(const PGresult *rows, int row, int i, struct arena *arena)
{
	return PQgetisnull(rows, row, i) ? NULL :
	    arena_strndup(arena, PQgetvalue(rows, row, i), (size_t)PQgetlength(rows, row, i));
}

/* The value of a pickle as JSON, the arena's; none if nobody can read it. */
static struct raw
unpickled(const PGresult *rows, int row, int i, struct arena *arena)
{
	struct str json = STR_INIT;
	struct raw v = { 0 };
	struct err ignored;
	size_t n;
	unsigned char *bytes;

	if (PQgetisnull(rows, row, i) ||
	    !(bytes = PQunescapeBytea((unsigned char *)PQgetvalue(rows, row, i), &n)))
		return v;
	if (!pickle_read(&json, bytes, n, &ignored)) {
		v.text = arena_strndup(arena, str_text(&json), json.len);
		v.len = json.len;
	}
	PQfreemem(bytes);
	str_done(&json);
	return v;
}

static void
take_row(struct celery_result *r, const PGresult *rows, int row, struct arena *arena)
{
	struct err ignored;
	const char *done = column(rows, row, 4, arena);

	r->state = PQgetisnull(rows, row, 1) ? r->state : column(rows, row, 1, arena);
	r->value = unpickled(rows, row, 2, arena);
	r->traceback = column(rows, row, 3, arena);
	if (done && clock_parse(done, &r->done_at, &ignored))
		r->done_at = 0;
	if (celery_state_is_exception(r->state) &&
	    celery_exception_read(&r->exception, r->value, arena, &ignored))
		r->exception = (struct celery_exception){ "Exception", "builtins", r->value };
}

static int
by_id(const void *key, const void *element)
{
	const struct celery_result *const *r = element;

	return strcmp(key, (*r)->id);
}

static int
in_order(const void *a, const void *b)
{
	const struct celery_result *const *one = a, *const *other = b;

	return strcmp((*one)->id, (*other)->id);
}

static void
fetched(void *arg, const struct pg_answer *a)
{
	struct work *w = arg;
	struct celery_result *results, **sorted;
	struct arena arena = { 0 };
	const PGresult *rows;
	size_t n = w->words.n;

	if (!is_answered(w, a))
		return;
	rows = a->results[0];
	results = xcalloc(n, sizeof *results);
	sorted = xcalloc(n, sizeof *sorted);
	for (size_t i = 0; i < n; i++) {
		results[i].id = w->words.at[i];
		results[i].state = celery_state_name(STATE_PENDING);
		sorted[i] = &results[i];
	}
	qsort(sorted, n, sizeof *sorted, in_order);
	for (int row = 0; row < PQntuples(rows); row++) {
		struct celery_result **r = bsearch(PQgetvalue(rows, row, 0), sorted, n,
		    sizeof *sorted, by_id);

		if (r)
			take_row(*r, rows, row, &arena);
	}
	work_fetched(w, results, n);
	arena_done(&arena);
	free(sorted);
	free(results);
}

static void
begin_fetch(struct db_lane *lane, struct work *w)
{
	char *ids = array_of(w);
	const char *params[] = { ids };

	pg_say_prepared(lane->pg, "select task_id, status, result, traceback, date_done "
	    "from celery_taskmeta where task_id = any($1::varchar[])", 1, params);
	pg_ask(lane->pg, fetched, w);
	free(ids);
}

/* --- what is too old --- */

static void
begin_clean(struct db_lane *lane, struct work *w)
{
	pg_say_prepared(lane->pg, "delete from celery_taskmeta where date_done < "
	    "(now() at time zone 'UTC') - $1::interval", 1,
	    (const char *const *)w->words.at);
	pg_say_prepared(lane->pg, "delete from celery_tasksetmeta where date_done < "
	    "(now() at time zone 'UTC') - $1::interval", 1,
	    (const char *const *)w->words.at);
	pg_ask(lane->pg, stored, w);
}

/* --- the lane --- */

static void
begin(struct lane *lane, struct work *w)
{
	struct db_lane *db = (struct db_lane *)lane;

	switch (w->kind) {
	case WORK_STORE:
		db->under_way++;
		begin_store(db, w);
		break;
	case WORK_FETCH:
		db->under_way++;
		begin_fetch(db, w);
		break;
	case WORK_CLEAN:
		db->under_way++;
		begin_clean(db, w);
		break;
	default:
		work_failed(w);		/* backend.c does not ask for it */
	}
}

static bool
is_full(const struct lane *lane)
{
	const struct db_lane *db = (const struct db_lane *)lane;

	return db->making || db->under_way >= (db->known ? AT_ONCE : 1);
}

static void
stop(struct lane *lane)
{
	pg_free(((struct db_lane *)lane)->pg);
}

static const struct lane_kind kind = { "database", is_full, begin, stop };

struct lane *
lane_db(struct loop *loop, const struct conf *conf, const char *url, struct err *err)
{
	struct pg_settings set = { .conninfo = url, .name = "tocsin results", .writes = true,
		.connect_timeout = conf->connect_timeout,
		.statement_timeout = conf->statement_timeout,
		.answer_timeout = conf->database_timeout, .heartbeat = conf->heartbeat };
	struct db_lane *lane = xcalloc(1, sizeof *lane);

	lane->pg = pg_new(loop, &set);
	lane_init(&lane->lane, &kind, loop);
	return &lane->lane;
}
