/* unpickle_machine.c - the machine that a pickle is a program for.
 *
 * The bytes that are left of the program, a stack with marks on it, and a memory
 * of what was made.  An opcode reaches no deeper than the last mark, but for the
 * container just below it.  Whatever is put anywhere is counted: a few bytes can
 * ask for a great many things. */
#include "celery/unpickle_inner.h"
#include <string.h>
#include "base/err.h"
#include "celery/raw.h"

int
machine_broken(struct machine *m, const char *what)
{
	err_set(m->err, "a pickle: %s", what);
	return -1;
}

/* --- reading bytes --- */

int
machine_take(struct machine *m, size_t n, const uint8_t **bytes)
{
	if (n > (size_t)(m->end - m->at))
		return machine_broken(m, "it ends too early");
	*bytes = m->at;
	m->at += n;
	return 0;
}

/* N bytes, the low one first. */
int
machine_take_count(struct machine *m, size_t n, uint64_t *v)
{
	const uint8_t *bytes;

	if (machine_take(m, n, &bytes))
		return -1;
	for (*v = 0; n > 0; )
		*v = *v << 8 | bytes[--n];
	return 0;
}

/* Up to the next newline, which is not part of it. */
int
machine_take_line(struct machine *m, const char **line, size_t *len)
{
	const uint8_t *newline = memchr(m->at, '\n', (size_t)(m->end - m->at));

	if (!newline)
		return machine_broken(m, "it ends too early");
	*line = (const char *)m->at;
	*len = (size_t)(newline - m->at);
	m->at = newline + 1;
	return 0;
}

/* --- nodes, stack and marks --- */

int
machine_count(struct machine *m, size_t n)
{
	m->count += n;
	return m->count > RAW_VALUES_MAX ? machine_broken(m, "it holds too many values") : 0;
}

struct node *
machine_push(struct machine *m, enum kind kind)
{
	struct node *n;

	if (machine_count(m, 1))
		return NULL;
	n = arena_alloc(&m->arena, sizeof *n);
	*n = (struct node){ .kind = kind };
	vec_push(&m->stack, n);
	return n;
}

int
machine_push_text(struct machine *m, enum kind kind, const char *text, size_t len)
{
	struct node *n = machine_push(m, kind);

	if (!n)
		return -1;
	n->u.text.at = text;
	n->u.text.len = len;
	return 0;
}

int
machine_push_real(struct machine *m, double real)
{
	struct node *n = machine_push(m, REAL);

	if (!n)
		return -1;
	n->u.real = real;
	return 0;
}

/* Where the things above the last mark begin. */
static size_t
floor_of(const struct machine *m)
{
	return m->marks.n ? m->marks.at[m->marks.n - 1] : 0;
}

int
machine_pop(struct machine *m, struct node **n)
{
	if (m->stack.n <= floor_of(m))
		return machine_broken(m, "its stack is empty");
	*n = m->stack.at[--m->stack.n];
	return 0;
}

static int
pop_mark(struct machine *m, size_t *from)
{
	if (!m->marks.n)
		return machine_broken(m, "a mark is missing");
	*from = m->marks.at[--m->marks.n];
	return 0;
}

int
machine_mark(struct machine *m)
{
	if (machine_count(m, 1))
		return -1;
	vec_push(&m->marks, m->stack.n);
	return 0;
}

int
machine_pop_marked(struct machine *m)
{
	size_t from;

	if (pop_mark(m, &from))
		return -1;
	m->stack.n = from;
	return 0;
}

static int
add_cell(struct machine *m, struct node *to, struct node *key, struct node *value)
{
	struct cell *c;

	if (machine_count(m, 1))
		return -1;
	c = arena_alloc(&m->arena, sizeof *c);
	*c = (struct cell){ key, value, NULL };
	if (to->u.cells.last)
		to->u.cells.last->next = c;
	else
		to->u.cells.first = c;
	to->u.cells.last = c;
	return 0;
}

/* What stands on the stack from FROM on goes into TO. */
static int
add_from(struct machine *m, struct node *to, size_t from)
{
	size_t step = to->kind == OBJECT ? 2 : 1;

	if ((m->stack.n - from) % step)
		return machine_broken(m, "a key without a value");
	for (size_t i = from; i < m->stack.n; i += step) {
		struct node *key = step == 2 ? m->stack.at[i] : NULL;

		if (add_cell(m, to, key, m->stack.at[i + step - 1]))
			return -1;
	}
	m->stack.n = from;
	return 0;
}

/* Add to the container below FROM. */
static int
add_to_below(struct machine *m, enum kind kind, size_t from)
{
	if (from <= floor_of(m) || m->stack.at[from - 1]->kind != kind)
		return machine_broken(m, "something is added to what is no container");
	return add_from(m, m->stack.at[from - 1], from);
}

/* The N things on top. */
static int
top(struct machine *m, size_t n, size_t *from)
{
	if (m->stack.n < floor_of(m) + n)
		return machine_broken(m, "its stack is empty");
	*from = m->stack.n - n;
	return 0;
}

int
machine_duplicate(struct machine *m)
{
	size_t from;

	if (top(m, 1, &from) || machine_count(m, 1))
		return -1;
	vec_push(&m->stack, m->stack.at[from]);
	return 0;
}

/* A new container of what stands on the stack from FROM on. */
static int
gather(struct machine *m, enum kind kind, size_t from)
{
	struct node *n = machine_push(m, kind);

	if (!n)
		return -1;
	m->stack.n--;
	if (add_from(m, n, from))
		return -1;
	vec_push(&m->stack, n);
	return 0;
}

int
machine_gather_top(struct machine *m, enum kind kind, size_t n)
{
	size_t from;

	return top(m, n, &from) ? -1 : gather(m, kind, from);
}

int
machine_gather_marked(struct machine *m, enum kind kind)
{
	size_t from;

	return pop_mark(m, &from) ? -1 : gather(m, kind, from);
}

int
machine_add_top(struct machine *m, enum kind kind, size_t n)
{
	size_t from;

	return top(m, n, &from) ? -1 : add_to_below(m, kind, from);
}

/* Mark, container, marked things: the container is below the mark. */
int
machine_add_marked(struct machine *m, enum kind kind)
{
	size_t from;

	return pop_mark(m, &from) ? -1 : add_to_below(m, kind, from);
}

/* --- the memory --- */

int
machine_remember(struct machine *m, uint64_t place)
{
	if (m->stack.n <= floor_of(m))
		return machine_broken(m, "its stack is empty");
	/* Pickles number their places from 0 on. */
	if (place > m->memo.n)
		return machine_broken(m, "its memory has a hole");
	if (place == m->memo.n)
		vec_push(&m->memo, NULL);
	m->memo.at[place] = m->stack.at[m->stack.n - 1];
	return 0;
}

int
machine_recall(struct machine *m, uint64_t place)
{
	if (place >= m->memo.n)
		return machine_broken(m, "it recalls what was never there");
	if (machine_count(m, 1))
		return -1;
	vec_push(&m->stack, m->memo.at[place]);
	return 0;
}
