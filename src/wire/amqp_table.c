/* amqp_table.c - AMQP's tables are JSON objects with finer numbers.
 *
 * Out: an integer is I where it fits, else l; null is V.  In: what JSON has no
 * word for (a time, a decimal) becomes the number that it is. */
#include <math.h>
#include <string.h>
#include "base/str.h"
#include "wire/amqp_inner.h"

static amqp_field_value_t
field_of_json(const json_t *v, struct arena *arena)
{
	amqp_field_value_t f = { .kind = AMQP_FIELD_KIND_VOID };
	json_int_t n;

	switch (json_typeof(v)) {
	case JSON_OBJECT:
		f.kind = AMQP_FIELD_KIND_TABLE;
		f.value.table = table_of_json(v, arena);
		break;
	case JSON_ARRAY:
		f.kind = AMQP_FIELD_KIND_ARRAY;
		f.value.array.num_entries = (int)json_array_size(v);
		f.value.array.entries = arena_alloc(arena,
		    (json_array_size(v) + 1) * sizeof *f.value.array.entries);
		for (size_t i = 0; i < json_array_size(v); i++)
			f.value.array.entries[i] = field_of_json(json_array_get(v, i), arena);
		break;
	case JSON_STRING:
		f.kind = AMQP_FIELD_KIND_UTF8;
		f.value.bytes.len = json_string_length(v);
		f.value.bytes.bytes = arena_strndup(arena, json_string_value(v),
		    json_string_length(v));
		break;
	case JSON_INTEGER:
		n = json_integer_value(v);
		f.kind = n >= INT32_MIN && n <= INT32_MAX ? AMQP_FIELD_KIND_I32 :
		    AMQP_FIELD_KIND_I64;
		if (f.kind == AMQP_FIELD_KIND_I32)
			f.value.i32 = (int32_t)n;
		else
			f.value.i64 = n;
		break;
	case JSON_REAL:
		f.kind = AMQP_FIELD_KIND_F64;
		f.value.f64 = json_real_value(v);
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		f.kind = AMQP_FIELD_KIND_BOOLEAN;
		f.value.boolean = json_is_true(v);
		break;
	case JSON_NULL:
		break;
	}
	return f;
}

amqp_table_t
table_of_json(const json_t *object, struct arena *arena)
{
	amqp_table_t t = { 0 };
	const char *key;
	json_t *v;

	t.entries = arena_alloc(arena, (json_object_size(object) + 1) * sizeof *t.entries);
	json_object_foreach((json_t *)object, key, v) {
		t.entries[t.num_entries].key = amqp_cstring_bytes(
		    arena_strndup(arena, key, strlen(key)));
		t.entries[t.num_entries++].value = field_of_json(v, arena);
	}
	return t;
}

static json_t *field_to_json(const amqp_field_value_t *);

static json_t *
array_to_json(const amqp_array_t *array)
{
	json_t *out = json_array();

	for (int i = 0; i < array->num_entries; i++)
		if (json_array_append_new(out, field_to_json(&array->entries[i]))) {
			json_decref(out);
			return NULL;
		}
	return out;
}

static json_t *
real_to_json(double x)
{
	return isfinite(x) ? json_real(x) : json_null();
}

/* Python shows arguments (argsrepr) as they are, half characters included. */
static json_t *
text_to_json(amqp_bytes_t b)
{
	json_t *v = json_stringn(b.len ? b.bytes : "", b.len);
	char *text, *clean;

	if (v)
		return v;
	text = xstrndup(b.bytes, b.len);
	clean = str_clean(text, b.len * 3);	/* a byte becomes one U+FFFD at most */
	v = json_string(clean);
	free(text);
	free(clean);
	return v;
}

static json_t *
field_to_json(const amqp_field_value_t *f)
{
	switch (f->kind) {
	case AMQP_FIELD_KIND_BOOLEAN: return json_boolean(f->value.boolean);
	case AMQP_FIELD_KIND_I8: return json_integer(f->value.i8);
	case AMQP_FIELD_KIND_U8: return json_integer(f->value.u8);
	case AMQP_FIELD_KIND_I16: return json_integer(f->value.i16);
	case AMQP_FIELD_KIND_U16: return json_integer(f->value.u16);
	case AMQP_FIELD_KIND_I32: return json_integer(f->value.i32);
	case AMQP_FIELD_KIND_U32: return json_integer(f->value.u32);
	case AMQP_FIELD_KIND_I64: return json_integer(f->value.i64);
	case AMQP_FIELD_KIND_U64:
	case AMQP_FIELD_KIND_TIMESTAMP:
		return f->value.u64 <= INT64_MAX ? json_integer((json_int_t)f->value.u64) :
		    json_real((double)f->value.u64);
	case AMQP_FIELD_KIND_F32: return real_to_json((double)f->value.f32);
	case AMQP_FIELD_KIND_F64: return real_to_json(f->value.f64);
	case AMQP_FIELD_KIND_DECIMAL:
		return real_to_json(f->value.decimal.value / pow(10, f->value.decimal.decimals));
	case AMQP_FIELD_KIND_UTF8:
	case AMQP_FIELD_KIND_BYTES:
		return text_to_json(f->value.bytes);
	case AMQP_FIELD_KIND_ARRAY: return array_to_json(&f->value.array);
	case AMQP_FIELD_KIND_TABLE: return table_to_json(&f->value.table);
	default: return json_null();
	}
}

json_t *
table_to_json(const amqp_table_t *t)
{
	json_t *out = json_object();

	for (int i = 0; i < t->num_entries; i++) {
		const amqp_table_entry_t *e = &t->entries[i];
		char key[256];
		size_t n = e->key.len < sizeof key ? e->key.len : sizeof key - 1;

		memcpy(key, e->key.bytes, n);
		key[n] = '\0';
		if (json_object_set_new(out, key, field_to_json(&e->value))) {
			json_decref(out);
			return NULL;
		}
	}
	return out;
}

/* A property that is not there is NULL, or -1.  A text that AMQP has no room for is
 * left out: no queue has such a name, and the id is in the headers. */
void
properties_of_envelope(const struct celery_envelope *e, struct arena *arena,
    amqp_basic_properties_t *props)
{
	const struct {
		const char *text;
		amqp_flags_t flag;
		amqp_bytes_t *at;
	} texts[] = {
		{ e->content_type, AMQP_BASIC_CONTENT_TYPE_FLAG, &props->content_type },
		{ e->content_encoding, AMQP_BASIC_CONTENT_ENCODING_FLAG, &props->content_encoding },
		{ e->correlation_id, AMQP_BASIC_CORRELATION_ID_FLAG, &props->correlation_id },
		{ e->reply_to, AMQP_BASIC_REPLY_TO_FLAG, &props->reply_to },
		{ e->expiration, AMQP_BASIC_EXPIRATION_FLAG, &props->expiration },
	};

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		if (texts[i].text && strlen(texts[i].text) <= AMQP_NAME_MOST) {
			props->_flags |= texts[i].flag;
			*texts[i].at = amqp_cstring_bytes(texts[i].text);
		}
	if (e->headers) {
		props->_flags |= AMQP_BASIC_HEADERS_FLAG;
		props->headers = table_of_json(e->headers, arena);
	}
	if (e->delivery_mode >= 0) {
		props->_flags |= AMQP_BASIC_DELIVERY_MODE_FLAG;
		props->delivery_mode = (uint8_t)e->delivery_mode;
	}
	if (e->priority >= 0) {
		props->_flags |= AMQP_BASIC_PRIORITY_FLAG;
		props->priority = (uint8_t)e->priority;
	}
}
