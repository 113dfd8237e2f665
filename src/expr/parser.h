/* What the files of the parser share: one token of the text, and the tree that
 * grows.
 *
 * Every function that makes a node returns NULL with the error filled in when
 * it cannot.  Depth is counted where the text nests: brackets, signs, "not",
 * the right side of "**" and of "else". */
#ifndef EXPR_PARSER_H
#define EXPR_PARSER_H

#include <stdbool.h>
#include "expr/ast.h"
#include "expr/lex.h"

#define PARSE_BUCKETS 256

struct known;

struct parser {
	struct lexer lexer;
	struct token token;		/* the one that is looked at */
	const char *end;		/* of the one before it, in the text */
	struct expr *expr;
	struct err *err;
	int depth;
	struct known *buckets[PARSE_BUCKETS];	/* the free names so far */
};

bool parse_is(const struct parser *, int kind);
int parse_advance(struct parser *);
int parse_expect(struct parser *, int kind, const char *wanted);	/* and advance */
int parse_enter(struct parser *);
void parse_leave(struct parser *);

/* Both return NULL.  The token is not what can stand here, but WANTED is. */
void *parse_fail(struct parser *, const char *message);
void *parse_unexpected(struct parser *, const char *wanted);

/* A node at a token; the parent of FIRST, which begins where FIRST does. */
struct node *parse_node(struct parser *, enum node_kind, const struct token *at);
struct node *parse_over(struct parser *, enum node_kind, struct node *first);
struct node *parse_literal(struct parser *, const struct token *, struct value);

/* TAIL is where the next child's address goes; the one after it comes back. */
struct node **parse_add(struct node *parent, struct node **tail, struct node *child);

/* From the widest to the narrowest. */
struct node *parse_condition(struct parser *);		/* a if b else c */
struct node *parse_atom(struct parser *);		/* names, literals, (...) */
struct node *parse_call(struct parser *, const struct token *name);	/* at "(" */
struct node *parse_index(struct parser *);		/* at "[" */

#endif
