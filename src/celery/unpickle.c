/* unpickle.c - read pickles of protocols 2 to 5, plain values only.
 *
 * A pickle is a program for a small machine with a stack, marks on it, and a
 * memory of what was made.  We run it into nodes and write these as JSON.  The
 * same node may be found in many places, and even in itself: writing is where
 * depth and bytes are bounded.  What an opcode would have to call is refused. */
#include "celery/pickle.h"
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "base/vec.h"

#define LONG_BYTES 2048			/* of one integer: some 4900 digits; Python takes 4300 */

enum kind { NONE, TRUE, FALSE, INTEGER, REAL, TEXT, ARRAY, OBJECT };

struct cell {
	struct node *key, *value;	/* an array's have no key */
	struct cell *next;
};

struct node {
	enum kind kind;
	union {
		struct {
			const char *at;	/* of a TEXT bytes, of an INTEGER decimal digits */
			size_t len;
		} text;
		double real;
		struct {
			struct cell *first, *last;
		} cells;
	} u;
};

struct machine {
	const uint8_t *at, *end;
	struct arena arena;
	size_t count;
	VEC(struct node *) stack;
	VEC(size_t) marks;
	VEC(struct node *) memo;
	struct err *err;
};

static int
broken(struct machine *m, const char *what)
{
	err_set(m->err, "a pickle: %s", what);
	return -1;
}

/* --- reading bytes --- */

static int
take(struct machine *m, size_t n, const uint8_t **bytes)
{
	if (n > (size_t)(m->end - m->at))
		return broken(m, "it ends too early");
	*bytes = m->at;
	m->at += n;
	return 0;
}

/* N bytes, the low one first. */
static int
take_count(struct machine *m, size_t n, uint64_t *v)
{
	const uint8_t *bytes;

	if (take(m, n, &bytes))
		return -1;
	for (*v = 0; n > 0; )
		*v = *v << 8 | bytes[--n];
	return 0;
}

/* Up to the next newline, which is not part of it. */
static int
take_line(struct machine *m, const char **line, size_t *len)
{
	const uint8_t *newline = memchr(m->at, '\n', (size_t)(m->end - m->at));

	if (!newline)
		return broken(m, "it ends too early");
	*line = (const char *)m->at;
	*len = (size_t)(newline - m->at);
	m->at = newline + 1;
	return 0;
}

/* --- nodes and the stack --- */

static int
count_some(struct machine *m, size_t n)
{
	m->count += n;
	return m->count > RAW_VALUES_MAX ? broken(m, "it holds too many values") : 0;
}

static int
count(struct machine *m)
{
	return count_some(m, 1);
}

static struct node *
push(struct machine *m, enum kind kind)
{
	struct node *n;

	if (count(m))
		return NULL;
	n = arena_alloc(&m->arena, sizeof *n);
	*n = (struct node){ .kind = kind };
	vec_push(&m->stack, n);
	return n;
}

static int
push_text(struct machine *m, enum kind kind, const char *text, size_t len)
{
	struct node *n = push(m, kind);

	if (!n)
		return -1;
	n->u.text.at = text;
	n->u.text.len = len;
	return 0;
}

