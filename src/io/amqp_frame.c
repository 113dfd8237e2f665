/* amqp_frame.c - the codec of AMQP 0-9-1, with librabbitmq's help.
 *
 *	type  channel  size   payload ...  0xCE
 *	 1       2       4      size        1
 *
 * The payload of a method is class, number (2 + 2) and its arguments; that of
 * a content header class, weight, body size (2 + 2 + 8), flags, properties. */
#include "io/amqp_frame.h"
#include <amqp_framing.h>
#include <stdbool.h>
#include <string.h>
#include "base/err.h"

enum { FRAME_END = 0xce, HEAD = 7, HEADER_HEAD = 12 };

static uint32_t
get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void
put32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

static amqp_bytes_t
part(amqp_bytes_t b, size_t from)
{
	return (amqp_bytes_t){ b.len - from, (uint8_t *)b.bytes + from };
}

/* --- in --- */

int
frame_read(const uint8_t *p, size_t n, size_t most, struct frame *frame, size_t *taken,
    struct err *err)
{
	size_t size;

	if (n == 0)
		return 0;
	if (*p != FRAME_METHOD && *p != FRAME_HEADER && *p != FRAME_BODY && *p != FRAME_HEARTBEAT)
		return err_class(err, ERR_TEMPFAIL, "what the server sends is not AMQP 0-9-1");
	if (n < HEAD)
		return 0;
	size = get32(p + 3);
	if (size > most - FRAME_OVERHEAD)
		return err_class(err, ERR_TEMPFAIL,
		    "the broker sent a frame of %zu bytes; %zu are agreed on",
		    size + FRAME_OVERHEAD, most);
	if (n < size + FRAME_OVERHEAD)
		return 0;
	if (p[HEAD + size] != FRAME_END)
		return err_class(err, ERR_TEMPFAIL, "the broker sent a frame without its end");
	frame->type = *p;
	frame->channel = (uint16_t)(p[1] << 8 | p[2]);
	frame->payload = (amqp_bytes_t){ size, (void *)(p + HEAD) };
	*taken = size + FRAME_OVERHEAD;
	return 1;
}

/* The length of a field's value, after its kind; tables and arrays without
 * what is in them.  -1: unknown kind. */
static int
fixed_size(uint8_t kind)
{
	switch (kind) {
	case 'V':
		return 0;
	case 't': case 'b': case 'B':
		return 1;
	case 's': case 'u':
		return 2;
	case 'I': case 'i': case 'f': case 'S': case 'x': case 'A': case 'F':
		return 4;
	case 'D':
		return 5;
	case 'l': case 'L': case 'd': case 'T':
		return 8;
	default:
		return -1;
	}
}

/* Do tables and arrays nest no deeper than librabbitmq's (and our) recursion
 * stands?  Everything else that is wrong the decoder finds. */
static bool
is_shallow(const uint8_t *p, const uint8_t *end, bool is_table, int depth)
{
	while (p < end) {
		size_t len = 0;
		uint8_t kind;
		int fixed;

		if (is_table)
			p += 1 + *p;
		if (p >= end || (fixed = fixed_size(kind = *p++)) < 0 || end - p < fixed)
			return true;
		if (strchr("SxAF", kind)) {
			len = get32(p);
			if (len > (size_t)(end - p) - 4)
				return true;
		}
		if ((kind == 'A' || kind == 'F') && (depth == 0 ||
		    !is_shallow(p + 4, p + 4 + len, kind == 'F', depth - 1)))
			return false;
		p += (size_t)fixed + len;
	}
	return true;
}

/* The same of a table and its length at P. */
static bool
table_is_shallow(const uint8_t *p, const uint8_t *end)
{
	if (end - p < 4 || get32(p) > (size_t)(end - p) - 4)
		return true;
	return is_shallow(p + 4, p + 4 + get32(p), true, FRAME_DEPTH);
}

