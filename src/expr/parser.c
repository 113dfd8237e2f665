/* parser.c - the parser's own tools: its token, its depth, its complaints, and
 * new nodes. */
#include "expr/parser.h"
#include <string.h>
#include "base/err.h"
#include "expr/expr.h"

int
parse_advance(struct parser *p)
{
	p->end = p->lexer.at;
	return lex_next(&p->lexer, &p->token);
}

bool
parse_is(const struct parser *p, int kind)
{
	return p->token.kind == kind;
}

void *
parse_fail(struct parser *p, const char *message)
{
	err_at(p->err, p->token.line, p->token.column, "%s", message);
	return NULL;
}

/* The token that stands here is not what can stand here. */
void *
parse_unexpected(struct parser *p, const char *wanted)
{
	const struct token *t = &p->token;
	int n = (int)(t->n > 40 ? 40 : t->n);

	if (t->kind == TOKEN_END)
		err_at(p->err, t->line, t->column, "the expression ends where %s is expected",
		    wanted);
	else if (t->kind == '=')
		err_at(p->err, t->line, t->column, "'=' is not part of the expression "
		    "language here; equality is '=='");
	else if (t->kind == TOKEN_KEYWORD && !strncmp(t->text, "for", t->n))
		err_at(p->err, t->line, t->column,
		    "a comprehension is not part of the expression language");
	else if (t->kind == TOKEN_KEYWORD)
		err_at(p->err, t->line, t->column,
		    "'%.*s' is not part of the expression language", n, t->text);
	else if (t->kind == TOKEN_STR)
		err_at(p->err, t->line, t->column, "a string where %s is expected", wanted);
	else
		err_at(p->err, t->line, t->column, "'%.*s' where %s is expected", n,
		    t->text, wanted);
	return NULL;
}

int
parse_expect(struct parser *p, int kind, const char *wanted)
{
	if (parse_is(p, kind))
		return parse_advance(p);
	parse_unexpected(p, wanted);
	return -1;
}

int
parse_enter(struct parser *p)
{
	if (++p->depth <= EXPR_MAX_DEPTH)
		return 0;
	return err_at(p->err, p->token.line, p->token.column,
	    "nested deeper than %d levels", EXPR_MAX_DEPTH);
}

void
parse_leave(struct parser *p)
{
	p->depth--;
}

struct node *
parse_node(struct parser *p, enum node_kind kind, const struct token *at)
{
	struct node *n = arena_alloc(&p->expr->arena, sizeof *n);

	*n = (struct node){ .kind = kind, .line = at->line, .column = at->column };
	return n;
}

/* A parent of FIRST, which begins where FIRST does. */
struct node *
parse_over(struct parser *p, enum node_kind kind, struct node *first)
{
	struct node *n = arena_alloc(&p->expr->arena, sizeof *n);

	*n = (struct node){ .kind = kind, .line = first->line,
	    .column = first->column, .first = first, .n = 1 };
	return n;
}

/* TAIL is where the next child's address goes. */
struct node **
parse_add(struct node *parent, struct node **tail, struct node *child)
{
	*tail = child;
	parent->n++;
	return &child->next;
}

struct node *
parse_literal(struct parser *p, const struct token *t, struct value v)
{
	struct node *n = parse_node(p, NODE_LITERAL, t);

	n->literal = v;
	return n;
}
