/* compare.c - == and <, is and in, as Python has them.
 *
 * An int and a float are compared exactly, not by turning one into the other:
 * 2**53 + 1 is greater than 2.0**53.  Whatever may hold a bound back returns
 * 1 or 0 for the answer and -1 for an error. */
#include "expr/compare.h"
#include <math.h>
#include <string.h>
#include "expr/value.h"
#include "expr/work.h"

#define TWO63 9223372036854775808.0

static int
sign_of(int64_t a, int64_t b)
{
	return (a > b) - (a < b);
}

static int
order_int_float(int64_t i, double f)
{
	double whole = trunc(f);

	if (f >= TWO63)
		return -1;
	if (f < -TWO63)
		return 1;
	if (i != (int64_t)whole)
		return sign_of(i, (int64_t)whole);
	return (f < whole) - (f > whole);
}

static int
order_numbers(const struct value *a, const struct value *b)
{
	if (a->type == VALUE_FLOAT && b->type == VALUE_FLOAT)
		return (a->f > b->f) - (a->f < b->f);
	if (a->type == VALUE_FLOAT)
		return -order_int_float(b->i, a->f);
	if (b->type == VALUE_FLOAT)
		return order_int_float(a->i, b->f);
	return sign_of(a->i, b->i);
}

/* The order of UTF-8 bytes is the order of code points. */
static int
order_texts(const struct value *a, const struct value *b)
{
	size_t n = a->n < b->n ? a->n : b->n;
	int order = n ? memcmp(a->text, b->text, n) : 0;

	return order ? order : (a->n > b->n) - (a->n < b->n);
}

/* The first place where two sequences differ, or the end of the shorter:
 * 1 and X, Y where they differ, 0 where they do not. */
static int
first_difference(struct work *w, const struct value *a, const struct value *b,
    struct value *x, struct value *y)
{
	int same;

	for (size_t i = 0; i < a->n && i < b->n; i++) {
		if (value_item(w, a, i, x) || value_item(w, b, i, y))
			return -1;
		same = compare_equal(w, x, y);
		if (same != 1)
			return same ? -1 : 1;
	}
	return 0;
}

static int
equal_sequences(struct work *w, const struct value *a, const struct value *b)
{
	struct value x, y;
	int differ;

	if (a->n != b->n)
		return 0;
	if (work_enter(w))
		return -1;
	differ = first_difference(w, a, b, &x, &y);
	work_leave(w);
	return differ < 0 ? -1 : !differ;
}

/* Each key of A in B, with the same value. */
static int
equal_keys(struct work *w, const struct value *a, const struct value *b)
{
	struct value_iter it;
	struct value key, x, y;
	int rc;

	if (value_iter_start(w, a, &it))
		return -1;
	while ((rc = value_iter_next(w, &it, &key)) == 1) {
		rc = value_find(w, b, &key, &y);
		if (rc != 1)
			return rc;
		if (value_iter_item(w, &it, &x))
			return -1;
		rc = compare_equal(w, &x, &y);
		if (rc != 1)
			return rc;
	}
	return rc < 0 ? -1 : 1;
}

static int
equal_dicts(struct work *w, const struct value *a, const struct value *b)
{
	int rc;

	if (a->n != b->n)
		return 0;
	if (work_enter(w))
		return -1;
	rc = equal_keys(w, a, b);
	work_leave(w);
	return rc;
}

int
compare_equal(struct work *w, const struct value *a, const struct value *b)
{
	if (work_spend(w, 1))
		return -1;
	if (value_is_number(a) && value_is_number(b))
		return order_numbers(a, b) == 0;
	if (a->type != b->type)
		return 0;
	switch (a->type) {
	case VALUE_STR:
		if (a->n != b->n)
			return 0;
		return work_spend_bytes(w, a->n) ? -1 : order_texts(a, b) == 0;
	case VALUE_LIST: case VALUE_TUPLE:
		return equal_sequences(w, a, b);
	case VALUE_DICT:
		return equal_dicts(w, a, b);
	case VALUE_DATETIME: case VALUE_DATE: case VALUE_TIMEDELTA:
		return a->i == b->i;
	default:
		return 1;	/* None */
	}
}

