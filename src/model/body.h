/* Reading a body key by key, and noting whatever is wrong with it. */
#ifndef MODEL_BODY_H
#define MODEL_BODY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include "base/clock.h"
#include "base/err.h"
#include "base/vec.h"

struct fault {
	char *key;		/* NULL: the object as a whole */
	char *part;		/* an element or member of its value, or NULL */
	bool in_key;		/* it is the key itself that is wrong */
	struct err err;		/* its place, if any, is one inside the text */
};

struct body {
	const json_t *json;
	VEC(struct fault) faults;
};

/* PART and what stands in it may be NULL. */
void body_fault(struct body *, const char *key, const char *part, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
void body_key_fault(struct body *, const char *key, const char *part, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* What another reader found wrong with the text at KEY. */
void body_take_fault(struct body *, const char *key, const struct err *);

/* Free the faults; -1 with the first as ERR if there were any. */
int body_done(struct body *, struct err *);

/* Any key but the common ones and those of KEYS (NULL at the end) is a fault;
 * so is a common one of the wrong type. */
void body_check_keys(struct body *, const char *const *keys);

/* The value at KEY.  Where it is not given, or wrong (a fault then): NULL, or
 * false and the variable is left alone. */
const char *body_text(struct body *, const char *key);	/* not blank, bounded */
bool body_span(struct body *, const char *key, span *);	/* seconds, or "1h30m" */
bool body_number(struct body *, const char *key, int least, int most, int *);
const json_t *body_table(struct body *, const char *key);
const json_t *body_texts(struct body *, const char *key);	/* an array of text */

/* A number of seconds, or text, of 0 < limit <= 7 days. */
bool body_limit(struct body *, const char *key, span *);

/* The name of a queue, the caller's; NULL as above. */
char *body_queue(struct body *, const char *key);
/* Is NAME, which stands at KEY, one that a task of Celery may have? */
void body_check_task(struct body *, const char *key, const char *name);

/* "a text", "an array" ...: what JSON has, in TOML's words. */
const char *body_kind(const json_t *);

#endif
