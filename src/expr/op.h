/* The operators that stand between two operands, and how they are written. */
#ifndef EXPR_OP_H
#define EXPR_OP_H

#define OPS(X) \
	X(ADD, "+") X(SUB, "-") X(MUL, "*") X(DIV, "/") X(FLOORDIV, "//") \
	X(MOD, "%") X(POW, "**") \
	X(EQ, "==") X(NE, "!=") X(LT, "<") X(LE, "<=") X(GT, ">") X(GE, ">=") \
	X(IN, "in") X(NOT_IN, "not in") X(IS, "is") X(IS_NOT, "is not")

enum op {
#define X(op, text) OP_##op,
	OPS(X)
#undef X
};

const char *op_text(enum op);

#endif
