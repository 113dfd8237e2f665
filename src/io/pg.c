/* pg.c - libpq without blocking, in pipeline mode.
 *
 * A group of statements goes out with one Sync behind it and comes back as one
 * answer.  Results arrive in order, so the queue of groups is all the state
 * there is: the head of the queue is what PQgetResult() speaks of next.
 *
 * In pipeline mode each statement's results end with a NULL, a Sync has a
 * result of its own and no NULL after it, and a statement that failed makes
 * the rest of its group come back as aborted. */
#include "io/pg.h"
#include <errno.h>
#include <malloc.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "io/loop.h"
#include "io/session.h"

enum { PREPARED_MAX = 64 };

struct statement {
	const char *sql;		/* a prepared one's is a constant */
	char *own;			/* the copy of one that is not */
	bool prepared, prepare_first, rows;
	bool enough;			/* the row callback has had enough */
	bool (*row)(void *, const PGresult *);
	void *arg;
	int n;
	Oid *types;
	char **params;
	int name;			/* of a prepared one */
	PGresult *result;
};

struct group {
	VEC(struct statement) statements;
	size_t at;			/* whose results come next */
	bool preparing;			/* ... or rather those of its Parse */
	bool sent;
	struct err err;
	bool failed;
	char sqlstate[6];
	void (*answered)(void *, const struct pg_answer *);
	void *arg;
	struct group *next;
};

struct pg {
	struct loop *loop;
	struct pg_settings set;		/* our own copy */
	PGconn *conn;
	struct watch *watch;
	int fd;				/* that the watch watches */
	struct timer *deadline;		/* of connecting, then of the answer */
	instant heard;			/* when the server last was (monotonic) */
	bool listening;			/* the deadline runs, of an answer */
	bool suspected;			/* silent for too long, it seems */
	bool ready;			/* connected, in pipeline mode */
	bool in_callback, freed;
	bool doomed;			/* to be broken when nobody is at work; DOOM says why */
	struct err doom;
	size_t most_row;		/* bytes; 0: no limit */
	struct uv_getaddrinfo_s *resolving;
	struct group *first, *last;	/* asked, in order */
	struct group *open;		/* being said */
	const char *prepared[PREPARED_MAX];
	int n_prepared;
};

static void work(struct pg *);
static void ready_for(void *arg, int events);

/* --- groups --- */

static void
group_free(struct group *g)
{
	for (size_t i = 0; i < g->statements.n; i++) {
		struct statement *s = &g->statements.at[i];

		for (int p = 0; p < s->n; p++)
			free(s->params[p]);
		free(s->params);
		free(s->types);
		free(s->own);
		PQclear(s->result);
	}
	vec_done(&g->statements);
	free(g);
}

static void
fail_group(struct group *g, const struct err *err, const char *sqlstate)
{
	if (g->failed)
		return;
	g->failed = true;
	g->err = *err;
	snprintf(g->sqlstate, sizeof g->sqlstate, "%s", sqlstate ? sqlstate : "");
}

/* Take the head off the queue and tell its owner. */
static void
answer(struct pg *pg)
{
	struct group *g = pg->first;
	struct pg_answer a = { 0 };
	PGresult **results = xcalloc(g->statements.n + 1, sizeof *results);

	pg->first = g->next;
	if (!pg->first)
		pg->last = NULL;
	for (size_t i = 0; i < g->statements.n; i++)
		results[i] = g->statements.at[i].result;
	a.results = results;
	a.n = g->statements.n;
	a.err = g->failed ? &g->err : NULL;
	memcpy(a.sqlstate, g->sqlstate, sizeof a.sqlstate);
	if (g->answered)
		g->answered(g->arg, &a);
	free(results);
	group_free(g);
}

/* --- the connection --- */

static void
forget_connection(struct pg *pg)
{
	timer_stop(pg->deadline);
	watch_free(pg->watch);
	pg->watch = NULL;
	pg->fd = -1;
	PQfinish(pg->conn);
	pg->conn = NULL;
	pg->ready = pg->doomed = pg->listening = pg->suspected = false;
	pg->n_prepared = 0;
}

