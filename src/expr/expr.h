/* The expression language: a small, safe, total subset of Python's.
 *
 * Pure: no clock, no I/O, no global state.  A parsed expression is immutable
 * and may be evaluated any number of times.  Results are Python's own, except
 * that integers are 64 bits wide (overflow is an error), NaN and infinities
 * are errors, and what Python would raise comes back as a struct err with the
 * position (line and column from 1, columns in characters), the name at fault,
 * and types named as Python names them.
 *
 * Bounds, all of which end in an error and none in a crash: EXPR_MAX_TEXT
 * bytes, EXPR_MAX_DEPTH levels of nesting (of the text, and of values),
 * EXPR_MAX_SIZE bytes or elements in any one value, EXPR_MAX_WORK steps in one
 * evaluation (a step is one node visited, one element or some bytes handled:
 * value functions count too). */
#ifndef EXPR_EXPR_H
#define EXPR_EXPR_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include "base/clock.h"

struct err;
struct expr;
struct value;

#define EXPR_MAX_TEXT (64 * 1024)
#define EXPR_MAX_DEPTH 100
#define EXPR_MAX_SIZE (1024 * 1024)
#define EXPR_MAX_WORK 1000000

/* NULL with ERR when TEXT is not an expression. */
struct expr *expr_parse(const char *text, size_t len, struct err *);

/* The smaller language of events: names, True, False, and, or, not, (),
 * "a if b else c", and count(...) compared with an integer literal. */
struct expr *expr_parse_event(const char *text, size_t len, struct err *);

void expr_free(struct expr *);		/* NULL is fine */

/* The free names, each once, in the order in which they first stand in the
 * text; neither functions nor predefined names.  Lent until expr_free().
 * Where a name first stands: *LINE, *COLUMN. */
size_t expr_names(const struct expr *, const char *const **names);
void expr_name_at(const struct expr *, size_t i, int *line, int *column);

/* May NAME be given to a variable or an evidence?  -1 with the reason: not an
 * identifier, longer than 63 bytes, a keyword, a function, a predefined name. */
int expr_check_name(const char *name, struct err *);

/* What an evaluation may see.  GET lends the JSON value of NAME, or NULL if
 * the name is unknown (an error); JSON null is None.  NOW is the value of the
 * predefined name "now", a datetime in UTC.  KNOWN may list names, for "did
 * you mean ...?" */
struct expr_scope {
	const json_t *(*get)(void *arg, const char *name);
	void *arg;
	instant now;
	const char *const *known;
	size_t n_known;
};

/* The value as JSON (a new reference): a tuple becomes an array, a datetime
 * or date ISO 8601 text, a timedelta a number of seconds.  NULL with ERR. */
json_t *expr_eval(const struct expr *, const struct expr_scope *, struct err *);

/* An evidence: value = definition; truth = value OPERATOR operand.  With
 * EXPR_NO_OPERATOR the truth is Python's bool(value).  OPERAND is ignored then.
 * "a contain b" is "b in a".  *VALUE is a new reference. */
enum expr_operator {
	EXPR_NO_OPERATOR, EXPR_EQ, EXPR_NE, EXPR_GT, EXPR_LT, EXPR_GE, EXPR_LE,
	EXPR_IS, EXPR_IS_NOT, EXPR_IN, EXPR_NOT_IN, EXPR_CONTAIN, EXPR_NOT_CONTAIN,
};
int expr_operator_find(const char *text, enum expr_operator *);	/* -1: none such */
const char *expr_operator_text(enum expr_operator);
int expr_test(const struct expr *, enum expr_operator, const json_t *operand,
    const struct expr_scope *, json_t **value, bool *truth, struct err *);

/* Events: Kleene's three-valued logic over the truths of evidences.
 *
 * TRUTH_OPEN is the truth of an evidence that has not settled yet; GET may
 * return it.  expr_decide() returns TRUE or FALSE as soon as no outcome of the
 * open ones can change it, OPEN while it still can, and UNKNOWN only when
 * nothing is open any more. */
enum truth { TRUTH_FALSE, TRUTH_TRUE, TRUTH_UNKNOWN, TRUTH_OPEN };
enum truth expr_decide(const struct expr *event,
    enum truth (*get)(void *arg, const char *name), void *arg);

#endif
