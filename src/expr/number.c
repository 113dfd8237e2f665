/* number.c - + - * / // % ** and round() on numbers. */
#include "expr/number.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "expr/value.h"
#include "expr/work.h"

const char *
op_text(enum op op)
{
	static const char *const texts[] = {
#define X(name, text) text,
		OPS(X)
#undef X
	};

	return texts[op];
}

static int
no_zero(struct work *w, enum op op, bool is_float)
{
	if (op == OP_DIV)
		return work_fail(w, is_float ? "float division by zero" : "division by zero");
	if (op == OP_FLOORDIV)
		return work_fail(w, is_float ? "float floor division by zero" :
		    "integer division or modulo by zero");
	return work_fail(w, is_float ? "float modulo by zero" : "integer modulo by zero");
}

/* Half to even by the bit that falls off: both operands go up to 64 bits of
 * quotient, and what is left over sticks to the last of them. */
double
number_ratio(int64_t a, int64_t b)
{
	uint64_t x = a < 0 ? -(uint64_t)a : (uint64_t)a;
	uint64_t y = b < 0 ? -(uint64_t)b : (uint64_t)b;
	unsigned __int128 wide, q;
	int shift;
	double f;

	if (!x)
		return (a < 0) != (b < 0) ? -0.0 : 0.0;
	shift = __builtin_clzll(x);
	wide = (unsigned __int128)(x << shift) << 64;
	q = wide / y;
	q |= wide % y != 0;
	f = ldexp((double)q, -64 - shift);
	return (a < 0) != (b < 0) ? -f : f;
}

int64_t
number_floordiv(int64_t a, int64_t b)
{
	return a / b - (a % b != 0 && (a % b < 0) != (b < 0));
}

int64_t
number_mod(int64_t a, int64_t b)
{
	int64_t rest;

	if (b == -1)
		return 0;	/* INT64_MIN % -1 traps */
	rest = a % b;
	return rest && (rest < 0) != (b < 0) ? rest + b : rest;
}

__int128
number_nearest(__int128 a, __int128 b)
{
	__int128 q = a / b, rest = a % b;

	if (rest < 0) {
		q--;
		rest += b;
	}
	if (rest > b - rest || (rest == b - rest && (q & 1)))
		q++;
	return q;
}

/* X ** N by squaring.  The last square is not made, for it is not needed and
 * might not fit. */
static bool
power_overflows(int64_t x, int64_t n, int64_t *out)
{
	int64_t result = 1;

	while (n > 0) {
		if ((n & 1) && __builtin_mul_overflow(result, x, &result))
			return true;
		n >>= 1;
		if (n && __builtin_mul_overflow(x, x, &x))
			return true;
	}
	*out = result;
	return false;
}

static int
store_float(struct work *w, enum op op, double x, double y, double f, struct value *out)
{
	char a[NUMBER_TEXT], b[NUMBER_TEXT];

	if (!isfinite(f))
		return work_fail(w, "float overflow: %s %s %s is beyond the range of a float",
		    number_write(x, a), op_text(op), number_write(y, b));
	*out = value_float(f);
	return 0;
}

/* As float_divmod() of CPython: the quotient is exact before it is floored. */
static double
float_divmod(double x, double y, double *mod)
{
	double rest = fmod(x, y), q = (x - rest) / y, whole;

	if (rest == 0)
		rest = copysign(0, y);
	else if ((y < 0) != (rest < 0)) {
		rest += y;
		q -= 1;
	}
	*mod = rest;
	if (q == 0)
		return copysign(0, x / y);
	whole = floor(q);
	return q - whole > 0.5 ? whole + 1 : whole;
}

static int
float_power(struct work *w, double x, double y, struct value *out)
{
	if (x == 0 && y < 0)
		return work_fail(w, "0.0 cannot be raised to a negative power");
	if (x < 0 && y != floor(y))
		return work_fail(w, "a negative number raised to a fraction is a complex "
		    "number, which is not part of the expression language");
	return store_float(w, OP_POW, x, y, pow(x, y), out);
}

static int
operate_floats(struct work *w, enum op op, double x, double y, struct value *out)
{
	double mod, q;

	if (y == 0 && (op == OP_DIV || op == OP_FLOORDIV || op == OP_MOD))
		return no_zero(w, op, true);
	switch (op) {
	case OP_ADD:
		return store_float(w, op, x, y, x + y, out);
	case OP_SUB:
		return store_float(w, op, x, y, x - y, out);
	case OP_MUL:
		return store_float(w, op, x, y, x * y, out);
	case OP_DIV:
		return store_float(w, op, x, y, x / y, out);
	case OP_POW:
		return float_power(w, x, y, out);
	default:
		q = float_divmod(x, y, &mod);
		return store_float(w, op, x, y, op == OP_MOD ? mod : q, out);
	}
}

