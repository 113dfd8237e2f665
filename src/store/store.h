/* The books: how they are opened. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <libpq-fe.h>

struct conf;
struct err;
struct pg;
struct pg_answer;
struct pg_settings;
struct uuid;

/* Settings for a connection to the books; lends from CONF. */
struct pg_settings store_settings(const struct conf *);
/* The same for the engine, whose statements look rows up by their keys. */
struct pg_settings store_engine_settings(const struct conf *);

/* Connect, for commands that ask and print. store_open() also holds the books'
 * version against this program's; ..._to_write() refuses a standby.  NULL with
 * ERR.  PQfinish() ends it. */
PGconn *store_connect(const struct conf *, struct err *);
PGconn *store_connect_to_write(const struct conf *, struct err *);
PGconn *store_open(const struct conf *, struct err *);
PGconn *store_open_to_write(const struct conf *, struct err *);

/* What tells these books from all others; made by `tocsin init`. */
int store_installation(PGconn *, struct uuid *, struct err *);
/* The same on the loop, with the books' version: say, ask, and read the answer. */
void store_say_installation(struct pg *);
int store_read_installation(const struct pg_answer *, struct uuid *, struct err *);

#endif
