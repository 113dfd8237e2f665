/* func.c - the functions of the language, as Python has them, and count().
 *
 * The table at the end is what there is. */
#include "expr/func.h"
#include <math.h>
#include <string.h>
#include "base/str.h"
#include "expr/compare.h"
#include "expr/moment.h"
#include "expr/number.h"
#include "expr/operate.h"
#include "expr/value.h"
#include "expr/work.h"

static int
call_abs(struct work *w, const struct value *args, size_t n, struct value *out)
{
	if (args->type == VALUE_FLOAT) {
		*out = value_float(fabs(args->f));
		return 0;
	}
	if (!value_is_integer(args) && args->type != VALUE_TIMEDELTA)
		return work_fail(w, "bad operand type for abs(): '%s'", value_type_name(args));
	return operate_unary(w, args->i < 0 ? '-' : '+', args, out);
}

/* The least or the greatest of many, by OP; what comes first wins a tie. */
static int
best_of(struct work *w, enum op op, const struct value *args, size_t n, struct value *out)
{
	int better;

	*out = args[0];
	for (size_t i = 1; i < n; i++) {
		better = compare_values(w, op, &args[i], out);
		if (better < 0)
			return -1;
		if (better)
			*out = args[i];
	}
	return 0;
}

static int
best_in(struct work *w, enum op op, const struct value *args, struct value *out)
{
	struct value_iter it;
	struct value item;
	bool found = false;
	int rc;

	if (value_iter_start(w, args, &it))
		return -1;
	while ((rc = value_iter_next(w, &it, &item)) == 1) {
		int better = found ? compare_values(w, op, &item, out) : 1;

		if (better < 0)
			return -1;
		if (better)
			*out = item;
		found = true;
	}
	if (rc < 0 || found)
		return rc;
	if (args[1].type == VALUE_ABSENT)
		return work_fail(w, "%s() arg is an empty sequence",
		    op == OP_LT ? "min" : "max");
	*out = args[1];
	return 0;
}

static int
best(struct work *w, enum op op, const struct value *args, size_t n, struct value *out)
{
	if (n == 1)
		return best_in(w, op, args, out);
	if (args[n].type != VALUE_ABSENT)
		return work_fail(w, "%s() takes a default with a single list only",
		    op == OP_LT ? "min" : "max");
	return best_of(w, op, args, n, out);
}

static int
call_min(struct work *w, const struct value *args, size_t n, struct value *out)
{
	return best(w, OP_LT, args, n, out);
}

static int
call_max(struct work *w, const struct value *args, size_t n, struct value *out)
{
	return best(w, OP_GT, args, n, out);
}

/* From left to right, as Python did up to 3.11: 3.12 and later compensate
 * what adding floats loses. */
static int
call_sum(struct work *w, const struct value *args, size_t n, struct value *out)
{
	struct value_iter it;
	struct value item, total = args[1].type == VALUE_ABSENT ? value_int(0) : args[1];
	int rc;

	if (total.type == VALUE_STR)
		return work_fail(w, "sum() can't sum strings");
	if (value_iter_start(w, &args[0], &it))
		return -1;
	while ((rc = value_iter_next(w, &it, &item)) == 1)
		if (operate_binary(w, OP_ADD, &total, &item, &total))
			return -1;
	*out = total;
	return rc;
}

static int
call_len(struct work *w, const struct value *args, size_t n, struct value *out)
{
	switch (args->type) {
	case VALUE_STR:
		if (work_spend_bytes(w, args->n))
			return -1;
		*out = value_int((int64_t)value_chars(args->text, args->n));
		return 0;
	case VALUE_LIST: case VALUE_TUPLE: case VALUE_DICT:
		*out = value_int((int64_t)args->n);
		return 0;
	default:
		return work_fail(w, "object of type '%s' has no len()", value_type_name(args));
	}
}

