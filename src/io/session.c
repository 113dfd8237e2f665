/* session.c - how a session with PostgreSQL is opened.
 *
 * Either end may vanish without a word: a machine loses its power, a firewall
 * forgets a connection.  So both kernels are told to ask after the other end:
 * every HEARTBEAT when nothing moves, and nothing that was sent stays without
 * an acknowledgement for longer than two.  Our end notices that it has to
 * connect again, the server's that it has to give up what the session locked.
 * What the user says in the address counts more.
 *
 * A pooler that hands each transaction to another session of PostgreSQL's, or
 * does not pass our options on, would break what the engine relies on, and not
 * at once.  So it is looked at when the session begins, and refused. */
#include "io/session.h"
#include <libpq-events.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/pg.h"

void
session_copy(struct pg_settings *to, const struct pg_settings *from)
{
	*to = *from;
	to->conninfo = xstrdup(from->conninfo ? from->conninfo : "");
	to->name = xstrdup(from->name ? from->name : "tocsin");
	to->role = xstrdup(from->role);
	to->options = xstrdup(from->options);
	if (!to->connect_timeout)
		to->connect_timeout = 10 * SECOND;
}

void
session_free(struct pg_settings *set)
{
	free((char *)(uintptr_t)set->conninfo);
	free((char *)(uintptr_t)set->name);
	free((char *)(uintptr_t)set->role);
	free((char *)(uintptr_t)set->options);
}

/* Options for every session of ours.  PGOPTIONS comes first: of what is said
 * twice the last counts. */
static char *
session_options(const struct pg_settings *set)
{
	const char *own = getenv("PGOPTIONS");
	struct str s = STR_INIT;

	if (own)
		str_printf(&s, "%s ", own);
	str_printf(&s, "-c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=iso_8601 "
	    "-c client_connection_check_interval=2s -c statement_timeout=%lld",
	    (long long)(set->statement_timeout / 1000));
	if (set->role)
		str_puts(&s, " -c role=");
	for (const char *c = set->role; c && *c; c++) {
		if (*c == ' ' || *c == '\\')
			str_putc(&s, '\\');
		str_putc(&s, *c);
	}
	if (set->idle_timeout)
		str_printf(&s, " -c idle_in_transaction_session_timeout=%lld",
		    (long long)(set->idle_timeout / 1000));
	if (set->heartbeat) {
		long long beat = (long long)((set->heartbeat + SECOND - 1) / SECOND);

		str_printf(&s, " -c tcp_keepalives_idle=%lld -c tcp_keepalives_interval=%lld"
		    " -c tcp_keepalives_count=2 -c tcp_user_timeout=%lld", beat, beat,
		    (long long)(set->heartbeat / 500));
	}
	if (set->options)
		str_printf(&s, " %s", set->options);
	return str_take(&s);
}

static void
format_seconds(char buf[16], span length)
{
	snprintf(buf, 16, "%lld", (long long)((length + SECOND - 1) / SECOND));
}

/* Its name once for each of its addresses, as libpq wants it. */
static char *
repeat_host(const struct pg_settings *set, const char *addresses)
{
	char *host = session_host(set);
	struct str s = STR_INIT;

	str_puts(&s, host);
	for (const char *c = addresses; (c = strchr(c, ',')); c++)
		str_printf(&s, ",%s", host);
	free(host);
	return str_take(&s);
}

/* What stands before dbname, the address, is overridden by it, what stands
 * behind it overrides. */
static PGconn *
start(const struct pg_settings *set, const char *addresses, bool wait)
{
	char *options = session_options(set), timeout[16], beat[16], user_timeout[24],
	    *hosts = addresses ? repeat_host(set, addresses) : NULL;
	const char *keys[] = { "keepalives_idle", "keepalives_interval", "keepalives_count",
		"tcp_user_timeout", "dbname", "fallback_application_name", "options",
		"connect_timeout", "client_encoding", addresses ? "hostaddr" : NULL, "host", NULL };
	const char *values[] = { beat, beat, "2", user_timeout, set->conninfo, set->name, options,
		timeout, "UTF8", addresses, hosts, NULL };
	const int own = set->heartbeat ? 0 : 4;
	PGconn *conn;

	format_seconds(timeout, set->connect_timeout);
	format_seconds(beat, set->heartbeat);
	snprintf(user_timeout, sizeof user_timeout, "%lld", (long long)(set->heartbeat / 500));
	conn = wait ? PQconnectdbParams(keys + own, values + own, 1)
	    : PQconnectStartParams(keys + own, values + own, 1);
	free(options);
	free(hosts);
	return conn;
}

PGconn *
session_start(const struct pg_settings *set, const char *addresses)
{
	return start(set, addresses, false);
}

