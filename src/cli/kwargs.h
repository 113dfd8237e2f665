/* Keyword arguments for a task: words as NAME=JSON. */
#ifndef CLI_KWARGS_H
#define CLI_KWARGS_H

#include <stddef.h>

struct err;
struct str;

/* Add one JSON object of N words; values stay the text that they are, as Python
 * reads it: NaN and integers of any size too.  -1 with ERR (ERR_USAGE). */
int kwargs_read(const char *const *words, size_t n, struct str *, struct err *);

/* Add one JSON array, which TEXT is. */
int kwargs_read_array(const char *text, const char *what, struct str *, struct err *);

#endif
