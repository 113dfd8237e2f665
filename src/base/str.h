/* A growing string.
 *
 * Invariants: s->text always ends in NUL (an empty one points at a constant);
 * s->len does not count it; bytes may be anything.  STR_INIT or zeroed memory
 * is an empty string. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct str {
	char *text;		/* read it through str_text() */
	size_t len, room;
};

#define STR_INIT { 0, 0, 0 }

void str_done(struct str *);
void str_clear(struct str *);			/* empty, keeping the memory */
const char *str_text(const struct str *);	/* lends; never NULL */
char *str_take(struct str *);			/* the caller frees; S is empty after */

void str_grow(struct str *, size_t more);	/* room for MORE bytes and the NUL */
void str_add(struct str *, const void *, size_t);
void str_puts(struct str *, const char *);
void str_putc(struct str *, char);
void str_printf(struct str *, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void str_vprintf(struct str *, const char *format, va_list)
	__attribute__((format(printf, 2, 0)));

/* Where NAME is one of N candidates but for a slip or two of the fingers, that
 * candidate, else NULL: "did you mean ...?" */
const char *str_nearest(const char *name, const char *const *candidates, size_t n);

/* Is S valid UTF-8 (no surrogates, no overlong forms)? */
bool str_is_utf8(const char *s, size_t len);
/* The bytes of the character that S begins with; 0 if it is no UTF-8, or LEN is. */
size_t str_char(const char *s, size_t len);

/* Add TEXT so that it stays on its line and a terminal shows it and obeys
 * nothing: control characters (ESC, DEL and C1 too) and bytes that are no UTF-8
 * become \n, \r, \t or \xNN; what ends or turns a line in Unicode (U+2028, U+202E
 * and their like) \uNNNN.  Everything else is as it was. */
void str_visible(struct str *, const char *text);
/* TEXT as valid UTF-8 of at most MOST bytes: what is no character becomes
 * U+FFFD.  The caller frees. */
char *str_clean(const char *text, size_t most);

/* TEXT is visible already, so valid UTF-8, and every character counts as one
 * column.  str_clip() adds what fits into COLUMNS, with an ellipsis for the rest. */
size_t str_width(const char *text);
void str_clip(struct str *, const char *text, size_t columns);

#endif
