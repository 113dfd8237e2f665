/* Compressed bodies: the header "compression" says how.
 *
 * Celery's names of formats: application/x-gzip is a zlib stream (not gzip's own
 * framing, which is read too), application/x-bz2, application/zstd; and their
 * aliases gzip, zlib, bzip2, zstd.  What is unpacked never grows beyond the
 * limit that is given, whatever the stream claims.  Pure. */
#ifndef CELERY_COMPRESS_H
#define CELERY_COMPRESS_H

#include <stdbool.h>
#include <stddef.h>

struct refusal;
struct str;

/* Is NAME a format that this build can unpack? */
bool compress_knows(const char *name);
/* Those, for people: "zlib, bzip2". */
const char *compress_list(void);

/* Add to OUT what is in BYTES, at most LIMIT bytes: REFUSED_COMPRESSION if the
 * format is unknown or the stream corrupt or cut off, REFUSED_SIZE beyond LIMIT. */
int compress_unpack(const char *name, const char *bytes, size_t n, size_t limit,
    struct str *out, struct refusal *);

#endif
