/* moment.c - instants, days and spans of time.
 *
 * Whatever Python computes with exact rationals (a timedelta times a float,
 * say) is computed here in 128 bits, and refused where those do not suffice,
 * which is far beyond what fits the result. */
#include "expr/moment.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "expr/number.h"
#include "expr/value.h"
#include "expr/work.h"

#define FIRST (-62135596800 * SECOND)			/* 0001-01-01 */
#define LAST (253402300800 * SECOND - 1)		/* the end of 9999 */

static int
make_span(struct work *w, __int128 us, struct value *out)
{
	if (us > INT64_MAX || us < INT64_MIN)
		return work_fail(w, "timedelta out of range");
	*out = (struct value){ .type = VALUE_TIMEDELTA, .i = (int64_t)us };
	return 0;
}

static int
make_instant(struct work *w, enum value_type type, __int128 us, struct value *out)
{
	if (us < FIRST || us > LAST)
		return work_fail(w, "date value out of range");
	*out = (struct value){ .type = type, .i = (int64_t)us };
	return 0;
}

static int
read_text(struct work *w, const struct value *v, const char *function, instant *t)
{
	char message[80];
	struct err why;

	if (v->type != VALUE_STR)
		return work_fail(w, "%s() takes ISO text (\"2026-05-01T09:00Z\"), not %s",
		    function, value_type_name(v));
	snprintf(message, sizeof message, "%s() cannot read this as a time", function);
	if (strlen(v->text) != v->n || clock_parse(v->text, t, &why) || !clock_isfinite(*t))
		return value_fail(w, message, v);
	return 0;
}

int
moment_read_datetime(struct work *w, const struct value *v, struct value *out)
{
	instant t = v->i;

	if (v->type != VALUE_DATETIME && v->type != VALUE_DATE &&
	    read_text(w, v, "datetime", &t))
		return -1;
	return make_instant(w, VALUE_DATETIME, t, out);
}

int
moment_read_date(struct work *w, const struct value *v, struct value *out)
{
	instant t = v->i;

	if (v->type != VALUE_DATETIME && v->type != VALUE_DATE &&
	    read_text(w, v, "date", &t))
		return -1;
	return make_instant(w, VALUE_DATE, t - number_mod(t, DAY), out);
}

/* As CPython does it: the whole part of a float exactly, its fraction and
 * that fraction's whole microseconds apart, what is left over rounded once. */
static int
add_part(struct work *w, const struct value *v, const char *name, int64_t unit,
    __int128 *sum, double *rest)
{
	double whole, fraction;

	if (v->type == VALUE_ABSENT)
		return 0;
	if (value_is_integer(v)) {
		*sum += (__int128)v->i * unit;
		return 0;
	}
	if (v->type != VALUE_FLOAT)
		return work_fail(w, "unsupported type for timedelta %s component: %s",
		    name, value_type_name(v));
	fraction = modf(v->f, &whole);
	if (fabs(whole) > 1e19)
		return work_fail(w, "timedelta out of range");
	*sum += (__int128)whole * unit;
	fraction = modf(fraction * (double)unit, &whole);
	*sum += (__int128)whole;
	*rest += fraction;
	return 0;
}

int
moment_make_timedelta(struct work *w, const struct value *args, struct value *out)
{
	static const struct {
		int arg;
		const char *name;
		int64_t unit;
	} parts[MOMENT_TIMEDELTA_ARGS] = {
		{ 2, "microseconds", 1 }, { 3, "milliseconds", 1000 },
		{ 1, "seconds", SECOND }, { 4, "minutes", MINUTE },
		{ 5, "hours", HOUR }, { 0, "days", DAY }, { 6, "weeks", 7 * DAY },
	};
	__int128 sum = 0;
	double rest = 0, whole;

	for (int i = 0; i < MOMENT_TIMEDELTA_ARGS; i++)
		if (add_part(w, &args[parts[i].arg], parts[i].name, parts[i].unit,
		    &sum, &rest))
			return -1;
	whole = round(rest);
	if (fabs(whole - rest) == 0.5) {	/* half to even, the sum included */
		double odd = sum & 1 ? 1 : 0;

		whole = 2 * round((rest + odd) * 0.5) - odd;
	}
	return make_span(w, sum + (__int128)whole, out);
}

