/* Between the files that read pickles.  For nobody else.
 *
 *	unpickle.c           the opcodes, and the values that stand in them
 *	unpickle_machine.c   what they work on: bytes, stack, marks, memory
 *	unpickle_write.c     what came out, as JSON
 *
 * What can fail returns -1 (or NULL) and has said why in the machine's ERR. */
#ifndef CELERY_UNPICKLE_INNER_H
#define CELERY_UNPICKLE_INNER_H

#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/vec.h"

struct err;
struct str;

enum kind { NONE, TRUE, FALSE, INTEGER, REAL, TEXT, ARRAY, OBJECT };

struct cell {
	struct node *key, *value;	/* an array's have no key */
	struct cell *next;
};

struct node {
	enum kind kind;
	union {
		struct {
			const char *at;	/* of a TEXT bytes, of an INTEGER decimal digits */
			size_t len;
		} text;
		double real;
		struct {
			struct cell *first, *last;
		} cells;
	} u;
};

struct machine {
	const uint8_t *at, *end;
	struct arena arena;
	size_t count;
	VEC(struct node *) stack;
	VEC(size_t) marks;
	VEC(struct node *) memo;
	struct err *err;
};

/* --- unpickle_machine.c --- */

int machine_broken(struct machine *, const char *what);	/* always -1 */

/* The next N bytes of the program. */
int machine_take(struct machine *, size_t n, const uint8_t **bytes);
/* N bytes, the low one first. */
int machine_take_count(struct machine *, size_t n, uint64_t *);
/* Up to the next newline, which is not part of it. */
int machine_take_line(struct machine *, const char **line, size_t *len);

/* N more things, or work for as much. */
int machine_count(struct machine *, size_t n);

/* Onto the stack; TEXT is not copied. */
struct node *machine_push(struct machine *, enum kind);
int machine_push_text(struct machine *, enum kind, const char *text, size_t len);
int machine_push_real(struct machine *, double);
int machine_duplicate(struct machine *);
int machine_pop(struct machine *, struct node **);

int machine_mark(struct machine *);
int machine_pop_marked(struct machine *);	/* the mark, and all above it */

/* A new container of the N things on top, or of all above the last mark. */
int machine_gather_top(struct machine *, enum kind, size_t n);
int machine_gather_marked(struct machine *, enum kind);
/* The same into the container that is below them. */
int machine_add_top(struct machine *, enum kind, size_t n);
int machine_add_marked(struct machine *, enum kind);

int machine_remember(struct machine *, uint64_t place);	/* what is on top */
int machine_recall(struct machine *, uint64_t place);

/* --- unpickle_write.c --- */

int unpickle_write(struct str *json, const struct node *, struct err *);

#endif
