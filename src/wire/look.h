/* What stands in the broker's queues; for people, and before something is sent
 * again. */
#ifndef WIRE_LOOK_H
#define WIRE_LOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/clock.h"

struct conf;
struct err;

struct queue_look {
	const char *name;		/* given */
	bool there;
	uint32_t messages, consumers;	/* ready to be delivered; who takes them */
};

/* Connects, asks for each of the N queues (passively, nothing is declared), and
 * leaves; in its own loop, within LIMIT.  0, or -1 with ERR (ERR_TEMPFAIL,
 * ERR_CONFIG). */
int queues_look(const struct conf *, span limit, struct queue_look *, size_t n, struct err *);

#endif
