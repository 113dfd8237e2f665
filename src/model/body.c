/* body.c - what stands in a definition, and what is wrong with it.
 *
 * A reader asks for the keys one by one and goes on after a fault, so that one
 * `tocsin check` shows all that there is to mend. */
#include "model/body.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/str.h"
#include "model/model.h"

static const char *const common_texts[] = { "description", "owner", "severity", "runbook" };
static const char *const common_keys[] = {
	"description", "owner", "severity", "runbook", "tags", "active",
};
#define LONGEST_QUEUE 200	/* AMQP has 255 bytes; ".parked" is added */
#define LONGEST_TASK 255
#define COMMON (sizeof common_keys / sizeof common_keys[0])

static struct fault *
add_fault(struct body *b, const char *key, const char *part, bool in_key)
{
	struct fault f = { .key = xstrdup(key), .part = xstrdup(part), .in_key = in_key };

	vec_push(&b->faults, f);
	return &b->faults.at[b->faults.n - 1];
}

static void fill(struct err *, const char *format, va_list)
	__attribute__((format(printf, 2, 0)));
static void
fill(struct err *err, const char *format, va_list ap)
{
	char message[sizeof err->message];

	vsnprintf(message, sizeof message, format, ap);
	err_set(err, "%s", message);
}

void
body_fault(struct body *b, const char *key, const char *part, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fill(&add_fault(b, key, part, false)->err, format, ap);
	va_end(ap);
}

void
body_key_fault(struct body *b, const char *key, const char *part, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fill(&add_fault(b, key, part, true)->err, format, ap);
	va_end(ap);
}

void
body_take_fault(struct body *b, const char *key, const struct err *err)
{
	add_fault(b, key, NULL, false)->err = *err;
}

int
body_done(struct body *b, struct err *err)
{
	int rc = 0;

	if (b->faults.n > 0) {
		*err = b->faults.at[0].err;
		if (b->faults.at[0].key)
			err_wrap(err, "%s", b->faults.at[0].key);
		rc = -1;
	}
	for (size_t i = 0; i < b->faults.n; i++) {
		free(b->faults.at[i].key);
		free(b->faults.at[i].part);
	}
	vec_done(&b->faults);
	return rc;
}

const char *
body_kind(const json_t *json)
{
	switch (json ? json_typeof(json) : JSON_NULL) {
	case JSON_OBJECT: return "a table";
	case JSON_ARRAY: return "an array";
	case JSON_STRING: return "a text";
	case JSON_INTEGER: return "a whole number";
	case JSON_REAL: return "a number";
	case JSON_TRUE: case JSON_FALSE: return "true or false";
	case JSON_NULL: break;
	}
	return "nothing";
}

static void
wrong_type(struct body *b, const char *key, const char *part, const char *wanted,
    const json_t *found)
{
	body_fault(b, key, part, "this is %s; %s is wanted", body_kind(found), wanted);
}

static void
check_common(struct body *b)
{
	const json_t *active = json_object_get(b->json, "active");

	for (size_t i = 0; i < sizeof common_texts / sizeof common_texts[0]; i++) {
		const json_t *text = json_object_get(b->json, common_texts[i]);

		if (text && !json_is_string(text))
			wrong_type(b, common_texts[i], NULL, "a text", text);
		else if (text && json_string_length(text) > MODEL_MAX_TEXT)
			body_fault(b, common_texts[i], NULL, "longer than %d KiB",
			    MODEL_MAX_TEXT / 1024);
	}
	body_texts(b, "tags");
	if (active && !json_is_boolean(active))
		wrong_type(b, "active", NULL, "true or false", active);
}

static void
unknown_key(struct body *b, const char *key, const char *const *all, size_t n)
{
	const char *near = str_nearest(key, all, n);

	if (near)
		body_key_fault(b, key, NULL, "there is no such key; did you mean '%s'?", near);
	else
		body_key_fault(b, key, NULL, "there is no such key");
}

void
body_check_keys(struct body *b, const char *const *keys)
{
	const char *all[COMMON + 32], *key;
	size_t n = 0;
	json_t *value;

	for (; *keys && n < 32; keys++)
		all[n++] = *keys;
	for (size_t i = 0; i < COMMON; i++)
		all[n++] = common_keys[i];
	json_object_foreach((json_t *)(uintptr_t)b->json, key, value) {
		size_t i = 0;

		while (i < n && strcmp(all[i], key))
			i++;
		if (i == n)
			unknown_key(b, key, all, n);
	}
	check_common(b);
}