static void
destroy(struct pg *pg)
{
	struct group *next;

	forget_connection(pg);
	timer_free(pg->deadline);
	if (pg->resolving) {
		pg->resolving->data = NULL;	/* its callback frees it */
		uv_cancel((uv_req_t *)pg->resolving);
	}
	for (struct group *g = pg->first; g; g = next) {
		next = g->next;
		group_free(g);
	}
	if (pg->open)
		group_free(pg->open);
	session_free(&pg->set);
	free(pg);
}

/* Close, and answer every group with ERR.  An owner may ask anew from its
 * callback: only the groups that were there before are answered. */
void
pg_break(struct pg *pg, const struct err *err)
{
	struct group *last = pg->last, *g;
	struct err copy = *err;
	bool outer = !pg->in_callback;

	forget_connection(pg);
	if (pg->resolving) {
		pg->resolving->data = NULL;
		uv_cancel((uv_req_t *)pg->resolving);
		pg->resolving = NULL;
	}
	pg->in_callback = true;
	while ((g = pg->first)) {
		fail_group(g, &copy, NULL);
		answer(pg);
		if (g == last || pg->freed)
			break;
	}
	if (!outer)
		return;
	pg->in_callback = false;
	if (pg->freed)
		destroy(pg);
	else if (pg->first)
		work(pg);
}

static void
break_with_message(struct pg *pg, const char *what)
{
	struct err err;

	session_fail(pg->conn, what, &err);
	pg_break(pg, &err);
}

/* --- deadlines --- */

/* An answer is owed: from now on, unless one is awaited already. */
static void
expect_answer(struct pg *pg)
{
	if (pg->listening || !pg->set.answer_timeout)
		return;
	pg->listening = true;
	pg->heard = clock_monotonic();
	timer_start(pg->deadline, pg->set.answer_timeout);
}

static void
hear(struct pg *pg)
{
	pg->heard = clock_monotonic();
	pg->suspected = false;
}

/* The connection looks healthy, to us and perhaps to the kernel, but nobody
 * answers.  If it was us who slept the answer lies in the socket: look there
 * once before it is given up. */
static void
silent(struct pg *pg)
{
	span left = pg->heard + pg->set.answer_timeout - clock_monotonic();
	char limit[INSTANT_TEXT];
	struct err err;

	pg->listening = pg->first != NULL;
	if (!pg->listening)
		return;
	if (left > 0)
		timer_start(pg->deadline, left);
	else if (!pg->suspected) {
		pg->suspected = true;
		timer_start(pg->deadline, SECOND / 10);
	} else {
		err_class(&err, ERR_TEMPFAIL, "PostgreSQL has not answered for %s",
		    clock_format_span(pg->set.answer_timeout, limit));
		pg_break(pg, &err);
	}
}

static void
time_is_up(void *arg)
{
	struct pg *pg = arg;

	if (pg->ready)
		silent(pg);
	else
		break_with_message(pg, "cannot connect to PostgreSQL in time");
}

static void
watch_socket(struct pg *pg, int events)
{
	int fd = PQsocket(pg->conn);

	/* The socket may change while connecting: several hosts, or TLS. */
	if (pg->watch && fd != pg->fd) {
		watch_free(pg->watch);
		pg->watch = NULL;
	}
	if (!pg->watch) {
		pg->fd = fd;
		pg->watch = watch_new(pg->loop, fd, ready_for, pg);
	}
	if (pg->watch)
		watch_set(pg->watch, events);
}


/* libpq would print them on standard error. */
static void
ignore_notice(void *arg, const char *message)
{
}

static void
begin_connection(struct pg *pg, const char *addresses)
{
	pg->conn = session_start(&pg->set, addresses);
	if (!pg->conn || PQstatus(pg->conn) == CONNECTION_BAD) {
		break_with_message(pg, "cannot connect to PostgreSQL");
		return;
	}
	PQsetNoticeProcessor(pg->conn, ignore_notice, NULL);
	watch_socket(pg, WATCH_WRITE);
}

static void
resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
	struct pg *pg = req->data;
	struct str addresses = STR_INIT;
	char address[64];

	/* libpq tries them in this order: localhost is ::1 first. */
	for (struct addrinfo *a = status ? NULL : res; a; a = a->ai_next)
		if (!getnameinfo(a->ai_addr, a->ai_addrlen, address, sizeof address, NULL, 0,
		    NI_NUMERICHOST))
			str_printf(&addresses, "%s%s", addresses.len ? "," : "", address);
	if (pg) {
		pg->resolving = NULL;
		if (addresses.len)
			begin_connection(pg, str_text(&addresses));
		else {
			struct err err;

			err_class(&err, ERR_TEMPFAIL,
			    "cannot find PostgreSQL's host: %s",
			    status ? uv_strerror(status) : "no address");
			pg_break(pg, &err);
		}
	}
	str_done(&addresses);
	uv_freeaddrinfo(res);
	free(req);
}