static int
call_round(struct work *w, const struct value *args, size_t n, struct value *out)
{
	const struct value *digits = &args[1];

	if (!value_is_number(args))
		return work_fail(w, "type %s doesn't define __round__ method",
		    value_type_name(args));
	if (digits->type == VALUE_ABSENT || digits->type == VALUE_NONE)
		return number_round(w, args, NULL, out);
	if (!value_is_integer(digits))
		return work_fail(w, "'%s' object cannot be interpreted as an integer",
		    value_type_name(digits));
	return number_round(w, args, &digits->i, out);
}

/* The first element whose truth is WANTED decides. */
static int
search(struct work *w, const struct value *v, bool wanted, struct value *out)
{
	struct value_iter it;
	struct value item;
	int rc;

	if (value_iter_start(w, v, &it))
		return -1;
	while ((rc = value_iter_next(w, &it, &item)) == 1)
		if (value_truth(&item) == wanted)
			break;
	*out = value_bool(rc ? wanted : !wanted);
	return rc < 0 ? -1 : 0;
}

static int
call_any(struct work *w, const struct value *args, size_t n, struct value *out)
{
	return search(w, args, true, out);
}

static int
call_all(struct work *w, const struct value *args, size_t n, struct value *out)
{
	return search(w, args, false, out);
}

static int
call_count(struct work *w, const struct value *args, size_t n, struct value *out)
{
	int64_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += value_truth(&args[i]);
	*out = value_int(count);
	return 0;
}

/* Text without the space around it and without its sign. */
static void
strip(const struct value *v, const char **text, size_t *n, bool *negative)
{
	static const char space[] = " \t\n\r\f\v\x1c\x1d\x1e\x1f";
	const char *s = v->text, *end = s + v->n;

	while (s < end && *s && strchr(space, *s))
		s++;
	while (end > s && end[-1] && strchr(space, end[-1]))
		end--;
	*negative = s < end && *s == '-';
	if (s < end && (*s == '-' || *s == '+'))
		s++;
	*text = s;
	*n = (size_t)(end - s);
}

static int
int_of_text(struct work *w, const struct value *v, int base, struct value *out)
{
	const char *s;
	size_t n, prefix = 0;
	uint64_t u;
	bool negative;

	strip(v, &s, &n, &negative);
	if (n > 2 && s[0] == '0' && (((s[1] | 0x20) == 'x' && base == 16) ||
	    ((s[1] | 0x20) == 'o' && base == 8) || ((s[1] | 0x20) == 'b' && base == 2)))
		prefix = s[2] == '_' ? 3 : 2;
	if (work_spend_bytes(w, v->n))
		return -1;
	if (number_read_int(s + prefix, n - prefix, base, &u) ||
	    u > (uint64_t)INT64_MAX + negative)
		return value_fail(w, base == 10 ?
		    "int() takes text that is an integer of 64 bits, not" :
		    "int() takes text that is an integer of that base and of 64 bits, not", v);
	*out = value_int(negative ? (int64_t)-u : (int64_t)u);
	return 0;
}

static int
call_int(struct work *w, const struct value *args, size_t n, struct value *out)
{
	const struct value *base = &args[1];
	int64_t i;

	if (args->type == VALUE_ABSENT && base->type == VALUE_ABSENT)
		*out = value_int(0);
	else if (base->type != VALUE_ABSENT) {
		if (args->type != VALUE_STR)
			return work_fail(w, "int() can't convert non-string with explicit base");
		if (!value_is_integer(base) || base->i < 2 || base->i > 36)
			return work_fail(w, "int() base must be >= 2 and <= 36");
		return int_of_text(w, args, (int)base->i, out);
	} else if (args->type == VALUE_STR)
		return int_of_text(w, args, 10, out);
	else if (args->type == VALUE_FLOAT) {
		if (number_to_int(w, args->f, &i))
			return -1;
		*out = value_int(i);
	} else if (value_is_integer(args))
		*out = value_int(args->i);
	else
		return work_fail(w, "int() argument must be a string or a real number, not '%s'",
		    value_type_name(args));
	return 0;
}

