/* Printing what the books answered: pieces of JSON as text for people. */
#ifndef CLI_PRINT_H
#define CLI_PRINT_H

#include <jansson.h>
#include <stdbool.h>
#include "base/term.h"

/* The member KEY: a string as it is, numbers and the rest as JSON; missing and
 * null are "".  Lent until the next eight calls. */
const char *member_text(const json_t *, const char *key);
int64_t member_number(const json_t *, const char *key);
bool member_true(const json_t *, const char *key);
bool member_null(const json_t *, const char *key);	/* or missing */

/* "2026-05-01 09:00:00Z" from what PostgreSQL puts into JSON; "-" for null. */
const char *member_time(const json_t *, const char *key);
/* Seconds as "3m20s", "2d"; "-" for null. */
const char *member_age(const json_t *, const char *key);
/* A value, at most MOST characters of its JSON. */
const char *member_value(const json_t *, const char *key, size_t most);

enum term_style state_style(const char *state);	/* of a run or a job */

void print_json_line(const json_t *);
#endif