static int
push_real(struct machine *m, double real)
{
	struct node *n = push(m, REAL);

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

static int
pop(struct machine *m, struct node **n)
{
	if (m->stack.n <= floor_of(m))
		return broken(m, "its stack is empty");
	*n = m->stack.at[--m->stack.n];
	return 0;
}

static int
pop_mark(struct machine *m, size_t *from)
{
	if (!m->marks.n)
		return broken(m, "a mark is missing");
	*from = m->marks.at[--m->marks.n];
	return 0;
}

static int
add_cell(struct machine *m, struct node *to, struct node *key, struct node *value)
{
	struct cell *c;

	if (count(m))
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
		return broken(m, "a key without a value");
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
		return broken(m, "something is added to what is no container");
	return add_from(m, m->stack.at[from - 1], from);
}

/* The N things on top. */
static int
top(struct machine *m, size_t n, size_t *from)
{
	if (m->stack.n < floor_of(m) + n)
		return broken(m, "its stack is empty");
	*from = m->stack.n - n;
	return 0;
}

/* A new container of what stands on the stack from FROM on. */
static int
gather(struct machine *m, enum kind kind, size_t from)
{
	struct node *n = push(m, kind);

	if (!n)
		return -1;
	m->stack.n--;
	if (add_from(m, n, from))
		return -1;
	vec_push(&m->stack, n);
	return 0;
}

static int
gather_top(struct machine *m, enum kind kind, size_t n)
{
	size_t from;

	return top(m, n, &from) ? -1 : gather(m, kind, from);
}

static int
gather_marked(struct machine *m, enum kind kind)
{
	size_t from;

	return pop_mark(m, &from) ? -1 : gather(m, kind, from);
}

/* --- the memory --- */

static int
remember(struct machine *m, uint64_t place)
{
	if (m->stack.n <= floor_of(m))
		return broken(m, "its stack is empty");
	/* Pickles number their places from 0 on. */
	if (place > m->memo.n)
		return broken(m, "its memory has a hole");
	if (place == m->memo.n)
		vec_push(&m->memo, NULL);
	m->memo.at[place] = m->stack.at[m->stack.n - 1];
	return 0;
}

static int
recall(struct machine *m, uint64_t place)
{
	if (place >= m->memo.n)
		return broken(m, "it recalls what was never there");
	if (count(m))
		return -1;
	vec_push(&m->stack, m->memo.at[place]);
	return 0;
}

/* --- numbers --- */

static bool
is_decimal(const char *s, size_t len)
{
	if (len && *s == '-') {
		s++;
		len--;
	}
	for (size_t i = 0; i < len; i++)
		if (s[i] < '0' || s[i] > '9')
			return false;
	return len > 0 && (len == 1 || *s != '0');
}

/* "12", "12L", and of protocol 1 the booleans "00", "01". */
static int
push_decimal(struct machine *m, bool is_long)
{
	const char *line;
	size_t len;

	if (take_line(m, &line, &len))
		return -1;
	if (!is_long && len == 2 && *line == '0' && (line[1] == '0' || line[1] == '1'))
		return push(m, line[1] == '1' ? TRUE : FALSE) ? 0 : -1;
	if (is_long && len && line[len - 1] == 'L')
		len--;
	if (!is_decimal(line, len))
		return broken(m, "a number that is none");
	return push_text(m, INTEGER, line, len);
}

static int
push_integer(struct machine *m, int64_t v)
{
	char buf[24];
	int n = snprintf(buf, sizeof buf, "%lld", (long long)v);

	return push_text(m, INTEGER, arena_strndup(&m->arena, buf, (size_t)n), (size_t)n);
}

/* Divide the N limbs (the low one first) by 10^9; the remainder. */
static uint32_t
divide(uint32_t *limbs, size_t n)
{
	uint64_t rest = 0;

	while (n-- > 0) {
		rest = rest << 32 | limbs[n];
		limbs[n] = (uint32_t)(rest / 1000000000);
		rest %= 1000000000;
	}
	return (uint32_t)rest;
}

/* The two's complement of LEN bytes in decimal. */
static int
push_long(struct machine *m, const uint8_t *bytes, size_t len)
{
	bool negative = len && bytes[len - 1] & 0x80;
	uint32_t limbs[LONG_BYTES / 4 + 1], carry = negative;
	size_t n = len / 4 + 1, room = n * 10 + 12, at = room;
	char *digits = arena_alloc(&m->arena, room);

	/* Its magnitude: of a negative number all bits turned, and one more. */
	for (size_t i = 0; i < n; i++) {
		limbs[i] = 0;
		for (size_t b = 0; b < 4; b++) {
			uint8_t byte = i * 4 + b < len ? bytes[i * 4 + b] : negative ? 0xff : 0;

			limbs[i] |= (uint32_t)byte << 8 * b;
		}
		limbs[i] = (negative ? ~limbs[i] : limbs[i]) + carry;
		carry = carry && !limbs[i];
	}
	while (n > 0) {
		uint32_t rest = divide(limbs, n);

		for (int i = 0; i < 9; i++, rest /= 10)
			digits[--at] = (char)('0' + rest % 10);
		while (n > 0 && !limbs[n - 1])
			n--;
	}
	while (at < room - 1 && digits[at] == '0')
		at++;
	if (negative)
		digits[--at] = '-';
	return push_text(m, INTEGER, digits + at, room - at);
}

static int
take_long(struct machine *m, size_t size)
{
	const uint8_t *bytes;
	uint64_t len;

	if (take_count(m, size, &len))
		return -1;
	if (len > LONG_BYTES)
		return broken(m, "an integer of too many digits");
	if (count_some(m, len))		/* they take time */
		return -1;
	return take(m, len, &bytes) ? -1 : push_long(m, bytes, len);
}

static int
take_real(struct machine *m)
{
	const uint8_t *bytes;
	uint64_t bits = 0;
	double real;

	if (take(m, 8, &bytes))
		return -1;
	for (int i = 0; i < 8; i++)
		bits = bits << 8 | bytes[i];
	memcpy(&real, &bits, sizeof real);
	return push_real(m, real);
}

static int
take_real_line(struct machine *m)
{
	char text[64], *rest;
	const char *line;
	size_t len;
	double real;

	if (take_line(m, &line, &len))
		return -1;
	if (len == 0 || len >= sizeof text || memchr(line, '\0', len))
		return broken(m, "a number that is none");
	memcpy(text, line, len);
	text[len] = '\0';
	real = strtod(text, &rest);
	return *rest ? broken(m, "a number that is none") : push_real(m, real);
}

static int
take_text(struct machine *m, size_t size)
{
	const uint8_t *bytes;
	uint64_t len;

	if (take_count(m, size, &len) || take(m, len, &bytes))
		return -1;
	return push_text(m, TEXT, (const char *)bytes, len);
}

/* --- the opcodes --- */

static int
refuse_opcode(struct machine *m, uint8_t op)
{
	if (memchr("ciobR\x81\x82\x83\x84\x92\x93", op, 11))
		return broken(m, "it names a class or a function");
	if (memchr("BCSTU\x8e\x96", op, 7))
		return broken(m, "bytes are no JSON");
	if (memchr("\x8f\x90\x91", op, 3))
		return broken(m, "a set is no JSON");
	return err_set(m->err, "a pickle: the opcode 0x%02x is not known here", op);
}

static int
run_counted(struct machine *m, uint8_t op, size_t size)
{
	uint64_t v;

	if (take_count(m, size, &v))
		return -1;
	switch (op) {
	case 'K': case 'M':
		return push_integer(m, (int64_t)v);
	case 'J':
		return push_integer(m, (int32_t)(uint32_t)v);
	case 'q': case 'r':
		return remember(m, v);
	case 'h': case 'j':
		return recall(m, v);
	case 0x80:
		return v >= 2 && v <= 5 ? 0 : broken(m, "its protocol is not known here");
	default:		/* a frame's length: the frames are no matter to us */
		return 0;
	}
}

static int
pop_all(struct machine *m)
{
	size_t from;

	if (pop_mark(m, &from))
		return -1;
	m->stack.n = from;
	return 0;
}

/* Mark, container, marked things: the container is below the mark. */
static int
add_marked(struct machine *m, enum kind kind)
{
	size_t from;

	return pop_mark(m, &from) ? -1 : add_to_below(m, kind, from);
}

static int
add_top(struct machine *m, enum kind kind, size_t n)
{
	size_t from;

	return top(m, n, &from) ? -1 : add_to_below(m, kind, from);
}

static int
duplicate(struct machine *m)
{
	size_t from;

	if (top(m, 1, &from) || count(m))
		return -1;
	vec_push(&m->stack, m->stack.at[from]);
	return 0;
}

static int
mark(struct machine *m)
{
	if (count(m))
		return -1;
	vec_push(&m->marks, m->stack.n);
	return 0;
}

static int
run_op(struct machine *m, uint8_t op)
{
	struct node *ignored;

	switch (op) {
	case 'K': case 'q': case 'h': case 0x80:
		return run_counted(m, op, 1);
	case 'M':
		return run_counted(m, op, 2);
	case 'J': case 'r': case 'j':
		return run_counted(m, op, 4);
	case 0x95:
		return run_counted(m, op, 8);
	case 'N':
		return push(m, NONE) ? 0 : -1;
	case 0x88:
		return push(m, TRUE) ? 0 : -1;
	case 0x89:
		return push(m, FALSE) ? 0 : -1;
	case 'I': case 'L':
		return push_decimal(m, op == 'L');
	case 0x8a:
		return take_long(m, 1);
	case 0x8b:
		return take_long(m, 4);
	case 'G':
		return take_real(m);
	case 'F':
		return take_real_line(m);
	case 0x8c:
		return take_text(m, 1);
	case 'X':
		return take_text(m, 4);
	case 0x8d:
		return take_text(m, 8);
	case '(':
		return mark(m);
	case '0':
		return pop(m, &ignored);
	case '1':
		return pop_all(m);
	case '2':
		return duplicate(m);
	case ']': case ')':
		return push(m, ARRAY) ? 0 : -1;
	case '}':
		return push(m, OBJECT) ? 0 : -1;
	case 'a':
		return add_top(m, ARRAY, 1);
	case 'e':
		return add_marked(m, ARRAY);
	case 's':
		return add_top(m, OBJECT, 2);
	case 'u':
		return add_marked(m, OBJECT);
	case 'l': case 't':
		return gather_marked(m, ARRAY);
	case 'd':
		return gather_marked(m, OBJECT);
	case 0x85: case 0x86: case 0x87:
		return gather_top(m, ARRAY, op - 0x84u);
	case 0x94:
		return remember(m, m->memo.n);
	default:
		return refuse_opcode(m, op);
	}
}

static struct node *
run(struct machine *m)
{
	struct node *value;

	while (m->at < m->end) {
		uint8_t op = *m->at++;

		if (op == '.')
			return pop(m, &value) ? NULL : value;
		if (run_op(m, op))
			return NULL;
	}
	broken(m, "it ends too early");
	return NULL;
}

/* --- writing JSON --- */

/* The lone surrogate at S (Python's "surrogatepass"), or 0. */
static uint32_t
surrogate(const uint8_t *s, size_t len)
{
	if (len < 3 || s[0] != 0xed || (s[1] & 0xe0) != 0xa0 || (s[2] & 0xc0) != 0x80)
		return 0;
	return 0xd000u | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu);
}

