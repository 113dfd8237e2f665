/* JSON as text: looked at, cut into parts, passed on, never decoded.
 *
 * Python writes JSON that jansson cannot hold: NaN, Infinity, integers of any
 * size, lone surrogates.  What we only hand on therefore stays text.  A struct
 * raw lends a part of somebody's text, without the space around it.  All but
 * raw_check() expect text that raw_check() has found good, and cannot fail. */
#ifndef CELERY_RAW_H
#define CELERY_RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct refusal;
struct str;

#define RAW_DEPTH_MAX 256
#define RAW_VALUES_MAX 1000000

struct raw {
	const char *text;		/* NULL: there is none */
	size_t len;
};

/* Is TEXT one JSON value, as Python reads it, in UTF-8, with no key twice in an
 * object, and within the limits above?  VALUE becomes that value. */
int raw_check(const char *text, size_t len, struct raw *value, struct refusal *);

/* '{', '[', '"', 't', 'f', 'n' for null, '0' for any number; '\0' of none. */
char raw_kind(struct raw);

/* What an array or object holds, in order; of an array, the keys are none.
 *
 *	struct raw_walk walk = raw_walk(value);
 *	while (raw_next(&walk, &key, &member)) ...
 */
struct raw_walk {
	const char *at, *end;
};
struct raw_walk raw_walk(struct raw);
bool raw_next(struct raw_walk *, struct raw *key, struct raw *member);
size_t raw_count(struct raw);			/* 0 of what holds nothing */
struct raw raw_get(struct raw object, const char *key);	/* or none */

const char *raw_skip_space(const char *at, const char *end);
/* Where the value at AT ends; nothing but the value and what follows it. */
const char *raw_skip(const char *at, const char *end);

/* The next character of a string, escapes undone, between whose quotes *AT
 * stands; a lone surrogate comes as it is. */
uint32_t raw_char(const char **at);
/* Add a character in UTF-8; U+FFFD for a lone surrogate. */
void raw_put_char(struct str *, uint32_t);

bool raw_is(struct raw string, const char *text);
/* Add what the string says; false if C cannot hold it: NUL, a lone surrogate. */
bool raw_string(struct raw string, struct str *);
/* -1 if it is no integer of 64 bits. */
int raw_integer(struct raw, int64_t *);

#endif
