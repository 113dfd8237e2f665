/* signature.c - read signatures, copy them, change their options.
 *
 * Signatures of flows hold signatures, a chord's header even the whole body in
 * every member; so the budget is of all that is made, and is what ends a
 * message that was built to grow. */
#include "celery/signature.h"
#include <string.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

static const struct raw no_args = { "[]", 2 }, no_kwargs = { "{}", 2 };

const char *const signature_kind_names[] = {
#define KIND_NAME(name, text) text,
	SIGNATURE_KINDS(KIND_NAME)
#undef KIND_NAME
};

/* --- JSON --- */

bool
raw_is_true(struct raw v)
{
	switch (raw_kind(v)) {
	case '\0': case 'n': case 'f':
		return false;
	case '"':
		return v.len > 2;
	case '[': case '{':
		return raw_count(v) > 0;
	case '0':
		for (size_t i = 0; i < v.len; i++)
			if (v.text[i] == 'e' || v.text[i] == 'E')
				return false;
			else if (strchr("123456789NI", v.text[i]))
				return true;
		return false;
	default:
		return true;
	}
}

bool
signature_is(struct raw v)
{
	struct raw task = raw_kind(v) == '{' ? raw_get(v, "task") : (struct raw){ NULL, 0 };

	return raw_kind(task) == '"' && task.len > 2;
}

/* --- options --- */

const struct signature_option *
signature_find(const struct signature_options *o, const char *name)
{
	for (size_t i = 0; i < o->n; i++)
		if (raw_is(o->at[i].key, name))
			return &o->at[i];
	return NULL;
}

struct raw
signature_value(const struct signature_options *o, const char *name)
{
	const struct signature_option *found = signature_find(o, name);

	if (!found || raw_kind(found->value) == 'n')
		return (struct raw){ NULL, 0 };
	return found->value;
}

static bool
same_key(struct raw a, struct raw b)
{
	const char *s = a.text + 1, *t = b.text + 1;
	const char *s_end = a.text + a.len - 1, *t_end = b.text + b.len - 1;

	while (s < s_end && t < t_end)
		if (raw_char(&s) != raw_char(&t))
			return false;
	return s == s_end && t == t_end;
}

static void
push_option(struct signature_options *o, struct arena *memory, const struct signature_option *new)
{
	struct signature_option *old = o->at;

	if (o->n == o->room) {
		o->room = o->room ? 2 * o->room : 8;
		o->at = arena_alloc(memory, o->room * sizeof *o->at);
		if (o->n)
			memcpy(o->at, old, o->n * sizeof *o->at);
	}
	o->at[o->n++] = *new;
}

void
signature_put(struct signature_options *o, struct arena *memory, const struct signature_option *new)
{
	for (size_t i = 0; i < o->n; i++)
		if (same_key(o->at[i].key, new->key)) {
			o->at[i] = *new;
			return;
		}
	push_option(o, memory, new);
}

void
signature_set(struct signature_options *o, struct arena *memory, const char *name, struct raw value)
{
	struct signature_option new = { .value = value };
	size_t n = strlen(name);
	char *key = arena_alloc(memory, n + 2);

	key[0] = key[n + 1] = '"';
	memcpy(key + 1, name, n);
	new.key = (struct raw){ key, n + 2 };
	signature_put(o, memory, &new);
}

void
signature_drop(struct signature_options *o, const char *name)
{
	for (size_t i = 0; i < o->n; i++)
		if (raw_is(o->at[i].key, name)) {
			memmove(&o->at[i], &o->at[i + 1], (o->n - i - 1) * sizeof *o->at);
			o->n--;
			return;
		}
}

/* --- read --- */

struct reader {
	struct arena *memory;
	struct signature_budget *budget;
	struct err *err;
	int depth;
};

static struct signature *read_signature(struct reader *, struct raw);

static struct signature *
fail(struct reader *r, const char *what)
{
	err_set(r->err, "a signature %s", what);
	return NULL;
}

struct signature *
signature_new(enum signature_kind kind, struct arena *memory, struct signature_budget *budget,
    struct err *err)
{
	struct signature *s;

	if (budget->signatures == 0) {
		err_set(err, "too many signatures in one flow");
		return NULL;
	}
	budget->signatures--;
	s = arena_alloc(memory, sizeof *s);
	*s = (struct signature){ .kind = kind, .args = no_args, .kwargs = no_kwargs };
	return s;
}

static int
read_list(struct reader *r, struct raw array, struct signature_list **out)
{
	struct signature_list *list = arena_alloc(r->memory, sizeof *list);
	struct raw_walk walk = raw_walk(array);
	struct raw key, member;

	if (raw_kind(array) != '[') {
		fail(r, "of a flow has no array of tasks");
		return -1;
	}
	list->at = arena_alloc(r->memory, raw_count(array) * sizeof *list->at);
	list->n = 0;
	while (raw_next(&walk, &key, &member))
		if (!(list->at[list->n++] = read_signature(r, member)))
			return -1;
	*out = list;
	return 0;
}

/* A signature alone, of a group or chain its tasks, or an array of signatures. */
static int
read_header(struct reader *r, struct raw v, struct signature_list **out)
{
	struct signature *s;

	if (raw_kind(v) != '{')
		return read_list(r, v, out);
	s = read_signature(r, v);
	if (!s)
		return -1;
	if (s->kind == SIGNATURE_GROUP || s->kind == SIGNATURE_CHAIN) {
		*out = s->tasks;
		return 0;
	}
	*out = arena_alloc(r->memory, sizeof **out);
	(*out)->at = arena_alloc(r->memory, sizeof s);
	(*out)->at[0] = s;
	(*out)->n = 1;
	return 0;
}

