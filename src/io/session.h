/* How a session with PostgreSQL is opened: for pg.c, and for who asks and waits
 * (pg_connect() and pg_exec(), declared in pg.h). */
#ifndef IO_SESSION_H
#define IO_SESSION_H

#include <libpq-fe.h>

struct err;
struct pg_settings;

/* A copy with defaults filled in; session_free() gives its texts back. */
void session_copy(struct pg_settings *, const struct pg_settings *from);
void session_free(struct pg_settings *);

/* PQconnectStart; ADDRESSES are those of session_host(), with commas between
 * them, or NULL where there is none. */
PGconn *session_start(const struct pg_settings *, const char *addresses);

/* CONN has connected: is it what we asked for?  -1 with ERR where the session's
 * options have not reached PostgreSQL, or where we are to write and may not. */
int session_check(PGconn *conn, const struct pg_settings *, struct err *);

/* Why CONN did not connect: -1 with ERR, which begins with WHAT. */
int session_fail(PGconn *conn, const char *what, struct err *);

/* The single host name that libpq would look up by blocking, or NULL: several
 * hosts, an address, a socket's directory are left to it.  The caller frees. */
char *session_host(const struct pg_settings *);

/* Does CONNINFO lead to another machine without making sure that it is the right
 * one?  Then a text as "db.example.com, sslmode=prefer", which the caller frees;
 * else NULL.  What libpq's environment says counts too. */
char *session_unverified(const char *conninfo);

#endif
