/* bytes.c - what has arrived and what is to be sent. */
#include "io/bytes.h"
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"

enum { KEPT = 1 << 20 };	/* memory that an empty queue may keep */

void
bytes_done(struct bytes *b)
{
	free(b->data);
	*b = (struct bytes){ 0 };
}

size_t
bytes_len(const struct bytes *b)
{
	return b->tail - b->head;
}

uint8_t *
bytes_at(const struct bytes *b)
{
	return b->data + b->head;
}

uint8_t *
bytes_reserve(struct bytes *b, size_t n)
{
	size_t len = bytes_len(b);

	if (b->room - b->tail >= n)
		return b->data + b->tail;
	/* Moving them pays off only if as much was taken as is moved. */
	if (b->room - len >= n && b->head >= len) {
		memmove(b->data, b->data + b->head, len);
	} else {
		uint8_t *data;

		b->room = (len + n) * 2 < 4096 ? 4096 : (len + n) * 2;
		data = xmalloc(b->room);
		if (len)
			memcpy(data, b->data + b->head, len);
		free(b->data);
		b->data = data;
	}
	b->head = 0;
	b->tail = len;
	return b->data + b->tail;
}

void
bytes_commit(struct bytes *b, size_t n)
{
	b->tail += n;
}

void
bytes_add(struct bytes *b, const void *data, size_t n)
{
	if (n == 0)
		return;
	memcpy(bytes_reserve(b, n), data, n);
	b->tail += n;
}

void
bytes_drop(struct bytes *b, size_t n)
{
	b->head += n;
	if (b->head == b->tail)
		bytes_clear(b);
}

void
bytes_clear(struct bytes *b)
{
	b->head = b->tail = 0;
	if (b->room > KEPT)
		bytes_done(b);
}
