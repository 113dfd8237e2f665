/* compress.c - unpack bodies, a piece at a time.
 *
 * Each format has one function that feeds its library's stream and tells after
 * every piece how much has come out; beyond the limit nobody asks for more, so a
 * bomb costs no more memory than an honest message. */
#include "celery/compress.h"
#include <stdint.h>
#include <string.h>
#include <zlib.h>
#ifdef HAVE_BZIP2
#include <bzlib.h>
#endif
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif
#include "base/mem.h"
#include "base/str.h"
#include "celery/refusal.h"

#define PIECE (64 * 1024)
#define ZSTD_WINDOW_LOG 24	/* of memory; what needs more would exceed the limit */

enum result { UNPACKED, CORRUPT, TOO_LARGE };

struct stream {
	const char *bytes;
	size_t n, limit;
	struct str *out;
	size_t start;		/* where ours begins in OUT */
};

/* Room for one more piece, but not beyond the limit and one byte. */
static size_t
make_room(struct stream *s)
{
	size_t have = s->out->len - s->start, left = s->limit + 1 - have;
	size_t room = left < PIECE ? left : PIECE;

	str_grow(s->out, room);
	return room;
}

static bool
add_piece(struct stream *s, size_t n)
{
	s->out->len += n;
	s->out->text[s->out->len] = '\0';
	return s->out->len - s->start <= s->limit;
}

static enum result
unpack_zlib(struct stream *s)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)s->bytes, .avail_in = (uInt)s->n };
	enum result result = CORRUPT;
	int rc = Z_OK;

	if (inflateInit2(&z, MAX_WBITS + 32) != Z_OK)	/* zlib's framing, or gzip's */
		mem_end();
	while (rc == Z_OK) {
		size_t room = make_room(s);

		z.next_out = (Bytef *)s->out->text + s->out->len;
		z.avail_out = (uInt)room;
		rc = inflate(&z, Z_NO_FLUSH);
		if (!add_piece(s, room - z.avail_out)) {
			result = TOO_LARGE;
			break;
		}
		if (rc == Z_STREAM_END && z.avail_in == 0)
			result = UNPACKED;
	}
	inflateEnd(&z);
	return result;
}

#ifdef HAVE_BZIP2
static enum result
unpack_bzip2(struct stream *s)
{
	bz_stream z = { .next_in = (char *)(uintptr_t)s->bytes, .avail_in = (unsigned)s->n };
	enum result result = CORRUPT;
	int rc = BZ_OK;

	if (BZ2_bzDecompressInit(&z, 0, 0) != BZ_OK)
		mem_end();
	while (rc == BZ_OK) {
		size_t room = make_room(s);
		unsigned before = z.avail_in;

		z.next_out = s->out->text + s->out->len;
		z.avail_out = (unsigned)room;
		rc = BZ2_bzDecompress(&z);
		if (!add_piece(s, room - z.avail_out)) {
			result = TOO_LARGE;
			break;
		}
		if (rc == BZ_STREAM_END && z.avail_in == 0)
			result = UNPACKED;
		/* It never says that it is stuck for want of input. */
		if (rc == BZ_OK && z.avail_in == before && z.avail_out == room)
			break;
	}
	BZ2_bzDecompressEnd(&z);
	return result;
}
#endif

#ifdef HAVE_ZSTD
static enum result
unpack_zstd(struct stream *s)
{
	ZSTD_DCtx *z = ZSTD_createDCtx();
	ZSTD_inBuffer in = { s->bytes, s->n, 0 };
	enum result result = CORRUPT;

	if (!z)
		mem_end();
	ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG);
	for (;;) {
		ZSTD_outBuffer out = { NULL, make_room(s), 0 };
		size_t before = in.pos, rc;

		out.dst = s->out->text + s->out->len;
		rc = ZSTD_decompressStream(z, &out, &in);
		if (ZSTD_isError(rc))
			break;
		if (!add_piece(s, out.pos)) {
			result = TOO_LARGE;
			break;
		}
		if (rc == 0) {		/* a frame has ended, and it is the only one */
			result = in.pos == in.size ? UNPACKED : CORRUPT;
			break;
		}
		if (in.pos == before && out.pos == 0)
			break;
	}
	ZSTD_freeDCtx(z);
	return result;
}
#endif

static const struct format {
	const char *names[4];	/* the last of them NULL */
	const char *shown;
	enum result (*unpack)(struct stream *);
} formats[] = {
	{ { "application/x-gzip", "gzip", "zlib" }, "zlib", unpack_zlib },
#ifdef HAVE_BZIP2
	{ { "application/x-bz2", "bzip2", "bzip" }, "bzip2", unpack_bzip2 },
#endif
#ifdef HAVE_ZSTD
	{ { "application/zstd", "zstd", "zstandard" }, "zstd", unpack_zstd },
#endif
};
#define FORMAT_COUNT (sizeof formats / sizeof formats[0])

static const struct format *
find_format(const char *name)
{
	for (size_t i = 0; i < FORMAT_COUNT; i++)
		for (size_t k = 0; formats[i].names[k]; k++)
			if (!strcmp(formats[i].names[k], name))
				return &formats[i];
	return NULL;
}

bool
compress_knows(const char *name)
{
	return find_format(name);
}

const char *
compress_list(void)
{
	return "zlib"
#ifdef HAVE_BZIP2
	    ", bzip2"
#endif
#ifdef HAVE_ZSTD
	    ", zstd"
#endif
	    ;
}

int
compress_unpack(const char *name, const char *bytes, size_t n, size_t limit, struct str *out,
    struct refusal *refusal)
{
	const struct format *format = find_format(name);
	struct stream s = { bytes, n, limit, out, out->len };

	if (!format)
		return refuse(refusal, REFUSED_COMPRESSION,
		    "the body is compressed as %.80s; known here: %s", name, compress_list());
	if (n > UINT32_MAX)
		return refuse(refusal, REFUSED_SIZE, "a compressed body of %zu bytes", n);
	switch (format->unpack(&s)) {
	case UNPACKED:
		return 0;
	case TOO_LARGE:
		return refuse(refusal, REFUSED_SIZE,
		    "a compressed body of %zu bytes holds more than %zu", n, limit);
	default:
		return refuse(refusal, REFUSED_COMPRESSION,
		    "the body is no %s stream, or not all of one", format->shown);
	}
}
