/* The result of another's task, as a value. */
#ifndef EXEC_ANSWER_H
#define EXEC_ANSWER_H

#include <stddef.h>
#include "celery/raw.h"

struct err;

/* JSON text of at most MOST bytes, or NULL with ERR where no value of ours can be
 * that: NaN, integers beyond 64 bits, and what else Python's JSON has that is none.
 * The caller frees. */
char *answer_value(struct raw, size_t most, struct err *);

#endif