static int
has_order(enum op op, int order)
{
	switch (op) {
	case OP_LT:
		return order < 0;
	case OP_LE:
		return order <= 0;
	case OP_GT:
		return order > 0;
	default:
		return order >= 0;
	}
}

static int
no_order(struct work *w, enum op op, const struct value *a, const struct value *b)
{
	if ((a->type == VALUE_DATE && b->type == VALUE_DATETIME) ||
	    (a->type == VALUE_DATETIME && b->type == VALUE_DATE))
		return work_fail(w, "can't compare datetime.datetime to datetime.date");
	return work_fail(w, "'%s' not supported between instances of '%s' and '%s'",
	    op_text(op), value_type_name(a), value_type_name(b));
}

static int compare_order(struct work *, enum op, const struct value *, const struct value *);

static int
compare_sequences(struct work *w, enum op op, const struct value *a, const struct value *b)
{
	struct value x, y;
	int rc;

	if (work_enter(w))
		return -1;
	rc = first_difference(w, a, b, &x, &y);
	if (rc == 0)
		rc = has_order(op, (a->n > b->n) - (a->n < b->n));
	else if (rc == 1)
		rc = compare_order(w, op, &x, &y);
	work_leave(w);
	return rc;
}

static int
compare_order(struct work *w, enum op op, const struct value *a, const struct value *b)
{
	if (work_spend(w, 1))
		return -1;
	if (value_is_number(a) && value_is_number(b))
		return has_order(op, order_numbers(a, b));
	if (a->type != b->type)
		return no_order(w, op, a, b);
	switch (a->type) {
	case VALUE_STR:
		if (work_spend_bytes(w, a->n < b->n ? a->n : b->n))
			return -1;
		return has_order(op, order_texts(a, b));
	case VALUE_LIST: case VALUE_TUPLE:
		return compare_sequences(w, op, a, b);
	case VALUE_DATETIME: case VALUE_DATE: case VALUE_TIMEDELTA:
		return has_order(op, sign_of(a->i, b->i));
	default:
		return no_order(w, op, a, b);
	}
}

static int
text_contains(struct work *w, const struct value *text, const struct value *part)
{
	if (part->type != VALUE_STR)
		return work_fail(w, "'in <string>' requires string as left operand, not %s",
		    value_type_name(part));
	if (work_spend_bytes(w, text->n))
		return -1;
	return !part->n || memmem(text->text, text->n, part->text, part->n);
}

static int
contains(struct work *w, const struct value *where, const struct value *what)
{
	struct value item;
	int same;

	if (where->type == VALUE_STR)
		return text_contains(w, where, what);
	if (where->type == VALUE_DICT)
		return value_find(w, where, what, &item);
	if (where->type != VALUE_LIST && where->type != VALUE_TUPLE)
		return work_fail(w, "argument of type '%s' is not iterable",
		    value_type_name(where));
	for (size_t i = 0; i < where->n; i++) {
		if (value_item(w, where, i, &item))
			return -1;
		same = compare_equal(w, &item, what);
		if (same)
			return same;
	}
	return 0;
}

/* One of the two is None, True or False: the parser sees to it. */
static bool
is_same(const struct value *a, const struct value *b)
{
	if (a->type != b->type)
		return false;
	return a->type == VALUE_NONE || (a->type == VALUE_BOOL && a->i == b->i);
}

static int
negate(int rc)
{
	return rc < 0 ? -1 : !rc;
}

int
compare_values(struct work *w, enum op op, const struct value *a, const struct value *b)
{
	switch (op) {
	case OP_EQ:
		return compare_equal(w, a, b);
	case OP_NE:
		return negate(compare_equal(w, a, b));
	case OP_IN:
		return contains(w, b, a);
	case OP_NOT_IN:
		return negate(contains(w, b, a));
	case OP_IS:
		return is_same(a, b);
	case OP_IS_NOT:
		return !is_same(a, b);
	default:
		return compare_order(w, op, a, b);
	}
}