static int
call_float(struct work *w, const struct value *args, size_t n, struct value *out)
{
	const char *s;
	bool negative;
	size_t len;
	double f = 0;

	if (args->type == VALUE_STR) {
		strip(args, &s, &len, &negative);
		if (work_spend_bytes(w, args->n))
			return -1;
		if (number_read_float(s, len, &f))
			return value_fail(w,
			    "float() takes text that is a finite number, not", args);
		f = negative ? -f : f;
	} else if (args->type == VALUE_FLOAT)
		f = args->f;
	else if (value_is_integer(args))
		f = (double)args->i;
	else if (args->type != VALUE_ABSENT)
		return work_fail(w, "float() argument must be a string or a real number, "
		    "not '%s'", value_type_name(args));
	*out = value_float(f);
	return 0;
}

static int
call_str(struct work *w, const struct value *args, size_t n, struct value *out)
{
	struct str s = STR_INIT;
	int rc = 0;

	if (args->type == VALUE_STR) {
		*out = *args;
		return 0;
	}
	if (args->type != VALUE_ABSENT)
		rc = value_str(w, args, &s);
	if (!rc)
		*out = value_text(arena_strndup(&w->arena, str_text(&s), s.len), s.len);
	str_done(&s);
	return rc;
}

static int
call_bool(struct work *w, const struct value *args, size_t n, struct value *out)
{
	*out = value_bool(value_truth(args));
	return 0;
}

static int
call_timedelta(struct work *w, const struct value *args, size_t n, struct value *out)
{
	return moment_make_timedelta(w, args, out);
}

static int
call_datetime(struct work *w, const struct value *args, size_t n, struct value *out)
{
	return moment_read_datetime(w, args, out);
}

static int
call_date(struct work *w, const struct value *args, size_t n, struct value *out)
{
	return moment_read_date(w, args, out);
}

static const struct func funcs[] = {
	{ "abs", 1, 1, false, { "" }, call_abs },
	{ "all", 1, 1, false, { "" }, call_all },
	{ "any", 1, 1, false, { "" }, call_any },
	{ "bool", 0, 1, false, { "" }, call_bool },
	{ "count", 1, 0, true, { "" }, call_count },
	{ "date", 1, 1, false, { "" }, call_date },
	{ "datetime", 1, 1, false, { "" }, call_datetime },
	{ "float", 0, 1, false, { "" }, call_float },
	{ "int", 0, 2, false, { "", "base" }, call_int },
	{ "len", 1, 1, false, { "" }, call_len },
	{ "max", 1, 0, true, { "default" }, call_max },
	{ "min", 1, 0, true, { "default" }, call_min },
	{ "round", 1, 2, false, { "", "ndigits" }, call_round },
	{ "str", 0, 1, false, { "" }, call_str },
	{ "sum", 1, 2, false, { "", "start" }, call_sum },
	{ "timedelta", 0, MOMENT_TIMEDELTA_ARGS, false, { "days", "seconds", "microseconds",
	    "milliseconds", "minutes", "hours", "weeks" }, call_timedelta },
};

#define FUNCS (sizeof funcs / sizeof funcs[0])

const struct func *
func_find(const char *name, size_t n)
{
	for (size_t i = 0; i < FUNCS; i++)
		if (*funcs[i].name == *name && strlen(funcs[i].name) == n &&
		    !memcmp(funcs[i].name, name, n))
			return &funcs[i];
	return NULL;
}

size_t
func_names(const char *const **names)
{
	static const char *const all[] = { "abs", "all", "any", "bool", "count", "date",
		"datetime", "float", "int", "len", "max", "min", "round", "str", "sum",
		"timedelta" };

	_Static_assert(sizeof all / sizeof all[0] == FUNCS, "a name for each function");
	*names = all;
	return FUNCS;
}

int
func_keyword(const struct func *f, const char *name, size_t n)
{
	for (int i = 0; i < FUNC_PARAMS && f->params[i]; i++)
		if (*f->params[i] && strlen(f->params[i]) == n && !memcmp(f->params[i], name, n))
			return i;
	return -1;
}
