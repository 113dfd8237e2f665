/* sql.c - a variable computed by a query.
 *
 * One pipeline: begin a read-only transaction; set its time limit, where it is not
 * the session's; then the user's statement, by the extended protocol, which takes
 * exactly one, so that nothing can change the transaction's mode before a query
 * runs, and freezes it; then it is rolled back, and the connection is cleaned.
 * Where a statement fails the rest of the pipeline is not done, and the pool cleans
 * the connection before it serves again.  How values are written is the session's
 * from its start.
 *
 * Where no descriptor is left for a connection the start is tried again until
 * the soft limit has passed: that is the machine's trouble, not the variable's.
 *
 * The judge of the limits is our own timer: a statement can change the server's
 * timeouts as it runs.  Those are for the day when nobody is here to cancel. */
#include <errno.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "exec/binding.h"
#include "exec/hand.h"
#include "exec/pool.h"
#include "exec/rows.h"
#include "io/loop.h"
#include "io/pg.h"
#include "model/params.h"

static const char begin[] =
    "begin transaction isolation level read committed read only";

static const char limit[] = "select set_config('statement_timeout', $1, true)";

struct sql {
	struct exec *exec;
	struct pg *pg;
	struct timer *soft, *hard;
	struct params *params;
	struct rows rows;
	size_t query;		/* which statement of the pipeline it is */
	bool cancelled;		/* a cancel is on its way, and may arrive late */
	bool soft_limit;
	struct timer *again;	/* where no descriptor was left */
	span deadline;		/* of that */
};

static void start(struct exec *, span deadline);

/* What a connection is fit for. */
enum state { BROKEN, USED, CLEAN };

/* Give everything back. */
static void
sql_free(struct sql *sql, enum state state)
{
	struct pool *pool = sql->exec->hands->pool;

	if (state != BROKEN && !sql->cancelled)
		pool_put(pool, sql->pg, state == CLEAN);
	else
		pool_drop(pool, sql->pg);
	timer_free(sql->soft);
	timer_free(sql->hard);
	timer_free(sql->again);
	params_free(sql->params);
	rows_done(&sql->rows);
	free(sql);
}

static void
cancel(struct sql *sql)
{
	if (!sql->cancelled)
		pg_cancel(sql->pg);
	sql->cancelled = true;
}

/* --- what went wrong --- */

/* The server counts characters in the text that it got: walk both texts up to
 * there, ours with :name where the other has $n. */
static void
place_in_source(const char *source, const char *sent, int position, int *line, int *column)
{
	*line = *column = 1;
	while (position > 1 && *source && *sent) {
		if (*source == ':' && *sent == '$') {
			size_t name = 1 + strspn(source + 1, "abcdefghijklmnopqrstuvwxyz"
			    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
			size_t number = 1 + strspn(sent + 1, "0123456789");

			source += name;
			*column += (int)name;
			sent += number;
			position -= (int)number;
			continue;
		}
		if (*source == '\n') {
			++*line;
			*column = 1;
		} else
			++*column;
		position--;
		do
			source++, sent++;
		while ((*source & 0xc0) == 0x80);
	}
}

/* "2:8: column "x" does not exist (SQLSTATE 42703); hint: ..." */
static char *
error_text(struct sql *sql, const PGresult *r)
{
	const char *primary = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY),
	    *detail = PQresultErrorField(r, PG_DIAG_MESSAGE_DETAIL),
	    *hint = PQresultErrorField(r, PG_DIAG_MESSAGE_HINT),
	    *state = PQresultErrorField(r, PG_DIAG_SQLSTATE),
	    *position = PQresultErrorField(r, PG_DIAG_STATEMENT_POSITION);
	struct str s = STR_INIT;

	if (position) {
		int line, column;

		place_in_source(sql->exec->variable->source, params_text(sql->params),
		    atoi(position), &line, &column);
		str_printf(&s, "%d:%d: ", line, column);
	}
	str_puts(&s, primary ? primary : PQresultErrorMessage(r));
	if (state)
		str_printf(&s, " (SQLSTATE %s)", state);
	if (detail)
		str_printf(&s, "; %s", detail);
	if (hint)
		str_printf(&s, "; hint: %s", hint);
	return str_take(&s);
}

static void
tell_failure(struct sql *sql, struct exec *exec, const struct pg_answer *answer)
{
	const PGresult *r = answer->n > sql->query ? answer->results[sql->query] : NULL;
	enum reason reason = !strcmp(answer->sqlstate, "57014") ? REASON_TIMEOUT : REASON_ERROR;

	if (r && PQresultStatus(r) == PGRES_FATAL_ERROR)
		exec_finish(exec, reason, NULL, error_text(sql, r));
	else if (*answer->sqlstate)
		exec_fail(exec, reason, "%s (SQLSTATE %s)", answer->err->message,
		    answer->sqlstate);
	else if (answer->err->class == ERR_TEMPFAIL)
		exec_fail(exec, REASON_ERROR, "cannot reach the measuring database: %s",
		    answer->err->message);
	else
		exec_fail(exec, REASON_ERROR, "%s", answer->err->message);
}

