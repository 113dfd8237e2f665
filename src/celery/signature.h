/* A signature: a task to be called, or a whole flow of them, as JSON.
 *
 *	{"task": "add", "args": [2], "kwargs": {}, "options": {"queue": "q"},
 *	 "subtask_type": null, "immutable": false}
 *
 * It is read into a tree that can be changed (given ids, arguments, followers)
 * and is written back.  Values stay JSON text: large numbers, NaN, and the
 * order of keys survive.  The tree lives in an arena and lends the text that it
 * was read from.  Pure. */
#ifndef CELERY_SIGNATURE_H
#define CELERY_SIGNATURE_H

#include <stdbool.h>
#include <stddef.h>
#include "celery/raw.h"

struct arena;
struct err;
struct str;

#define SIGNATURE_DEPTH_MAX 48		/* of flows in flows */

/* Map and starmap are plain tasks; chunks become a group of starmaps. */
#define SIGNATURE_KINDS(X) \
	X(SIGNATURE_TASK, "") X(SIGNATURE_CHAIN, "chain") X(SIGNATURE_GROUP, "group") \
	X(SIGNATURE_CHORD, "chord") X(SIGNATURE_CHUNKS, "chunks") \
	X(SIGNATURE_MAP, "xmap") X(SIGNATURE_STARMAP, "xstarmap")

#define KIND_ENUM(name, text) name,
enum signature_kind { SIGNATURE_KINDS(KIND_ENUM) SIGNATURE_KIND_COUNT };
#undef KIND_ENUM

extern const char *const signature_kind_names[];

struct signature_option {
	struct raw key;			/* a string, with its quotes */
	struct raw value;		/* none if it is: */
	const struct signature *signature;	/* one that may still change */
};

struct signature_options {
	struct signature_option *at;
	size_t n, room;
};

struct signature_list {
	struct signature **at;
	size_t n;
};

struct signature {
	enum signature_kind kind;
	struct raw task;		/* a string, with its quotes */
	bool immutable;
	struct raw args;		/* an array */
	struct raw kwargs;		/* an object; of a chord, its "kwargs" in there */
	struct signature_options options;
	/* Of a chain, a group, a chord's header; two signatures may share it, and
	 * see what becomes of it. */
	struct signature_list *tasks;
	struct signature *header;	/* of a chord: a group with options, or NULL */
	struct signature *body;		/* of a chord */
};

/* Is it one, by its look: an object that names a task? */
bool signature_is(struct raw);

/* How much may still be made.  What exceeds it is an error. */
struct signature_budget {
	size_t signatures;
	size_t bytes;
};

/* NULL with the reason in ERR.  TEXT was found good by raw_check(). */
struct signature *signature_read(struct raw text, struct arena *, struct signature_budget *,
    struct err *);

/* An empty one, without a task. */
struct signature *signature_new(enum signature_kind, struct arena *, struct signature_budget *,
    struct err *);

/* Add it to OUT as JSON. */
int signature_write(const struct signature *, struct str *out, struct signature_budget *,
    struct err *);

/* A copy with options of its own; the parts of a flow are copies too. */
struct signature *signature_copy(const struct signature *, struct arena *,
    struct signature_budget *, struct err *);

/* An option, or NULL.  Names are plain ASCII. */
const struct signature_option *signature_find(const struct signature_options *, const char *name);
/* Its value; none if it is not there, is null, or is a signature. */
struct raw signature_value(const struct signature_options *, const char *name);
/* Add it, or replace what is there. */
void signature_set(struct signature_options *, struct arena *, const char *name, struct raw value);
void signature_put(struct signature_options *, struct arena *, const struct signature_option *);
void signature_drop(struct signature_options *, const char *name);

/* Does Python take it for true?  None, null, false, 0, and what is empty it does not. */
bool raw_is_true(struct raw);
/* Add TEXT (UTF-8) as a JSON string. */
void raw_put_string(struct str *, const char *text);

#endif
