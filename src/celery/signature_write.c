/* signature_write.c - signatures as Celery writes them, within a budget. */
#include "celery/signature.h"
#include "base/err.h"
#include "base/str.h"

void
raw_put_string(struct str *s, const char *text)
{
	str_putc(s, '"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			str_putc(s, '\\');
		if ((unsigned char)*text < ' ')
			str_printf(s, "\\u%04x", (unsigned)(unsigned char)*text);
		else
			str_putc(s, *text);
	}
	str_putc(s, '"');
}

struct writer {
	struct str *out;
	struct signature_budget *budget;
	size_t start;
	int depth;
};

static bool write_signature(struct writer *, const struct signature *);

static bool
within(const struct writer *w)
{
	return w->out->len - w->start <= w->budget->bytes && w->depth <= 2 * SIGNATURE_DEPTH_MAX;
}

static void
put(struct writer *w, const char *before, struct raw v)
{
	str_puts(w->out, before);
	str_add(w->out, v.text, v.len);
}

static bool
write_tasks(struct writer *w, const struct signature_list *list)
{
	str_puts(w->out, "[");
	for (size_t i = 0; i < list->n; i++) {
		if (i)
			str_puts(w->out, ", ");
		if (!write_signature(w, list->at[i]))
			return false;
	}
	str_puts(w->out, "]");
	return true;
}

static bool
write_kwargs(struct writer *w, const struct signature *s)
{
	if (s->kind == SIGNATURE_CHORD) {
		put(w, "{\"kwargs\": ", s->kwargs);
		str_puts(w->out, ", \"header\": ");
		if (!(s->header ? write_signature(w, s->header) : write_tasks(w, s->tasks)))
			return false;
		str_puts(w->out, ", \"body\": ");
		if (!write_signature(w, s->body))
			return false;
	} else if (s->kind == SIGNATURE_CHAIN || s->kind == SIGNATURE_GROUP) {
		str_puts(w->out, "{\"tasks\": ");
		if (!write_tasks(w, s->tasks))
			return false;
	} else {
		put(w, "", s->kwargs);
		return true;
	}
	str_puts(w->out, "}");
	return true;
}

static bool
write_options(struct writer *w, const struct signature_options *o)
{
	str_puts(w->out, "{");
	for (size_t i = 0; i < o->n; i++) {
		put(w, i ? ", " : "", o->at[i].key);
		str_puts(w->out, ": ");
		if (!o->at[i].signature)
			put(w, "", o->at[i].value);
		else if (!write_signature(w, o->at[i].signature))
			return false;
	}
	str_puts(w->out, "}");
	return true;
}

static bool
write_signature(struct writer *w, const struct signature *s)
{
	bool ok;

	w->depth++;
	put(w, "{\"task\": ", s->task);
	put(w, ", \"args\": ", s->args);
	str_puts(w->out, ", \"kwargs\": ");
	ok = within(w) && write_kwargs(w, s);
	str_puts(w->out, ", \"options\": ");
	ok = ok && write_options(w, &s->options);
	if (*signature_kind_names[s->kind])
		str_printf(w->out, ", \"subtask_type\": \"%s\"", signature_kind_names[s->kind]);
	else
		str_puts(w->out, ", \"subtask_type\": null");
	str_puts(w->out, s->immutable ? ", \"immutable\": true}" : ", \"immutable\": false}");
	w->depth--;
	return ok && within(w);
}

int
signature_write(const struct signature *s, struct str *out, struct signature_budget *budget,
    struct err *err)
{
	struct writer w = { out, budget, out->len, 0 };

	if (!write_signature(&w, s))
		return err_set(err, "a flow grows beyond its limits in depth or bytes");
	budget->bytes -= out->len - w.start;
	return 0;
}