/* Of all methods that a broker sends, one has a table. */
int
frame_method(amqp_bytes_t payload, amqp_pool_t *pool, amqp_method_number_t *number, void **said)
{
	const uint8_t *p = payload.bytes;

	if (payload.len < 4)
		return -1;
	*number = get32(p);
	if (*number == AMQP_CONNECTION_START_METHOD && payload.len > 6 &&
	    !table_is_shallow(p + 6, p + payload.len))
		return -1;
	return amqp_decode_method(*number, pool, part(payload, 4), said) < 0 ? -1 : 0;
}

int
frame_body_size(amqp_bytes_t header, uint64_t *size)
{
	const uint8_t *p = header.bytes;

	if (header.len < HEADER_HEAD + 2 || (p[0] << 8 | p[1]) != AMQP_BASIC_CLASS)
		return -1;
	*size = (uint64_t)get32(p + 4) << 32 | get32(p + 8);
	return 0;
}

/* Content type and encoding stand before the table of headers. */
static bool
headers_are_shallow(amqp_bytes_t properties)
{
	const uint8_t *p = properties.bytes, *end = p + properties.len;
	int flags = p[0] << 8 | p[1];

	if (!(flags & AMQP_BASIC_HEADERS_FLAG))
		return true;
	p += 2;
	if ((flags & AMQP_BASIC_CONTENT_TYPE_FLAG) && p < end)
		p += 1 + *p;
	if ((flags & AMQP_BASIC_CONTENT_ENCODING_FLAG) && p < end)
		p += 1 + *p;
	return p >= end || table_is_shallow(p, end);
}

int
frame_properties(amqp_bytes_t header, amqp_pool_t *pool, amqp_basic_properties_t **properties)
{
	amqp_bytes_t encoded;
	void *decoded;

	if (header.len < HEADER_HEAD + 2)
		return -1;
	encoded = part(header, HEADER_HEAD);
	if (!headers_are_shallow(encoded) ||
	    amqp_decode_properties(AMQP_BASIC_CLASS, pool, encoded, &decoded) < 0)
		return -1;
	*properties = decoded;
	return 0;
}

/* --- out --- */

static int
close_frame(uint8_t *to, int type, int channel, size_t n)
{
	to[0] = (uint8_t)type;
	to[1] = (uint8_t)(channel >> 8);
	to[2] = (uint8_t)channel;
	put32(to + 3, (uint32_t)n);
	to[HEAD + n] = FRAME_END;
	return (int)(n + FRAME_OVERHEAD);
}

int
frame_put_method(uint8_t *to, size_t room, int channel, amqp_method_number_t number, void *says)
{
	int n;

	if (room < FRAME_OVERHEAD + 4)
		return -1;
	put32(to + HEAD, number);
	n = amqp_encode_method(number, says,
	    (amqp_bytes_t){ room - FRAME_OVERHEAD - 4, to + HEAD + 4 });
	return n < 0 ? -1 : close_frame(to, FRAME_METHOD, channel, (size_t)n + 4);
}

int
frame_put_header(uint8_t *to, size_t room, int channel,
    const amqp_basic_properties_t *properties, uint64_t body_size)
{
	int n;

	if (room < FRAME_OVERHEAD + HEADER_HEAD)
		return -1;
	put32(to + HEAD, AMQP_BASIC_CLASS << 16);
	put32(to + HEAD + 4, (uint32_t)(body_size >> 32));
	put32(to + HEAD + 8, (uint32_t)body_size);
	n = amqp_encode_properties(AMQP_BASIC_CLASS, (void *)properties,
	    (amqp_bytes_t){ room - FRAME_OVERHEAD - HEADER_HEAD, to + HEAD + HEADER_HEAD });
	return n < 0 ? -1 : close_frame(to, FRAME_HEADER, channel, (size_t)n + HEADER_HEAD);
}

int
frame_put(uint8_t *to, int type, int channel, const void *payload, size_t n)
{
	if (n)
		memcpy(to + HEAD, payload, n);
	return close_frame(to, type, channel, n);
}
