/* eval.c - what an expression comes to.
 *
 * eval_node() walks the tree.  Before an operation is done, the work learns
 * where in the text it stands; when it fails, the operands that are plain
 * names are told apart in the message: "(liquidity is None)". */
#include "expr/eval.h"
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "base/str.h"
#include "expr/ast.h"
#include "expr/compare.h"
#include "expr/expr.h"
#include "expr/func.h"
#include "expr/number.h"
#include "expr/operate.h"
#include "expr/work.h"

#define LONGEST_BLAMED 60	/* bytes of a name in a message */

static int eval_node(struct work *, const struct node *, struct value *);

static void
stand_at(struct work *w, int line, int column)
{
	w->line = line;
	w->column = column;
}

/* What a name holds, in a few words; nothing of a text, which may be anything. */
static void
describe(const struct value *v, char *buf, size_t n)
{
	char number[NUMBER_TEXT];

	if (v->type == VALUE_NONE)
		snprintf(buf, n, "None");
	else if (v->type == VALUE_BOOL)
		snprintf(buf, n, "%s", v->i ? "True" : "False");
	else if (v->type == VALUE_INT)
		snprintf(buf, n, "%lld", (long long)v->i);
	else if (v->type == VALUE_FLOAT)
		snprintf(buf, n, "%s", number_write(v->f, number));
	else
		snprintf(buf, n, "a %s", value_type_name(v));
}

/* Short, and nothing that a terminal might act upon. */
static bool
is_presentable(const char *s, const char *end)
{
	if (end - s > LONGEST_BLAMED)
		return false;
	for (; s < end; s++)
		if (*s < ' ' || *s > '~')
			return false;
	return true;
}

/* Adds " (NAME is ...)" to the message; more than one share the parentheses.
 * BEGIN is NULL for an operand that has no name.  Returns -1. */
static int
blame(struct work *w, const char *begin, const char *end, const struct value *v)
{
	char *message = w->err->message, what[80];
	size_t len = strlen(message), room = sizeof w->err->message - len;
	int n = (int)(end - begin);

	if (!begin || w->exhausted || !is_presentable(begin, end))
		return -1;
	describe(v, what, sizeof what);
	if (w->blamed && message[len - 1] == ')')
		snprintf(message + len - 1, room + 1, ", %.*s is %s)", n, begin, what);
	else
		snprintf(message + len, room, " (%.*s is %s)", n, begin, what);
	w->blamed = true;
	return -1;
}

static int
blame_node(struct work *w, const struct node *n, const struct value *v)
{
	return n ? blame(w, n->begin, n->end, v) : -1;
}

/* A divisor that is zero is to blame alone. */
static int
blame_both(struct work *w, const struct node *c, const struct node *a, const struct value *v)
{
	bool divides = c->op == OP_DIV || c->op == OP_FLOORDIV || c->op == OP_MOD;

	if (!(divides && value_is_number(&v[1]) && !value_truth(&v[1])))
		blame_node(w, a, &v[0]);
	if (a && a->begin && c->begin && a->kind == NODE_NAME && c->kind == NODE_NAME &&
	    a->name == c->name)
		return -1;
	return blame_node(w, c, &v[1]);
}

static int
eval_name(struct work *w, const struct node *n, struct value *out)
{
	const struct expr_scope *s = w->scope;
	const json_t *json = s->get ? s->get(s->arg, n->name) : NULL;
	const char *near;

	stand_at(w, n->line, n->column);
	if (json)
		return value_from_json(w, json, out);
	near = str_nearest(n->name, s->known, s->n_known);
	if (near)
		return work_fail(w, "unknown name '%s'; did you mean '%s'?", n->name, near);
	return work_fail(w, "unknown name '%.200s'", n->name);
}

static int
eval_elements(struct work *w, const struct node *n, struct value *out)
{
	struct value *items;
	size_t i = 0;

	stand_at(w, n->line, n->column);
	if (!(items = work_alloc(w, n->n, sizeof *items)))
		return -1;
	for (const struct node *c = n->first; c; c = c->next)
		if (eval_node(w, c, &items[i++]))
			return -1;
	*out = value_items(n->kind == NODE_LIST ? VALUE_LIST : VALUE_TUPLE, items, n->n);
	return 0;
}