static int
read_flow(struct reader *r, struct signature *s)
{
	struct raw kwargs = s->kwargs, inner;

	if (s->kind != SIGNATURE_CHORD)
		return read_list(r, raw_get(kwargs, "tasks"), &s->tasks);
	if (read_header(r, raw_get(kwargs, "header"), &s->tasks))
		return -1;
	s->body = read_signature(r, raw_get(kwargs, "body"));
	inner = raw_get(kwargs, "kwargs");
	s->kwargs = raw_kind(inner) == '{' ? inner : no_kwargs;
	return s->body ? 0 : -1;
}

static int
read_kind(struct reader *r, struct signature *s, struct raw v)
{
	if (raw_kind(v) != '"') {
		if (raw_kind(v) != 'n')
			fail(r, "has a subtask_type that is no text");
		return raw_kind(v) == 'n' ? 0 : -1;
	}
	for (int k = 0; k < SIGNATURE_KIND_COUNT; k++)
		if (raw_is(v, signature_kind_names[k])) {
			s->kind = (enum signature_kind)k;
			return 0;
		}
	err_set(r->err, "a signature of the unknown kind %.*s", (int)(v.len < 80 ? v.len : 80),
	    v.text);
	return -1;
}

static int
read_options(struct reader *r, struct signature *s, struct raw v)
{
	struct raw_walk walk = raw_walk(v);
	struct signature_option option = { 0 };

	if (raw_kind(v) != '{' && raw_kind(v) != 'n') {
		fail(r, "has options that are no object");
		return -1;
	}
	while (raw_next(&walk, &option.key, &option.value))
		push_option(&s->options, r->memory, &option);
	return 0;
}

static int
read_values(struct reader *r, struct signature *s, struct raw key, struct raw v)
{
	if (raw_is(key, "task"))
		s->task = v;
	else if (raw_is(key, "args") && raw_kind(v) != 'n')
		s->args = v;
	else if (raw_is(key, "kwargs") && raw_kind(v) != 'n')
		s->kwargs = v;
	else if (raw_is(key, "options"))
		return read_options(r, s, v);
	else if (raw_is(key, "subtask_type"))
		return read_kind(r, s, v);
	else if (raw_is(key, "immutable"))
		s->immutable = raw_is_true(v);
	return 0;
}

static int
read_members(struct reader *r, struct signature *s, struct raw text)
{
	struct raw_walk walk = raw_walk(text);
	struct raw key, v;

	while (raw_next(&walk, &key, &v))
		if (read_values(r, s, key, v))
			return -1;
	if (raw_kind(s->task) != '"' || s->task.len == 2)
		return fail(r, "names no task") ? 0 : -1;
	if (raw_kind(s->args) != '[')
		return fail(r, "has arguments that are no array") ? 0 : -1;
	if (raw_kind(s->kwargs) != '{')
		return fail(r, "has keyword arguments that are no object") ? 0 : -1;
	return 0;
}

static void
settle_kind(struct signature *s)
{
	if (s->kind == SIGNATURE_MAP || s->kind == SIGNATURE_STARMAP) {
		s->kind = SIGNATURE_TASK;
		s->immutable = true;
	}
}

static struct signature *
read_signature(struct reader *r, struct raw text)
{
	struct signature *s;
	int rc;

	if (raw_kind(text) != '{')
		return fail(r, "is no object");
	if (r->depth == SIGNATURE_DEPTH_MAX)
		return fail(r, "holds too many flows in one another");
	s = signature_new(SIGNATURE_TASK, r->memory, r->budget, r->err);
	if (!s || read_members(r, s, text))
		return NULL;
	settle_kind(s);
	if (s->kind == SIGNATURE_TASK || s->kind == SIGNATURE_CHUNKS)
		return s;
	r->depth++;
	rc = read_flow(r, s);
	r->depth--;
	return rc ? NULL : s;
}

struct signature *
signature_read(struct raw text, struct arena *memory, struct signature_budget *budget,
    struct err *err)
{
	struct reader r = { memory, budget, err, 0 };

	return read_signature(&r, text);
}

/* --- copy --- */

static struct signature_list *
copy_list(const struct signature_list *from, struct arena *memory,
    struct signature_budget *budget, struct err *err)
{
	struct signature_list *to = arena_alloc(memory, sizeof *to);

	to->n = from->n;
	to->at = arena_alloc(memory, from->n * sizeof *to->at);
	for (size_t i = 0; i < from->n; i++)
		if (!(to->at[i] = signature_copy(from->at[i], memory, budget, err)))
			return NULL;
	return to;
}

/* Each flow in it was read, or put around what was read, so its depth is known. */
struct signature *
signature_copy(const struct signature *from, struct arena *memory,
    struct signature_budget *budget, struct err *err)
{
	struct signature *to = signature_new(from->kind, memory, budget, err);

	if (!to)
		return NULL;
	*to = *from;
	to->options = (struct signature_options){ 0 };
	for (size_t i = 0; i < from->options.n; i++)
		push_option(&to->options, memory, &from->options.at[i]);
	to->header = NULL;	/* and with it its options, as Celery loses them */
	if (from->tasks && !(to->tasks = copy_list(from->tasks, memory, budget, err)))
		return NULL;
	if (from->body && !(to->body = signature_copy(from->body, memory, budget, err)))
		return NULL;
	return to;
}
