/* Values of the expression language.
 *
 * A value is small and passed by copy; what it points to is immutable and
 * belongs to the evaluation's arena, to the parsed expression (literals), or
 * to the scope's JSON, which outlives the evaluation.  Containers that come
 * from JSON stay JSON: an element becomes a value when it is asked for, so
 * that len() of a large list copies nothing.
 *
 * What walks into containers counts its steps and its depth (see work.h). */
#ifndef EXPR_VALUE_H
#define EXPR_VALUE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct str;
struct work;

#define VALUE_TYPES(X) \
	X(NONE, "NoneType") \
	X(BOOL, "bool") \
	X(INT, "int") \
	X(FLOAT, "float") \
	X(STR, "str") \
	X(LIST, "list") \
	X(TUPLE, "tuple") \
	X(DICT, "dict") \
	X(DATETIME, "datetime.datetime") \
	X(DATE, "datetime.date") \
	X(TIMEDELTA, "datetime.timedelta") \
	X(ABSENT, "nothing")	/* an argument that was not given */

enum value_type {
#define X(type, name) VALUE_##type,
	VALUE_TYPES(X)
#undef X
};

struct value {
	enum value_type type;
	bool is_json;			/* list, dict: see json */
	size_t n;			/* str: bytes; list, tuple: elements; dict: keys */
	union {
		int64_t i;		/* bool: 0 or 1; datetime, date: the instant;
					 * timedelta: the span */
		double f;
		const char *text;	/* UTF-8 of N bytes, and a NUL */
		const struct value *items;	/* dict: key, value, key, value ... */
		const json_t *json;
	};
};

struct value value_none(void);
struct value value_bool(bool);
struct value value_int(int64_t);
struct value value_float(double);
struct value value_text(const char *, size_t);		/* lent */
struct value value_items(enum value_type, const struct value *, size_t);

const char *value_type_name(const struct value *);	/* Python's */
bool value_is_number(const struct value *);		/* bool, int, float */
bool value_is_integer(const struct value *);		/* bool, int */
bool value_truth(const struct value *);			/* Python's bool() */

/* From JSON, lent; to JSON, a new reference, NULL on error. */
int value_from_json(struct work *, const json_t *, struct value *);
json_t *value_to_json(struct work *, const struct value *);

/* Element I of a list or a tuple; it is there. */
int value_item(struct work *, const struct value *, size_t i, struct value *);

/* In a dict: 1 found, 0 not, -1 (the key is unhashable). */
int value_find(struct work *, const struct value *dict, const struct value *key,
    struct value *);
int value_check_key(struct work *, const struct value *);

/* The characters of a str of N bytes; the byte where character I begins. */
size_t value_chars(const char *, size_t n);
size_t value_char_at(const char *, size_t n, size_t i);

/* Python's iteration: elements, characters, keys.  1, 0 at the end, -1. */
struct value_iter {
	struct value of;
	size_t i;
	void *place;
};
int value_iter_start(struct work *, const struct value *, struct value_iter *);
int value_iter_next(struct work *, struct value_iter *, struct value *);
int value_iter_item(struct work *, const struct value_iter *, struct value *);
				/* of a dict, what the key just seen leads to */

/* Python's repr() and str(), appended. */
int value_repr(struct work *, const struct value *, struct str *);
int value_str(struct work *, const struct value *, struct str *);

/* Fails with "MESSAGE: " and the repr(), which is safe to print and cut short
 * where it is long.  Always -1. */
int value_fail(struct work *, const char *message, const struct value *);

#endif
