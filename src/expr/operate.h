/* Python's operators on values of any type. */
#ifndef EXPR_OPERATE_H
#define EXPR_OPERATE_H

#include "expr/op.h"

struct value;
struct work;

/* + - * / // % ** */
int operate_binary(struct work *, enum op, const struct value *, const struct value *,
    struct value *out);

/* SIGN is '+' or '-'. */
int operate_unary(struct work *, char sign, const struct value *, struct value *out);

/* V[KEY]; V[BOUNDS[0]:BOUNDS[1]:BOUNDS[2]], None where there is no bound. */
int operate_index(struct work *, const struct value *v, const struct value *key,
    struct value *out);
int operate_slice(struct work *, const struct value *v, const struct value *bounds,
    struct value *out);

/* V.NAME: a key of a dict, a part of a time. */
int operate_attribute(struct work *, const struct value *, const char *name,
    struct value *out);
int operate_method(struct work *, const struct value *, const char *name,
    struct value *out);

#endif
