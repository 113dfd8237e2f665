/* array.c - "{1,2,NULL}" and "{\"a\",\"b\"}". */
#include "store/array.h"
#include <string.h>

/* The text stands open, without its last brace, until somebody asks for it. */
static void
next(struct array *a)
{
	if (a->text.len && a->text.text[a->text.len - 1] == '}')
		a->text.len--;
	str_putc(&a->text, a->text.len ? ',' : '{');
}

void
array_text(struct array *a, const char *s)
{
	next(a);
	if (!s) {
		str_puts(&a->text, "NULL");
		return;
	}
	str_putc(&a->text, '"');
	for (size_t n; *s; s += n) {
		n = strcspn(s, "\"\\");
		str_add(&a->text, s, n);
		if (s[n]) {
			str_putc(&a->text, '\\');
			str_putc(&a->text, s[n++]);
		}
	}
	str_putc(&a->text, '"');
}

void
array_int(struct array *a, int64_t n)
{
	char digits[24], *at = digits + sizeof digits;
	uint64_t left = n < 0 ? -(uint64_t)n : (uint64_t)n;

	next(a);
	do
		*--at = (char)('0' + left % 10);
	while (left /= 10);
	if (n < 0)
		*--at = '-';
	str_add(&a->text, at, (size_t)(digits + sizeof digits - at));
}

void
array_bool(struct array *a, int b)
{
	next(a);
	str_puts(&a->text, b < 0 ? "NULL" : b ? "t" : "f");
}

const char *
array_literal(struct array *a)
{
	if (!a->text.len)
		return "{}";
	if (a->text.text[a->text.len - 1] != '}')
		str_putc(&a->text, '}');
	return str_text(&a->text);
}

void
array_clear(struct array *a)
{
	str_clear(&a->text);
}

void
array_done(struct array *a)
{
	str_done(&a->text);
}
