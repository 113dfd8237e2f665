/* settle_reason.c - what decided an event, as its signal tells it.
 *
 *	{"definition": ..., "evidences": [{"name": ..., "variables": [{...}]}]}
 *
 * Told from the run's own jobs: each evidence with its truth, and under it the
 * variables with their values as this run saw them.  The text is put together
 * here: a server that builds nested JSON copies it at every level. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "base/str.h"
#include "engine/settling.h"

/* --- what is needed for that --- */

static struct job_key
upstream_key(const struct fact *f, size_t i)
{
	return (struct job_key){ f->key.run, f->upstream.at[i] };
}

/* The evidences of the events that give a signal, each once: many may share one. */
static struct wanted_facts
evidences(struct settling *s)
{
	struct wanted_facts found = { 0 };

	for (size_t i = 0; i < s->moved.n; i++) {
		const struct fact *x = s->moved.at[i].after.action == DO_NOTHING ? NULL :
		    settle_find_fact(s, s->moved.at[i].key);

		for (size_t n = 0; x && n < x->upstream.n; n++)
			vec_push(&found, ((struct wanted_fact){ upstream_key(x, n), true }));
	}
	settle_sort_wanted(&found);
	return found;
}

void
settle_want_reasons(struct settling *s, struct wanted_facts *wanted)
{
	struct wanted_facts of = evidences(s);

	for (size_t i = 0; i < of.n; i++) {
		const struct fact *e = settle_find_fact(s, of.at[i].key);

		if (!e)
			vec_push(wanted, of.at[i]);
		for (size_t u = 0; e && u < e->upstream.n; u++)
			settle_want(s, wanted, upstream_key(e, u), true);
	}
	vec_done(&of);
}

void
settle_each_reason_version(struct settling *s, void (*each)(void *, int64_t), void *arg)
{
	struct wanted_facts of = evidences(s);

	for (size_t i = 0; i < of.n; i++) {
		const struct fact *e = settle_find_fact(s, of.at[i].key);

		if (e)
			each(arg, e->version);
	}
	for (size_t i = 0; i < s->moved.n; i++)
		if (s->moved.at[i].after.action != DO_NOTHING)
			each(arg, s->moved.at[i].version);
	vec_done(&of);
}

/* --- the text --- */

struct telling {
	struct worker *worker;
	struct settling *s;
	struct str text;
};

static void
put_raw(struct telling *t, const char *key, const char *json)
{
	str_puts(&t->text, ", \"");
	str_puts(&t->text, key);
	str_puts(&t->text, "\": ");
	str_puts(&t->text, json ? json : "null");
}

static void
put_text(struct telling *t, const char *key, const char *text)
{
	put_raw(t, key, text ? "" : NULL);
	if (text)
		json_append_text(&t->text, text, strlen(text));
}

static void
put_truth(struct telling *t, enum truth truth)
{
	put_raw(t, "truth", truth == TRUTH_TRUE ? "true" : truth == TRUTH_FALSE ? "false" : NULL);
}

static void
put_columns(struct telling *t, const struct fact *f)
{
	char buf[INSTANT_TEXT];

	str_puts(&t->text, "{\"name\": ");
	json_append_text(&t->text, f->name, strlen(f->name));
	str_printf(&t->text, ", \"version\": %" PRId64, f->version);
	put_text(t, "state", job_state_text(f->state));
	put_raw(t, "value", f->is_untold ? "\"(larger than 8 KiB)\"" : f->value);
	put_text(t, "computed_at", clock_isfinite(f->computed_at)
	    ? clock_format(f->computed_at, buf) : NULL);
}

/* How old a value is, in seconds. */
static void
put_age(struct telling *t, const struct fact *f)
{
	span age = 0;

	if (!clock_isfinite(f->computed_at)) {
		put_raw(t, "age", NULL);
		return;
	}
	if (settle_instant(t->s, f->key.run) > f->computed_at)
		age = settle_instant(t->s, f->key.run) - f->computed_at;
	str_printf(&t->text, ", \"age\": %" PRId64 ".%06d", age / SECOND, (int)(age % SECOND));
}

static void
put_variable(struct telling *t, const struct fact *f)
{
	put_columns(t, f);
	put_text(t, "reason", f->reason < 0 ? NULL : reason_text((enum reason)f->reason));
	put_raw(t, "stale", f->stale ? "true" : "false");
	put_age(t, f);
	str_putc(&t->text, '}');
}

/* What stands upstream of F, as a list. */
static void
put_upstream(struct telling *t, const struct fact *f,
    void (*put)(struct telling *, const struct fact *))
{
	bool any = false;

	str_putc(&t->text, '[');
	for (size_t i = 0; i < f->upstream.n; i++) {
		const struct fact *up = settle_find_fact(t->s, upstream_key(f, i));

		if (!up)
			continue;
		str_puts(&t->text, any ? ", " : "");
		put(t, up);
		any = true;
	}
	str_putc(&t->text, ']');
}

static void
put_definition(struct telling *t, const struct fact *f)
{
	struct version *v = versions_hold(t->worker->versions, f->version);
	const struct evidence *e = v && !v->broken ? &v->u.evidence : NULL;
	char *operand = e && e->operand ? json_for_books(e->operand) : NULL;

	put_text(t, "definition", e ? e->definition : NULL);
	put_text(t, "operator", e && e->operator != EXPR_NO_OPERATOR
	    ? expr_operator_text(e->operator) : NULL);
	put_raw(t, "operand", operand);
	free(operand);
	versions_release(t->worker->versions, v);
}

static void
put_evidence(struct telling *t, const struct fact *f)
{
	put_columns(t, f);
	put_definition(t, f);
	put_truth(t, f->truth);
	str_puts(&t->text, ", \"variables\": ");
	put_upstream(t, f, put_variable);
	str_putc(&t->text, '}');
}

static char *
reason_of(struct worker *w, const struct moved *m, const struct fact *f, const struct version *v)
{
	struct telling t = { w, w->settling, STR_INIT };
	char *both = f->note && m->note ? xasprintf("%s; %s", f->note, m->note) : NULL;

	str_printf(&t.text, "{\"hold\": %d, \"version\": %" PRId64, m->after.hold, f->version);
	put_text(&t, "definition", v->u.event.definition);
	put_text(&t, "hash", v->hash);
	put_truth(&t, f->truth);
	put_text(&t, "note", both ? both : f->note ? f->note : m->note);
	str_puts(&t.text, ", \"evidences\": ");
	put_upstream(&t, f, put_evidence);
	str_putc(&t.text, '}');
	free(both);
	return str_take(&t.text);
}

void
settle_tell_reasons(struct worker *w)
{
	struct settling *s = w->settling;

	for (size_t i = 0; i < s->moved.n; i++) {
		struct moved *m = &s->moved.at[i];
		const struct fact *f = settle_find_fact(s, m->key);
		struct version *v = versions_hold(w->versions, m->version);

		if (m->after.action != DO_NOTHING && f && v && !v->broken)
			m->decided_by = reason_of(w, m, f, v);
		versions_release(w->versions, v);
	}
}