static void
connect_now(struct pg *pg)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	char *host = session_host(&pg->set);

	timer_start(pg->deadline, pg->set.connect_timeout);
	if (!host) {
		begin_connection(pg, NULL);
		return;
	}
	pg->resolving = xcalloc(1, sizeof *pg->resolving);
	pg->resolving->data = pg;
	if (uv_getaddrinfo(loop_uv(pg->loop), pg->resolving, resolved, host, NULL, &hints)) {
		free(pg->resolving);
		pg->resolving = NULL;
		begin_connection(pg, NULL);
	}
	free(host);
}

static void
go_on_connecting(struct pg *pg)
{
	struct err err;

	switch (PQconnectPoll(pg->conn)) {
	case PGRES_POLLING_READING:
		watch_socket(pg, WATCH_READ);
		return;
	case PGRES_POLLING_WRITING:
		watch_socket(pg, WATCH_WRITE);
		return;
	case PGRES_POLLING_OK:
		break;
	default:
		break_with_message(pg, "cannot connect to PostgreSQL");
		return;
	}
	timer_stop(pg->deadline);
	if (session_check(pg->conn, &pg->set, &err)) {
		pg_break(pg, &err);
		return;
	}
	if (PQsetnonblocking(pg->conn, 1) || !PQenterPipelineMode(pg->conn)) {
		break_with_message(pg, "PostgreSQL");
		return;
	}
	pg->ready = true;
	work(pg);
}

/* --- sending --- */

static int
prepared_name(struct pg *pg, const char *sql, bool *is_new)
{
	*is_new = false;
	for (int i = 0; i < pg->n_prepared; i++)
		if (pg->prepared[i] == sql)
			return i;
	if (pg->n_prepared == PREPARED_MAX)
		return -1;
	*is_new = true;
	pg->prepared[pg->n_prepared] = sql;
	return pg->n_prepared++;
}

static int
send_statement(struct pg *pg, struct statement *s)
{
	const char *const *params = (const char *const *)s->params;
	char name[16];

	if (s->prepared)
		s->name = prepared_name(pg, s->sql, &s->prepare_first);
	if (!s->prepared || s->name < 0)
		return PQsendQueryParams(pg->conn, s->sql, s->n, s->types, params,
		    NULL, NULL, 0);
	snprintf(name, sizeof name, "t%d", s->name);
	if (s->prepare_first && !PQsendPrepare(pg->conn, name, s->sql, 0, NULL))
		return 0;
	return PQsendQueryPrepared(pg->conn, name, s->n, params, NULL, NULL, 0);
}

static int
send_group(struct pg *pg, struct group *g)
{
	for (size_t i = 0; i < g->statements.n; i++)
		if (!send_statement(pg, &g->statements.at[i]))
			return -1;
	if (!PQpipelineSync(pg->conn))
		return -1;
	g->preparing = g->statements.n && g->statements.at[0].prepare_first;
	g->sent = true;
	return 0;
}

/* --- receiving --- */

static void
note_failure(struct pg *pg, struct group *g, const PGresult *r)
{
	const char *primary = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY),
	    *detail = PQresultErrorField(r, PG_DIAG_MESSAGE_DETAIL),
	    *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	struct err err;

	/* None: libpq says that the connection has gone.  08, 57P0x: the server
	 * says so; 53: no resources; 40: try again. */
	err_class(&err, !state || (!strncmp(state, "08", 2) || !strncmp(state, "57P0", 4) ||
	    !strncmp(state, "53", 2) || !strncmp(state, "40", 2)) ? ERR_TEMPFAIL : ERR_GIVEN,
	    "%s%s%s%s", primary ? primary : PQresultErrorMessage(r),
	    detail ? " (" : "", detail ? detail : "", detail ? ")" : "");
	fail_group(g, &err, state);
	if (g->at < g->statements.n && g->preparing) {
		/* It was not prepared after all; nor, the group being
		 * aborted, is what came behind it. */
		pg->n_prepared = g->statements.at[g->at].name;
	}
}

