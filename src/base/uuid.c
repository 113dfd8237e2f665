/* uuid.c - names for things that two machines must not name alike.
 *
 * Random bytes come from a pool, because a system call for each UUID would cost
 * more than the rest of a message.  A child must not hand out the bytes that its
 * parent will: the pool belongs to one process id. */
#include "base/uuid.h"
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include "base/err.h"

static unsigned char pool[4096];
static size_t pool_used = sizeof pool;
static pid_t pool_owner;

static void
fill_pool(void)
{
	size_t have = 0;

	while (have < sizeof pool) {
		ssize_t n = getrandom(pool + have, sizeof pool - have, 0);

		if (n > 0)
			have += (size_t)n;
		else if (errno != EINTR) {
			fprintf(stderr, "tocsin: no random bytes: %s\n", strerror(errno));
			abort();
		}
	}
	pool_used = 0;
	pool_owner = getpid();
}

static void
stamp(struct uuid *u, int version)
{
	u->bytes[6] = (unsigned char)((u->bytes[6] & 0x0f) | version << 4);
	u->bytes[8] = (u->bytes[8] & 0x3f) | 0x80;
}

struct uuid
uuid_v4(void)
{
	struct uuid u;

	if (pool_used + sizeof u.bytes > sizeof pool || pool_owner != getpid())
		fill_pool();
	memcpy(u.bytes, pool + pool_used, sizeof u.bytes);
	pool_used += sizeof u.bytes;
	stamp(&u, 4);
	return u;
}

struct uuid
uuid_v5(const struct uuid *space, const void *name, size_t len)
{
	static EVP_MD_CTX *sha1;	/* kept: finding the algorithm is the dear part */
	unsigned char digest[EVP_MAX_MD_SIZE];
	struct uuid u;

	if (!sha1)
		sha1 = EVP_MD_CTX_new();
	if (!sha1 || !EVP_DigestInit_ex(sha1, EVP_sha1(), NULL) ||
	    !EVP_DigestUpdate(sha1, space->bytes, sizeof space->bytes) ||
	    !EVP_DigestUpdate(sha1, name, len) ||
	    !EVP_DigestFinal_ex(sha1, digest, NULL)) {
		fputs("tocsin: libcrypto refuses SHA-1\n", stderr);
		abort();
	}
	memcpy(u.bytes, digest, sizeof u.bytes);
	stamp(&u, 5);
	return u;
}

bool
uuid_equal(const struct uuid *a, const struct uuid *b)
{
	return !memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

static bool
dash_before(int byte)
{
	return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

const char *
uuid_format(const struct uuid *u, char buf[UUID_TEXT])
{
	static const char hex[] = "0123456789abcdef";
	char *s = buf;

	for (int i = 0; i < 16; i++) {
		if (dash_before(i))
			*s++ = '-';
		*s++ = hex[u->bytes[i] >> 4];
		*s++ = hex[u->bytes[i] & 15];
	}
	*s = '\0';
	return buf;
}

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 :
	    c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int
uuid_parse(const char *text, struct uuid *u, struct err *err)
{
	const char *s = text;

	for (int i = 0; i < 16; i++) {
		int high, low;

		if (dash_before(i) && *s++ != '-')
			goto bad;
		if ((high = hex_digit(s[0])) < 0 || (low = hex_digit(s[1])) < 0)
			goto bad;
		u->bytes[i] = (unsigned char)(high << 4 | low);
		s += 2;
	}
	if (*s == '\0')
		return 0;
bad:
	return err_set(err, "'%.60s' is not a UUID", text);
}