static int
write_text(struct machine *m, struct str *out, const char *text, size_t len)
{
	str_putc(out, '"');
	for (size_t n; len > 0; text += n, len -= n) {
		uint32_t lone = surrogate((const uint8_t *)text, len);

		if (lone) {
			str_printf(out, "\\u%04x", lone);
			n = 3;
		} else if (!(n = str_char(text, len))) {
			return broken(m, "a text that is no UTF-8");
		} else if (*text == '"' || *text == '\\') {
			str_printf(out, "\\%c", *text);
		} else if ((unsigned char)*text < 0x20) {
			str_printf(out, "\\u%04x", (unsigned)(unsigned char)*text);
		} else {
			str_add(out, text, n);
		}
	}
	str_putc(out, '"');
	return 0;
}

static void
write_real(struct str *out, double real)
{
	char buf[JSON_REAL_TEXT];

	if (isnan(real))
		str_puts(out, "NaN");
	else if (isinf(real))
		str_puts(out, real < 0 ? "-Infinity" : "Infinity");
	else
		str_puts(out, json_format_real(real, buf));
}

static int write_node(struct machine *, struct str *, const struct node *, int depth);

/* As Python's json does: every key becomes a text. */
static int
write_key(struct machine *m, struct str *out, const struct node *key)
{
	if (key->kind == TEXT)
		return write_text(m, out, key->u.text.at, key->u.text.len);
	if (key->kind == ARRAY || key->kind == OBJECT)
		return broken(m, "a key that is no text");
	str_putc(out, '"');
	if (write_node(m, out, key, 0))
		return -1;
	str_putc(out, '"');
	return 0;
}

