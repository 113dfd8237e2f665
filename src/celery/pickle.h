/* Python's pickles of what JSON can say, for Celery's database backend.
 *
 * Written is protocol 2.  Read are 2 to 5, and of them only plain values: None,
 * booleans, numbers, texts, lists, tuples (which become arrays) and dicts; a
 * pickle that names a class or a function is refused, and nothing in it is ever
 * called.  Pure, and bounded in depth, count and bytes. */
#ifndef CELERY_PICKLE_H
#define CELERY_PICKLE_H

#include <stddef.h>
#include "celery/raw.h"

struct err;
struct str;

#define PICKLE_MAX (64 * 1024 * 1024)	/* bytes of one, and of the JSON it becomes */

/* Add the pickle of VALUE, which raw_check() has found good. */
void pickle_write(struct str *, struct raw value);

/* Add the value of the pickle as JSON.  -1 with ERR, and nothing is added, if it
 * is broken, holds what JSON cannot say, or is too large. */
int pickle_read(struct str *json, const void *pickle, size_t len, struct err *);

#endif