/* F is M * 2**E, M an odd integer (or 0). */
static void
take_apart(double f, int64_t *m, int *e)
{
	*m = (int64_t)ldexp(frexp(f, e), 53);
	*e -= 53;
	while (*m && !(*m & 1)) {
		*m /= 2;
		++*e;
	}
}

static int
bits(__int128 x)
{
	int n = 0;

	for (unsigned __int128 u = x < 0 ? -(unsigned __int128)x : (unsigned __int128)x; u; u >>= 1)
		n++;
	return n;
}

static int
times_float(struct work *w, int64_t us, double f, struct value *out)
{
	__int128 product;
	int64_t m;
	int e;

	take_apart(f, &m, &e);
	product = (__int128)us * m;
	if (!product)
		return make_span(w, 0, out);
	if (e >= 0 && bits(product) + e > 126)
		return work_fail(w, "timedelta out of range");
	if (e >= 0)
		return make_span(w, product * ((__int128)1 << e), out);
	if (e < -126)
		return make_span(w, 0, out);
	return make_span(w, number_nearest(product, (__int128)1 << -e), out);
}

static int
by_float(struct work *w, int64_t us, double f, struct value *out)
{
	__int128 above = us, below;
	int64_t m;
	int e;

	if (f == 0)
		return work_fail(w, "integer division or modulo by zero");
	take_apart(f, &m, &e);
	if (m < 0) {
		m = -m;
		above = -above;
	}
	below = m;
	if (e < 0 && above && bits(above) - e > 126)
		return work_fail(w, "timedelta out of range");
	if (e < 0)
		above = above ? above * ((__int128)1 << -e) : 0;
	else if (bits(below) + e > 126)
		return make_span(w, 0, out);
	else
		below <<= e;
	return make_span(w, number_nearest(above, below), out);
}

static int
span_and_number(struct work *w, enum op op, int64_t us, const struct value *b,
    struct value *out)
{
	__int128 above = us;

	if (b->type == VALUE_FLOAT && op == OP_MUL)
		return times_float(w, us, b->f, out);
	if (b->type == VALUE_FLOAT && op == OP_DIV)
		return by_float(w, us, b->f, out);
	if (b->type == VALUE_FLOAT || (op != OP_MUL && op != OP_DIV && op != OP_FLOORDIV))
		return 1;
	if (op == OP_MUL)
		return make_span(w, above * b->i, out);
	if (b->i == 0)
		return work_fail(w, "integer division or modulo by zero");
	if (op == OP_DIV && b->i < 0)
		return make_span(w, number_nearest(-above, -(__int128)b->i), out);
	if (op == OP_DIV)
		return make_span(w, number_nearest(above, b->i), out);
	if (b->i == -1)
		return make_span(w, -above, out);
	return make_span(w, number_floordiv(us, b->i), out);
}

static int
two_spans(struct work *w, enum op op, int64_t a, int64_t b, struct value *out)
{
	if (op == OP_ADD)
		return make_span(w, (__int128)a + b, out);
	if (op == OP_SUB)
		return make_span(w, (__int128)a - b, out);
	if (op != OP_DIV && op != OP_FLOORDIV && op != OP_MOD)
		return 1;
	if (b == 0)
		return work_fail(w, op == OP_DIV ? "division by zero" :
		    op == OP_MOD ? "integer modulo by zero" :
		    "integer division or modulo by zero");
	if (op == OP_DIV)
		*out = value_float(number_ratio(a, b));
	else if (op == OP_MOD)
		return make_span(w, number_mod(a, b), out);
	else if (a == INT64_MIN && b == -1)
		return work_fail(w, "integer overflow: the quotient does not fit 64 bits");
	else
		*out = value_int(number_floordiv(a, b));
	return 0;
}