static int
operate_ints(struct work *w, enum op op, int64_t x, int64_t y, struct value *out)
{
	bool over = false;
	int64_t i = 0;

	if (y == 0 && (op == OP_DIV || op == OP_FLOORDIV || op == OP_MOD))
		return no_zero(w, op, false);
	switch (op) {
	case OP_ADD:
		over = __builtin_add_overflow(x, y, &i);
		break;
	case OP_SUB:
		over = __builtin_sub_overflow(x, y, &i);
		break;
	case OP_MUL:
		over = __builtin_mul_overflow(x, y, &i);
		break;
	case OP_DIV:
		*out = value_float(number_ratio(x, y));
		return 0;
	case OP_FLOORDIV:
		over = x == INT64_MIN && y == -1;
		i = over ? 0 : number_floordiv(x, y);
		break;
	case OP_MOD:
		i = number_mod(x, y);
		break;
	default:
		if (y < 0)
			return float_power(w, (double)x, (double)y, out);
		over = power_overflows(x, y, &i);
		break;
	}
	if (over)
		return work_fail(w, "integer overflow: %" PRId64 " %s %" PRId64
		    " does not fit 64 bits", x, op_text(op), y);
	*out = value_int(i);
	return 0;
}

int
number_operate(struct work *w, enum op op, const struct value *a,
    const struct value *b, struct value *out)
{
	if (a->type != VALUE_FLOAT && b->type != VALUE_FLOAT)
		return operate_ints(w, op, a->i, b->i, out);
	return operate_floats(w, op, a->type == VALUE_FLOAT ? a->f : (double)a->i,
	    b->type == VALUE_FLOAT ? b->f : (double)b->i, out);
}

int
number_to_int(struct work *w, double f, int64_t *i)
{
	char buf[NUMBER_TEXT];

	if (f >= 9223372036854775808.0 || f < -9223372036854775808.0)
		return work_fail(w, "integer overflow: %s does not fit 64 bits",
		    number_write(f, buf));
	*i = (int64_t)f;
	return 0;
}

static int
round_int(struct work *w, int64_t i, int64_t digits, struct value *out)
{
	__int128 unit = 1, whole;

	if (digits < -20)
		digits = -20;	/* 10**20 is more than twice any int */
	for (; digits < 0; digits++)
		unit *= 10;
	whole = number_nearest(i, unit) * unit;
	if (whole > INT64_MAX || whole < INT64_MIN)
		return work_fail(w, "integer overflow: %" PRId64
		    " rounded does not fit 64 bits", i);
	*out = value_int((int64_t)whole);
	return 0;
}

/* The C library prints exact digits, half to even: it does the rounding. */
static double
round_float(double f, int64_t digits)
{
	char buf[800];
	int exponent;

	if (f == 0 || digits > 323)
		return f;
	if (digits >= 0) {
		snprintf(buf, sizeof buf, "%.*f", (int)digits, f);
		return strtod(buf, NULL);
	}
	/* How many digits stay before the rounded place? */
	snprintf(buf, sizeof buf, "%.30e", f);
	exponent = atoi(strchr(buf, 'e') + 1);
	if (digits < -309 || exponent + digits < -1)
		return copysign(0, f);
	if (exponent + digits >= 0) {
		snprintf(buf, sizeof buf, "%.*e", (int)(exponent + digits), f);
		return strtod(buf, NULL);
	}
	/* Less than one unit: more than half of it rounds up, half to even.  The
	 * half itself need not be a double: look at all digits of F. */
	snprintf(buf, sizeof buf, "%.766e", fabs(f));
	if (buf[0] < '5' || (buf[0] == '5' && buf[2 + strspn(buf + 2, "0")] == 'e'))
		return copysign(0, f);
	snprintf(buf, sizeof buf, "1e%d", exponent + 1);
	return copysign(strtod(buf, NULL), f);
}

int
number_round(struct work *w, const struct value *v, const int64_t *digits,
    struct value *out)
{
	int64_t i = 0;
	double f;

	if (v->type != VALUE_FLOAT && !digits) {
		*out = value_int(v->i);
		return 0;
	}
	if (v->type != VALUE_FLOAT)
		return round_int(w, v->i, *digits, out);
	if (!digits) {
		if (number_to_int(w, rint(v->f), &i))
			return -1;
		*out = value_int(i);
		return 0;
	}
	f = round_float(v->f, *digits);
	if (!isfinite(f))
		return work_fail(w, "float overflow: the rounded value is beyond the "
		    "range of a float");
	*out = value_float(f);
	return 0;
}
