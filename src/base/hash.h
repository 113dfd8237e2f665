/* Fingerprints of bytes. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>

#define SHA256_TEXT 65		/* 64 hexadecimal digits and the NUL */

void sha256_hex(const void *bytes, size_t len, char out[SHA256_TEXT]);

#endif
