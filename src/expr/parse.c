/* parse.c - from tokens to the tree: recursive descent, one level of precedence
 * below the other. */
#include "expr/parser.h"
#include <string.h>
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "expr/expr.h"
#include "expr/moment.h"

/* .name, .method() */
static struct node *
parse_attribute(struct parser *p)
{
	struct token name;
	struct node *n;

	if (parse_advance(p))
		return NULL;
	name = p->token;
	if (parse_expect(p, TOKEN_NAME, "the name of an attribute"))
		return NULL;
	n = parse_node(p, NODE_ATTRIBUTE, &name);
	n->name = arena_strndup(&p->expr->arena, name.text, name.n);
	if (!parse_is(p, '('))
		return n;
	for (size_t i = 0; moment_methods[i]; i++)
		if (!strcmp(n->name, moment_methods[i]))
			n->kind = NODE_METHOD;
	if (n->kind != NODE_METHOD) {
		err_at(p->err, name.line, name.column,
		    "the method '%.60s' is not part of the expression language", n->name);
		return NULL;
	}
	if (parse_advance(p))
		return NULL;
	if (!parse_is(p, ')')) {
		err_at(p->err, p->token.line, p->token.column, "%s() takes no arguments",
		    n->name);
		return NULL;
	}
	return parse_advance(p) ? NULL : n;
}

/* An atom and what is reached from it. */
static struct node *
parse_reach(struct parser *p)
{
	struct node *n = parse_atom(p), *step, **tail = NULL;

	while (n && (parse_is(p, '.') || parse_is(p, '[') || parse_is(p, '('))) {
		if (parse_is(p, '('))
			return parse_fail(p, "only the functions of the expression language "
			    "can be called");
		step = parse_is(p, '.') ? parse_attribute(p) : parse_index(p);
		if (!step)
			return NULL;
		if (!tail) {
			tail = &n->next;
			n = parse_over(p, NODE_REACH, n);
			n->begin = n->first->begin;
		}
		step->end = n->end = p->end;
		tail = parse_add(n, tail, step);
	}
	return n;
}

static struct node *parse_sign(struct parser *);

/* B, which stands after the operator at AT, joins the chain N. */
static struct node **
chain(struct node *n, struct node **tail, enum op op, const struct token *at, struct node *b)
{
	b->op = op;
	b->op_line = at->line;
	b->op_column = at->column;
	return parse_add(n, tail, b);
}

/* ** binds its right side first, and tighter than a sign to its left. */
static struct node *
parse_power(struct parser *p)
{
	struct node *a = parse_reach(p), *b, *n;
	struct token at = p->token;

	if (!a || !parse_is(p, TOKEN_POW))
		return a;
	if (parse_enter(p) || parse_advance(p) || !(b = parse_sign(p)))
		return NULL;
	parse_leave(p);
	n = parse_over(p, NODE_CHAIN, a);
	chain(n, &a->next, OP_POW, &at, b);
	return n;
}

/* -2**63 is the one int whose magnitude is none. */
static struct node *
parse_least_int(struct parser *p, const struct token *sign)
{
	struct node *n = parse_literal(p, sign, value_int(INT64_MIN));

	if (parse_advance(p))
		return NULL;
	if (parse_is(p, TOKEN_POW))
		return parse_fail(p, "integer overflow: 9223372036854775808 does not fit "
		    "64 bits");
	return n;
}

static struct node *
parse_sign(struct parser *p)
{
	struct token sign = p->token;
	struct node *a, *n;

	if (!parse_is(p, '+') && !parse_is(p, '-'))
		return parse_power(p);
	if (parse_enter(p) || parse_advance(p))
		return NULL;
	if (sign.kind == '-' && parse_is(p, TOKEN_INT) && p->token.integer > INT64_MAX)
		a = parse_least_int(p, &sign);
	else if ((a = parse_sign(p))) {
		n = parse_node(p, sign.kind == '-' ? NODE_MINUS : NODE_PLUS, &sign);
		parse_add(n, &n->first, a);
		a = n;
	}
	parse_leave(p);
	return a;
}

