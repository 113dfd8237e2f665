/* What the files of the canvas know of one another.
 *
 * canvas_send.c makes a message of a task with options; canvas_freeze.c gives
 * ids to what is yet to come; canvas_apply.c and canvas_chord.c publish signatures
 * of each kind; canvas.c says what follows a task, canvas_unlock.c what
 * celery.chord_unlock does; canvas_parts.c is what they are made of.  All of them
 * return -1, or NULL, after canvas_error(). */
#ifndef CELERY_CANVAS_INNER_H
#define CELERY_CANVAS_INNER_H

#include "celery/canvas.h"

/* The result of a task or group that is to come, as Celery's clients see it. */
struct outcome {
	struct raw id;			/* a string, with its quotes */
	bool is_group;
	struct outcome *parent;
	struct outcome **members;
	size_t n;
};

/* What a signature is told when it is frozen: none, NULL, or -1 says nothing. */
struct place {
	struct raw id, group_id, root_id, parent_id;
	const struct signature_option *chord;
	int64_t group_index;
};
#define PLACE_NONE { .group_index = -1 }

#define CANVAS_DEPTH_MAX 128

#define CANVAS_INVALID "InvalidTaskError", "celery.exceptions"

int canvas_error(struct canvas *, const char *type, const char *module, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* After an error of signature_read() and its like. */
int canvas_invalid(struct canvas *);

/* One level deeper; c->depth-- afterwards. */
int canvas_descend(struct canvas *);
int canvas_no_chords(struct canvas *);	/* the backend cannot count them */

struct raw canvas_keep(struct canvas *, struct str *);	/* into the arena; S is done */
struct raw canvas_new_id(struct canvas *);
struct raw canvas_quote(struct canvas *, const char *text);
/* [A..., B...]; either may be none. */
struct raw canvas_join(struct canvas *, struct raw a, struct raw b);
/* A signature as text. */
int canvas_text(struct canvas *, const struct signature *, struct raw *);

struct signature *canvas_read(struct canvas *, struct raw);
struct signature *canvas_copy(struct canvas *, const struct signature *);
struct signature *canvas_make(struct canvas *, enum signature_kind, const char *task);
void canvas_set(struct canvas *, struct signature_options *, const char *name, struct raw);
/* Take an option out; none if it was not there, or null. */
struct raw canvas_take(struct signature_options *, const char *name);
/* TO becomes a copy. */
void canvas_options(struct canvas *, struct signature_options *to,
    const struct signature_options *from);
/* Add BEFORE and V, or "null". */
void canvas_put(struct str *, const char *before, struct raw v);
/* Add all of MORE to OPTIONS, replacing. */
void canvas_update(struct canvas *, struct signature_options *,
    const struct signature_options *more);
/* The same, but a group_id that is there stays, and null changes nothing unless
 * NULLS. */
void canvas_merge(struct canvas *, struct signature_options *,
    const struct signature_options *more, bool nulls);

/* Publish TASK.  Options are those of a signature, all of them. */
int canvas_send(struct canvas *, struct raw task, struct raw args, struct raw kwargs,
    const struct signature_options *);
struct canvas_step *canvas_step(struct canvas *, enum canvas_step_kind);
/* What a string says, in the arena; NULL of none. */
int canvas_string(struct canvas *, const char *what, struct raw, const char **);

struct outcome *canvas_freeze(struct canvas *, struct signature *, const struct place *);
bool canvas_is_empty(const struct signature *body);
void canvas_link_error(struct canvas *, struct signature *, struct raw errback);
/* Add to a list in OPTIONS: one signature or an array of them. */
void canvas_extend(struct canvas *, struct signature_options *, const char *name, struct raw more);

/* A chain made ready: its tasks in REVERSE order, each with its result. */
struct ready {
	struct signature **tasks;
	struct outcome **results;
	size_t n;
};
int canvas_prepare(struct canvas *, struct raw args, const struct signature_list *,
    struct raw errbacks, const struct place *, bool copy, struct ready *);

void canvas_put_tuple(struct str *, const struct outcome *);
void canvas_trail(struct canvas *, const struct outcome *);

/* ARGS come before the signature's own; OPTS override its options. */
int canvas_apply_signature(struct canvas *, struct signature *, struct raw args,
    const struct signature_options *opts);

int canvas_apply_chord(struct canvas *, const struct signature *, struct raw args,
    const struct signature_options *opts);

/* Publish all of ERRBACKS (an array) for the task ID. */
int canvas_errbacks(struct canvas *, struct raw errbacks, struct raw id, struct raw root_id);

#endif