/* The NULL that ends the results of a statement. */
static void
end_statement(struct group *g)
{
	if (g->preparing) {
		g->preparing = false;
		return;
	}
	g->at++;
	g->preparing = g->at < g->statements.n && g->statements.at[g->at].prepare_first;
}

static void
take_result(struct pg *pg, struct group *g, PGresult *r)
{
	struct statement *s = &g->statements.at[g->at];

	switch (PQresultStatus(r)) {
	case PGRES_FATAL_ERROR:
	case PGRES_BAD_RESPONSE:
		note_failure(pg, g, r);
		if (!g->preparing && !s->result) {
			s->result = r;
			return;
		}
		break;
	case PGRES_PIPELINE_ABORTED:
		if (g->preparing && s->name < pg->n_prepared)
			pg->n_prepared = s->name;
		break;
	case PGRES_SINGLE_TUPLE:
		if (!s->enough && !s->row(s->arg, r))
			s->enough = true;
		break;
	case PGRES_TUPLES_OK:
		if (s->rows && !s->enough)	/* no rows, or the last of them */
			s->row(s->arg, r);
		/* fall through */
	default:
		if (!g->preparing && !s->enough && !s->result) {
			s->result = r;
			return;
		}
	}
	PQclear(r);
}

/* In a pipeline libpq would give this result for ever. */
static bool
is_copy(const PGresult *r)
{
	ExecStatusType status = PQresultStatus(r);

	return status == PGRES_COPY_OUT || status == PGRES_COPY_IN ||
	    status == PGRES_COPY_BOTH;
}

/* All that has arrived.  False when PG was freed on the way. */
static bool
receive(struct pg *pg)
{
	while (pg->first && pg->first->sent && pg->conn && !pg->doomed) {
		struct group *g = pg->first;
		PGresult *r;

		/* Before anything is parsed, PQisBusy() included. */
		if (g->at < g->statements.n && g->statements.at[g->at].rows && !g->preparing)
			PQsetSingleRowMode(pg->conn);
		if (PQisBusy(pg->conn))
			return true;
		r = PQgetResult(pg->conn);
		if (!r) {
			if (PQstatus(pg->conn) == CONNECTION_BAD)
				return true;
			if (g->at < g->statements.n)
				end_statement(g);
			continue;
		}
		if (is_copy(r)) {
			PQclear(r);
			pg->doomed = err_set(&pg->doom, "COPY cannot be used here");
			return true;
		}
		if (PQresultStatus(r) == PGRES_PIPELINE_SYNC) {
			PQclear(r);
			pg->in_callback = true;
			answer(pg);
			pg->in_callback = false;
			if (pg->freed)
				return false;
			continue;
		}
		if (g->at < g->statements.n)
			take_result(pg, g, r);
		else {
			/* The commit at the Sync may fail when all else went well. */
			if (PQresultStatus(r) == PGRES_FATAL_ERROR)
				note_failure(pg, g, r);
			PQclear(r);
		}
	}
	return true;
}

/* Send what is asked, and wait for what is missing. */
static void
work(struct pg *pg)
{
	int more;

	if (!pg->conn) {
		if (pg->first && !pg->resolving)
			connect_now(pg);
		return;
	}
	if (!pg->ready)
		return;
	for (struct group *g = pg->first; g; g = g->next)
		if (!g->sent && send_group(pg, g)) {
			break_with_message(pg, "cannot send to PostgreSQL");
			return;
		}
	if (pg->first)
		expect_answer(pg);
	more = PQflush(pg->conn);
	if (more < 0) {
		break_with_message(pg, "the connection to PostgreSQL is lost");
		return;
	}
	watch_socket(pg, WATCH_READ | (more ? WATCH_WRITE : 0));
}

/* libpq makes room for a whole message as soon as it has seen its length, up to
 * twice as much, and only then reads on, without a pause.  So what is allocated
 * while we look at what has come tells of a row that is too large before its
 * bytes are there. */
