/* One setting: how its text is read into a field, checked, and shown again.
 *
 * A setting describes a field of some struct, its owner; base/conf_table.c
 * has the table of those that tocsin has. */
#ifndef BASE_SETTING_H
#define BASE_SETTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

enum setting_type {		/* the field: */
	SETTING_TEXT,		/* char *; never NULL once it was read */
	SETTING_ADDRESS,	/* char *: of a server, perhaps with a password */
	SETTING_PATH,		/* char *: absolute */
	SETTING_LIST,		/* struct setting_list: of names */
	SETTING_CHOICE,		/* int: an index into choices */
	SETTING_SWITCH,		/* bool: "true" or "false" */
	SETTING_INTEGER,	/* int64_t */
	SETTING_SIZE,		/* int64_t: bytes; "4MiB" */
	SETTING_SPAN,		/* span; "90s" */
};

struct setting_list {
	char *text;		/* "sql,shell"; "" when it is empty */
	char **at;		/* the same in pieces, NULL at the end */
};

struct setting {
	const char *name;
	size_t offset;			/* of the field in its owner */
	enum setting_type type;
	const char *standard;		/* the default, as text */
	int64_t least, most;		/* microseconds, bytes; of a text its length */
	const char *const *choices;	/* NULL at the end */
	const char *help;		/* a sentence */
};

/* -1 with ERR: the field is as it was.  Errors never repeat an address. */
int setting_read(const struct setting *, void *owner, const char *text, struct err *);
/* The value as text, passwords as "***"; the caller frees. */
char *setting_show(const struct setting *, const void *owner);
char *setting_write(const struct setting *, const void *owner);	/* the same, passwords too */
bool setting_is_same(const struct setting *, const void *owner, const void *other);
void setting_swap(const struct setting *, void *owner, void *other);
void setting_free(const struct setting *, void *owner);		/* what the field holds */

#endif