/* A key that stands twice keeps its first place and its last value. */
static int
eval_dict(struct work *w, const struct node *n, struct value *out)
{
	struct value *items, key;
	size_t used = 0, i;

	stand_at(w, n->line, n->column);
	if (!(items = work_alloc(w, n->n, sizeof *items)))
		return -1;
	for (const struct node *c = n->first; c; c = c->next->next) {
		int same = 0;

		if (eval_node(w, c, &key))
			return -1;
		if (eval_node(w, c->next, &items[2 * used + 1]))
			return -1;
		stand_at(w, c->line, c->column);
		if (value_check_key(w, &key))
			return blame_node(w, c, &key);
		for (i = 0; i < used && !same; i++)
			same = compare_equal(w, &items[2 * i], &key);
		if (same < 0)
			return -1;
		if (same)
			items[2 * i - 1] = items[2 * used + 1];
		else
			items[2 * used++] = key;
	}
	*out = value_items(VALUE_DICT, items, used);
	return 0;
}

/* "or" ends at the first that is true, "and" at the first that is not. */
static int
eval_logic(struct work *w, const struct node *n, struct value *out)
{
	for (const struct node *c = n->first; c; c = c->next) {
		if (eval_node(w, c, out))
			return -1;
		if (value_truth(out) == (n->kind == NODE_OR))
			break;
	}
	return 0;
}

static int
eval_not(struct work *w, const struct node *n, struct value *out)
{
	struct value v;

	if (eval_node(w, n->first, &v))
		return -1;
	*out = value_bool(!value_truth(&v));
	return 0;
}

static int
eval_compare(struct work *w, const struct node *n, struct value *out)
{
	const struct node *a = n->first;
	struct value v[2];
	int rc = 1;

	if (eval_node(w, n->first, &v[0]))
		return -1;
	for (const struct node *c = n->first->next; c && rc == 1; c = c->next) {
		if (eval_node(w, c, &v[1]))
			return -1;
		stand_at(w, c->op_line, c->op_column);
		rc = compare_values(w, c->op, &v[0], &v[1]);
		if (rc < 0)
			return blame_both(w, c, a, v);
		v[0] = v[1];
		a = c;
	}
	*out = value_bool(rc);
	return 0;
}

static int
eval_chain(struct work *w, const struct node *n, struct value *out)
{
	const struct node *a = n->first;
	struct value v[2], result;

	if (eval_node(w, n->first, &v[0]))
		return -1;
	for (const struct node *c = n->first->next; c; c = c->next) {
		if (eval_node(w, c, &v[1]))
			return -1;
		stand_at(w, c->op_line, c->op_column);
		if (operate_binary(w, c->op, &v[0], &v[1], &result))
			return blame_both(w, c, a, v);
		v[0] = result;
		a = NULL;
	}
	*out = v[0];
	return 0;
}

static int
eval_sign(struct work *w, const struct node *n, struct value *out)
{
	const struct node *operand = n->first;
	struct value v;

	if (eval_node(w, operand, &v))
		return -1;
	stand_at(w, n->line, n->column);
	if (operate_unary(w, n->kind == NODE_MINUS ? '-' : '+', &v, out))
		return blame_node(w, operand, &v);
	return 0;
}

static int
eval_if(struct work *w, const struct node *n, struct value *out)
{
	const struct node *test = n->first, *then = test->next;
	struct value v;

	if (eval_node(w, test, &v))
		return -1;
	return eval_node(w, value_truth(&v) ? then : then->next, out);
}

