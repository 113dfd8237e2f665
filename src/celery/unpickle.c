/* unpickle.c - read pickles of protocols 2 to 5, plain values only.
 *
 * A pickle is a program for a small machine (unpickle_machine.c).  We run it into
 * nodes and write these as JSON (unpickle_write.c).  Here are its opcodes, and the
 * numbers and texts that stand in it.  What an opcode would have to call is
 * refused. */
#include "celery/pickle.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/str.h"
#include "celery/unpickle_inner.h"

#define LONG_BYTES 2048			/* of one integer: some 4900 digits; Python takes 4300 */

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

	if (machine_take_line(m, &line, &len))
		return -1;
	if (!is_long && len == 2 && *line == '0' && (line[1] == '0' || line[1] == '1'))
		return machine_push(m, line[1] == '1' ? TRUE : FALSE) ? 0 : -1;
	if (is_long && len && line[len - 1] == 'L')
		len--;
	if (!is_decimal(line, len))
		return machine_broken(m, "a number that is none");
	return machine_push_text(m, INTEGER, line, len);
}

static int
push_integer(struct machine *m, int64_t v)
{
	char buf[24];
	int n = snprintf(buf, sizeof buf, "%lld", (long long)v);

	return machine_push_text(m, INTEGER, arena_strndup(&m->arena, buf, (size_t)n), (size_t)n);
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
	return machine_push_text(m, INTEGER, digits + at, room - at);
}

static int
take_long(struct machine *m, size_t size)
{
	const uint8_t *bytes;
	uint64_t len;

	if (machine_take_count(m, size, &len))
		return -1;
	if (len > LONG_BYTES)
		return machine_broken(m, "an integer of too many digits");
	if (machine_count(m, len))		/* they take time */
		return -1;
	return machine_take(m, len, &bytes) ? -1 : push_long(m, bytes, len);
}

static int
take_real(struct machine *m)
{
	const uint8_t *bytes;
	uint64_t bits = 0;
	double real;

	if (machine_take(m, 8, &bytes))
		return -1;
	for (int i = 0; i < 8; i++)
		bits = bits << 8 | bytes[i];
	memcpy(&real, &bits, sizeof real);
	return machine_push_real(m, real);
}

static int
take_real_line(struct machine *m)
{
	char text[64], *rest;
	const char *line;
	size_t len;
	double real;

	if (machine_take_line(m, &line, &len))
		return -1;
	if (len == 0 || len >= sizeof text || memchr(line, '\0', len))
		return machine_broken(m, "a number that is none");
	memcpy(text, line, len);
	text[len] = '\0';
	real = strtod(text, &rest);
	return *rest ? machine_broken(m, "a number that is none") : machine_push_real(m, real);
}

static int
take_text(struct machine *m, size_t size)
{
	const uint8_t *bytes;
	uint64_t len;

	if (machine_take_count(m, size, &len) || machine_take(m, len, &bytes))
		return -1;
	return machine_push_text(m, TEXT, (const char *)bytes, len);
}

/* --- the opcodes --- */

static int
refuse_opcode(struct machine *m, uint8_t op)
{
	if (memchr("ciobR\x81\x82\x83\x84\x92\x93", op, 11))
		return machine_broken(m, "it names a class or a function");
	if (memchr("BCSTU\x8e\x96", op, 7))
		return machine_broken(m, "bytes are no JSON");
	if (memchr("\x8f\x90\x91", op, 3))
		return machine_broken(m, "a set is no JSON");
	return err_set(m->err, "a pickle: the opcode 0x%02x is not known here", op);
}

static int
run_counted(struct machine *m, uint8_t op, size_t size)
{
	uint64_t v;

	if (machine_take_count(m, size, &v))
		return -1;
	switch (op) {
	case 'K': case 'M':
		return push_integer(m, (int64_t)v);
	case 'J':
		return push_integer(m, (int32_t)(uint32_t)v);
	case 'q': case 'r':
		return machine_remember(m, v);
	case 'h': case 'j':
		return machine_recall(m, v);
	case 0x80:
		return v >= 2 && v <= 5 ? 0 : machine_broken(m, "its protocol is not known here");
	default:		/* a frame's length: the frames are no matter to us */
		return 0;
	}
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
		return machine_push(m, NONE) ? 0 : -1;
	case 0x88:
		return machine_push(m, TRUE) ? 0 : -1;
	case 0x89:
		return machine_push(m, FALSE) ? 0 : -1;
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
		return machine_mark(m);
	case '0':
		return machine_pop(m, &ignored);
	case '1':
		return machine_pop_marked(m);
	case '2':
		return machine_duplicate(m);
	case ']': case ')':
		return machine_push(m, ARRAY) ? 0 : -1;
	case '}':
		return machine_push(m, OBJECT) ? 0 : -1;
	case 'a':
		return machine_add_top(m, ARRAY, 1);
	case 'e':
		return machine_add_marked(m, ARRAY);
	case 's':
		return machine_add_top(m, OBJECT, 2);
	case 'u':
		return machine_add_marked(m, OBJECT);
	case 'l': case 't':
		return machine_gather_marked(m, ARRAY);
	case 'd':
		return machine_gather_marked(m, OBJECT);
	case 0x85: case 0x86: case 0x87:
		return machine_gather_top(m, ARRAY, op - 0x84u);
	case 0x94:
		return machine_remember(m, m->memo.n);
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
			return machine_pop(m, &value) ? NULL : value;
		if (run_op(m, op))
			return NULL;
	}
	machine_broken(m, "it ends too early");
	return NULL;
}

int
pickle_read(struct str *json, const void *pickle, size_t len, struct err *err)
{
	struct machine m = { .at = pickle, .end = (const uint8_t *)pickle + len, .err = err };
	struct str out = STR_INIT;
	struct node *value = NULL;
	int rc = -1;

	if (len > PICKLE_MAX)
		machine_broken(&m, "it is too large");
	else if ((value = run(&m)) && !(rc = unpickle_write(&out, value, err)))
		str_add(json, str_text(&out), out.len);
	str_done(&out);
	vec_done(&m.stack);
	vec_done(&m.marks);
	vec_done(&m.memo);
	arena_done(&m.arena);
	return rc;
}
