/* operate.c - what + and [] and their like mean for each type. */
#include "expr/operate.h"
#include <inttypes.h>
#include <string.h>
#include "base/err.h"
#include "base/str.h"
#include "base/vec.h"
#include "expr/expr.h"
#include "expr/moment.h"
#include "expr/number.h"
#include "expr/value.h"
#include "expr/work.h"

static bool
is_sequence(const struct value *v)
{
	return v->type == VALUE_STR || v->type == VALUE_LIST || v->type == VALUE_TUPLE;
}

static int
unsupported(struct work *w, enum op op, const struct value *a, const struct value *b)
{
	return work_fail(w, "unsupported operand type(s) for %s: '%s' and '%s'",
	    op == OP_POW ? "** or pow()" : op_text(op), value_type_name(a), value_type_name(b));
}

/* Elements FROM, FROM + STEP, ... of V, N of them, into ITEMS. */
static int
copy_items(struct work *w, const struct value *v, struct value *items,
    size_t from, int64_t step, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (value_item(w, v, from + (size_t)((int64_t)i * step), &items[i]))
			return -1;
	return 0;
}

static int
join_texts(struct work *w, const struct value *a, const struct value *b, struct value *out)
{
	size_t n = a->n + b->n;
	char *text;

	if (!(text = work_text(w, n)))
		return -1;
	memcpy(text, a->text, a->n);
	memcpy(text + a->n, b->text, b->n);
	*out = value_text(text, n);
	return 0;
}

static int
join(struct work *w, const struct value *a, const struct value *b, struct value *out)
{
	struct value *items;

	if (a->type != b->type)
		return work_fail(w, "can only concatenate %s (not \"%s\") to %s",
		    value_type_name(a), value_type_name(b), value_type_name(a));
	if (a->type == VALUE_STR)
		return join_texts(w, a, b, out);
	if (!(items = work_alloc(w, a->n + b->n, sizeof *items)) ||
	    copy_items(w, a, items, 0, 1, a->n) ||
	    copy_items(w, b, items + a->n, 0, 1, b->n))
		return -1;
	*out = value_items(a->type, items, a->n + b->n);
	return 0;
}

static int
repeat(struct work *w, const struct value *v, const struct value *times, struct value *out)
{
	size_t n, count;
	struct value *items;
	char *text;

	if (!value_is_integer(times))
		return work_fail(w, "can't multiply sequence by non-int of type '%s'",
		    value_type_name(times));
	count = times->i < 0 ? 0 : (size_t)times->i;
	if (__builtin_mul_overflow(count, v->n, &n))
		n = SIZE_MAX;
	if (work_size(w, n))
		return -1;
	if (!n)
		count = 0;
	if (v->type == VALUE_STR) {
		if (!(text = work_text(w, n)))
			return -1;
		for (size_t i = 0; i < count; i++)
			memcpy(text + i * v->n, v->text, v->n);
		*out = value_text(text, n);
		return work_spend(w, count);
	}
	if (!(items = work_alloc(w, n, sizeof *items)))
		return -1;
	for (size_t i = 0; i < count; i++)
		if (copy_items(w, v, items + i * v->n, 0, 1, v->n))
			return -1;
	*out = value_items(v->type, items, n);
	return 0;
}

int
operate_binary(struct work *w, enum op op, const struct value *a,
    const struct value *b, struct value *out)
{
	int rc;

	if (value_is_number(a) && value_is_number(b))
		return number_operate(w, op, a, b, out);
	if (op == OP_ADD && is_sequence(a))
		return join(w, a, b, out);
	if (op == OP_MUL && is_sequence(a))
		return repeat(w, a, b, out);
	if (op == OP_MUL && is_sequence(b))
		return repeat(w, b, a, out);
	if (op == OP_MOD && a->type == VALUE_STR)
		return work_fail(w, "formatting with %% is not part of the expression "
		    "language; use str() and +");
	rc = moment_operate(w, op, a, b, out);
	return rc == 1 ? unsupported(w, op, a, b) : rc;
}

