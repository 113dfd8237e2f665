/* One evaluation: what it sees, the memory and the steps that it may use, and
 * where it is, so that whoever fails can say so.
 *
 * Work is counted, never timed: an evaluation does the same on every machine.
 * The functions that return int return 0, or -1 after filling the error. */
#ifndef EXPR_WORK_H
#define EXPR_WORK_H

#include <stdbool.h>
#include <stddef.h>
#include "base/arena.h"

struct err;
struct expr_scope;

struct work {
	const struct expr_scope *scope;
	struct err *err;
	struct arena arena;
	long left;		/* steps */
	int depth;		/* of the value function that is running */
	int line, column;	/* of the operation that is running */
	bool exhausted;		/* a bound was crossed: no operand is to blame */
	bool blamed;		/* the message names an operand already */
	char first[512];	/* the arena's first block */
};

void work_init(struct work *, const struct expr_scope *, struct err *);
void work_done(struct work *);

int work_fail(struct work *, const char *format, ...)	/* always -1 */
	__attribute__((format(printf, 2, 3)));

/* N steps; N bytes handled; a value of N bytes or elements is about to be. */
int work_spend(struct work *, size_t n);
int work_spend_bytes(struct work *, size_t n);
int work_size(struct work *, size_t n);

/* Around each step down into a nested value. */
int work_enter(struct work *);
void work_leave(struct work *);

/* N elements of SIZE bytes, or text of N bytes (which ends in NUL already),
 * paid for: NULL when that is too much. */
void *work_alloc(struct work *, size_t n, size_t size);
char *work_text(struct work *, size_t n);

#endif