static int
write_cells(struct machine *m, struct str *out, const struct node *n, int depth)
{
	if (depth >= RAW_DEPTH_MAX)
		return broken(m, "it is too deep, or holds itself");
	str_putc(out, n->kind == OBJECT ? '{' : '[');
	for (const struct cell *c = n->u.cells.first; c; c = c->next) {
		if (c->key && write_key(m, out, c->key))
			return -1;
		str_puts(out, c->key ? ": " : "");
		if (write_node(m, out, c->value, depth + 1))
			return -1;
		str_puts(out, c->next ? ", " : "");
	}
	str_putc(out, n->kind == OBJECT ? '}' : ']');
	return 0;
}

static int
write_node(struct machine *m, struct str *out, const struct node *n, int depth)
{
	if (out->len > PICKLE_MAX)
		return broken(m, "its JSON is too large");
	switch (n->kind) {
	case NONE:
		str_puts(out, "null");
		return 0;
	case TRUE:
		str_puts(out, "true");
		return 0;
	case FALSE:
		str_puts(out, "false");
		return 0;
	case INTEGER:
		str_add(out, n->u.text.at, n->u.text.len);
		return 0;
	case REAL:
		write_real(out, n->u.real);
		return 0;
	case TEXT:
		return write_text(m, out, n->u.text.at, n->u.text.len);
	default:
		return write_cells(m, out, n, depth);
	}
}

int
pickle_read(struct str *json, const void *pickle, size_t len, struct err *err)
{
	struct machine m = { .at = pickle, .end = (const uint8_t *)pickle + len, .err = err };
	struct str out = STR_INIT;
	struct node *value = NULL;
	int rc = -1;

	if (len > PICKLE_MAX)
		broken(&m, "it is too large");
	else if ((value = run(&m)) && !(rc = write_node(&m, &out, value, 0)))
		str_add(json, str_text(&out), out.len);
	str_done(&out);
	vec_done(&m.stack);
	vec_done(&m.marks);
	vec_done(&m.memo);
	arena_done(&m.arena);
	return rc;
}
