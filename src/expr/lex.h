/* Expression text as tokens, one at a time.
 *
 * A lexer may be copied to look ahead and put back. */
#ifndef EXPR_LEX_H
#define EXPR_LEX_H

#include <stddef.h>
#include <stdint.h>

struct arena;
struct err;

/* A token of one character is that character. */
enum token_kind {
	TOKEN_END = 256, TOKEN_NAME, TOKEN_KEYWORD, TOKEN_INT, TOKEN_FLOAT, TOKEN_STR,
	TOKEN_POW, TOKEN_FLOORDIV, TOKEN_EQ, TOKEN_NE, TOKEN_LE, TOKEN_GE,
	TOKEN_AND, TOKEN_OR, TOKEN_NOT, TOKEN_IN, TOKEN_IS, TOKEN_IF, TOKEN_ELSE,
	TOKEN_TRUE, TOKEN_FALSE, TOKEN_NONE,
};

struct token {
	int kind;
	int line, column;
	const char *text;	/* in the source; of a str, its value */
	size_t n;
	union {
		uint64_t integer;	/* the magnitude: up to 2**63 */
		double real;
	};
};

struct lexer {
	const char *at, *end;
	int line, column;
	struct arena *arena;	/* for the values of strings */
	struct err *err;
};

void lex_init(struct lexer *, const char *text, size_t n, struct arena *, struct err *);
int lex_next(struct lexer *, struct token *);

#endif
