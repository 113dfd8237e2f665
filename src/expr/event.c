/* event.c - the smaller language of events, and how soon an event is decided.
 *
 * The full parser reads the text; what an event may not say is then refused
 * where it stands.  So the tree has names, True, False, and, or, not, if, and
 * count(...) compared with integers, and deciding it needs no values at all:
 * a count is a range, from what is certain to what is possible. */
#include <string.h>
#include "base/err.h"
#include "expr/ast.h"
#include "expr/expr.h"
#include "expr/func.h"

static int check(const struct node *, struct err *);

static int
refuse(const struct node *n, const char *what, struct err *err)
{
	return err_at(err, n->line, n->column, "an event's definition knows only evidences, "
	    "True, False, and, or, not, if ... else, and count(...) compared with an "
	    "integer; %s", what);
}

static bool
is_count(const struct node *n)
{
	return n->kind == NODE_CALL && !strcmp(n->func->name, "count");
}

static bool
is_integer(const struct node *n)
{
	bool has_sign = n->kind == NODE_MINUS || n->kind == NODE_PLUS;

	if (has_sign)
		n = n->first;
	return n->kind == NODE_LITERAL && n->literal.type == VALUE_INT &&
	    !(has_sign && n->literal.i < 0);
}

static int
check_children(const struct node *n, struct err *err)
{
	for (const struct node *c = n->first; c; c = c->next)
		if (check(c, err))
			return -1;
	return 0;
}

static int
check_comparison(const struct node *n, struct err *err)
{
	for (const struct node *a = n->first, *b = a->next; b; a = b, b = b->next) {
		if (b->op < OP_EQ || b->op > OP_GE)
			return err_at(err, b->op_line, b->op_column, "an event's definition "
			    "does not know '%s'", op_text(b->op));
		if (!(is_count(a) && is_integer(b)) && !(is_integer(a) && is_count(b)))
			return err_at(err, b->op_line, b->op_column, "an event's definition "
			    "compares nothing but count(...) with an integer; compare values "
			    "in an evidence");
	}
	for (const struct node *c = n->first; c; c = c->next)
		if (is_count(c) && check_children(c, err))
			return -1;
	return 0;
}

static int
check(const struct node *n, struct err *err)
{
	switch (n->kind) {
	case NODE_NAME:
		return 0;
	case NODE_OR: case NODE_AND: case NODE_NOT: case NODE_IF:
		return check_children(n, err);
	case NODE_COMPARE:
		return check_comparison(n, err);
	case NODE_LITERAL:
		if (n->literal.type == VALUE_BOOL)
			return 0;
		return refuse(n, n->literal.type == VALUE_STR ?
		    "an evidence is named without quotes" : "a value is not a truth", err);
	case NODE_CALL:
		return refuse(n, is_count(n) ? "compare this count with one" :
		    "call functions in an evidence", err);
	case NODE_NOW:
		return refuse(n, "look at the time in an evidence", err);
	case NODE_CHAIN: case NODE_PLUS: case NODE_MINUS:
		return refuse(n, "compute in an evidence", err);
	case NODE_REACH:
		return refuse(n, "look into values in an evidence", err);
	default:
		return refuse(n, "lists and dicts stand in an evidence", err);
	}
}

struct expr *
expr_parse_event(const char *text, size_t len, struct err *err)
{
	struct expr *e = expr_parse(text, len, err);

	if (!e || !check(e->root, err))
		return e;
	expr_free(e);
	return NULL;
}

struct decision {
	enum truth (*get)(void *arg, const char *name);
	void *arg;
};

static enum truth decide(const struct decision *, const struct node *);

static enum truth
of(bool b)
{
	return b ? TRUTH_TRUE : TRUTH_FALSE;
}

static bool
is_decided(enum truth t)
{
	return t == TRUTH_TRUE || t == TRUTH_FALSE;
}

/* What is left when nothing is decided: open, while anything is. */
static enum truth
undecided(enum truth a, enum truth b)
{
	return a == TRUTH_OPEN || b == TRUTH_OPEN ? TRUTH_OPEN : TRUTH_UNKNOWN;
}

