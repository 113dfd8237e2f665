/* amqp_test.c - what needs no broker: addresses and frames. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/err.h"
#include "base/mem.h"
#include "io/amqp_frame.h"
#include "io/amqp_url.h"
#include "io/bytes.h"

static const struct {
	const char *text;
	bool tls;
	const char *host;
	int port;
	const char *user, *password, *vhost;
} addresses[] = {
	{ "amqp://", false, "localhost", 5672, "guest", "guest", "/" },
	{ "amqps://", true, "localhost", 5671, "guest", "guest", "/" },
	{ "amqp://h", false, "h", 5672, "guest", "guest", "/" },
	{ "amqp://h/", false, "h", 5672, "guest", "guest", "/" },
	{ "amqp://h//", false, "h", 5672, "guest", "guest", "/" },
	{ "amqp://h/%2F", false, "h", 5672, "guest", "guest", "/" },
	{ "amqp://h/%2f%2F", false, "h", 5672, "guest", "guest", "//" },
	{ "amqp://h/a/b", false, "h", 5672, "guest", "guest", "a/b" },
	{ "amqp://u@h:1/v", false, "h", 1, "u", "", "v" },
	{ "amqp://u:@h", false, "h", 5672, "u", "", "/" },
	{ "amqp://u:p@:65535", false, "localhost", 65535, "u", "p", "/" },
	{ "amqp://u:a:b@c@h", false, "h", 5672, "u", "a:b@c", "/" },
	{ "amqp://%75%3a:%40%2F%3f@h:/%76", false, "h", 5672, "u:", "@/?", "v" },
	{ "amqps://u:p@[::1]:99/v", true, "::1", 99, "u", "p", "v" },
	{ "amqp://[fe80::1]", false, "fe80::1", 5672, "guest", "guest", "/" },
};

static void
an_address_is_taken_to_pieces(void **state)
{
	for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
		struct amqp_url url;
		struct err err;

		if (amqp_url_parse(addresses[i].text, &url, &err))
			fail_msg("%s: %s", addresses[i].text, err.message);
		assert_int_equal(url.tls, addresses[i].tls);
		assert_string_equal(url.host, addresses[i].host);
		assert_int_equal(url.port, addresses[i].port);
		assert_string_equal(url.user, addresses[i].user);
		assert_string_equal(url.password, addresses[i].password);
		assert_string_equal(url.vhost, addresses[i].vhost);
		amqp_url_done(&url);
	}
}

static void
a_wrong_address_is_refused_without_repeating_it(void **state)
{
	static const char *const wrong[] = { "", "amqp:", "http://u:secret@h", "amqp:/u:secret@h",
		"amqp://u:secret@h:0", "amqp://u:secret@h:65536", "amqp://u:secret@h:x",
		"amqp://u:secret@h:99999999999999999999", "amqp://u:secret@h:-1",
		"amqp://u:secret%@h", "amqp://u:secret%4@h", "amqp://u:secret%00@h",
		"amqp://u:secret%gg@h", "amqp://u:secret@h%", "amqp://u:secret@[::1",
		"amqp://u:secret@[::1]x", "amqp://u:secret@[]", "amqp://u:secret/x@h",
		"amqp://u:secret#x@h", "amqp://u:secret@h/?heartbeat=1", "amqp://u:secret@h/v%0",
		"amqp://u:secret@h/v#x" };

	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		struct amqp_url url;
		struct err err;

		if (amqp_url_parse(wrong[i], &url, &err) == 0)
			fail_msg("not refused: %s", wrong[i]);
		assert_int_equal(err.class, ERR_CONFIG);
		assert_null(strstr(err.message, "secret"));
		assert_null(url.host);
	}
}

/* At every length, in memory of exactly that length, so that reading beyond
 * its end is seen. */
static void
a_frame_is_read_only_when_it_is_complete(void **state)
{
	uint8_t whole[FRAME_OVERHEAD + 5];
	struct frame frame;
	struct err err;
	size_t taken;

	assert_int_equal(frame_put(whole, FRAME_BODY, 3, "12345", 5), sizeof whole);
	for (size_t n = 0; n <= sizeof whole; n++) {
		uint8_t *part = xmalloc(n + !n);

		memcpy(part, whole, n);
		assert_int_equal(frame_read(part, n, FRAME_MAX, &frame, &taken, &err),
		    n == sizeof whole);
		if (n == sizeof whole) {
			assert_int_equal(frame.channel, 3);
			assert_int_equal(frame.payload.len, 5);
			assert_memory_equal(frame.payload.bytes, "12345", 5);
			assert_int_equal(taken, n);
		}
		free(part);
	}
	assert_int_equal(frame_read(whole, sizeof whole, sizeof whole - 1, &frame, &taken, &err), -1);
}

