/* What a task makes follow: callbacks, chains, groups, chords, errbacks.
 *
 * From a message and what became of it comes an ordered list of steps, which
 * the engine executes one after the other: messages to publish (all of them
 * confirmed before the task's own result is stored), sizes of chords to write,
 * results of tasks that will never run.  It is what a worker of Celery 5.2.6
 * does, message for message; where that one would leave somebody waiting for
 * ever we do what the newest does, or better: a chord's body that cannot run
 * fails together with all that was to follow it.
 *
 * Pure: no clock, no I/O.  Everything is bounded; what is too much, or is no
 * signature, is an error, nothing of the list counts then, and the engine makes a
 * FAILURE of it (canvas->error_type, error_module, and ERR's message as the only
 * argument).
 *
 *	struct canvas canvas;
 *	canvas_init(&canvas, &setting);
 *	if (canvas_succeed(&canvas, &message, result, &err)) ...
 *	for (size_t i = 0; i < canvas.steps.n; i++) ...
 *	canvas_done(&canvas);
 *
 * One canvas plans one thing: make a new one for the next.  The steps lend from
 * the canvas and from the message and result they were made of. */
#ifndef CELERY_CANVAS_H
#define CELERY_CANVAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"
#include "base/uuid.h"
#include "base/vec.h"
#include "celery/message.h"
#include "celery/raw.h"
#include "celery/signature.h"

struct err;

#define CANVAS_MESSAGES_MAX 10000	/* from one task */
#define CANVAS_SIGNATURES_MAX 200000	/* read, copied */
#define CANVAS_BYTES_MAX (64 * 1024 * 1024)	/* written, in all */

/* How the result backend counts a chord. */
enum canvas_chords {
	CANVAS_CHORDS_NATIVE,	/* redis */
	CANVAS_CHORDS_UNLOCK,	/* by celery.chord_unlock, which polls: a database */
	CANVAS_CHORDS_NONE,	/* not at all (rpc, none): a chord is an error */
};

struct canvas_setting {
	enum canvas_chords chords;
	const char *default_queue;	/* where a signature names none; NULL: "celery" */
	const char *reply_to;		/* our own, for who has none; NULL: "" */
	const char *origin;		/* "gen<pid>@<host>" */
	bool inherit_priority;		/* followers get the task's own priority */
	instant now;			/* for countdown and expires in seconds */
	/* A new id; NULL: random UUIDs. */
	void (*make_id)(void *arg, char id[UUID_TEXT]);
	void *arg;
	/* 0: the limits above. */
	size_t messages_max, signatures_max, bytes_max;
};

#define CANVAS_STEPS(X) \
	/* publish MESSAGE (celery_encode()) to QUEUE, which is declared first, or
	 * to EXCHANGE with ROUTING_KEY */ \
	X(CANVAS_POST) \
	/* native: GROUP has SIZE members; written before the step after it */ \
	X(CANVAS_CHORD_SIZE) \
	/* native: store DOCUMENT ({"result": tuple}) under GROUP */ \
	X(CANVAS_SAVE_GROUP) \
	/* ID will never run: store FAILURE under it, with ERROR */ \
	X(CANVAS_FAIL) \
	/* native: count ID in the chord GROUP as FAILURE with ERROR; BODY is the
	 * chord's body, for when that makes it complete */ \
	X(CANVAS_COUNT)

#define CANVAS_ENUM(name) name,
enum canvas_step_kind { CANVAS_STEPS(CANVAS_ENUM) CANVAS_STEP_COUNT };
#undef CANVAS_ENUM

/* Texts are NULL where there is none. */
struct canvas_step {
	enum canvas_step_kind kind;
	/* CANVAS_POST */
	struct celery_message message;	/* not to be given to celery_message_done() */
	const char *queue;		/* by the default exchange, or NULL and: */
	const char *exchange, *routing_key;
	int delivery_mode;		/* 1 or 2 */
	/* CANVAS_CHORD_SIZE, CANVAS_SAVE_GROUP, CANVAS_COUNT */
	const char *group;
	int64_t size;
	struct raw document;
	int64_t group_index;		/* -1: none; sorts last */
	struct raw body;
	/* CANVAS_FAIL, CANVAS_COUNT: ID's task, and where it stood */
	const char *id, *parent_id, *root_id, *task;
	const char *group_id;		/* of CANVAS_FAIL: the document's group_id */
	const char *reply_to;		/* rpc results go there */
	/* NULL: the exception of the task that failed.  Else this one: */
	const char *error_type, *error_module;
	struct raw error_args;		/* an array */
};

