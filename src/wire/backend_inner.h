/* Between the files of the result backends.  For nobody else.
 *
 *	backend.c             which there is; what its users see
 *	backend_lane.c        what waits, in order; the back-off; the log
 *	backend_redis.c       results in Redis
 *	backend_chord.c       chords, which Redis counts
 *	backend_chord_join.c  what their members have come to
 *	backend_rpc.c         results as messages to clients
 *	backend_db.c          results in PostgreSQL
 *	backend_look.c        is it there?  For doctor
 *
 * A lane takes work and does it: begins it in the order in which it came, as
 * much at once as its kind likes, and begins it again after a failure that will
 * pass. */
#ifndef WIRE_BACKEND_INNER_H
#define WIRE_BACKEND_INNER_H

#include <stdbool.h>
#include <stddef.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "base/vec.h"
#include "celery/result.h"
#include "wire/backend.h"

struct lane;

enum work_kind { WORK_STORE, WORK_FETCH, WORK_CHORD_SIZE, WORK_SAVE_GROUP, WORK_COUNT,
	WORK_FORGET, WORK_CLEAN };

struct work {
	enum work_kind kind;
	/* What is to be done; all of it the work's own. */
	char *id;			/* of a task, or of the group */
	char *state;
	struct str text;		/* the document, the member, the number */
	VEC(char *) words;		/* the ids of a fetch; the columns of a row (may be NULL) */
	char *reply_to, *correlation_id;
	/* Who wants to know. */
	void (*stored)(void *, bool);
	void (*fetched)(void *, const struct celery_result *, size_t);
	void (*counted)(void *, const struct chord_answer *);
	void *arg;
	/* How far it is; the kind's. */
	struct lane *lane;
	bool begun;
	bool ok;			/* how it ended, if that is not told yet */
	struct slip *slip;		/* who is to be asked no more: backend_rpc.c */
	int tries;			/* that have failed */
	int64_t index;
	bool list;			/* of a chord whose members are a list */
	struct chord *chord;		/* its results, once it is complete */
	size_t bytes;
	struct work *before, *after;
};

struct work *work_new(enum work_kind, const char *id);
void work_free(struct work *);

/* Its end, which is told at once; the work is freed. */
void work_stored(struct work *, bool ok);
void work_fetched(struct work *, const struct celery_result *, size_t n);
void work_counted(struct work *, const struct chord_answer *);
void work_failed(struct work *);		/* whatever it is: not ok */
/* The server refuses it: for good if ERR is ERR_GIVEN, else it is begun again,
 * not before a back-off. */
void work_refused(struct work *, const struct err *);
/* It begins once more, when it can. */
void work_again(struct work *);
/* The connection has gone; the kind says when it is there again. */
void work_lost(struct work *, const struct err *);

struct lane_kind {
	const char *what;		/* "Redis", for the log */
	bool (*is_full)(const struct lane *);	/* nothing can begin now */
	void (*begin)(struct lane *, struct work *);	/* comes to one of the ends above */
	void (*stop)(struct lane *);	/* what is under way does not come any more */
};

/* A lane begins with this struct. */
struct lane {
	const struct lane_kind *kind;
	struct loop *loop;
	struct work *first, *last;	/* all that is not done */
	struct work *next;		/* none before it waits to begin */
	size_t n, bytes, begun;		/* works; their bytes; those of the ones under way */
	VEC(struct work *) ended;	/* to be told of in the next turn */
	struct timer *soon, *pause;
	bool paused, beginning, freed;
	int busy;			/* telling */
	int failures;			/* in a row */
	bool troubled;
	struct err trouble;
	bool told_full;
};

void lane_init(struct lane *, const struct lane_kind *, struct loop *);
void lane_free(struct lane *);		/* tells all that waits; NULL is fine */
void lane_take(struct lane *, struct work *);
void lane_hopeless(struct lane *, struct work *);	/* it never can be done */
void lane_pump(struct lane *);		/* begin what can begin */
void lane_trouble(struct lane *, const struct err *);
void lane_is_well(struct lane *);	/* it answers */

/* backend_redis.c; NULL with ERR */
struct lane *lane_redis(struct loop *, const struct conf *, const char *url, struct err *);
/* backend_rpc.c */
struct lane *lane_rpc(struct loop *, struct transport *);
/* backend_db.c */
struct lane *lane_db(struct loop *, const struct conf *, const char *url, struct err *);
/* Put the columns of RESULT into the words of WORK. */
void lane_db_row(struct work *, const struct celery_result *, bool extended, instant now);

/* --- Redis, between backend_redis.c and the two of chords --- */

struct redis;
struct redis_answer;

struct redis *lane_redis_of(const struct work *);
span lane_redis_expires(const struct work *);
/* Does ANSWER say that it worked?  If not, WORK has come to an end, or is begun
 * again. */
bool work_is_answered(struct work *, const struct redis_answer *);
/* Every command of a MULTI ... EXEC; the results are EXEC's elements. */
bool work_is_executed(struct work *, const struct redis_answer *);

void chord_begin_count(struct work *);
void chord_begin_forget(struct work *);
char *chord_key(const struct work *, const char *suffix);	/* the caller frees */
/* COUNT members stand there, SIZE were to come: read them, and tell. */
void chord_join(struct work *, int64_t size, int64_t count);
/* Ends of a count: there are more to come; nobody can make sense of what stands
 * there. */
void chord_tell_incomplete(struct work *);
void chord_tell_broken(struct work *, const char *why);
void chord_free(struct chord *);
/* MGET of the documents of all words. */
void redis_fetch_words(struct work *, void (*answered)(void *, const struct redis_answer *));

/* --- what there is --- */

enum backend_kind { BACKEND_NONE, BACKEND_REDIS, BACKEND_RPC, BACKEND_DB };
/* What URL means (NULL: the settings'); *ADDRESS is the caller's to free. */
int backend_resolve(const struct conf *, const char *url, enum backend_kind *, char **address,
    struct err *);

#endif