int
operate_unary(struct work *w, char sign, const struct value *v, struct value *out)
{
	if (v->type == VALUE_FLOAT) {
		*out = value_float(sign == '-' ? -v->f : v->f);
		return 0;
	}
	if (v->type == VALUE_TIMEDELTA && sign == '-')
		return moment_negate(w, v, out);
	if (v->type == VALUE_TIMEDELTA) {
		*out = *v;
		return 0;
	}
	if (!value_is_integer(v))
		return work_fail(w, "bad operand type for unary %c: '%s'", sign,
		    value_type_name(v));
	if (sign == '-' && v->i == INT64_MIN)
		return work_fail(w, "integer overflow: -(%" PRId64 ") does not fit 64 bits",
		    v->i);
	*out = value_int(sign == '-' ? -v->i : v->i);
	return 0;
}

static int
index_dict(struct work *w, const struct value *dict, const struct value *key,
    struct value *out)
{
	int rc = value_find(w, dict, key, out);

	return rc ? rc < 0 ? -1 : 0 : value_fail(w, "no such key", key);
}

/* Characters one by one: where each begins is looked up first. */
static int
pick_chars(struct work *w, const struct value *v, size_t from, int64_t step,
    size_t n, struct value *out)
{
	VEC(size_t) starts = { 0 };
	struct str text = STR_INIT;

	if (work_spend(w, v->n))
		return -1;
	for (size_t at = 0; at < v->n; at++)
		if (((unsigned char)v->text[at] & 0xc0) != 0x80)
			vec_push(&starts, at);
	vec_push(&starts, v->n);
	for (size_t i = 0; i < n; i++) {
		size_t k = from + (size_t)((int64_t)i * step);

		str_add(&text, v->text + starts.at[k], starts.at[k + 1] - starts.at[k]);
	}
	*out = value_text(arena_strndup(&w->arena, str_text(&text), text.len), text.len);
	vec_done(&starts);
	str_done(&text);
	return 0;
}

/* Characters FROM .. FROM + N are one stretch of bytes. */
static int
slice_text(struct work *w, const struct value *v, size_t from, int64_t step,
    size_t n, struct value *out)
{
	size_t at, end;

	if (n > 1 && step != 1)
		return pick_chars(w, v, from, step, n, out);
	if (work_spend_bytes(w, 2 * v->n))
		return -1;
	at = n ? value_char_at(v->text, v->n, from) : 0;
	end = n ? at + value_char_at(v->text + at, v->n - at, n) : 0;
	*out = value_text(arena_strndup(&w->arena, v->text + at, end - at), end - at);
	return 0;
}

static int
index_sequence(struct work *w, const struct value *v, const struct value *key,
    struct value *out)
{
	const char *type = value_type_name(v);
	int64_t i, n;

	if (!value_is_integer(key))
		return work_fail(w, v->type == VALUE_STR ?
		    "string indices must be integers, not '%s'" :
		    v->type == VALUE_LIST ?
		    "list indices must be integers or slices, not %s" :
		    "tuple indices must be integers or slices, not %s",
		    value_type_name(key));
	if (v->type == VALUE_STR && work_spend_bytes(w, v->n))
		return -1;
	n = (int64_t)(v->type == VALUE_STR ? value_chars(v->text, v->n) : v->n);
	i = key->i < 0 ? key->i + n : key->i;
	if (i < 0 || i >= n)
		return work_fail(w, "%s index out of range: %" PRId64 " of %" PRId64,
		    v->type == VALUE_STR ? "string" : type, key->i, n);
	if (v->type == VALUE_STR)
		return slice_text(w, v, (size_t)i, 1, 1, out);
	return value_item(w, v, (size_t)i, out);
}

int
operate_index(struct work *w, const struct value *v, const struct value *key,
    struct value *out)
{
	if (v->type == VALUE_DICT)
		return index_dict(w, v, key, out);
	if (is_sequence(v))
		return index_sequence(w, v, key, out);
	return work_fail(w, "'%s' object is not subscriptable", value_type_name(v));
}

