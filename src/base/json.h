/* JSON: small helps over jansson.
 *
 * Values are trees: a value that holds itself has no end.  None of these
 * functions recurses, so depth is no danger to them. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>
#include <stddef.h>

struct err;
struct str;

/* One text for one value: compact, keys sorted by their bytes, reals as short
 * as they can be and always recognisable as reals ("2.0", "1e+22"), UTF-8 kept.
 * Equal values have equal texts.  The caller frees. */
char *json_canonical(const json_t *);

/* The same, but every real is one that jsonb keeps as a real: 1e+22 has all its
 * digits.  The caller frees. */
char *json_for_books(const json_t *);

/* The same, added to S, but the keys in the order they have. */
void json_append(struct str *, const json_t *);
/* TEXT as a string in JSON, quotes included; a byte that is no UTF-8 becomes
 * U+FFFD. */
void json_append_text(struct str *, const char *text, size_t len);

#define JSON_REAL_TEXT 320
/* The shortest text that reads back as the same real: "0.1".  Returns BUF. */
const char *json_format_real(double, char buf[JSON_REAL_TEXT]);
/* One that jsonb keeps as a real: "10000000000000000000000.0". */
const char *json_real_for_books(double, char buf[JSON_REAL_TEXT]);

/* Any JSON value, alone in TEXT; a key that is there twice is an error.  A new
 * reference, or NULL with ERR at its line and column. */
json_t *json_read(const char *text, size_t len, struct err *);

/* "object", "array", "string", "integer", "number" (a real), "boolean" or
 * "null"; of NULL "nothing". */
const char *json_kind(const json_t *);

#endif
