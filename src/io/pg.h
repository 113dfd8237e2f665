/* One PostgreSQL connection on the loop, never blocking it.
 *
 * Work is asked for in groups: some statements, sent in one pipeline and
 * answered together.  Without a BEGIN of its own a group is one transaction
 * (PostgreSQL's implicit one of a pipeline).  Groups are answered in the order
 * in which they were asked; several may be under way.
 *
 * A connection connects when it is first asked for something, with a time
 * limit; names are resolved on the loop.  When it breaks, every group under
 * way is answered with an error of class ERR_TEMPFAIL (whether it took effect
 * is then unknown), and the next group connects again: back-off is the
 * caller's.  A server that owes an answer and is silent for too long counts as
 * a broken connection.  COPY breaks it too (ERR_GIVEN).  Sessions run with
 * TimeZone=UTC and ISO dates. */
#ifndef IO_PG_H
#define IO_PG_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include "base/clock.h"

struct err;
struct loop;
struct pg;

struct pg_settings {
	const char *conninfo;		/* may be "": libpq's own PG* variables */
	const char *name;		/* application_name */
	const char *role;		/* SET ROLE, or NULL */
	bool writes;			/* a standby is of no use */
	const char *options;		/* more of libpq's options, or NULL */
	span connect_timeout;
	span statement_timeout;		/* of the server, 0: none */
	span idle_timeout;		/* of the server in a transaction, 0: none */
	span answer_timeout;		/* of silence, while an answer is owed; 0: none */
	span heartbeat;			/* of TCP, see session.c; 0: the kernel's */
};

struct pg *pg_new(struct loop *, const struct pg_settings *);	/* copies all */
/* Groups under way are forgotten: their callbacks do not come any more. */
void pg_free(struct pg *);

/* What a group was answered.  RESULTS are lent until the callback returns,
 * one for each statement (NULL where none came); ERR is NULL when all went
 * well, else what the first failure was; SQLSTATE is its code, "" if none. */
struct pg_answer {
	PGresult **results;
	size_t n;
	const struct err *err;
	char sqlstate[6];
};

/* Say the statements of a group one by one, then pg_ask().  Parameters are
 * text (NULL is null) and copied.  SQL that is a string constant of the
 * program may be prepared: the first use of pg_say_prepared() on a connection
 * prepares it, known again by its address. */
void pg_say(struct pg *, const char *sql, int n, const char *const *params);
void pg_say_prepared(struct pg *, const char *sql, int n, const char *const *params);
/* As pg_say() with types (Oid 0: let the server decide), and the rows handed
 * over one by one; ROW may return false for "enough": no more rows come, and
 * the statement's result is NULL (its rows are read and dropped). */
void pg_say_rows(struct pg *, const char *sql, int n, const Oid *types,
    const char *const *params, bool (*row)(void *arg, const PGresult *), void *arg);
void pg_ask(struct pg *, void (*answered)(void *arg, const struct pg_answer *),
    void *arg);

/* A row (or any other one message) of several times so many bytes breaks the
 * connection before it is read, with an error of class ERR_GIVEN: libpq would
 * hold all of it in memory.  0: no limit. */
void pg_limit_row(struct pg *, size_t bytes);

bool pg_is_idle(const struct pg *);		/* nothing under way */
unsigned pg_connections(const struct pg *);	/* how often it has connected */
/* Cancel what runs now, from a thread of libuv's pool; nothing is promised. */
void pg_cancel(struct pg *);
/* Close at once; groups under way are answered with ERR. */
void pg_break(struct pg *, const struct err *);

/* --- without a loop, for commands that ask and print --- */

/* Both wait: for the connection at most the settings' connect_timeout, for an
 * answer at most the answer_timeout longer than the server may take for a
 * statement.  NULL with ERR (ERR_TEMPFAIL).  The caller clears the result and
 * finishes the connection.  Any status but COMMAND_OK, TUPLES_OK is an error. */
PGconn *pg_connect(const struct pg_settings *, struct err *);
PGresult *pg_exec(PGconn *, const char *sql, int n, const char *const *params,
    struct err *);
/* The same in two steps, and the caller may do something else while the server works:
 * nothing else on this connection.  After a -1 with ERR there is nothing to end. */
int pg_exec_begin(PGconn *, const char *sql, int n, const char *const *params, struct err *);
PGresult *pg_exec_end(PGconn *, struct err *);

#endif
