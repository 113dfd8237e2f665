/* What people see: colours, tables, progress.
 *
 * On a terminal there are colours (unless NO_COLOR is set) and lines end at its
 * width; in a pipe or a file there are neither, so that what is written can be
 * read by programs.  Whatever texts hold, no control character gets through. */
#ifndef BASE_TERM_H
#define BASE_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum term_style { TERM_PLAIN, TERM_BOLD, TERM_DIM, TERM_RED, TERM_GREEN, TERM_YELLOW };

bool term_is_terminal(FILE *);
bool term_has_colour(FILE *);		/* a terminal, not dumb, no NO_COLOR */
int term_width(FILE *);			/* in columns; 0: no terminal, no limit */

/* Write TEXT, made visible, in STYLE. */
void term_put(FILE *, enum term_style, const char *text);

/* A table: cells are given row by row, columns are as wide as they must be (a
 * character counts as one column).  On a terminal the last column is cut at its
 * edge.  Texts are copied; NULL is an empty cell. */
struct table *table_new(const char *const *heads);	/* NULL at the end */
void table_free(struct table *);			/* NULL is fine */
void table_right(struct table *, size_t column);	/* numbers stand to the right */
void table_cell(struct table *, enum term_style, const char *text);
void table_print(const struct table *, FILE *);

/* How far something is: a bar that is drawn over itself on a terminal, elsewhere
 * a plain line now and then (at each tenth, or after ten seconds). */
struct progress *progress_new(FILE *, const char *what);
void progress_update(struct progress *, size_t done, size_t total, const char *note);
void progress_end(struct progress *);	/* leaves the last line standing; frees; NULL is fine */

#endif