/* To a date, a timedelta is its days: those below the sum, as Python has it. */
static int
shift(struct work *w, enum op op, const struct value *v, int64_t us, struct value *out)
{
	__int128 by = us;

	if (v->type == VALUE_DATE)
		by = (__int128)number_floordiv(us, DAY) * DAY;
	return make_instant(w, v->type, op == OP_ADD ? v->i + by : v->i - by, out);
}

int
moment_operate(struct work *w, enum op op, const struct value *a,
    const struct value *b, struct value *out)
{
	bool a_is_time = a->type == VALUE_DATETIME || a->type == VALUE_DATE;
	bool b_is_time = b->type == VALUE_DATETIME || b->type == VALUE_DATE;

	if (a->type == VALUE_TIMEDELTA && b->type == VALUE_TIMEDELTA)
		return two_spans(w, op, a->i, b->i, out);
	if (a->type == VALUE_TIMEDELTA && value_is_number(b))
		return span_and_number(w, op, a->i, b, out);
	if (b->type == VALUE_TIMEDELTA && value_is_number(a) && op == OP_MUL)
		return span_and_number(w, op, b->i, a, out);
	if (a_is_time && b->type == VALUE_TIMEDELTA && (op == OP_ADD || op == OP_SUB))
		return shift(w, op, a, b->i, out);
	if (b_is_time && a->type == VALUE_TIMEDELTA && op == OP_ADD)
		return shift(w, op, b, a->i, out);
	if (a_is_time && a->type == b->type && op == OP_SUB)
		return make_span(w, (__int128)a->i - b->i, out);
	return 1;
}

int
moment_negate(struct work *w, const struct value *v, struct value *out)
{
	return make_span(w, -(__int128)v->i, out);
}

static int
days_of(int64_t us)
{
	return (int)number_floordiv(us, DAY);
}

int
moment_attribute(const struct value *v, const char *name, struct value *out)
{
	struct civil c;
	bool is_time = v->type == VALUE_DATETIME, is_span = v->type == VALUE_TIMEDELTA;
	bool is_day = is_time || v->type == VALUE_DATE;

	if (is_day)
		clock_civil(v->i, &c);
	if (is_day && !strcmp(name, "year"))
		*out = value_int(c.year);
	else if (is_day && !strcmp(name, "month"))
		*out = value_int(c.month);
	else if (is_day && !strcmp(name, "day"))
		*out = value_int(c.day);
	else if (is_time && !strcmp(name, "hour"))
		*out = value_int(c.hour);
	else if (is_time && !strcmp(name, "minute"))
		*out = value_int(c.minute);
	else if (is_time && !strcmp(name, "second"))
		*out = value_int(c.second);
	else if (is_time && !strcmp(name, "microsecond"))
		*out = value_int(c.micro);
	else if (is_span && !strcmp(name, "days"))
		*out = value_int(days_of(v->i));
	else if (is_span && !strcmp(name, "seconds"))
		*out = value_int(number_mod(v->i, DAY) / SECOND);
	else if (is_span && !strcmp(name, "microseconds"))
		*out = value_int(number_mod(v->i, SECOND));
	else
		return 1;
	return 0;
}

const char *const moment_methods[] = {
	"weekday", "isoweekday", "date", "isoformat", "timestamp", "total_seconds", NULL,
};

static void
write_iso(const struct value *v, char between, struct str *s)
{
	struct civil c;

	clock_civil(v->i, &c);
	str_printf(s, "%04d-%02d-%02d", c.year, c.month, c.day);
	if (v->type == VALUE_DATE)
		return;
	str_printf(s, "%c%02d:%02d:%02d", between, c.hour, c.minute, c.second);
	if (c.micro)
		str_printf(s, ".%06d", c.micro);
	str_puts(s, "+00:00");
}

