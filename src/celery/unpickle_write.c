/* unpickle_write.c - what came out of a pickle, as JSON.
 *
 * The same node may be found in many places, and even in itself: here is where
 * depth and bytes are bounded. */
#include "celery/unpickle_inner.h"
#include <math.h>
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "celery/pickle.h"

static int
broken(struct err *err, const char *what)
{
	err_set(err, "a pickle: %s", what);
	return -1;
}

/* The lone surrogate at S (Python's "surrogatepass"), or 0. */
static uint32_t
surrogate(const uint8_t *s, size_t len)
{
	if (len < 3 || s[0] != 0xed || (s[1] & 0xe0) != 0xa0 || (s[2] & 0xc0) != 0x80)
		return 0;
	return 0xd000u | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu);
}

static int
write_text(struct str *out, const char *text, size_t len, struct err *err)
{
	str_putc(out, '"');
	for (size_t n; len > 0; text += n, len -= n) {
		uint32_t lone = surrogate((const uint8_t *)text, len);

		if (lone) {
			str_printf(out, "\\u%04x", lone);
			n = 3;
		} else if (!(n = str_char(text, len))) {
			return broken(err, "a text that is no UTF-8");
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

static int write_node(struct str *, const struct node *, int depth, struct err *);

/* As Python's json does: every key becomes a text. */
static int
write_key(struct str *out, const struct node *key, struct err *err)
{
	if (key->kind == TEXT)
		return write_text(out, key->u.text.at, key->u.text.len, err);
	if (key->kind == ARRAY || key->kind == OBJECT)
		return broken(err, "a key that is no text");
	str_putc(out, '"');
	if (write_node(out, key, 0, err))
		return -1;
	str_putc(out, '"');
	return 0;
}

static int
write_cells(struct str *out, const struct node *n, int depth, struct err *err)
{
	if (depth >= RAW_DEPTH_MAX)
		return broken(err, "it is too deep, or holds itself");
	str_putc(out, n->kind == OBJECT ? '{' : '[');
	for (const struct cell *c = n->u.cells.first; c; c = c->next) {
		if (c->key && write_key(out, c->key, err))
			return -1;
		str_puts(out, c->key ? ": " : "");
		if (write_node(out, c->value, depth + 1, err))
			return -1;
		str_puts(out, c->next ? ", " : "");
	}
	str_putc(out, n->kind == OBJECT ? '}' : ']');
	return 0;
}

static int
write_node(struct str *out, const struct node *n, int depth, struct err *err)
{
	if (out->len > PICKLE_MAX)
		return broken(err, "its JSON is too large");
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
		return write_text(out, n->u.text.at, n->u.text.len, err);
	default:
		return write_cells(out, n, depth, err);
	}
}

int
unpickle_write(struct str *json, const struct node *node, struct err *err)
{
	return write_node(json, node, 0, err);
}
