/* atom.c - the smallest things in an expression: literals, names, brackets. */
#include "expr/parser.h"
#include <string.h>
#include "base/err.h"
#include "base/str.h"
#include "expr/expr.h"
#include "expr/func.h"

struct known {
	const char *text;
	struct known *next;
};

/* The one copy of a free name. */
static const char *
intern(struct parser *p, const struct token *t)
{
	struct known *k;
	unsigned hash = 5381;

	for (size_t i = 0; i < t->n; i++)
		hash = hash * 33 + (unsigned char)t->text[i];
	for (k = p->buckets[hash % PARSE_BUCKETS]; k; k = k->next)
		if (strlen(k->text) == t->n && !memcmp(k->text, t->text, t->n))
			return k->text;
	k = arena_alloc(&p->expr->arena, sizeof *k);
	k->text = arena_strndup(&p->expr->arena, t->text, t->n);
	k->next = p->buckets[hash % PARSE_BUCKETS];
	p->buckets[hash % PARSE_BUCKETS] = k;
	vec_push(&p->expr->names, k->text);
	vec_push(&p->expr->places, ((struct place){ t->line, t->column }));
	return k->text;
}

/* Strings that stand side by side are one. */
static struct node *
parse_strings(struct parser *p)
{
	struct token first = p->token;
	struct str all = STR_INIT;
	struct node *n = NULL;

	if (parse_advance(p))
		return NULL;
	if (!parse_is(p, TOKEN_STR))
		return parse_literal(p, &first, value_text(first.text, first.n));
	str_add(&all, first.text, first.n);
	while (parse_is(p, TOKEN_STR)) {
		str_add(&all, p->token.text, p->token.n);
		if (parse_advance(p))
			goto out;
	}
	n = parse_literal(p, &first, value_text(
	    arena_strndup(&p->expr->arena, str_text(&all), all.len), all.len));
out:
	str_done(&all);
	return n;
}

/* A parenthesised tuple, or just parentheses. */
static struct node *
parse_parentheses(struct parser *p)
{
	struct token open = p->token;
	struct node *tuple = parse_node(p, NODE_TUPLE, &open), **tail = &tuple->first, *item;
	bool comma = false;

	if (parse_enter(p) || parse_advance(p))
		return NULL;
	while (!parse_is(p, ')')) {
		if (!(item = parse_condition(p)))
			return NULL;
		tail = parse_add(tuple, tail, item);
		comma = parse_is(p, ',');
		if (comma ? parse_advance(p) : !parse_is(p, ')'))
			return comma ? NULL : parse_unexpected(p, "')'");
		if (!comma && tuple->n == 1) {
			parse_leave(p);
			return parse_advance(p) ? NULL : item;
		}
	}
	parse_leave(p);
	return parse_advance(p) ? NULL : tuple;
}

static struct node *
parse_list(struct parser *p)
{
	struct node *list = parse_node(p, NODE_LIST, &p->token), **tail = &list->first, *item;

	if (parse_enter(p) || parse_advance(p))
		return NULL;
	while (!parse_is(p, ']')) {
		if (!(item = parse_condition(p)))
			return NULL;
		tail = parse_add(list, tail, item);
		if (parse_is(p, ',') ? parse_advance(p) : !parse_is(p, ']'))
			return parse_is(p, ',') ? NULL : parse_unexpected(p, "',' or ']'");
	}
	parse_leave(p);
	return parse_advance(p) ? NULL : list;
}

static struct node *
parse_dict(struct parser *p)
{
	struct node *dict = parse_node(p, NODE_DICT, &p->token), **tail = &dict->first;
	struct node *key, *value;

	if (parse_enter(p) || parse_advance(p))
		return NULL;
	while (!parse_is(p, '}')) {
		if (parse_is(p, TOKEN_POW))
			return parse_fail(p, "'**' is not part of the expression language here");
		if (!(key = parse_condition(p)))
			return NULL;
		if (parse_is(p, ',') || parse_is(p, '}'))
			return parse_fail(p, "a set is not part of the expression language; "
			    "use a list");
		if (parse_expect(p, ':', "':'") || !(value = parse_condition(p)))
			return NULL;
		tail = parse_add(dict, parse_add(dict, tail, key), value);
		if (parse_is(p, ',') ? parse_advance(p) : !parse_is(p, '}'))
			return parse_is(p, ',') ? NULL : parse_unexpected(p, "',' or '}'");
	}
	parse_leave(p);
	return parse_advance(p) ? NULL : dict;
}

static struct node *
parse_name(struct parser *p)
{
	struct token name = p->token;
	struct node *n;

	if (parse_advance(p))
		return NULL;
	if (parse_is(p, '('))
		return parse_call(p, &name);
	if (name.n == 3 && !memcmp(name.text, "now", 3))
		return parse_node(p, NODE_NOW, &name);
	if (func_find(name.text, name.n)) {
		err_at(p->err, name.line, name.column, "'%.*s' is a function: call it as %.*s(...)",
		    (int)name.n, name.text, (int)name.n, name.text);
		return NULL;
	}
	n = parse_node(p, NODE_NAME, &name);
	n->name = intern(p, &name);
	n->begin = name.text;
	n->end = name.text + name.n;
	return n;
}

static struct node *
take_literal(struct parser *p, struct value v)
{
	struct node *n = parse_literal(p, &p->token, v);

	return parse_advance(p) ? NULL : n;
}

struct node *
parse_atom(struct parser *p)
{
	switch (p->token.kind) {
	case '(':
		return parse_parentheses(p);
	case '[':
		return parse_list(p);
	case '{':
		return parse_dict(p);
	case TOKEN_NAME:
		return parse_name(p);
	case TOKEN_STR:
		return parse_strings(p);
	case TOKEN_INT:
		if (p->token.integer > INT64_MAX)
			return parse_fail(p, "integer overflow: 9223372036854775808 does not fit "
			    "64 bits");
		return take_literal(p, value_int((int64_t)p->token.integer));
	case TOKEN_FLOAT:
		return take_literal(p, value_float(p->token.real));
	case TOKEN_TRUE: case TOKEN_FALSE:
		return take_literal(p, value_bool(parse_is(p, TOKEN_TRUE)));
	case TOKEN_NONE:
		return take_literal(p, value_none());
	case '*':
		return parse_fail(p, "a star expression is not part of the expression language");
	default:
		return parse_unexpected(p, "a value");
	}
}

