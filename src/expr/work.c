/* work.c - the bounds of one evaluation. */
#include "expr/work.h"
#include <stdarg.h>
#include <stdio.h>
#include "base/err.h"
#include "expr/expr.h"

#define BYTES_A_STEP 16

void
work_init(struct work *w, const struct expr_scope *scope, struct err *err)
{
	w->scope = scope;
	w->err = err;
	arena_init(&w->arena, w->first, sizeof w->first);
	w->left = EXPR_MAX_WORK;
	w->depth = 0;
	w->line = w->column = 0;
	w->exhausted = w->blamed = false;
}

void
work_done(struct work *w)
{
	arena_done(&w->arena);
}

int
work_fail(struct work *w, const char *format, ...)
{
	char message[sizeof w->err->message];
	va_list ap;

	va_start(ap, format);
	vsnprintf(message, sizeof message, format, ap);
	va_end(ap);
	return err_at(w->err, w->line, w->column, "%s", message);
}

int
work_spend(struct work *w, size_t n)
{
	if (n <= (size_t)w->left) {
		w->left -= (long)n;
		return 0;
	}
	w->left = 0;
	w->exhausted = true;
	return work_fail(w, "this takes more than %d steps of work", EXPR_MAX_WORK);
}

int
work_spend_bytes(struct work *w, size_t n)
{
	return work_spend(w, n / BYTES_A_STEP);
}

int
work_size(struct work *w, size_t n)
{
	if (n <= EXPR_MAX_SIZE)
		return 0;
	w->exhausted = true;
	return work_fail(w, "a value larger than %d bytes or elements", EXPR_MAX_SIZE);
}

int
work_enter(struct work *w)
{
	if (++w->depth <= EXPR_MAX_DEPTH)
		return 0;
	w->exhausted = true;
	return work_fail(w, "a value nested deeper than %d levels", EXPR_MAX_DEPTH);
}

void
work_leave(struct work *w)
{
	w->depth--;
}

void *
work_alloc(struct work *w, size_t n, size_t size)
{
	if (work_size(w, n) || work_spend(w, n))
		return NULL;
	return arena_alloc(&w->arena, n * size);
}

char *
work_text(struct work *w, size_t n)
{
	char *text;

	if (work_size(w, n) || work_spend_bytes(w, n))
		return NULL;
	text = arena_alloc(&w->arena, n + 1);
	text[n] = '\0';
	return text;
}
