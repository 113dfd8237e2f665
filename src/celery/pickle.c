/* pickle.c - write pickles of protocol 2.
 *
 * Of the machine's opcodes the few that plain values need; nothing is memoised.
 * An integer beyond 32 bits is written in decimal ('L', an opcode of the oldest
 * protocol, which all later ones read): no arithmetic on numbers of any size. */
#include "celery/pickle.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/str.h"

static void put_value(struct str *, struct raw);

/* N bytes of V, the low one first. */
static void
put_low_first(struct str *s, uint64_t v, int n)
{
	for (; n > 0; n--, v >>= 8)
		str_putc(s, (char)(v & 0xff));
}

/* As Python's "surrogatepass": a lone surrogate is three bytes like any other. */
static void
put_char(struct str *s, uint32_t c)
{
	if (c < 0xd800 || c > 0xdfff) {
		raw_put_char(s, c);
		return;
	}
	str_putc(s, (char)0xed);
	str_putc(s, (char)(0x80 | (c >> 6 & 0x3f)));
	str_putc(s, (char)(0x80 | (c & 0x3f)));
}

static void
put_text(struct str *s, struct raw v)
{
	const char *at = v.text + 1, *end = v.text + v.len - 1;
	size_t start;

	str_puts(s, "X");
	put_low_first(s, 0, 4);
	for (start = s->len; at < end; )
		put_char(s, raw_char(&at));
	for (size_t i = 0, n = s->len - start; i < 4; i++, n >>= 8)
		s->text[start - 4 + i] = (char)(n & 0xff);
}

static void
put_real(struct str *s, struct raw v)
{
	char *text = xstrndup(v.text, v.len);
	double real = strtod(text, NULL);	/* NaN and Infinity, too */
	uint64_t bits;

	memcpy(&bits, &real, sizeof bits);
	str_putc(s, 'G');
	for (int shift = 56; shift >= 0; shift -= 8)
		str_putc(s, (char)(bits >> shift & 0xff));
	free(text);
}

static void
put_number(struct str *s, struct raw v)
{
	int64_t n;

	if (memchr(v.text, '.', v.len) || memchr(v.text, 'e', v.len) ||
	    memchr(v.text, 'E', v.len) || memchr(v.text, 'N', v.len) || memchr(v.text, 'I', v.len)) {
		put_real(s, v);
	} else if (!raw_integer(v, &n) && n >= INT32_MIN && n <= INT32_MAX) {
		str_putc(s, 'J');
		put_low_first(s, (uint64_t)n, 4);
	} else {
		str_putc(s, 'L');
		str_add(s, v.text, v.len);
		str_puts(s, "L\n");
	}
}

/* An array or an object: empty, then all that is in it.  raw_check() has seen to
 * the depth. */
static void
put_members(struct str *s, struct raw v, const char *empty, char add)
{
	struct raw_walk walk = raw_walk(v);
	struct raw key, member;
	bool some = false;

	for (str_puts(s, empty); raw_next(&walk, &key, &member); some = true) {
		if (!some)
			str_putc(s, '(');
		if (key.text)
			put_text(s, key);
		put_value(s, member);
	}
	if (some)
		str_putc(s, add);
}

static void
put_value(struct str *s, struct raw v)
{
	switch (raw_kind(v)) {
	case '{':
		put_members(s, v, "}", 'u');
		break;
	case '[':
		put_members(s, v, "]", 'e');
		break;
	case '"':
		put_text(s, v);
		break;
	case 't':
		str_putc(s, '\x88');
		break;
	case 'f':
		str_putc(s, '\x89');
		break;
	case '0':
		put_number(s, v);
		break;
	default:
		str_putc(s, 'N');
	}
}

void
pickle_write(struct str *s, struct raw value)
{
	str_puts(s, "\x80\x02");
	put_value(s, value);
	str_putc(s, '.');
}