static void
tell_result(struct sql *sql, struct exec *exec, const PGresult *r)
{
	switch (r ? PQresultStatus(r) : PGRES_COMMAND_OK) {
	case PGRES_TUPLES_OK:
		exec_finish(exec, REASON_OK, rows_value(&sql->rows), NULL);
		break;
	case PGRES_EMPTY_QUERY:
		exec_fail(exec, REASON_ERROR, "the statement is empty");
		break;
	default:
		exec_fail(exec, REASON_ERROR, "the statement returns no rows; "
		    "a variable needs a query, such as select");
	}
}

/* libpq tells it as text alone. */
static bool
lacks_descriptor(const struct pg_answer *answer)
{
	return answer->err && !*answer->sqlstate && answer->err->class == ERR_TEMPFAIL &&
	    (strstr(answer->err->message, strerror(EMFILE)) ||
	    strstr(answer->err->message, strerror(ENFILE)));
}

static void
try_again(void *arg)
{
	struct sql *sql = arg;
	struct exec *exec = sql->exec;
	span deadline = sql->deadline;

	sql_free(sql, BROKEN);
	start(exec, deadline);
}

static void
wait_for_descriptor(struct sql *sql)
{
	timer_stop(sql->soft);
	timer_stop(sql->hard);
	pool_drop(sql->exec->hands->pool, sql->pg);
	sql->pg = NULL;
	timer_start(sql->again, SECOND / 4);
}

static void
answered(void *arg, const struct pg_answer *answer)
{
	struct sql *sql = arg;
	struct exec *exec = sql->exec;
	const PGresult *r = answer->n > sql->query ? answer->results[sql->query] : NULL;
	bool failed = answer->err && (!r || PQresultStatus(r) == PGRES_FATAL_ERROR);
	/* Without an SQLSTATE it was not the server that refused; and what could not be
	 * cleaned must not answer anybody else. */
	enum state state = !answer->err ? CLEAN : failed && *answer->sqlstate ? USED : BROKEN;

	if (lacks_descriptor(answer) && !sql->soft_limit &&
	    clock_monotonic() + SECOND / 4 < sql->deadline) {
		wait_for_descriptor(sql);
		return;
	}
	if (sql->soft_limit)
		exec_fail_limit(exec, false);
	else if (sql->rows.failed)
		exec_fail(exec, REASON_ERROR, "%s", sql->rows.err.message);
	else if (failed)
		tell_failure(sql, exec, answer);
	else
		tell_result(sql, exec, r);
	sql_free(sql, state);
}

/* --- the way there --- */

static bool
row_came(void *arg, const PGresult *r)
{
	struct sql *sql = arg;

	if (rows_take(&sql->rows, r))
		return true;
	cancel(sql);		/* the rest need not be sent */
	return false;
}

static void
soft_limit(void *arg)
{
	struct sql *sql = arg;

	sql->soft_limit = true;
	cancel(sql);
}

static void
hard_limit(void *arg)
{
	struct sql *sql = arg;
	struct exec *exec = sql->exec;

	exec_fail_limit(exec, true);
	sql_free(sql, BROKEN);
}

static void
ask(struct sql *sql, const struct binding *binding)
{
	const struct variable *v = sql->exec->variable;
	size_t most = (size_t)sql->exec->hands->conf->max_value;
	long long ms = POOL_TIMEOUT(v->hard) / 1000;
	char timeout[24];

	pg_limit_row(sql->pg, most + 65536);
	pg_say(sql->pg, begin, 0, NULL);
	sql->query = 1;
	if (POOL_TIMEOUT(v->hard) != POOL_STATEMENT_TIMEOUT) {
		snprintf(timeout, sizeof timeout, "%lld", ms < INT32_MAX ? ms : INT32_MAX);
		pg_say(sql->pg, limit, 1, (const char *const[]){ timeout });
		sql->query = 2;
	}
	pg_say_rows(sql->pg, params_text(sql->params), binding->n, binding->types,
	    (const char *const *)binding->values, row_came, sql);
	pool_say_cleaning(sql->pg);
	timer_start(sql->soft, v->soft);
	timer_start(sql->hard, v->hard);
	pg_ask(sql->pg, answered, sql);
}

static void
start(struct exec *exec, span deadline)
{
	struct hands *hands = exec->hands;
	struct binding binding = { 0 };
	const char *const *names;
	struct params *params;
	struct sql *sql;
	struct err err;
	size_t n;

	if (!(params = params_parse(exec->variable->source, &err))) {
		exec_fail(exec, REASON_ERROR, "%d:%d: %s", err.line, err.column, err.message);
		return;
	}
	names = params_names(params, &n);
	if (binding_init(&binding, names, n, exec->variable->args, exec->now, &err)) {
		exec_fail(exec, REASON_ERROR, "%s", err.message);
		params_free(params);
	} else {
		exec->own = sql = xcalloc(1, sizeof *sql);
		sql->exec = exec;
		sql->params = params;
		sql->soft = timer_new(hands->loop, soft_limit, sql);
		sql->hard = timer_new(hands->loop, hard_limit, sql);
		sql->again = timer_new(hands->loop, try_again, sql);
		sql->deadline = deadline;
		sql->pg = pool_take(hands->pool);
		rows_init(&sql->rows, (size_t)hands->conf->max_value);
		ask(sql, &binding);
	}
	binding_done(&binding);
}

static void
sql_start(struct exec *exec)
{
	start(exec, clock_monotonic() + exec->variable->soft);
}

static void
sql_kill(struct exec *exec)
{
	sql_free(exec->own, BROKEN);
}

const struct hand exec_sql = { sql_start, sql_kill, NULL };
