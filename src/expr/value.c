/* value.c - values: made, asked, taken from JSON and given back as JSON. */
#include "expr/value.h"
#include <string.h>
#include "base/clock.h"
#include "expr/compare.h"
#include "expr/expr.h"
#include "expr/moment.h"
#include "expr/work.h"

struct value
value_none(void)
{
	return (struct value){ .type = VALUE_NONE };
}

struct value
value_bool(bool b)
{
	return (struct value){ .type = VALUE_BOOL, .i = b };
}

struct value
value_int(int64_t i)
{
	return (struct value){ .type = VALUE_INT, .i = i };
}

struct value
value_float(double f)
{
	return (struct value){ .type = VALUE_FLOAT, .f = f };
}

struct value
value_text(const char *text, size_t n)
{
	return (struct value){ .type = VALUE_STR, .n = n, .text = text };
}

struct value
value_items(enum value_type type, const struct value *items, size_t n)
{
	return (struct value){ .type = type, .n = n, .items = items };
}

const char *
value_type_name(const struct value *v)
{
	static const char *const names[] = {
#define X(type, name) name,
		VALUE_TYPES(X)
#undef X
	};

	return names[v->type];
}

bool
value_is_number(const struct value *v)
{
	return v->type == VALUE_BOOL || v->type == VALUE_INT || v->type == VALUE_FLOAT;
}

bool
value_is_integer(const struct value *v)
{
	return v->type == VALUE_BOOL || v->type == VALUE_INT;
}

bool
value_truth(const struct value *v)
{
	switch (v->type) {
	case VALUE_BOOL: case VALUE_INT: case VALUE_TIMEDELTA:
		return v->i != 0;
	case VALUE_FLOAT:
		return v->f != 0;
	case VALUE_STR: case VALUE_LIST: case VALUE_TUPLE: case VALUE_DICT:
		return v->n != 0;
	case VALUE_DATETIME: case VALUE_DATE:
		return true;
	case VALUE_NONE: case VALUE_ABSENT:
		return false;
	}
	return false;
}

int
value_from_json(struct work *w, const json_t *json, struct value *v)
{
	switch (json_typeof(json)) {
	case JSON_NULL:
		*v = value_none();
		return 0;
	case JSON_TRUE: case JSON_FALSE:
		*v = value_bool(json_is_true(json));
		return 0;
	case JSON_INTEGER:
		*v = value_int(json_integer_value(json));
		return 0;
	case JSON_REAL:
		*v = value_float(json_real_value(json));
		return 0;
	case JSON_STRING:
		*v = value_text(json_string_value(json), json_string_length(json));
		return work_size(w, v->n);
	case JSON_ARRAY:
		*v = (struct value){ .type = VALUE_LIST, .is_json = true,
		    .n = json_array_size(json), .json = json };
		return work_size(w, v->n);
	case JSON_OBJECT:
		*v = (struct value){ .type = VALUE_DICT, .is_json = true,
		    .n = json_object_size(json), .json = json };
		return work_size(w, v->n);
	}
	return work_fail(w, "this is no JSON");
}

int
value_item(struct work *w, const struct value *v, size_t i, struct value *out)
{
	if (v->is_json)
		return value_from_json(w, json_array_get(v->json, i), out);
	*out = v->items[i];
	return 0;
}

/* The dict that a key may be put into: as Python, only what cannot change. */
int
value_check_key(struct work *w, const struct value *key)
{
	if (key->type == VALUE_LIST || key->type == VALUE_DICT)
		return work_fail(w, "unhashable type: '%s'", value_type_name(key));
	if (key->type != VALUE_TUPLE)
		return 0;
	if (work_enter(w) || work_spend(w, key->n))
		return -1;
	for (size_t i = 0; i < key->n; i++)
		if (value_check_key(w, &key->items[i]))
			return -1;
	work_leave(w);
	return 0;
}

int
value_find(struct work *w, const struct value *dict, const struct value *key,
    struct value *out)
{
	const json_t *found;
	int same;

	if (value_check_key(w, key))
		return -1;
	if (dict->is_json) {
		if (key->type != VALUE_STR || memchr(key->text, '\0', key->n))
			return 0;
		if (work_spend_bytes(w, key->n))
			return -1;
		found = json_object_get(dict->json, key->text);
		if (!found)
			return 0;
		return value_from_json(w, found, out) ? -1 : 1;
	}
	for (size_t i = 0; i < dict->n; i++) {
		same = compare_equal(w, &dict->items[2 * i], key);
		if (same)
			*out = dict->items[2 * i + 1];
		if (same)
			return same;
	}
	return 0;
}

size_t
value_chars(const char *text, size_t n)
{
	size_t chars = 0;

	for (size_t i = 0; i < n; i++)
		chars += ((unsigned char)text[i] & 0xc0) != 0x80;
	return chars;
}

