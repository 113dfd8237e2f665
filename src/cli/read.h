/* Reading the definitions that a command names. */
#ifndef CLI_READ_H
#define CLI_READ_H

#include <stdbool.h>
#include "model/states.h"

struct call;
struct err;
struct model;
struct str;

/* All files of the arguments, checked together; problems are printed to
 * standard error and summed up in ERR. */
int read_model(struct model *, const struct call *, bool (*known)(void *arg, enum kind,
    const char *name), void *arg, struct str *warnings, struct err *);

#endif