/* As above, but for what librabbitmq decodes: cut anywhere, it is either not
 * understood or safe. */
static void
a_header_cut_anywhere_is_safe(void **state)
{
	amqp_table_entry_t inner[2] = {
		{ amqp_cstring_bytes("text"), { AMQP_FIELD_KIND_UTF8 } },
		{ amqp_cstring_bytes("number"), { AMQP_FIELD_KIND_I64, { .i64 = 77 } } } };
	amqp_table_entry_t outer[1] = { { amqp_cstring_bytes("table"),
		{ AMQP_FIELD_KIND_TABLE, { .table = { 2, inner } } } } };
	amqp_basic_properties_t p = { ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG |
		AMQP_BASIC_HEADERS_FLAG, .content_type = amqp_cstring_bytes("a/b"),
		.headers = { 1, outer } }, *got = NULL;
	uint8_t whole[512];
	amqp_pool_t pool;
	uint64_t size;
	int n;

	inner[0].value.value.bytes = amqp_cstring_bytes("value");
	init_amqp_pool(&pool, 4096);
	n = frame_put_header(whole, sizeof whole, 1, &p, 1ull << 40);
	assert_true(n > 0);
	for (size_t len = 0; len <= (size_t)n - FRAME_OVERHEAD; len++) {
		uint8_t *part = xmalloc(len + !len);
		amqp_bytes_t header = { len, part };

		memcpy(part, whole + 7, len);
		frame_body_size(header, &size);
		got = NULL;
		if (frame_properties(header, &pool, &got) == 0)
			assert_non_null(got);
		if (len == (size_t)n - FRAME_OVERHEAD) {
			assert_int_equal(size, 1ull << 40);
			assert_int_equal(got->headers.entries[0].value.value.table.entries[1]
			    .value.value.i64, 77);
		}
		free(part);
	}
	assert_int_equal(frame_put_header(whole, (size_t)n - 1, 1, &p, 0), -1);
	empty_amqp_pool(&pool);
}

static int
decode_nested(int depth)
{
	amqp_table_entry_t *levels = xcalloc((size_t)depth + 1, sizeof *levels);
	amqp_basic_properties_t p = { ._flags = AMQP_BASIC_HEADERS_FLAG }, *got;
	uint8_t *frame = xmalloc(FRAME_MAX);
	amqp_pool_t pool;
	int n, rc;

	for (int i = 0; i < depth; i++) {
		levels[i].key = amqp_cstring_bytes("k");
		levels[i].value.kind = AMQP_FIELD_KIND_TABLE;
		levels[i].value.value.table = (amqp_table_t){ i > 0, &levels[i - (i > 0)] };
	}
	p.headers = (amqp_table_t){ 1, &levels[depth - 1] };
	n = frame_put_header(frame, FRAME_MAX, 1, &p, 0);
	assert_true(n > 0);
	init_amqp_pool(&pool, 4096);
	rc = frame_properties((amqp_bytes_t){ (size_t)n - FRAME_OVERHEAD, frame + 7 }, &pool, &got);
	empty_amqp_pool(&pool);
	free(frame);
	free(levels);
	return rc;
}

static void
tables_may_nest_but_not_without_end(void **state)
{
	assert_int_equal(decode_nested(1), 0);
	assert_int_equal(decode_nested(FRAME_DEPTH), 0);
	assert_int_equal(decode_nested(FRAME_DEPTH + 1), -1);
	assert_int_equal(decode_nested(5000), -1);
}

static void
bytes_come_out_as_they_went_in(void **state)
{
	struct bytes b = { 0 };
	uint8_t in = 0, out = 0;

	for (size_t round = 0; round < 2000; round++) {
		for (size_t n = round * 7 % 613; n; n--)
			bytes_add(&b, &(uint8_t){ in++ }, 1);
		for (size_t n = bytes_len(&b) * (round % 5) / 4; n && bytes_len(&b); n--) {
			assert_int_equal(*bytes_at(&b), out++);
			bytes_drop(&b, 1);
		}
	}
	bytes_reserve(&b, 4 << 20);
	bytes_clear(&b);
	assert_int_equal(b.room, 0);
	bytes_done(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_is_taken_to_pieces),
		cmocka_unit_test(a_wrong_address_is_refused_without_repeating_it),
		cmocka_unit_test(a_frame_is_read_only_when_it_is_complete),
		cmocka_unit_test(a_header_cut_anywhere_is_safe),
		cmocka_unit_test(tables_may_nest_but_not_without_end),
		cmocka_unit_test(bytes_come_out_as_they_went_in),
	};

	return cmocka_run_group_tests_name("amqp", tests, NULL, NULL);
}
