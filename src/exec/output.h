/* What a command has written, as a value: JSON if it parses, else text. */
#ifndef EXEC_OUTPUT_H
#define EXEC_OUTPUT_H

#include <stddef.h>

struct err;

/* The value as JSON text, or NULL with ERR where it is neither (no UTF-8, a
 * NUL), or is JSON with something in it that no value of ours can be (a number
 * beyond its range, too deep, "\u0000").  No output is the empty text.  The
 * caller frees. */
char *output_value(const char *text, size_t len, struct err *);

/* The same for a client of Celery, who may be told what no value of ours can be:
 * JSON as Python reads it stays as it was written. */
char *output_raw(const char *text, size_t len, struct err *);

#endif
