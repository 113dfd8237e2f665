/* mem.c - allocation that succeeds or ends the process.
 *
 * Nothing is cleaned up on the way out: what is open is closed by the kernel,
 * and a transaction that was under way is rolled back by the server. */
#include "base/mem.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void
mem_end(void)
{
	static const char message[] = "tocsin: out of memory\n";

	(void)!write(2, message, sizeof message - 1);
	_exit(75);
}

static void *
check(void *p)
{
	if (!p)
		mem_end();
	return p;
}

void *
xmalloc(size_t n)
{
	return check(malloc(n ? n : 1));
}

void *
xcalloc(size_t n, size_t size)
{
	return check(calloc(n ? n : 1, size ? size : 1));
}

void *
xrealloc(void *p, size_t n)
{
	return check(realloc(p, n ? n : 1));
}

void *
xreallocarray(void *p, size_t n, size_t size)
{
	return check(reallocarray(p, n ? n : 1, size ? size : 1));
}

char *
xstrdup(const char *s)
{
	return s ? check(strdup(s)) : NULL;
}

char *
xstrndup(const char *s, size_t n)
{
	return check(strndup(s, n));
}

char *
xasprintf(const char *format, ...)
{
	va_list ap;
	char *s;

	va_start(ap, format);
	if (vasprintf(&s, format, ap) < 0)
		s = NULL;
	va_end(ap);
	return check(s);
}
