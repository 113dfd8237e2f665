/* Python's datetime (always aware, in UTC), date and timedelta, in whole
 * microseconds: years 1 to 9999, a timedelta of up to some 292 000 years. */
#ifndef EXPR_MOMENT_H
#define EXPR_MOMENT_H

#include <jansson.h>
#include "expr/op.h"

struct str;
struct value;
struct work;

/* What reads ISO text, or another datetime or date. */
int moment_read_datetime(struct work *, const struct value *, struct value *out);
int moment_read_date(struct work *, const struct value *, struct value *out);

/* ARGS: days, seconds, microseconds, milliseconds, minutes, hours, weeks. */
#define MOMENT_TIMEDELTA_ARGS 7
int moment_make_timedelta(struct work *, const struct value *args, struct value *out);

/* 0 done, -1 error, 1 if there is no such operation on these types. */
int moment_operate(struct work *, enum op, const struct value *, const struct value *,
    struct value *out);
int moment_negate(struct work *, const struct value *, struct value *out);

/* 0 done, -1 error, 1 if there is no such thing. */
int moment_attribute(const struct value *, const char *name, struct value *out);
int moment_method(struct work *, const struct value *, const char *name, struct value *out);
extern const char *const moment_methods[];	/* ends in NULL */

json_t *moment_to_json(const struct value *);
void moment_str(const struct value *, struct str *);
void moment_repr(const struct value *, struct str *);

#endif
