/* Python's comparisons. */
#ifndef EXPR_COMPARE_H
#define EXPR_COMPARE_H

#include "expr/op.h"

struct value;
struct work;

/* 1, 0, or -1 with the error. */
int compare_equal(struct work *, const struct value *, const struct value *);
int compare_values(struct work *, enum op, const struct value *, const struct value *);

#endif
