/* The functions of the language. */
#ifndef EXPR_FUNC_H
#define EXPR_FUNC_H

#include <stdbool.h>
#include <stddef.h>

struct value;
struct work;

#define FUNC_PARAMS 7

/* ARGS has a slot for each parameter, ABSENT where none was given.  With any
 * number of arguments (VARIADIC) N counts them, and ARGS[N] is the keyword's. */
struct func {
	const char *name;
	size_t least, most;		/* arguments by position */
	bool variadic;
	const char *params[FUNC_PARAMS];	/* by keyword: a name, else "" */
	int (*call)(struct work *, const struct value *args, size_t n, struct value *out);
};

const struct func *func_find(const char *name, size_t n);	/* NULL: none such */
size_t func_names(const char *const **);

/* The slot of keyword NAME, or -1. */
int func_keyword(const struct func *, const char *name, size_t n);

#endif
