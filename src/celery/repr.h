/* JSON as Celery shows it to people: in argsrepr and kwargsrepr, which are for
 * logs, events and inspection, and which nobody parses. */
#ifndef CELERY_REPR_H
#define CELERY_REPR_H

#include <stdbool.h>
#include "celery/raw.h"

struct str;

#define CELERY_REPR_MAX 1024

/* Add what celery.utils.saferepr makes of VALUE with LIMIT characters: Python's
 * notation, three levels deep, texts and the whole cut with "...", a little
 * longer than LIMIT by what closes it.  AS_TUPLE shows an array at the top as
 * what apply_async() was given: "(1, 2)". */
void celery_repr(struct str *, struct raw value, bool as_tuple, long limit);

/* Add the repr of an exception: "ValueError('boom')", and where the text has an
 * apostrophe, as Python has it, "ValueError("it's")".  ARGS is an array, or one
 * value, or none. */
#define CELERY_REPR_EXCEPTION_MAX 8192
void celery_repr_exception(struct str *, const char *type, struct raw args);

/* Add Python's repr of a float. */
void celery_repr_real(struct str *, double);

#endif