struct infix {
	int token;
	enum op op;
};

static const struct infix *
find_infix(const struct parser *p, const struct infix *table)
{
	for (; table->token; table++)
		if (table->token == p->token.kind)
			return table;
	return NULL;
}

static struct node *
parse_product(struct parser *p)
{
	static const struct infix table[] = { { '*', OP_MUL }, { '/', OP_DIV },
		{ TOKEN_FLOORDIV, OP_FLOORDIV }, { '%', OP_MOD }, { 0 } };
	struct node *n = parse_sign(p), *b, **tail = NULL;
	const struct infix *infix;

	while (n && (infix = find_infix(p, table))) {
		struct token at = p->token;

		if (parse_advance(p) || !(b = parse_sign(p)))
			return NULL;
		if (!tail) {
			tail = &n->next;
			n = parse_over(p, NODE_CHAIN, n);
		}
		tail = chain(n, tail, infix->op, &at, b);
	}
	return n;
}

static struct node *
parse_sum(struct parser *p)
{
	static const struct infix table[] = { { '+', OP_ADD }, { '-', OP_SUB }, { 0 } };
	struct node *n = parse_product(p), *b, **tail = NULL;
	const struct infix *infix;

	while (n && (infix = find_infix(p, table))) {
		struct token at = p->token;

		if (parse_advance(p) || !(b = parse_product(p)))
			return NULL;
		if (!tail) {
			tail = &n->next;
			n = parse_over(p, NODE_CHAIN, n);
		}
		tail = chain(n, tail, infix->op, &at, b);
	}
	return n;
}

/* 1 and past it if a comparison stands here, 0 if not, -1. */
static int
take_comparison(struct parser *p, enum op *op)
{
	static const struct infix table[] = { { TOKEN_EQ, OP_EQ }, { TOKEN_NE, OP_NE },
		{ '<', OP_LT }, { TOKEN_LE, OP_LE }, { '>', OP_GT }, { TOKEN_GE, OP_GE },
		{ TOKEN_IN, OP_IN }, { TOKEN_NOT, OP_NOT_IN }, { TOKEN_IS, OP_IS }, { 0 } };
	const struct infix *infix = find_infix(p, table);

	if (!infix)
		return 0;
	*op = infix->op;
	if (parse_advance(p))
		return -1;
	if (*op == OP_NOT_IN)
		return parse_expect(p, TOKEN_IN, "'in'") ? -1 : 1;
	if (*op == OP_IS && parse_is(p, TOKEN_NOT)) {
		*op = OP_IS_NOT;
		return parse_advance(p) ? -1 : 1;
	}
	return 1;
}

static bool
is_singleton(const struct node *n)
{
	return n->kind == NODE_LITERAL &&
	    (n->literal.type == VALUE_NONE || n->literal.type == VALUE_BOOL);
}

static struct node *
parse_comparison(struct parser *p)
{
	struct node *n = parse_sum(p), *a = n, *b, **tail = NULL;
	struct token at = p->token;
	enum op op;
	int rc;

	while (n && (rc = take_comparison(p, &op))) {
		if (rc < 0 || !(b = parse_sum(p)))
			return NULL;
		if ((op == OP_IS || op == OP_IS_NOT) && !is_singleton(a) && !is_singleton(b)) {
			err_at(p->err, at.line, at.column, "'%s' compares with None, True "
			    "or False only; use '%s'", op_text(op), op == OP_IS ? "==" : "!=");
			return NULL;
		}
		if (!tail) {
			tail = &n->next;
			n = parse_over(p, NODE_COMPARE, n);
		}
		tail = chain(n, tail, op, &at, b);
		a = b;
		at = p->token;
	}
	return n;
}

