/* The value of a string literal. */
#ifndef EXPR_STRING_H
#define EXPR_STRING_H

#include <stdbool.h>
#include <stddef.h>

struct arena;
struct err;
struct token;

/* The N bytes between the quotes, their escapes undone unless RAW, become
 * T->text and T->n.  Errors stand at T's position. */
int string_read(struct arena *, const char *text, size_t n, bool raw, struct token *t,
    struct err *);

#endif
