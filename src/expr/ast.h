/* A parsed expression: a tree of nodes, all in one arena, never changed after.
 *
 * What chains in the text is one node with many children (a + b - c; a and b
 * and c; a < b < c; a.b[c].d), so the tree is never deeper than the nesting of
 * the text, and whatever walks it may recurse. */
#ifndef EXPR_AST_H
#define EXPR_AST_H

#include "base/arena.h"
#include "base/vec.h"
#include "expr/op.h"
#include "expr/value.h"

struct func;

enum node_kind {
	NODE_LITERAL,		/* literal */
	NODE_NAME,		/* name */
	NODE_NOW,
	NODE_LIST, NODE_TUPLE,	/* the elements */
	NODE_DICT,		/* key, value, key, value ... */
	NODE_OR, NODE_AND,	/* two operands or more */
	NODE_NOT,
	NODE_COMPARE,		/* two operands or more, op before each but the first */
	NODE_CHAIN,		/* + - or * / // % or **, likewise */
	NODE_PLUS, NODE_MINUS,
	NODE_IF,		/* the test, then, else */
	NODE_CALL,		/* func; the arguments */
	NODE_REACH,		/* an operand, then what is reached from it, one by one: */
	NODE_INDEX,		/* [the child] */
	NODE_SLICE,		/* [three children] */
	NODE_ATTRIBUTE,		/* .name */
	NODE_METHOD,		/* .name() */
};

struct node {
	enum node_kind kind;
	enum op op;			/* before this operand of a chain */
	int line, column;
	int op_line, op_column;
	struct node *first, *next;	/* child, sibling */
	size_t n;			/* children */
	size_t slot, slots;		/* of an argument; of a call */
	const char *begin, *end;	/* in the text: of names; of what is reached */
	union {
		struct value literal;
		const char *name;
		const struct func *func;
	};
};

struct place {
	int line, column;
};

struct expr {
	struct arena arena;		/* the text, too */
	struct node *root;
	VEC(const char *) names;	/* free ones, each once, by first place */
	VEC(struct place) places;
};

#endif
