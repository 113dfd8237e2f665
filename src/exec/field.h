/* One field of a result, from PostgreSQL's text to JSON, by its type.
 *
 * bool, int2, int4, int8, oid: as in JSON.  numeric: an integer where it is
 * whole, else the nearest float.  date, time and interval types: ISO 8601 text.
 * json, jsonb: themselves.  Arrays of these and of text: arrays.  bytea: text,
 * \x and hexadecimal digits.  All others: their text. */
#ifndef EXEC_FIELD_H
#define EXEC_FIELD_H

#include <libpq-fe.h>
#include <stddef.h>

struct err;
struct str;

/* Add the field to OUT.  -1 with ERR where there is no such value in JSON: NaN,
 * infinities, integers beyond 64 bits, text that is not UTF-8. */
int field_append(struct str *out, Oid type, const char *text, size_t len, struct err *);

#endif
