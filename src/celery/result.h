/* What has become of a task, as Celery's clients read it.
 *
 * A result is written down in three ways: as the document that Redis keeps, as
 * the message of an rpc:// client, and as a row of celery_taskmeta (whose values
 * are pickles, see celery/pickle.h).  All say the same.  In the states FAILURE,
 * RETRY and REVOKED it is an exception, which the client makes again by its type
 * and module: "builtins" (ValueError, TypeError ...), "celery.exceptions",
 * "billiard.exceptions" are known everywhere.
 *
 * Pure.  Texts are UTF-8 and NULL where there is none; all of them are lent. */
#ifndef CELERY_RESULT_H
#define CELERY_RESULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/clock.h"
#include "celery/raw.h"

struct arena;
struct err;
struct str;

#define CELERY_RESULT_PREFIX "celery-task-meta-"	/* of a key in Redis */
#define CELERY_GROUP_PREFIX "celery-taskset-meta-"

/* Besides these a task may have states of its own, which are free texts. */
#define CELERY_STATES(X) \
	X(STATE_PENDING, "PENDING")	/* nothing is known; never stored */ \
	X(STATE_RECEIVED, "RECEIVED") X(STATE_STARTED, "STARTED") \
	X(STATE_RETRY, "RETRY") \
	X(STATE_SUCCESS, "SUCCESS") X(STATE_FAILURE, "FAILURE") X(STATE_REVOKED, "REVOKED")

#define STATE_ENUM(name, text) name,
enum celery_state { CELERY_STATES(STATE_ENUM) CELERY_STATE_COUNT };
#undef STATE_ENUM

const char *celery_state_name(enum celery_state);
bool celery_state_is_ready(const char *state);		/* SUCCESS, FAILURE, REVOKED */
bool celery_state_is_exception(const char *state);	/* FAILURE, RETRY, REVOKED */

struct celery_exception {
	const char *type, *module;	/* module may be NULL: the client makes a class of that name */
	/* The arguments of its constructor, an array; a text is its only one;
	 * none: []. */
	struct raw message;
};

struct celery_result {
	const char *id;
	const char *state;
	struct raw value;		/* of a state that is no exception; none: null */
	struct celery_exception exception;
	const char *traceback;
	struct raw children;		/* an array of result tuples; none: [] */
	const char *group, *parent_id;
	instant done_at;		/* of a ready state; 0: when it is written down */
	/* For rpc:// clients: the message's reply_to and correlation_id (NULL: the
	 * id).  Without a reply_to nothing is sent. */
	const char *reply_to, *correlation_id;
	/* For result_extended; nothing is written of these otherwise. */
	const char *name, *worker, *queue;
	struct raw args, kwargs;
	int64_t retries;
};

/* Add what stands under "result": the value, or {"exc_type", ...}. */
void celery_result_value(struct str *, const struct celery_result *);
/* Add the document of Redis.  NOW is for done_at. */
void celery_result_document(struct str *, const struct celery_result *, bool extended,
    instant now);
/* Add the body of the message to an rpc:// client. */
void celery_result_reply(struct str *, const struct celery_result *);
/* Add [1, id, state, result], as a finished member of a chord is counted.  The
 * same result is the same text. */
void celery_result_member(struct str *, const char *id, const char *state, struct raw result);

/* "2026-11-22T03:49:25.941644": UTC, six digits, no offset. */
const char *celery_result_time(instant, char buf[INSTANT_TEXT]);

/* Fill RESULT from a document of either kind, whoever wrote it: what is not
 * there stays none.  Of an exception, VALUE is its object as well.  Its texts
 * are ARENA's, its raws parts of TEXT.  -1 with ERR if it is no such document. */
int celery_result_read(struct celery_result *, const char *text, size_t len, struct arena *,
    struct err *);
/* The parts of an exception's object (what stands under "result"). */
int celery_exception_read(struct celery_exception *, struct raw object, struct arena *,
    struct err *);

/* Add what Python's repr() makes of it: "ValueError('no such customer')". */
void celery_exception_repr(struct str *, const struct celery_exception *);

#endif