char *
session_host(const struct pg_settings *set)
{
	PQconninfoOption *given = PQconninfoParse(set->conninfo, NULL),
	    *defaults = PQconndefaults();
	const char *host = NULL, *addr = NULL;
	struct in6_addr any;
	char *name = NULL;

	for (PQconninfoOption *o = defaults; o && o->keyword; o++) {
		if (!strcmp(o->keyword, "host"))
			host = o->val;
		if (!strcmp(o->keyword, "hostaddr"))
			addr = o->val;
	}
	for (PQconninfoOption *o = given; o && o->keyword; o++) {
		if (!strcmp(o->keyword, "host") && o->val)
			host = o->val;
		if (!strcmp(o->keyword, "hostaddr") && o->val)
			addr = o->val;
	}
	if (host && *host && !addr && host[0] != '/' && host[0] != '@' &&
	    !strchr(host, ',') && uv_inet_pton(AF_INET, host, &any) &&
	    uv_inet_pton(AF_INET6, host, &any))
		name = xstrdup(host);
	PQconninfoFree(given);
	PQconninfoFree(defaults);
	return name;
}

/* The value of KEY in what was given, else in libpq's defaults; NULL or a value
 * that is not empty. */
static const char *
option(const PQconninfoOption *given, const PQconninfoOption *defaults, const char *key)
{
	for (; given && given->keyword; given++)
		if (!strcmp(given->keyword, key) && given->val && *given->val)
			return given->val;
	return defaults ? option(defaults, NULL, key) : NULL;
}

/* Every one of "a,b" is this machine: a socket, the loopback. */
static bool
is_here(const char *hosts)
{
	for (size_t n; *hosts; hosts += n + (hosts[n] == ',')) {
		n = strcspn(hosts, ",");
		if (n && *hosts != '/' && *hosts != '@' && strncmp(hosts, "127.", 4) &&
		    !(n == 9 && !strncmp(hosts, "localhost", n)) &&
		    !(n == 3 && !strncmp(hosts, "::1", n)))
			return false;
	}
	return true;
}

char *
session_unverified(const char *conninfo)
{
	PQconninfoOption *given = PQconninfoParse(conninfo, NULL), *defaults = PQconndefaults();
	const char *mode = option(given, defaults, "sslmode"),
	    *hosts = option(given, defaults, "hostaddr");
	char *text = NULL;

	if (!hosts)
		hosts = option(given, defaults, "host");
	if (hosts && !is_here(hosts) && (!mode || strcmp(mode, "verify-full")))
		text = xasprintf("%s, sslmode=%s", hosts, mode ? mode : "prefer");
	PQconninfoFree(given);
	PQconninfoFree(defaults);
	return text;
}

static char *
one_line(const char *message)
{
	char *text = xstrdup(message);
	size_t n = strlen(text);

	while (n && (text[n - 1] == '\n' || text[n - 1] == ' '))
		text[--n] = '\0';
	for (char *c = text; *c; c++)
		if (*c == '\n' || *c == '\t')
			*c = ' ';
	return text;
}

/* A text that is none will not become one by waiting. */
static bool
is_conninfo(const char *text)
{
	PQconninfoOption *options;
	char *why = NULL;

	if (!strchr(text, '=') && !strstr(text, "://"))
		return true;		/* the name of a database */
	options = PQconninfoParse(text, &why);
	if (!options && !why)
		mem_end();
	PQfreemem(why);
	PQconninfoFree(options);
	return options != NULL;
}

/* --- is it what we asked for? --- */

#define NO_POOLER "a connection pooler such as PgBouncer stands in between, and tocsin " \
	"relies on its sessions: give the address of PostgreSQL itself"

int
session_fail(PGconn *conn, const char *what, struct err *err)
{
	char *text = one_line(conn ? PQerrorMessage(conn) : "");

	/* PgBouncer says so, and will tomorrow. */
	if (strstr(text, "unsupported startup parameter"))
		err_class(err, ERR_CONFIG, "%s: %s: " NO_POOLER, what, text);
	else
		err_class(err, ERR_TEMPFAIL, "%s%s%s", what, *text ? ": " : "", text);
	free(text);
	return -1;
}

static const char *
or_none(const char *text)
{
	return text && *text ? text : "?";
}

/* Of what is in our options this one is reported by every server, and nobody
 * has it by default.  What a server reports libpq forgets if there is no memory
 * for it, and says nothing. */
int
session_check(PGconn *conn, const struct pg_settings *set, struct err *err)
{
	const char *style = PQparameterStatus(conn, "IntervalStyle"),
	    *standby = PQparameterStatus(conn, "in_hot_standby");

	if (!style)
		return err_class(err, ERR_TEMPFAIL, "PostgreSQL at %s, port %s, has not told its "
		    "IntervalStyle: memory has run out here, or " NO_POOLER,
		    or_none(PQhost(conn)), or_none(PQport(conn)));
	if (strcmp(style, "iso_8601"))
		return err_class(err, ERR_CONFIG, "PostgreSQL at %s, port %s, was not told the "
		    "options of the session: " NO_POOLER, or_none(PQhost(conn)),
		    or_none(PQport(conn)));
	if (set->writes && standby && !strcmp(standby, "on"))
		return err_class(err, ERR_TEMPFAIL, "PostgreSQL at %s, port %s, is a standby, "
		    "which takes no changes: give the address of the primary (of several "
		    "hosts, target_session_attrs=read-write finds it)", or_none(PQhost(conn)),
		    or_none(PQport(conn)));
	return 0;
}

