/* The frames of AMQP 0-9-1: bytes in, structs out, and back.  Pure.
 *
 * Methods and properties are librabbitmq's structs, encoded and decoded by it.
 * We cut the frames ourselves: its own connection state takes memory for each
 * channel that a broker names, and copies every body. */
#ifndef IO_AMQP_FRAME_H
#define IO_AMQP_FRAME_H

#include <amqp.h>
#include <stddef.h>
#include <stdint.h>

struct err;

enum {
	FRAME_METHOD = 1, FRAME_HEADER = 2, FRAME_BODY = 3, FRAME_HEARTBEAT = 8,
	FRAME_OVERHEAD = 8,		/* around the payload */
	FRAME_MAX = 131072,		/* the largest that we agree to */
	FRAME_DEPTH = 64,		/* of tables and arrays in one another */
};

struct frame {
	int type;
	uint16_t channel;
	amqp_bytes_t payload;		/* lent */
};

/* The first frame of N bytes: 1, and *TAKEN is its length; 0 while it is not
 * complete; -1 with ERR when this is no frame of at most MOST bytes. */
int frame_read(const uint8_t *, size_t n, size_t most, struct frame *, size_t *taken,
    struct err *);

/* The number of a method and what it says.  Lent: bytes are those of the
 * payload, the rest is POOL's.  -1: it cannot be understood. */
int frame_method(amqp_bytes_t payload, amqp_pool_t *, amqp_method_number_t *, void **said);
/* The size of the body that follows. */
int frame_body_size(amqp_bytes_t header, uint64_t *);
/* -1 where it cannot be understood, or tables nest too deeply. */
int frame_properties(amqp_bytes_t header, amqp_pool_t *, amqp_basic_properties_t **);

/* All of these write at most ROOM bytes to TO, and return how many; -1 if it
 * does not fit, or a name is longer than 255 bytes. */
int frame_put_method(uint8_t *to, size_t room, int channel, amqp_method_number_t, void *says);
int frame_put_header(uint8_t *to, size_t room, int channel,
    const amqp_basic_properties_t *, uint64_t body_size);
int frame_put(uint8_t *to, int type, int channel, const void *payload, size_t n);

#endif
