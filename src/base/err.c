/* err.c - one message on its way to the person who can act on it. */
#include "base/err.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 5, 0)))
static int
fill(struct err *err, enum err_class class, int line, int column,
    const char *format, va_list ap)
{
	err->class = class;
	err->line = line;
	err->column = column;
	vsnprintf(err->message, sizeof err->message, format, ap);
	return -1;
}

int
err_set(struct err *err, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fill(err, ERR_GIVEN, 0, 0, format, ap);
	va_end(ap);
	return -1;
}

int
err_class(struct err *err, enum err_class class, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fill(err, class, 0, 0, format, ap);
	va_end(ap);
	return -1;
}

int
err_at(struct err *err, int line, int column, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fill(err, ERR_GIVEN, line, column, format, ap);
	va_end(ap);
	return -1;
}

int
err_wrap(struct err *err, const char *format, ...)
{
	char old[sizeof err->message];
	size_t n;
	va_list ap;

	memcpy(old, err->message, sizeof old);
	va_start(ap, format);
	vsnprintf(err->message, sizeof err->message, format, ap);
	va_end(ap);
	n = strlen(err->message);
	snprintf(err->message + n, sizeof err->message - n, ": %s", old);
	return -1;
}
