/* Reach a server by TCP: its name is resolved on the loop, and its addresses
 * are tried one after the other.  A host that begins with '/' is the path of a
 * socket in the file system, and the port is of no matter. */
#ifndef IO_DIAL_H
#define IO_DIAL_H

#include "base/clock.h"

struct dial;
struct err;
struct loop;

/* DONE is called once, from the loop: FD is connected, non-blocking and the
 * caller's from there on; or it is -1, and ERR says what the last address had
 * to say.  PATIENCE is shared among all addresses; on the last one it is the
 * caller's business.  The dial may be freed within DONE. */
struct dial *dial_new(struct loop *, const char *host, int port, span patience,
    void (*done)(void *arg, int fd, const struct err *), void *arg);
void dial_free(struct dial *);		/* gives up; NULL is fine */

const char *dial_stage(const struct dial *);	/* "connecting to 127.0.0.1", ...; lent */

#endif