size_t
value_char_at(const char *text, size_t n, size_t i)
{
	for (size_t at = 0; at < n; at++)
		if (((unsigned char)text[at] & 0xc0) != 0x80 && i-- == 0)
			return at;
	return n;
}

int
value_iter_start(struct work *w, const struct value *v, struct value_iter *it)
{
	*it = (struct value_iter){ .of = *v };
	if (v->type == VALUE_STR || v->type == VALUE_LIST ||
	    v->type == VALUE_TUPLE || v->type == VALUE_DICT)
		return 0;
	return work_fail(w, "'%s' object is not iterable", value_type_name(v));
}

static int
next_char(struct work *w, struct value_iter *it, struct value *out)
{
	const char *from = it->of.text + it->i;
	size_t n = 1;

	while (it->i + n < it->of.n && ((unsigned char)from[n] & 0xc0) == 0x80)
		n++;
	*out = value_text(arena_strndup(&w->arena, from, n), n);
	it->i += n;
	return 1;
}

static int
next_json_key(struct value_iter *it, struct value *out)
{
	json_t *object = (json_t *)it->of.json;
	const char *key;

	it->place = it->i++ ? json_object_iter_next(object, it->place) :
	    json_object_iter(object);
	key = json_object_iter_key(it->place);
	*out = value_text(key, strlen(key));
	return 1;
}

int
value_iter_next(struct work *w, struct value_iter *it, struct value *out)
{
	if (it->i == it->of.n)
		return 0;
	if (work_spend(w, 1))
		return -1;
	if (it->of.type == VALUE_STR)
		return next_char(w, it, out);
	if (it->of.type != VALUE_DICT)
		return value_item(w, &it->of, it->i++, out) ? -1 : 1;
	if (it->of.is_json)
		return next_json_key(it, out);
	*out = it->of.items[2 * it->i++];
	return 1;
}

int
value_iter_item(struct work *w, const struct value_iter *it, struct value *out)
{
	if (it->of.is_json)
		return value_from_json(w, json_object_iter_value(it->place), out);
	*out = it->of.items[2 * it->i - 1];
	return 0;
}

/* Lent JSON goes out as it came in, if it keeps the bounds of values. */
static int
check_json(struct work *w, const json_t *json)
{
	const char *key;
	json_t *item;
	size_t i;

	if (work_spend(w, 1))
		return -1;
	if (!json_is_array(json) && !json_is_object(json))
		return 0;
	if (work_enter(w))
		return -1;
	json_array_foreach((json_t *)json, i, item)
		if (check_json(w, item))
			return -1;
	json_object_foreach((json_t *)json, key, item)
		if (check_json(w, item))
			return -1;
	work_leave(w);
	return 0;
}

static json_t *
array_to_json(struct work *w, const struct value *v)
{
	json_t *array = json_array();
	json_t *item = NULL;

	for (size_t i = 0; i < v->n; i++) {
		item = value_to_json(w, &v->items[i]);
		if (!item || json_array_append_new(array, item)) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

static json_t *
dict_to_json(struct work *w, const struct value *v)
{
	json_t *object = json_object();

	for (size_t i = 0; i < v->n; i++) {
		const struct value *key = &v->items[2 * i];
		json_t *item;

		if (key->type != VALUE_STR || memchr(key->text, '\0', key->n)) {
			work_fail(w, "a dict as a result needs keys of text, not %s",
			    value_type_name(key));
			goto fail;
		}
		item = value_to_json(w, key + 1);
		if (!item || json_object_set_new(object, key->text, item))
			goto fail;
	}
	return object;
fail:
	json_decref(object);
	return NULL;
}

static json_t *
container_to_json(struct work *w, const struct value *v)
{
	json_t *json;

	if (v->is_json)
		return check_json(w, v->json) ? NULL : json_incref((json_t *)v->json);
	if (work_enter(w))
		return NULL;
	json = v->type == VALUE_DICT ? dict_to_json(w, v) : array_to_json(w, v);
	work_leave(w);
	return json;
}

json_t *
value_to_json(struct work *w, const struct value *v)
{
	if (work_spend(w, 1))
		return NULL;
	switch (v->type) {
	case VALUE_BOOL:
		return json_boolean(v->i);
	case VALUE_INT:
		return json_integer(v->i);
	case VALUE_FLOAT:
		return json_real(v->f);
	case VALUE_STR:
		if (work_spend_bytes(w, v->n))
			return NULL;
		return json_stringn(v->text, v->n);
	case VALUE_LIST: case VALUE_TUPLE: case VALUE_DICT:
		return container_to_json(w, v);
	case VALUE_DATETIME: case VALUE_DATE: case VALUE_TIMEDELTA:
		return moment_to_json(v);
	case VALUE_NONE: case VALUE_ABSENT:
		break;
	}
	return json_null();
}