/* A TRUE decides "or", a FALSE decides "and". */
static enum truth
decide_logic(const struct decision *d, const struct node *n)
{
	enum truth decisive = of(n->kind == NODE_OR), all = of(n->kind == NODE_AND), t;

	for (const struct node *c = n->first; c; c = c->next) {
		t = decide(d, c);
		if (t == decisive)
			return t;
		if (!is_decided(t))
			all = is_decided(all) ? t : undecided(all, t);
	}
	return all;
}

static enum truth
decide_not(const struct decision *d, const struct node *n)
{
	enum truth t = decide(d, n->first);

	return is_decided(t) ? of(t == TRUTH_FALSE) : t;
}

/* While the test is not decided, it does not matter if both sides agree. */
static enum truth
decide_if(const struct decision *d, const struct node *n)
{
	const struct node *then = n->first->next;
	enum truth test = decide(d, n->first), a, b;

	if (is_decided(test))
		return decide(d, test == TRUTH_TRUE ? then : then->next);
	a = decide(d, then);
	b = decide(d, then->next);
	if (is_decided(a) && a == b)
		return a;
	return undecided(test, undecided(a, b));
}

/* From how many to how many are true, or an integer; and what is missing. */
struct range {
	int64_t low, high;
	enum truth rest;
};

static struct range
range_of(const struct decision *d, const struct node *n)
{
	struct range r = { 0, 0, TRUTH_UNKNOWN };
	enum truth t;

	if (n->kind == NODE_LITERAL || n->kind == NODE_PLUS || n->kind == NODE_MINUS) {
		r.low = n->kind == NODE_LITERAL ? n->literal.i : n->first->literal.i;
		if (n->kind == NODE_MINUS)
			r.low = -r.low;
		r.high = r.low;
		return r;
	}
	for (const struct node *c = n->first; c; c = c->next) {
		t = decide(d, c);
		r.low += t == TRUTH_TRUE;
		r.high += t != TRUTH_FALSE;
		if (!is_decided(t))
			r.rest = undecided(r.rest, t);
	}
	return r;
}

static enum truth
either(bool certain, bool possible, enum truth rest)
{
	return certain ? TRUTH_TRUE : possible ? rest : TRUTH_FALSE;
}

static enum truth
compare_ranges(enum op op, const struct range *a, const struct range *b)
{
	bool one = a->low == a->high && b->low == b->high;
	bool apart = a->high < b->low || b->high < a->low;
	enum truth rest = undecided(a->rest, b->rest);

	switch (op) {
	case OP_EQ:
		return either(one && !apart, !apart, rest);
	case OP_NE:
		return either(apart, !(one && !apart), rest);
	case OP_LT:
		return either(a->high < b->low, a->low < b->high, rest);
	case OP_LE:
		return either(a->high <= b->low, a->low <= b->high, rest);
	case OP_GT:
		return either(a->low > b->high, a->high > b->low, rest);
	default:
		return either(a->low >= b->high, a->high >= b->low, rest);
	}
}

static enum truth
decide_comparison(const struct decision *d, const struct node *n)
{
	struct range a = range_of(d, n->first), b;
	enum truth all = TRUTH_TRUE, t;

	for (const struct node *c = n->first->next; c; c = c->next) {
		b = range_of(d, c);
		t = compare_ranges(c->op, &a, &b);
		if (t == TRUTH_FALSE)
			return t;
		if (t != TRUTH_TRUE)
			all = all == TRUTH_TRUE ? t : undecided(all, t);
		a = b;
	}
	return all;
}

static enum truth
decide(const struct decision *d, const struct node *n)
{
	switch (n->kind) {
	case NODE_NAME:
		return d->get(d->arg, n->name);
	case NODE_LITERAL:
		return of(n->literal.i);
	case NODE_OR: case NODE_AND:
		return decide_logic(d, n);
	case NODE_NOT:
		return decide_not(d, n);
	case NODE_IF:
		return decide_if(d, n);
	case NODE_COMPARE:
		return decide_comparison(d, n);
	default:
		return TRUTH_UNKNOWN;	/* expr_parse_event() lets nothing else in */
	}
}

enum truth
expr_decide(const struct expr *event, enum truth (*get)(void *arg, const char *name), void *arg)
{
	struct decision d = { get, arg };

	return decide(&d, event->root);
}
