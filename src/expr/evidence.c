/* evidence.c - is the value of a definition what an operator asks for? */
#include <string.h>
#include "base/err.h"
#include "expr/ast.h"
#include "expr/compare.h"
#include "expr/eval.h"
#include "expr/expr.h"
#include "expr/work.h"

static const struct {
	const char *text;
	enum op op;
	bool swapped;		/* the operand stands on the left */
} operators[] = {
	[EXPR_NO_OPERATOR] = { "" },
	[EXPR_EQ] = { "==", OP_EQ },
	[EXPR_NE] = { "!=", OP_NE },
	[EXPR_GT] = { ">", OP_GT },
	[EXPR_LT] = { "<", OP_LT },
	[EXPR_GE] = { ">=", OP_GE },
	[EXPR_LE] = { "<=", OP_LE },
	[EXPR_IS] = { "is", OP_IS },
	[EXPR_IS_NOT] = { "is not", OP_IS_NOT },
	[EXPR_IN] = { "in", OP_IN },
	[EXPR_NOT_IN] = { "not in", OP_NOT_IN },
	[EXPR_CONTAIN] = { "contain", OP_IN, true },
	[EXPR_NOT_CONTAIN] = { "not contain", OP_NOT_IN, true },
};

int
expr_operator_find(const char *text, enum expr_operator *operator)
{
	for (size_t i = 1; i < sizeof operators / sizeof operators[0]; i++)
		if (!strcmp(operators[i].text, text)) {
			*operator = (enum expr_operator)i;
			return 0;
		}
	return -1;
}

const char *
expr_operator_text(enum expr_operator operator)
{
	return operators[operator].text;
}

/* "is" takes true, false and null, and their names in Python. */
static int
read_singleton(struct work *w, enum expr_operator operator, struct value *v)
{
	static const char *const names[] = { "None", "True", "False" };

	if (v->type == VALUE_NONE || v->type == VALUE_BOOL)
		return 0;
	for (int i = 0; i < 3; i++)
		if (v->type == VALUE_STR && !strcmp(v->text, names[i])) {
			*v = i ? value_bool(i == 1) : value_none();
			return 0;
		}
	return work_fail(w, "'%s' compares with \"None\", \"True\" or \"False\" only; use '%s'",
	    operators[operator].text, operator == EXPR_IS ? "==" : "!=");
}

static int
compare(struct work *w, enum expr_operator operator, const json_t *json, const struct value *v)
{
	enum op op = operators[operator].op;
	struct value operand;

	if (value_from_json(w, json, &operand))
		return -1;
	if ((op == OP_IS || op == OP_IS_NOT) && read_singleton(w, operator, &operand))
		return -1;
	if (operators[operator].swapped)
		return compare_values(w, op, &operand, v);
	return compare_values(w, op, v, &operand);
}

static int
test(struct work *w, const struct expr *e, enum expr_operator operator,
    const json_t *operand, json_t **value, bool *truth)
{
	struct value v;
	int rc;

	if (eval_expr(w, e, &v))
		return -1;
	w->line = e->root->line;
	w->column = e->root->column;
	rc = operator == EXPR_NO_OPERATOR ? value_truth(&v) :
	    compare(w, operator, operand, &v);
	if (rc < 0 && !w->exhausted && v.type == VALUE_NONE)
		return work_fail(w, "%s (the definition is None)", w->err->message);
	if (rc < 0 || !(*value = value_to_json(w, &v)))
		return -1;
	*truth = rc;
	return 0;
}

int
expr_test(const struct expr *e, enum expr_operator operator, const json_t *operand,
    const struct expr_scope *scope, json_t **value, bool *truth, struct err *err)
{
	struct work w;
	int rc;

	*value = NULL;
	*truth = false;
	work_init(&w, scope, err);
	rc = test(&w, e, operator, operand, value, truth);
	work_done(&w);
	return rc;
}
