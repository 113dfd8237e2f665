/* call.c - what stands behind a name: (arguments), and [an index]. */
#include "expr/parser.h"
#include <string.h>
#include "base/err.h"
#include "base/str.h"
#include "expr/expr.h"
#include "expr/func.h"

/* "NAME =" begins a keyword argument. */
static bool
at_keyword(const struct parser *p)
{
	struct lexer ahead = p->lexer;
	struct err ignored;
	struct token next;

	ahead.err = &ignored;
	return parse_is(p, TOKEN_NAME) && !lex_next(&ahead, &next) && next.kind == '=';
}

static struct node *
parse_keyword(struct parser *p, struct node *call, struct node *const *args)
{
	struct token name = p->token;
	int shown = (int)(name.n > 60 ? 60 : name.n);
	int slot = func_keyword(call->func, name.text, name.n);
	struct node *value;

	if (slot < 0) {
		err_at(p->err, name.line, name.column, "%s() has no argument '%.*s' here",
		    call->func->name, shown, name.text);
		return NULL;
	}
	if (call->func->variadic)
		slot = (int)call->slots;
	for (const struct node *a = *args; a; a = a->next)
		if (a->slot == (size_t)slot) {
			err_at(p->err, name.line, name.column,
			    "%s() got the argument '%.*s' twice", call->func->name,
			    shown, name.text);
			return NULL;
		}
	if (parse_advance(p) || parse_advance(p) || !(value = parse_condition(p)))
		return NULL;
	value->slot = (size_t)slot;
	return value;
}

/* By position first, then by keyword.  call->slots counts the former. */
static int
parse_arguments(struct parser *p, struct node *call)
{
	struct node **tail = &call->first, *arg;
	bool keywords = false;

	while (!parse_is(p, ')')) {
		if (parse_is(p, '*') || parse_is(p, TOKEN_POW)) {
			parse_fail(p, "a star argument is not part of the expression language");
			return -1;
		}
		if (at_keyword(p)) {
			keywords = true;
			arg = parse_keyword(p, call, &call->first);
		} else if (keywords) {
			parse_fail(p, "an argument by position follows one by keyword");
			return -1;
		} else if ((arg = parse_condition(p)))
			arg->slot = call->slots++;
		if (!arg)
			return -1;
		tail = parse_add(call, tail, arg);
		if (parse_is(p, ',') ? parse_advance(p) : !parse_is(p, ')')) {
			if (!parse_is(p, ','))
				parse_unexpected(p, "',' or ')'");
			return -1;
		}
	}
	return 0;
}

static int
check_arguments(struct parser *p, struct node *call)
{
	const struct func *f = call->func;

	if (call->slots < f->least)
		return err_at(p->err, call->line, call->column,
		    "%s() takes at least %zu argument%s, not %zu", f->name, f->least,
		    f->least == 1 ? "" : "s", call->slots);
	if (!f->variadic && call->slots > f->most)
		return err_at(p->err, call->line, call->column,
		    "%s() takes at most %zu argument%s, not %zu", f->name, f->most,
		    f->most == 1 ? "" : "s", call->slots);
	call->slots = f->variadic ? call->slots + 1 : FUNC_PARAMS;
	return 0;
}

struct node *
parse_call(struct parser *p, const struct token *name)
{
	struct node *call = parse_node(p, NODE_CALL, name);
	const char *const *names, *near;
	size_t n = func_names(&names);

	call->func = func_find(name->text, name->n);
	if (!call->func) {
		const char *text = arena_strndup(&p->expr->arena, name->text, name->n);

		if (!strcmp(text, "now"))
			return parse_fail(p, "'now' is a value, not a function");
		near = str_nearest(text, names, n);
		err_at(p->err, name->line, name->column, near ?
		    "unknown function '%.60s'; did you mean '%s'?" :
		    "unknown function '%.60s'%s", text, near ? near : "");
		return NULL;
	}
	if (parse_enter(p) || parse_advance(p) || parse_arguments(p, call) || check_arguments(p, call))
		return NULL;
	parse_leave(p);
	return parse_advance(p) ? NULL : call;
}

/* One part of [a:b:c], None where nothing is written. */
static struct node *
parse_bound(struct parser *p)
{
	if (parse_is(p, ':') || parse_is(p, ']'))
		return parse_literal(p, &p->token, value_none());
	return parse_condition(p);
}

static struct node *
parse_slice(struct parser *p, struct node *from)
{
	struct node *slice = parse_over(p, NODE_SLICE, from), **tail = &from->next, *bound;

	for (int i = 0; i < 2; i++) {
		if (parse_is(p, ':'))
			bound = parse_advance(p) ? NULL : parse_bound(p);
		else
			bound = parse_literal(p, &p->token, value_none());
		if (!bound)
			return NULL;
		tail = parse_add(slice, tail, bound);
	}
	return slice;
}

struct node *
parse_index(struct parser *p)
{
	struct token open = p->token;
	struct node *inner, *n, **tail, *item;

	if (parse_enter(p) || parse_advance(p))
		return NULL;
	if (parse_is(p, ']'))
		return parse_unexpected(p, "an index");
	if (!(inner = parse_bound(p)))
		return NULL;
	if (parse_is(p, ':'))
		n = parse_slice(p, inner);
	else if (parse_is(p, ',')) {
		inner = parse_over(p, NODE_TUPLE, inner);
		tail = &inner->first->next;
		while (parse_is(p, ',')) {
			if (parse_advance(p))
				return NULL;
			if (parse_is(p, ']'))
				break;
			if (!(item = parse_condition(p)))
				return NULL;
			tail = parse_add(inner, tail, item);
		}
		n = parse_over(p, NODE_INDEX, inner);
	} else
		n = parse_over(p, NODE_INDEX, inner);
	if (!n || parse_expect(p, ']', "']'"))
		return NULL;
	n->line = open.line;
	n->column = open.column;
	parse_leave(p);
	return n;
}