/* --- the deadline of pg_exec(), kept with the connection --- */

static int
forget_limit(PGEventId id, void *info, void *arg)
{
	if (id == PGEVT_CONNDESTROY)
		free(PQinstanceData(((PGEventConnDestroy *)info)->conn, forget_limit));
	return 1;
}

static void
limit_answers(PGconn *conn, span limit)
{
	span *kept = xcalloc(1, sizeof *kept);

	*kept = limit;
	if (!PQregisterEventProc(conn, forget_limit, "tocsin", NULL) ||
	    !PQsetInstanceData(conn, forget_limit, kept))
		free(kept);
}

/* Wait until the answer is there; -1: it has not come in time. */
static int
await_answer(PGconn *conn, const span *limit)
{
	instant began = clock_monotonic();

	while (PQisBusy(conn)) {
		struct pollfd fd = { .fd = PQsocket(conn), .events = POLLIN };
		span left = limit ? began + *limit - clock_monotonic() : SECOND;

		if (left <= 0)
			return -1;
		if (PQflush(conn) > 0)
			fd.events |= POLLOUT;
		poll(&fd, 1, left > SECOND ? 1000 : (int)(left / 1000) + 1);
		if (fd.revents && !PQconsumeInput(conn))
			break;		/* the result says so */
	}
	return 0;
}

/* As PQexec(): the last result counts, unless one before it is an error. */
static PGresult *
last_result(PGconn *conn, const span *limit, bool *late)
{
	PGresult *last = NULL, *r;

	for (;;) {
		if ((*late = await_answer(conn, limit)))
			break;
		if (!(r = PQgetResult(conn)))
			break;
		if (PQresultStatus(r) == PGRES_COPY_IN || PQresultStatus(r) == PGRES_COPY_OUT) {
			PQclear(last);
			return r;	/* an error to the caller; more of it comes for ever */
		}
		if (last && PQresultStatus(last) == PGRES_FATAL_ERROR)
			PQclear(r);
		else {
			PQclear(last);
			last = r;
		}
	}
	return last;
}

PGconn *
pg_connect(const struct pg_settings *settings, struct err *err)
{
	struct pg_settings set;
	PGconn *conn;

	session_copy(&set, settings);
	if (!(conn = start(&set, NULL, true)))
		mem_end();		/* the one reason there is */
	if (set.answer_timeout)
		limit_answers(conn, set.statement_timeout + set.answer_timeout);
	if (PQstatus(conn) != CONNECTION_OK ?
	    session_fail(conn, "cannot connect to PostgreSQL", err) :
	    session_check(conn, &set, err)) {
		if (!is_conninfo(set.conninfo))
			err->class = ERR_CONFIG;
		PQfinish(conn);
		conn = NULL;
	}
	session_free(&set);
	return conn;
}

/* R is NULL where libpq could not even send. */
static void
exec_failed(PGconn *conn, const PGresult *r, struct err *err)
{
	const char *primary = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY),
	    *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	char *text = one_line(primary ? primary : PQerrorMessage(conn));

	/* None: libpq has trouble of its own; 42501, 25006: it refuses us; 40:
	 * others were in the way; 53, 57P: it has no room, or goes down. */
	err_class(err, PQstatus(conn) == CONNECTION_BAD || !state ||
	    !strcmp(state, "42501") || !strcmp(state, "25006") || !strncmp(state, "40", 2) ||
	    !strncmp(state, "53", 2) || !strncmp(state, "57P", 3) ? ERR_TEMPFAIL : ERR_GIVEN,
	    "PostgreSQL: %s", text);
	free(text);
}

int
pg_exec_begin(PGconn *conn, const char *sql, int n, const char *const *params,
    struct err *err)
{
	if (n ? PQsendQueryParams(conn, sql, n, NULL, params, NULL, NULL, 0)
	    : PQsendQuery(conn, sql))
		return 0;
	exec_failed(conn, NULL, err);
	return -1;
}

PGresult *
pg_exec_end(PGconn *conn, struct err *err)
{
	const span *limit = PQinstanceData(conn, forget_limit);
	bool late;
	PGresult *r = last_result(conn, limit, &late);
	ExecStatusType status = PQresultStatus(r);
	char buf[INSTANT_TEXT];

	if (!late && (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK))
		return r;
	if (late)
		err_class(err, ERR_TEMPFAIL, "PostgreSQL has not answered for %s",
		    clock_format_span(*limit, buf));
	else
		exec_failed(conn, r, err);
	PQclear(r);
	return NULL;
}

PGresult *
pg_exec(PGconn *conn, const char *sql, int n, const char *const *params, struct err *err)
{
	return pg_exec_begin(conn, sql, n, params, err) ? NULL : pg_exec_end(conn, err);
}
