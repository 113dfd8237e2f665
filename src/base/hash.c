/* hash.c - fingerprints, by libcrypto. */
#include "base/hash.h"
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

void
sha256_hex(const void *bytes, size_t len, char out[SHA256_TEXT])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	if (!EVP_Digest(bytes, len, digest, &n, EVP_sha256(), NULL)) {
		fputs("tocsin: libcrypto refuses SHA-256\n", stderr);
		abort();
	}
	for (unsigned i = 0; i < n; i++)
		snprintf(out + 2 * i, 3, "%02x", digest[i]);
}
