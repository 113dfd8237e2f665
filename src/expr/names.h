/* The words of the language: which are taken, and which come near. */
#ifndef EXPR_NAMES_H
#define EXPR_NAMES_H

#include <stddef.h>

/* The token of a word: TOKEN_NAME, TOKEN_KEYWORD for what Python reserves and
 * we do not have, or its own. */
int names_keyword(const char *text, size_t n);

#endif
