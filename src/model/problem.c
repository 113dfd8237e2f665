/* problem.c - what is wrong, a line each, as compilers print it. */
#include "model/problem.h"
#include <stdarg.h>

void
problem_add(struct problems *p, const char *file, int line, int column,
    const char *format, ...)
{
	struct str message = STR_INIT;
	va_list ap;

	if (++p->n > PROBLEM_MOST || !p->out)
		return;
	va_start(ap, format);
	str_vprintf(&message, format, ap);
	va_end(ap);
	str_visible(p->out, file);
	if (line > 0)
		str_printf(p->out, ":%d:%d", line, column);
	str_puts(p->out, ": ");
	str_visible(p->out, str_text(&message));
	str_putc(p->out, '\n');
	str_done(&message);
}

int
problem_end(struct problems *p)
{
	if (p->n > PROBLEM_MOST && p->out)
		str_printf(p->out, "... and %d more\n", p->n - PROBLEM_MOST);
	return p->n > 0 ? -1 : 0;
}