static size_t
allocated(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

static void
ready_for(void *arg, int events)
{
	struct pg *pg = arg;
	size_t before = pg->most_row ? allocated() : 0;

	if (!pg->conn)
		return;
	if (!pg->ready) {
		go_on_connecting(pg);
		return;
	}
	if (events & WATCH_READ)
		hear(pg);
	if ((events & WATCH_READ) && !PQconsumeInput(pg->conn)) {
		/* What had arrived before the end still counts, such as the
		 * reason that the server gave. */
		if (receive(pg) && pg->conn)
			break_with_message(pg, "the connection to PostgreSQL is lost");
		else if (pg->freed)
			destroy(pg);
		return;
	}
	if (!receive(pg)) {
		destroy(pg);
		return;
	}
	if (pg->most_row && allocated() > before + 4 * pg->most_row)
		pg->doomed = err_set(&pg->doom, "a row larger than %zu bytes", pg->most_row);
	if (pg->conn && pg->doomed)
		pg_break(pg, &pg->doom);
	else if (pg->conn && PQstatus(pg->conn) == CONNECTION_BAD)
		break_with_message(pg, "the connection to PostgreSQL is lost");
	else
		work(pg);
}

/* --- for the owner --- */

struct pg *
pg_new(struct loop *loop, const struct pg_settings *settings)
{
	struct pg *pg = xcalloc(1, sizeof *pg);

	pg->loop = loop;
	session_copy(&pg->set, settings);
	pg->fd = -1;
	pg->deadline = timer_new(loop, time_is_up, pg);
	return pg;
}

void
pg_free(struct pg *pg)
{
	if (!pg)
		return;
	if (pg->in_callback) {
		pg->freed = true;
		return;
	}
	destroy(pg);
}

static struct statement *
say(struct pg *pg, int n, const char *const *params)
{
	struct statement s = { .n = n };

	if (!pg->open)
		pg->open = xcalloc(1, sizeof *pg->open);
	s.params = xcalloc((size_t)n, sizeof *s.params);
	for (int i = 0; i < n; i++)
		s.params[i] = xstrdup(params[i]);
	vec_push(&pg->open->statements, s);
	return &pg->open->statements.at[pg->open->statements.n - 1];
}

void
pg_say(struct pg *pg, const char *sql, int n, const char *const *params)
{
	struct statement *s = say(pg, n, params);

	s->sql = s->own = xstrdup(sql);
}

void
pg_say_prepared(struct pg *pg, const char *sql, int n, const char *const *params)
{
	struct statement *s = say(pg, n, params);

	s->sql = sql;
	s->prepared = true;
}

void
pg_say_rows(struct pg *pg, const char *sql, int n, const Oid *types,
    const char *const *params, bool (*row)(void *, const PGresult *), void *arg)
{
	struct statement *s = say(pg, n, params);

	s->sql = s->own = xstrdup(sql);
	if (types) {
		s->types = xcalloc((size_t)n, sizeof *s->types);
		memcpy(s->types, types, (size_t)n * sizeof *s->types);
	}
	s->rows = true;
	s->row = row;
	s->arg = arg;
}

void
pg_ask(struct pg *pg, void (*answered)(void *, const struct pg_answer *), void *arg)
{
	struct group *g = pg->open ? pg->open : xcalloc(1, sizeof *g);

	pg->open = NULL;
	if (!pg->first)
		hear(pg);	/* until now it owed nothing */
	g->answered = answered;
	g->arg = arg;
	if (pg->last)
		pg->last->next = g;
	else
		pg->first = g;
	pg->last = g;
	if (!pg->in_callback || pg->conn)
		work(pg);
}

void
pg_limit_row(struct pg *pg, size_t bytes)
{
	pg->most_row = bytes;
}

bool
pg_is_idle(const struct pg *pg)
{
	return !pg->first;
}

struct cancel {
	uv_work_t work;
	PGcancel *cancel;
};

static void
cancel_work(uv_work_t *work)
{
	struct cancel *c = work->data;
	char buf[256];

	PQcancel(c->cancel, buf, sizeof buf);
}

static void
cancel_done(uv_work_t *work, int status)
{
	struct cancel *c = work->data;

	PQfreeCancel(c->cancel);
	free(c);
}

void
pg_cancel(struct pg *pg)
{
	struct cancel *c;
	PGcancel *cancel;

	if (!pg->ready || !(cancel = PQgetCancel(pg->conn)))
		return;
	c = xcalloc(1, sizeof *c);
	c->cancel = cancel;
	c->work.data = c;
	uv_queue_work(loop_uv(pg->loop), &c->work, cancel_work, cancel_done);
}
