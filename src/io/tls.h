/* The TLS of one client connection, between two queues of bytes: it knows no
 * socket and never waits.
 *
 * The peer's certificate and its name are always verified, unless the caller
 * says "insecure".  TLS 1.2 is the least. */
#ifndef IO_TLS_H
#define IO_TLS_H

#include <stdbool.h>
#include <stddef.h>

struct bytes;
struct err;
struct tls;

/* HOST is the name or the address that the certificate must be for.  CA_FILE
 * holds the trusted certificates, NULL: those of the system.  NULL with ERR
 * (ERR_CONFIG) if the file is of no use. */
struct tls *tls_new(const char *host, const char *ca_file, bool insecure, struct err *);
void tls_free(struct tls *);

/* Take N bytes that came from the network. */
void tls_feed(struct tls *, const void *, size_t n);
/* 1 when the handshake is done, 0 while it is not, -1 with ERR. */
int tls_shake_hands(struct tls *, struct err *);
/* Add to PLAIN what has come in.  1 when the peer has ended, -1 with ERR. */
int tls_decrypt(struct tls *, struct bytes *plain, struct err *);
/* Take some of PLAIN, if the handshake is done; add to CIPHER what is for the network. */
int tls_encrypt(struct tls *, struct bytes *plain, struct bytes *cipher, struct err *);

#endif
