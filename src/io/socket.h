/* A stream to a server: TCP, and TLS on it if wanted; it never blocks.
 *
 * The name is resolved on the loop, and the server's addresses are tried one
 * after the other.  What is written goes into a buffer, and from there to the
 * network once in each turn of the loop, so that many small writes are one
 * send.  How long connecting may take is the owner's business, as are dead
 * peers. */
#ifndef IO_SOCKET_H
#define IO_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/clock.h"

struct err;
struct loop;
struct socket;

struct socket_settings {
	const char *host;		/* or the path of a socket: '/...' */
	int port;
	span patience;			/* as in io/dial.h */
	bool tls;
	const char *ca_file;		/* NULL: the certificates that the system trusts */
	bool tls_insecure;		/* verify neither certificate nor name */
};

/* A socket may be freed in all of these. */
struct socket_events {
	void (*connected)(void *arg);	/* TLS has shaken hands, too */
	/* N bytes are there; returns how many of them were used up.  The rest
	 * comes again, with more. */
	size_t (*arrived)(void *arg, const uint8_t *, size_t n);
	/* The end of it, told once, and not for socket_free(). */
	void (*closed)(void *arg, const struct err *);
};

struct socket *socket_new(struct loop *, const struct socket_settings *,
    const struct socket_events *, void *arg);	/* copies the settings, keeps the events */
void socket_free(struct socket *);		/* closes at once; NULL is fine */

/* Room for N bytes, of which socket_commit() then writes some. */
uint8_t *socket_reserve(struct socket *, size_t n);
void socket_commit(struct socket *, size_t n);
size_t socket_backlog(const struct socket *);	/* written, and not yet taken by the network */

/* As much as goes: before socket_free(), or in the middle of much.  That it does not
 * go is told later, or not at all. */
void socket_send_now(struct socket *);
void socket_read_now(struct socket *);	/* events may come from within */
const char *socket_stage(const struct socket *);	/* "connecting to 127.0.0.1", ...; lent */

#endif
