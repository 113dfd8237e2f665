/* A call's arguments, given to the parameters of a task by place and by name, as
 * Python gives them to a function.  Pure; see celery/raw.h. */
#ifndef CELERY_BIND_H
#define CELERY_BIND_H

#include <stdbool.h>
#include <stddef.h>
#include "celery/raw.h"

struct str;

#define BIND_PARAMETERS_MAX 255

struct bind_parameters {
	const char *function;		/* for the message */
	const char *const *names;
	size_t n;			/* at most BIND_PARAMETERS_MAX */
	bool (*may_miss)(const void *arg, size_t i);
	const void *arg;
};

/* VALUES has room for one of each; what is left out and may be is none.  ARGS is
 * an array, KWARGS an object.  -1: they do not fit, and ERROR is what Python's
 * TypeError says. */
int bind_arguments(const struct bind_parameters *, struct raw args, struct raw kwargs,
    struct raw *values, struct str *error);

#endif
