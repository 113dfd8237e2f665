/* "user:password@host:port": the part of a server's address that all kinds of
 * addresses share.  What stands in it may be percent-encoded.
 *
 * Errors are of class ERR_CONFIG, begin with whose address it is, and repeat
 * nothing of it. */
#ifndef IO_AUTHORITY_H
#define IO_AUTHORITY_H

#include <stddef.h>

struct err;

struct authority {
	char *user, *password;	/* NULL: there is no '@'; without ':' the password is "" */
	char *host;		/* without the brackets of an IPv6 address */
	int port;		/* 0: none is said */
};

/* TEXT is what follows "scheme://".  REST begins where the authority ends: with
 * '/', '?', '#', or the end.  WHOSE: "the broker's address".  -1 with ERR, and
 * the authority is empty then. */
int authority_parse(const char *text, const char *whose, struct authority *,
    const char **rest, struct err *);
void authority_done(struct authority *);

/* N bytes at S without their percent-encoding; NULL if it is wrong, or hides a
 * NUL.  The caller frees. */
char *authority_decode(const char *s, size_t n);

#endif
