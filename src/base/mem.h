/* Memory that is always there: running out of it ends the process (the books
 * and the broker are built for that), so nobody checks for NULL. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

void *xmalloc(size_t);
void *xcalloc(size_t n, size_t size);		/* zeroed; the product is checked */
void *xrealloc(void *, size_t);
void *xreallocarray(void *, size_t n, size_t size);
char *xstrdup(const char *);			/* NULL gives NULL */
char *xstrndup(const char *, size_t);
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Where an allocation of a library has failed: say so, and leave with 75. */
void mem_end(void) __attribute__((noreturn));

#endif