/* A bound of a slice over N elements, as Python cuts it to size. */
static int64_t
cut(const struct value *bound, int64_t n, int64_t step, int64_t otherwise)
{
	int64_t i = bound->i, least = step < 0 ? -1 : 0, most = step < 0 ? n - 1 : n;

	if (bound->type == VALUE_NONE)
		return otherwise;
	if (i < 0)
		i += n;
	return i < least ? least : i > most ? most : i;
}

int
operate_slice(struct work *w, const struct value *v, const struct value *bounds,
    struct value *out)
{
	int64_t n, step, from, to, count;
	struct value *items;

	if (!is_sequence(v) && v->type != VALUE_DICT)
		return work_fail(w, "'%s' object is not subscriptable", value_type_name(v));
	if (v->type == VALUE_DICT)
		return work_fail(w, "unhashable type: 'slice'");
	for (int i = 0; i < 3; i++)
		if (bounds[i].type != VALUE_NONE && !value_is_integer(&bounds[i]))
			return work_fail(w, "slice indices must be integers or None, not %s",
			    value_type_name(&bounds[i]));
	step = bounds[2].type == VALUE_NONE ? 1 : bounds[2].i;
	if (step == 0)
		return work_fail(w, "slice step cannot be zero");
	if (step < -INT64_MAX)
		step = -INT64_MAX;
	if (v->type == VALUE_STR && work_spend_bytes(w, v->n))
		return -1;
	n = (int64_t)(v->type == VALUE_STR ? value_chars(v->text, v->n) : v->n);
	from = cut(&bounds[0], n, step, step < 0 ? n - 1 : 0);
	to = cut(&bounds[1], n, step, step < 0 ? -1 : n);
	count = step > 0 && from < to ? (to - from - 1) / step + 1 :
	    step < 0 && to < from ? (from - to - 1) / -step + 1 : 0;
	if (v->type == VALUE_STR)
		return slice_text(w, v, (size_t)from, step, (size_t)count, out);
	if (!(items = work_alloc(w, (size_t)count, sizeof *items)) ||
	    copy_items(w, v, items, (size_t)from, step, (size_t)count))
		return -1;
	*out = value_items(v->type, items, (size_t)count);
	return 0;
}

/* The key of a dict from JSON that NAME may have meant. */
static const char *
nearest_key(const struct value *dict, const char *name)
{
	const char *near, *key;
	VEC(const char *) keys = { 0 };
	json_t *item;

	if (!dict->is_json || dict->n > 1000)
		return NULL;
	json_object_foreach((json_t *)dict->json, key, item)
		if (!expr_check_name(key, &(struct err){ 0 }))
			vec_push(&keys, key);
	near = str_nearest(name, keys.at, keys.n);
	vec_done(&keys);
	return near;
}

static int
no_attribute(struct work *w, const struct value *v, const char *name)
{
	const char *near = v->type == VALUE_DICT ? nearest_key(v, name) : NULL;

	if (near)
		return work_fail(w, "'dict' object has no attribute '%s'; did you mean '%s'?",
		    name, near);
	return work_fail(w, "'%s' object has no attribute '%.200s'", value_type_name(v), name);
}

int
operate_attribute(struct work *w, const struct value *v, const char *name,
    struct value *out)
{
	struct value key = value_text(name, strlen(name));
	int rc;

	if (v->type == VALUE_DICT)
		rc = value_find(w, v, &key, out);
	else
		rc = !moment_attribute(v, name, out);
	if (rc)
		return rc < 0 ? -1 : 0;
	if (v->type != VALUE_DICT && !moment_method(w, v, name, out))
		return work_fail(w, "'%s' object has no attribute '%s'; it is a method: %s()",
		    value_type_name(v), name, name);
	return no_attribute(w, v, name);
}

int
operate_method(struct work *w, const struct value *v, const char *name,
    struct value *out)
{
	int rc = moment_method(w, v, name, out);

	return rc == 1 ? no_attribute(w, v, name) : rc;
}