const char *
body_text(struct body *b, const char *key)
{
	const json_t *value = json_object_get(b->json, key);
	const char *text;

	if (!value)
		return NULL;
	if (!json_is_string(value)) {
		wrong_type(b, key, NULL, "a text", value);
		return NULL;
	}
	text = json_string_value(value);
	if (text[strspn(text, " \t\r\n")] == '\0')
		body_fault(b, key, NULL, "this text is empty");
	else if (strlen(text) != json_string_length(value))
		body_fault(b, key, NULL, "a text with the character \\u0000");
	else if (json_string_length(value) > MODEL_MAX_TEXT)
		body_fault(b, key, NULL, "longer than %d KiB", MODEL_MAX_TEXT / 1024);
	else
		return text;
	return NULL;
}

static int
read_span(const json_t *value, span *out, struct err *err)
{
	double seconds;

	if (json_is_string(value))
		return clock_parse_span(json_string_value(value), out, err);
	if (!json_is_number(value))
		return err_set(err, "this is %s; a number of seconds or a text as \"90s\" or "
		    "\"1h30m\" is wanted", body_kind(value));
	seconds = json_number_value(value);
	if (seconds < 0)
		return err_set(err, "a length of time is not negative");
	if (seconds > 36525.0 * 86400)
		return err_set(err, "longer than 100 years");
	*out = (span)llround(seconds * SECOND);
	return 0;
}

bool
body_span(struct body *b, const char *key, span *out)
{
	const json_t *value = json_object_get(b->json, key);
	struct err err;

	if (!value)
		return false;
	if (!read_span(value, out, &err))
		return true;
	body_take_fault(b, key, &err);
	return false;
}

bool
body_limit(struct body *b, const char *key, span *out)
{
	span limit;

	if (!body_span(b, key, &limit))
		return false;
	if (limit <= 0 || limit > 7 * DAY) {
		body_fault(b, key, NULL, "a limit is longer than 0 and at most 7 days");
		return false;
	}
	*out = limit;
	return true;
}

bool
body_number(struct body *b, const char *key, int least, int most, int *out)
{
	const json_t *value = json_object_get(b->json, key);

	if (!value)
		return false;
	if (!json_is_integer(value))
		wrong_type(b, key, NULL, "a whole number", value);
	else if (json_integer_value(value) < least || json_integer_value(value) > most)
		body_fault(b, key, NULL, "a number from %d to %d is wanted", least, most);
	else {
		*out = (int)json_integer_value(value);
		return true;
	}
	return false;
}

const json_t *
body_table(struct body *b, const char *key)
{
	const json_t *value = json_object_get(b->json, key);

	if (!value || json_is_object(value))
		return value;
	wrong_type(b, key, NULL, "a table", value);
	return NULL;
}

const json_t *
body_texts(struct body *b, const char *key)
{
	const json_t *value = json_object_get(b->json, key), *element;
	char part[24];
	size_t i;

	if (value && !json_is_array(value)) {
		wrong_type(b, key, NULL, "an array of texts", value);
		return NULL;
	}
	json_array_foreach(value, i, element)
		if (!json_is_string(element)) {
			snprintf(part, sizeof part, "%zu", i);
			wrong_type(b, key, part, "a text", element);
			return NULL;
		}
	return value;
}

char *
body_queue(struct body *b, const char *key)
{
	const char *queue = body_text(b, key);

	if (!queue)
		return NULL;
	for (const char *s = queue; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f || *s == ',') {
			body_fault(b, key, NULL,
			    "the name of a queue has no commas and no control characters");
			return NULL;
		}
	if (strlen(queue) > LONGEST_QUEUE)
		body_fault(b, key, NULL, "longer than %d bytes", LONGEST_QUEUE);
	else if (!strncmp(queue, "amq.", 4))
		body_fault(b, key, NULL, "names that begin with 'amq.' are the broker's own");
	else
		return xstrdup(queue);
	return NULL;
}

void
body_check_task(struct body *b, const char *key, const char *name)
{
	for (const char *s = name; *s; s++)
		if ((unsigned char)*s <= ' ' || *s == 0x7f) {
			body_fault(b, key, NULL, "the name of a task, such as 'module.function', "
			    "has no spaces and no control characters");
			return;
		}
	if (strlen(name) > LONGEST_TASK)
		body_fault(b, key, NULL, "longer than %d bytes", LONGEST_TASK);
}
