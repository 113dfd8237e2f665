/* UUIDs (RFC 9562): random ones, and names that always give the same one. */
#ifndef BASE_UUID_H
#define BASE_UUID_H

#include <stdbool.h>
#include <stddef.h>

struct err;

struct uuid {
	unsigned char bytes[16];
};

#define UUID_TEXT 37		/* a text and its NUL */

struct uuid uuid_v4(void);	/* random; never the same in two processes */
/* From NAME within SPACE, by SHA-1. */
struct uuid uuid_v5(const struct uuid *space, const void *name, size_t len);

bool uuid_equal(const struct uuid *, const struct uuid *);

/* "6ba7b810-9dad-11d1-80b4-00c04fd430c8", in lower case.  Returns BUF. */
const char *uuid_format(const struct uuid *, char buf[UUID_TEXT]);
/* Upper case is read as well; braces, "urn:uuid:" and other forms are not. */
int uuid_parse(const char *text, struct uuid *, struct err *);

#endif
