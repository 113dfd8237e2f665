/* Between the files of a PostgreSQL connection: pg.c has its life, pg_group.c
 * what is said and answered on it.  For nobody else. */
#ifndef IO_PG_INNER_H
#define IO_PG_INNER_H

#include "base/err.h"
#include "base/vec.h"
#include "io/pg.h"

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
	unsigned connections;
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

void pg_group_free(struct group *);
/* The first failure counts. */
void pg_group_fail(struct group *, const struct err *, const char *sqlstate);
/* Take the head off the queue and tell its owner. */
void pg_group_answer(struct pg *);
int pg_group_send(struct pg *, struct group *);	/* -1: it could not be sent */
/* All that has arrived.  False when PG was freed on the way. */
bool pg_receive(struct pg *);

#endif
