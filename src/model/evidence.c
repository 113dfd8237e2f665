/* evidence.c - a predicate: an expression, and maybe what it is compared with. */
#include <string.h>
#include "base/mem.h"
#include "base/str.h"
#include "model/read.h"

static const char *const keys[] = { "definition", "operator", "operand", NULL };

static void
read_definition(struct evidence *e, struct body *b)
{
	const char *text = body_text(b, "definition");
	struct err err;

	if (!json_object_get(b->json, "definition"))
		body_fault(b, NULL, NULL, "its 'definition' is missing");
	if (!text)
		return;
	e->definition = xstrdup(text);
	if (!(e->expr = expr_parse(text, strlen(text), &err)))
		body_take_fault(b, "definition", &err);
}

static void
unknown_operator(struct body *b, const char *text)
{
	struct str all = STR_INIT;

	for (int i = EXPR_EQ; i <= EXPR_NOT_CONTAIN; i++)
		str_printf(&all, "%s%s", i > EXPR_EQ ? ", " : "",
		    expr_operator_text((enum expr_operator)i));
	body_fault(b, "operator", NULL, "'%.80s' is no operator; there are: %s", text,
	    str_text(&all));
	str_done(&all);
}

static bool
is_singleton(const json_t *operand)
{
	static const char *const names[] = { "None", "True", "False" };

	if (json_is_boolean(operand))
		return true;
	for (int i = 0; i < 3; i++)
		if (json_is_string(operand) && !strcmp(json_string_value(operand), names[i]))
			return true;
	return false;
}

/* What could only end in an error, whatever the definition comes to. */
static void
check_operand(struct evidence *e, struct body *b)
{
	const json_t *operand = e->operand;
	const char *kind = body_kind(operand), *text = expr_operator_text(e->operator);

	switch (e->operator) {
	case EXPR_IS: case EXPR_IS_NOT:
		if (!is_singleton(operand))
			body_fault(b, "operand", NULL, "'%s' wants true, false, \"None\", "
			    "\"True\" or \"False\"; use '%s' for anything else", text,
			    e->operator == EXPR_IS ? "==" : "!=");
		break;
	case EXPR_IN: case EXPR_NOT_IN:
		if (!json_is_array(operand) && !json_is_string(operand) && !json_is_object(operand))
			body_fault(b, "operand", NULL, "this is %s; '%s' wants an array, a text "
			    "or a table to look into", kind, text);
		break;
	case EXPR_LT: case EXPR_GT: case EXPR_LE: case EXPR_GE:
		if (json_is_object(operand))
			body_fault(b, "operand", NULL, "'%s' does not compare tables", text);
		break;
	default:
		break;
	}
}

static void
read_comparison(struct evidence *e, struct body *b)
{
	const json_t *operand = json_object_get(b->json, "operand");
	bool given = json_object_get(b->json, "operator");
	const char *text = body_text(b, "operator");

	if (given && !operand)
		body_fault(b, NULL, NULL, "there is an 'operator', but its 'operand' is missing");
	if (operand && !given)
		body_key_fault(b, "operand", NULL, "without an 'operator' there is no operand");
	if (!text)
		return;
	if (expr_operator_find(text, &e->operator)) {
		unknown_operator(b, text);
		return;
	}
	if (operand) {
		e->operand = json_deep_copy(operand);
		check_operand(e, b);
	}
}

void
evidence_read(struct evidence *e, struct body *b)
{
	*e = (struct evidence){ .operator = EXPR_NO_OPERATOR };
	body_check_keys(b, keys);
	read_definition(e, b);
	read_comparison(e, b);
}

int
evidence_init(struct evidence *e, const json_t *json, struct err *err)
{
	struct body b = { .json = json };
	int rc;

	evidence_read(e, &b);
	if ((rc = body_done(&b, err)))
		evidence_done(e);
	return rc;
}

void
evidence_done(struct evidence *e)
{
	free(e->definition);
	expr_free(e->expr);
	json_decref(e->operand);
	*e = (struct evidence){ 0 };
}
