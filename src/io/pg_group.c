/* pg_group.c - what is said to PostgreSQL and what it answers.
 *
 * A group of statements goes out with one Sync behind it and comes back as one
 * answer.  Results arrive in order, so the queue of groups is all the state
 * there is: the head of the queue is what PQgetResult() speaks of next.
 *
 * In pipeline mode each statement's results end with a NULL, a Sync has a
 * result of its own and no NULL after it, and a statement that failed makes
 * the rest of its group come back as aborted. */
#include "io/pg_inner.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"

/* --- saying --- */

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

/* --- the answer --- */

void
pg_group_free(struct group *g)
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

void
pg_group_fail(struct group *g, const struct err *err, const char *sqlstate)
{
	if (g->failed)
		return;
	g->failed = true;
	g->err = *err;
	snprintf(g->sqlstate, sizeof g->sqlstate, "%s", sqlstate ? sqlstate : "");
}

/* Take the head off the queue and tell its owner. */
void
pg_group_answer(struct pg *pg)
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
	pg_group_free(g);
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

int
pg_group_send(struct pg *pg, struct group *g)
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
	pg_group_fail(g, &err, state);
	/* Where libpq itself fails, for want of memory, it gives a statement up before
	 * all of its answer has come, and takes the rest for that of the next one. */
	if (!state && !pg->doomed) {
		pg->doom = err;
		pg->doomed = true;
	}
	if (g->at < g->statements.n && g->preparing) {
		/* It was not prepared after all; nor, the group being
		 * aborted, is what came behind it. */
		pg->n_prepared = g->statements.at[g->at].name;
	}
}

/* The NULL that ends the results of a statement.  Without a result before it we are
 * out of step. */
static void
end_statement(struct pg *pg, struct group *g)
{
	const struct statement *s = &g->statements.at[g->at];

	if (g->preparing) {
		g->preparing = false;
		return;
	}
	if (!s->result && !s->enough && !g->failed)
		pg->doomed = err_class(&pg->doom, ERR_TEMPFAIL,
		    "an answer of PostgreSQL is lost, memory may have run out");
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

bool
pg_receive(struct pg *pg)
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
				end_statement(pg, g);
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
			pg_group_answer(pg);
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
