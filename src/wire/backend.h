/* Where the results of Celery's tasks are kept: a result backend on the loop.
 *
 *	redis://, rediss://, redis+socket://    documents, published; counts chords
 *	rpc://                                  a message to the client's own queue
 *	db+postgresql://                        rows of celery_taskmeta
 *	"", disabled://                         nowhere: everything is answered at once
 *
 * Whatever is asked is done in the order in which it was asked, answered once,
 * from the loop or from backend_free(), never from within the asking, and never
 * before the server has answered.  While the server is away it is kept and asked
 * again with back-off; when too much of it waits (BACKEND_WAITING_MAX,
 * BACKEND_BYTES_MAX) what comes on top is answered with "not ok".  So is what
 * the server refuses for good, and all that waits in backend_free().  The log is
 * told once that it is away, and once that it is there again.  Whoever is answered
 * may ask for more, or free the backend. */
#ifndef WIRE_BACKEND_H
#define WIRE_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/clock.h"
#include "celery/raw.h"

struct backend;
struct celery_exception;
struct celery_result;
struct conf;
struct err;
struct loop;
struct str;
struct transport;

#define BACKEND_WAITING_MAX 20000
#define BACKEND_BYTES_MAX (128 * 1024 * 1024)
#define BACKEND_IDS_MAX 10000		/* of one fetch, one chord */

/* URL is conf->result_backend if it is NULL; "redis", "redis://" without a host
 * mean conf->redis_url.  With a TRANSPORT (which may be NULL, but not for
 * rpc://) a message goes to the reply_to of every result whatever the backend
 * is, so that rpc:// clients are served, too; both are lent, and the transport
 * outlives us.  NULL with ERR (ERR_CONFIG) if the address is wrong; the server
 * need not be there. */
struct backend *backend_open(struct loop *, const struct conf *, const char *url,
    struct transport *, struct err *);
void backend_free(struct backend *);	/* NULL is fine */

bool backend_is_none(const struct backend *);	/* keeps nothing, and answers nobody */
bool backend_is_idle(const struct backend *);	/* nothing waits for an answer */
/* What is wrong at present, lent; NULL: nothing is known to be. */
const struct err *backend_trouble(const struct backend *);

/* --- results --- */

/* Everything is copied.  OK: the server keeps it, or a SUCCESS that was there
 * before, which is never overwritten.  STORED may be NULL. */
void backend_store(struct backend *, const struct celery_result *,
    void (*stored)(void *arg, bool ok), void *arg);

/* What is known of each of the N ids: RESULTS[i] is of ids[i] (PENDING: nothing
 * is), lent until the callback returns.  RESULTS is NULL if it cannot be found
 * out: for rpc:// and none it never can. */
void backend_fetch(struct backend *, const char *const *ids, size_t n,
    void (*fetched)(void *arg, const struct celery_result *results, size_t n), void *arg);

/* --- chords that the backend counts: redis only --- */

/* Can results be fetched? */
bool backend_can_fetch(const struct backend *);
/* False: whoever starts a chord publishes celery.chord_unlock instead. */
bool backend_has_chords(const struct backend *);

/* How many members there are; before the last of them is published. */
void backend_chord_size(struct backend *, const char *group, int64_t n,
    void (*set)(void *arg, bool ok), void *arg);
/* Keep the GroupResult: {"result": [[group, parent or null], [tuple, ...]]}.  For
 * a header with groups in it; before its members are published. */
void backend_save_group(struct backend *, const char *group, struct raw document,
    void (*saved)(void *arg, bool ok), void *arg);

/* A member has come to its end (not to a RETRY).  RESULT is its value, or the
 * exception's object: celery_result_value().  INDEX is -1 if it has none. */
struct chord_member {
	const char *group, *id, *state;
	int64_t index;
	struct raw result;
};

/* Lent until the callback returns. */
struct chord_answer {
	bool ok;		/* false: could not be counted */
	bool complete;		/* it was the last one; all that follows is only there then */
	/* The results of the members in their order, of a nested group an array. */
	const struct raw *results;
	size_t n;
	/* The first that has failed, NULL: none has, and RESULTS is all there is. */
	const char *failed_id;
	const struct celery_exception *exception;
	bool joined;		/* a GroupResult was kept: Celery says "Join error: ..." then */
};

/* A member that is counted again (the same id, state and result) does not count
 * twice, and may be told again that it is complete. */
void backend_chord_count(struct backend *, const struct chord_member *,
    void (*counted)(void *arg, const struct chord_answer *), void *arg);
/* Its body is published: what was kept of it goes.  Nobody waits for that. */
void backend_chord_forget(struct backend *, const char *group);

/* Drop results that are older than result_expires: what a database does not do by
 * itself, and Redis does. */
void backend_clean(struct backend *, void (*cleaned)(void *arg, bool ok), void *arg);

/* --- for people --- */

/* Can the backend that the settings name be used?  Waits at most LIMIT, in a
 * loop of its own.  0, and WHAT says what is there ("Redis 7.0.15, database 0"),
 * or -1 with ERR (ERR_TEMPFAIL, ERR_CONFIG). */
int backend_look(const struct conf *, span limit, struct str *what, struct err *);

#endif
