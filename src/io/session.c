/* session.c - how a session with PostgreSQL is opened. */
#include "io/session.h"
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
	if (set->options)
		str_printf(&s, " %s", set->options);
	return str_take(&s);
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

static PGconn *
start(const struct pg_settings *set, const char *addresses, bool wait)
{
	char *options = session_options(set), timeout[16],
	    *hosts = addresses ? repeat_host(set, addresses) : NULL;
	const char *keys[] = { "dbname", "fallback_application_name", "options",
		"connect_timeout", "client_encoding",
		addresses ? "hostaddr" : NULL, "host", NULL };
	const char *values[] = { set->conninfo, set->name, options,
		timeout, "UTF8", addresses, hosts, NULL };
	PGconn *conn;

	snprintf(timeout, sizeof timeout, "%lld",
	    (long long)((set->connect_timeout + SECOND - 1) / SECOND));
	conn = wait ? PQconnectdbParams(keys, values, 1)
	    : PQconnectStartParams(keys, values, 1);
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

	if (!strchr(text, '=') && !strstr(text, "://"))
		return true;		/* the name of a database */
	options = PQconninfoParse(text, NULL);
	PQconninfoFree(options);
	return options != NULL;
}

PGconn *
pg_connect(const struct pg_settings *settings, struct err *err)
{
	struct pg_settings set;
	PGconn *conn;

	session_copy(&set, settings);
	conn = start(&set, NULL, true);
	if (conn && PQstatus(conn) != CONNECTION_OK) {
		char *text = one_line(PQerrorMessage(conn));

		err_class(err, is_conninfo(set.conninfo) ? ERR_TEMPFAIL : ERR_CONFIG,
		    "cannot connect to PostgreSQL: %s", text);
		free(text);
		PQfinish(conn);
		conn = NULL;
	}
	session_free(&set);
	return conn;
}

PGresult *
pg_exec(PGconn *conn, const char *sql, int n, const char *const *params, struct err *err)
{
	PGresult *r = n ? PQexecParams(conn, sql, n, NULL, params, NULL, NULL, 0)
	    : PQexec(conn, sql);
	ExecStatusType status = PQresultStatus(r);
	const char *primary, *state;
	char *text;

	if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)
		return r;
	primary = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
	text = one_line(primary ? primary : PQerrorMessage(conn));
	state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	/* 42501: it refuses us; 53, 57P: it has no room, or goes down. */
	err_class(err, PQstatus(conn) == CONNECTION_BAD || (state && (!strcmp(state, "42501") ||
	    !strncmp(state, "53", 2) || !strncmp(state, "57P", 3))) ? ERR_TEMPFAIL : ERR_GIVEN,
	    "PostgreSQL: %s", text);
	free(text);
	PQclear(r);
	return NULL;
}