static int
call_func(struct work *w, const struct node *n, struct value *args, struct value *out)
{
	const struct node *first = n->first;
	size_t positional = n->func->variadic ? n->slots - 1 : n->slots;

	for (size_t i = 0; i < n->slots; i++)
		args[i] = (struct value){ .type = VALUE_ABSENT };
	for (const struct node *c = first; c; c = c->next)
		if (eval_node(w, c, &args[c->slot]))
			return -1;
	stand_at(w, n->line, n->column);
	if (!n->func->call(w, args, positional, out))
		return 0;
	return first && !first->next ? blame_node(w, first, &args[first->slot]) : -1;
}

static int
eval_call(struct work *w, const struct node *n, struct value *out)
{
	struct value few[FUNC_PARAMS], *args = few;

	stand_at(w, n->line, n->column);
	if (n->slots > FUNC_PARAMS && !(args = work_alloc(w, n->slots, sizeof *args)))
		return -1;
	return call_func(w, n, args, out);
}

static int
eval_slice(struct work *w, const struct node *n, const struct value *v, struct value *out)
{
	struct value bounds[3];
	int i = 0;

	for (const struct node *c = n->first; c; c = c->next)
		if (eval_node(w, c, &bounds[i++]))
			return -1;
	stand_at(w, n->line, n->column);
	return operate_slice(w, v, bounds, out);
}

static int
eval_step(struct work *w, const struct node *n, const struct value *v, struct value *out)
{
	struct value key;

	if (n->kind == NODE_SLICE)
		return eval_slice(w, n, v, out);
	if (n->kind == NODE_INDEX && eval_node(w, n->first, &key))
		return -1;
	stand_at(w, n->line, n->column);
	if (n->kind == NODE_INDEX)
		return operate_index(w, v, &key, out);
	if (n->kind == NODE_ATTRIBUTE)
		return operate_attribute(w, v, n->name, out);
	return operate_method(w, v, n->name, out);
}

static int
eval_reach(struct work *w, const struct node *n, struct value *out)
{
	const char *end = n->first->end;	/* of what was reached so far */
	struct value v, next;

	if (eval_node(w, n->first, &v))
		return -1;
	for (const struct node *c = n->first->next; c; c = c->next) {
		if (eval_step(w, c, &v, &next))
			return w->line == c->line && w->column == c->column ?
			    blame(w, n->begin, end, &v) : -1;
		v = next;
		end = c->end;
	}
	*out = v;
	return 0;
}

static int
eval_node(struct work *w, const struct node *n, struct value *out)
{
	if (n->kind != NODE_LITERAL) {
		stand_at(w, n->line, n->column);
		if (work_spend(w, 1))
			return -1;
	}
	switch (n->kind) {
	case NODE_LITERAL:
		*out = n->literal;
		return 0;
	case NODE_NAME:
		return eval_name(w, n, out);
	case NODE_NOW:
		*out = (struct value){ .type = VALUE_DATETIME, .i = w->scope->now };
		return 0;
	case NODE_LIST: case NODE_TUPLE:
		return eval_elements(w, n, out);
	case NODE_DICT:
		return eval_dict(w, n, out);
	case NODE_OR: case NODE_AND:
		return eval_logic(w, n, out);
	case NODE_NOT:
		return eval_not(w, n, out);
	case NODE_COMPARE:
		return eval_compare(w, n, out);
	case NODE_CHAIN:
		return eval_chain(w, n, out);
	case NODE_PLUS: case NODE_MINUS:
		return eval_sign(w, n, out);
	case NODE_IF:
		return eval_if(w, n, out);
	case NODE_CALL:
		return eval_call(w, n, out);
	case NODE_REACH:
		return eval_reach(w, n, out);
	default:
		return work_fail(w, "this cannot stand alone");
	}
}

int
eval_expr(struct work *w, const struct expr *e, struct value *out)
{
	return eval_node(w, e->root, out);
}

json_t *
expr_eval(const struct expr *e, const struct expr_scope *scope, struct err *err)
{
	struct work w;
	struct value v;
	json_t *json = NULL;

	work_init(&w, scope, err);
	if (!eval_node(&w, e->root, &v)) {
		stand_at(&w, e->root->line, e->root->column);
		json = value_to_json(&w, &v);
	}
	work_done(&w);
	return json;
}
