/* A queue of bytes: they are added at the tail and taken from the head.
 *
 * Zeroed memory is an empty one.  Its memory is kept for the next bytes, unless
 * it has become large and is empty. */
#ifndef IO_BYTES_H
#define IO_BYTES_H

#include <stddef.h>
#include <stdint.h>

struct bytes {
	uint8_t *data;
	size_t head, tail, room;
};

void bytes_done(struct bytes *);
size_t bytes_len(const struct bytes *);
uint8_t *bytes_at(const struct bytes *);	/* the head; lent until the next change */

/* Room for N bytes at the tail, of which bytes_commit() then adds some. */
uint8_t *bytes_reserve(struct bytes *, size_t n);
void bytes_commit(struct bytes *, size_t n);
void bytes_add(struct bytes *, const void *, size_t n);

void bytes_drop(struct bytes *, size_t n);	/* from the head */
void bytes_clear(struct bytes *);

#endif