int
moment_method(struct work *w, const struct value *v, const char *name, struct value *out)
{
	bool is_time = v->type == VALUE_DATETIME, is_span = v->type == VALUE_TIMEDELTA;
	bool is_day = is_time || v->type == VALUE_DATE;
	struct str s = STR_INIT;
	struct civil c;

	if (is_day)
		clock_civil(v->i, &c);
	if (is_day && !strcmp(name, "weekday"))
		*out = value_int(c.weekday);
	else if (is_day && !strcmp(name, "isoweekday"))
		*out = value_int(c.weekday + 1);
	else if (is_time && !strcmp(name, "date"))
		return moment_read_date(w, v, out);
	else if ((is_time && !strcmp(name, "timestamp")) ||
	    (is_span && !strcmp(name, "total_seconds")))
		*out = value_float(number_ratio(v->i, SECOND));
	else if (is_day && !strcmp(name, "isoformat")) {
		write_iso(v, 'T', &s);
		*out = value_text(arena_strndup(&w->arena, str_text(&s), s.len), s.len);
		str_done(&s);
	} else
		return 1;
	return 0;
}

json_t *
moment_to_json(const struct value *v)
{
	char buf[INSTANT_TEXT];

	if (v->type == VALUE_TIMEDELTA && v->i % SECOND == 0)
		return json_integer(v->i / SECOND);
	if (v->type == VALUE_TIMEDELTA)
		return json_real(number_ratio(v->i, SECOND));
	clock_format(v->i, buf);
	return json_stringn(buf, v->type == VALUE_DATE ? 10 : strlen(buf));
}

static void
write_span(const struct value *v, struct str *s)
{
	int64_t rest = number_mod(v->i, DAY);
	int days = days_of(v->i);

	if (days)
		str_printf(s, "%d day%s, ", days, days == 1 || days == -1 ? "" : "s");
	str_printf(s, "%d:%02d:%02d", (int)(rest / HOUR), (int)(rest / MINUTE % 60),
	    (int)(rest / SECOND % 60));
	if (rest % SECOND)
		str_printf(s, ".%06d", (int)(rest % SECOND));
}

void
moment_str(const struct value *v, struct str *s)
{
	if (v->type == VALUE_TIMEDELTA)
		write_span(v, s);
	else
		write_iso(v, ' ', s);
}

static void
repr_span(const struct value *v, struct str *s)
{
	int64_t rest = number_mod(v->i, DAY);
	const char *comma = "";

	str_puts(s, "datetime.timedelta(");
	if (days_of(v->i)) {
		str_printf(s, "days=%d", days_of(v->i));
		comma = ", ";
	}
	if (rest / SECOND) {
		str_printf(s, "%sseconds=%d", comma, (int)(rest / SECOND));
		comma = ", ";
	}
	if (rest % SECOND)
		str_printf(s, "%smicroseconds=%d", comma, (int)(rest % SECOND));
	str_puts(s, v->i ? ")" : "0)");
}

void
moment_repr(const struct value *v, struct str *s)
{
	struct civil c;

	if (v->type == VALUE_TIMEDELTA) {
		repr_span(v, s);
		return;
	}
	clock_civil(v->i, &c);
	if (v->type == VALUE_DATE) {
		str_printf(s, "datetime.date(%d, %d, %d)", c.year, c.month, c.day);
		return;
	}
	str_printf(s, "datetime.datetime(%d, %d, %d, %d, %d", c.year, c.month, c.day,
	    c.hour, c.minute);
	if (c.second || c.micro)
		str_printf(s, ", %d", c.second);
	if (c.micro)
		str_printf(s, ", %d", c.micro);
	str_puts(s, ", tzinfo=datetime.timezone.utc)");
}
