/* Walking the tree: for those who want the value itself, not its JSON. */
#ifndef EXPR_EVAL_H
#define EXPR_EVAL_H

struct expr;
struct value;
struct work;

/* The value lives as long as WORK, the expression and the scope's JSON. */
int eval_expr(struct work *, const struct expr *, struct value *);

#endif
