/* The values of :names, as parameters of the extended protocol. */
#ifndef EXEC_BINDING_H
#define EXEC_BINDING_H

#include <jansson.h>
#include <libpq-fe.h>
#include <stddef.h>
#include "base/clock.h"

struct err;

struct binding {
	int n;
	Oid *types;
	char **values;		/* NULL is null */
};

/* -1 with ERR where a name has no value. */
int binding_init(struct binding *, const char *const *names, size_t n,
    const json_t *args, instant now, struct err *);
void binding_done(struct binding *);

#endif