struct canvas {
	VEC(struct canvas_step) steps;
	/* For the task's own result: result tuples, "[]" if nothing was sent. */
	struct raw children;
	/* After -1: what a FAILURE says. */
	const char *error_type, *error_module;

	/* For canvas_*.c: */
	struct canvas_setting setting;
	struct signature_budget budget;
	const char *id, *root_id;	/* the task that is the parent; NULL: none */
	int priority;			/* its own */
	const struct celery_message *of;	/* its message, or NULL */
	size_t posts;
	int depth;
	struct str trail;		/* of children */
	struct err *err;
	struct arena memory;
	VEC(json_t *) headers;		/* of the messages; given back at the end */
};

void canvas_init(struct canvas *, const struct canvas_setting *);
void canvas_done(struct canvas *);

/* The task has succeeded with RESULT (checked JSON): callbacks, then the chain.
 * Afterwards the engine stores the result and, if message->chord, counts it. */
int canvas_succeed(struct canvas *, const struct celery_message *, struct raw result,
    struct err *);

/* The task has failed for good (its own FAILURE is stored, its own chord counted
 * by the engine): the rest of its chain fails, then its errbacks are sent.
 * Revoked: nothing follows, the engine only counts the chord. */
int canvas_fail(struct canvas *, const struct celery_message *, struct err *);

/* The same message again, one retry more (the task becomes its own parent if it had
 * none), due at ETA; QUEUE, or EXCHANGE and
 * ROUTING_KEY, is where it came from. */
struct canvas_retry {
	instant eta;
	const char *queue, *exchange, *routing_key;
	struct raw args, kwargs;	/* none: as before */
};
int canvas_retry(struct canvas *, const struct celery_message *, const struct canvas_retry *,
    struct err *);

/* Apply a signature as a client does (a program's `call`, a reaction): TEXT with
 * ARGS (an array, or none) before its own. */
int canvas_apply(struct canvas *, struct raw signature, struct raw args, struct err *);

/* A chord is complete.  BODY is a member's message->chord, and the member whose
 * end completed it (or the chord_unlock task) is the parent of what follows if the
 * body names none. */
struct canvas_chord {
	struct raw body;
	const char *id, *root_id;	/* the member, or chord_unlock's message */
	int priority;			/* its own, for inherit_priority; -1: none */
};
/* RESULTS: an array, in order.  -1: call canvas_chord_fail() of a new canvas with
 * "Callback error: " and the repr of the error. */
int canvas_chord_done(struct canvas *, const struct canvas_chord *, struct raw results,
    struct err *);
/* The body fails with ChordError(TEXT): its errbacks, its own FAILURE, and that of
 * all that was to follow it. */
int canvas_chord_fail(struct canvas *, const struct canvas_chord *, const char *text,
    struct err *);
/* "Dependency <id> raised <repr>"; ARGS is the exception's (an array, or a text). */
void canvas_chord_reason(struct str *, const char *id, const char *type, struct raw args);

/* Result tuples, [[id, parent], null] or [[group id, parent], [tuple, ...]], in a
 * GroupResult document or in chord_unlock's arguments. */
struct canvas_ids {
	VEC(const char *) at;		/* the tasks in order; lent from MEMORY */
	struct arena memory;
};
int canvas_ids_read(struct canvas_ids *, struct raw tuples, struct err *);	/* an array of them */
void canvas_ids_done(struct canvas_ids *);
/* Add [results] in the form of TUPLES, RESULTS[i] being that of the i-th id. */
void canvas_ids_results(struct raw tuples, const struct raw *results, struct str *out);

/* celery.chord_unlock has come: it waits for IDS.  GROUP, BODY and TUPLES lend from
 * the message. */
struct canvas_unlock {
	const char *group;
	struct raw body, tuples;
	span interval;			/* until the next look */
	int64_t max_retries;		/* -1: for ever */
	struct canvas_ids ids;
};
int canvas_unlock_read(struct canvas_unlock *, const struct celery_message *, struct err *);
void canvas_unlock_done(struct canvas_unlock *);

/* What became of each of the ids, in their order. */
struct canvas_state {
	enum { CANVAS_WAITS, CANVAS_SUCCEEDED, CANVAS_FAILED /* or revoked */ } state;
	struct raw value;		/* the result; or the exception's arguments */
	const char *type;		/* the exception's */
};
/* A retry of the message (to QUEUE), the chord's body, or its failure.  1: too many
 * retries, chord_unlock itself fails with MaxRetriesExceededError. */
int canvas_unlock(struct canvas *, const struct celery_message *, const struct canvas_unlock *,
    const struct canvas_state *, const char *queue, struct err *);

#endif
