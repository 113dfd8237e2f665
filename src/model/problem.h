/* The lines that `tocsin check` prints: "file:line:column: message". */
#ifndef MODEL_PROBLEM_H
#define MODEL_PROBLEM_H

#include "base/str.h"

#define PROBLEM_MOST 100	/* what comes after is counted and not shown */

struct problems {
	struct str *out;	/* NULL: only counted */
	int n;
};

/* One more.  LINE 0: the whole file.  Whatever is in the texts, it stays one
 * line. */
void problem_add(struct problems *, const char *file, int line, int column,
    const char *format, ...) __attribute__((format(printf, 5, 6)));
/* Say how many were left out; -1 if there was any at all. */
int problem_end(struct problems *);

#endif
