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

/* The same, and a terminal shows it and obeys nothing in it. */
const char *member_shown(const json_t *, const char *key);

/* "2026-05-01 09:00:00Z" from what PostgreSQL puts into JSON; "-" for null. */
const char *member_time(const json_t *, const char *key);
/* Seconds as "3m20s", "2d"; "-" for null. */
const char *member_age(const json_t *, const char *key);
/* A value, at most MOST bytes of its JSON; a terminal shows it. */
const char *member_value(const json_t *, const char *key, size_t most);

/* Shorten TEXT to MOST bytes, dots included, between characters. */
void cut_text(char *text, size_t most);
/* TEXT, which is taken, as a terminal shows it.  Lent as above. */
const char *shown_text(char *text);

enum term_style state_style(const char *state);	/* of a run or a job */

void print_json_line(const json_t *);
#endif
