/* binding.c - what type an argument has for PostgreSQL.
 *
 * An integer is int4 where it fits, as a literal would be: date + :days works,
 * and date + bigint does not.  Strings and null have no type of their own, so
 * that the statement decides, again as with a literal. */
#include "exec/binding.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum { BOOL = 16, INT8 = 20, INT4 = 23, FLOAT8 = 701, TIMESTAMPTZ = 1184, JSONB = 3802 };

static void
bind_now(struct binding *b, int i, instant now)
{
	char buf[INSTANT_TEXT];

	b->types[i] = TIMESTAMPTZ;
	b->values[i] = xstrdup(clock_format(now, buf));
}

static void
bind(struct binding *b, int i, const json_t *v)
{
	struct str text = STR_INIT;

	switch (json_typeof(v)) {
	case JSON_NULL:
		return;
	case JSON_STRING:
		b->values[i] = xstrdup(json_string_value(v));
		return;
	case JSON_INTEGER:
		b->types[i] = json_integer_value(v) >= INT32_MIN &&
		    json_integer_value(v) <= INT32_MAX ? INT4 : INT8;
		break;
	case JSON_REAL:
		b->types[i] = FLOAT8;
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		b->types[i] = BOOL;
		break;
	default:
		b->types[i] = JSONB;
	}
	json_append(&text, v);
	b->values[i] = str_take(&text);
}

int
binding_init(struct binding *b, const char *const *names, size_t n, const json_t *args,
    instant now, struct err *err)
{
	*b = (struct binding){ .n = (int)n };
	b->types = xcalloc(n, sizeof *b->types);
	b->values = xcalloc(n, sizeof *b->values);
	for (size_t i = 0; i < n; i++) {
		const json_t *v = json_object_get(args, names[i]);

		if (!strcmp(names[i], "now"))
			bind_now(b, (int)i, now);
		else if (v)
			bind(b, (int)i, v);
		else
			return err_set(err, "there is no argument '%s'", names[i]);
	}
	return 0;
}

void
binding_done(struct binding *b)
{
	for (int i = 0; i < b->n; i++)
		free(b->values[i]);
	free(b->values);
	free(b->types);
	*b = (struct binding){ 0 };
}
