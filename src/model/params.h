/* The :name parameters of an SQL text, as $1, $2 ... for the server.  Pure.
 *
 * A colon that is not a parameter stays: in '...' and E'...' strings, quoted
 * identifiers, $tag$ quotes, comments, "::" casts, ":=", and array slices (a
 * colon inside [ ] that follows its left bound without a space: a[1:n]).
 * Texts without parameters stay as they are, byte for byte. */
#ifndef MODEL_PARAMS_H
#define MODEL_PARAMS_H

#include <stddef.h>

struct err;
struct params;

#define PARAMS_MAX 1000		/* different names */
#define PARAMS_MAX_NAME 63	/* bytes of one */

/* NULL with ERR (line and column in SQL): a string or comment without an end,
 * a $1 of the user's own, a name or a number of them beyond the bounds. */
struct params *params_parse(const char *sql, struct err *);
void params_free(struct params *);		/* NULL is fine */

const char *params_text(const struct params *);	/* lends */

/* The names in the order of their numbers, each once; "now" may be among
 * them.  Lent. */
const char *const *params_names(const struct params *, size_t *n);
/* Where the I-th name first stands in SQL; from 1, columns in characters. */
void params_place(const struct params *, size_t i, int *line, int *column);

#endif