static struct node *
parse_not(struct parser *p)
{
	struct token at = p->token;
	struct node *n, *a;

	if (!parse_is(p, TOKEN_NOT))
		return parse_comparison(p);
	if (parse_enter(p) || parse_advance(p) || !(a = parse_not(p)))
		return NULL;
	parse_leave(p);
	n = parse_node(p, NODE_NOT, &at);
	parse_add(n, &n->first, a);
	return n;
}

static struct node *
parse_and(struct parser *p)
{
	struct node *n = parse_not(p), *b, **tail = NULL;

	while (n && parse_is(p, TOKEN_AND)) {
		if (parse_advance(p) || !(b = parse_not(p)))
			return NULL;
		if (!tail) {
			tail = &n->next;
			n = parse_over(p, NODE_AND, n);
		}
		tail = parse_add(n, tail, b);
	}
	return n;
}

static struct node *
parse_or(struct parser *p)
{
	struct node *n = parse_and(p), *b, **tail = NULL;

	while (n && parse_is(p, TOKEN_OR)) {
		if (parse_advance(p) || !(b = parse_and(p)))
			return NULL;
		if (!tail) {
			tail = &n->next;
			n = parse_over(p, NODE_OR, n);
		}
		tail = parse_add(n, tail, b);
	}
	return n;
}

struct node *
parse_condition(struct parser *p)
{
	struct node *then = parse_or(p), *test, *otherwise, *n;

	if (!then || !parse_is(p, TOKEN_IF))
		return then;
	if (parse_enter(p) || parse_advance(p) || !(test = parse_or(p)) ||
	    parse_expect(p, TOKEN_ELSE, "'else'") || !(otherwise = parse_condition(p)))
		return NULL;
	parse_leave(p);
	n = parse_over(p, NODE_IF, then);
	n->first = test;
	n->n = 0;
	parse_add(n, parse_add(n, parse_add(n, &n->first, test), then), otherwise);
	return n;
}

/* Commas without parentheses make a tuple, too. */
static struct node *
parse_whole(struct parser *p)
{
	struct node *n = parse_condition(p), *item, **tail;

	if (n && parse_is(p, ',')) {
		tail = &n->next;
		n = parse_over(p, NODE_TUPLE, n);
		while (parse_is(p, ',')) {
			if (parse_advance(p))
				return NULL;
			if (parse_is(p, TOKEN_END))
				break;
			if (!(item = parse_condition(p)))
				return NULL;
			tail = parse_add(n, tail, item);
		}
	}
	if (n && !parse_is(p, TOKEN_END))
		return parse_unexpected(p, "an operator or the end");
	return n;
}

static int
check_text(const char *text, size_t len, struct err *err)
{
	if (len > EXPR_MAX_TEXT)
		return err_at(err, 1, 1, "the expression is longer than %d bytes",
		    EXPR_MAX_TEXT);
	if (!str_is_utf8(text, len))
		return err_at(err, 1, 1, "the expression is not valid UTF-8");
	if (memchr(text, '\0', len))
		return err_at(err, 1, 1, "the expression has a NUL character in it");
	return 0;
}

struct expr *
expr_parse(const char *text, size_t len, struct err *err)
{
	struct parser p = { .err = err };
	char *copy;

	if (check_text(text, len, err))
		return NULL;
	p.expr = xcalloc(1, sizeof *p.expr);
	copy = arena_strndup(&p.expr->arena, text, len);
	lex_init(&p.lexer, copy, len, &p.expr->arena, err);
	if (parse_advance(&p) || !(p.expr->root = parse_whole(&p))) {
		expr_free(p.expr);
		return NULL;
	}
	return p.expr;
}

void
expr_free(struct expr *e)
{
	if (!e)
		return;
	vec_done(&e->names);
	vec_done(&e->places);
	arena_done(&e->arena);
	free(e);
}

size_t
expr_names(const struct expr *e, const char *const **names)
{
	*names = e->names.at;
	return e->names.n;
}

void
expr_name_at(const struct expr *e, size_t i, int *line, int *column)
{
	*line = e->places.at[i].line;
	*column = e->places.at[i].column;
}
