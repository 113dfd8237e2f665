/* celery_test.c - what other people's messages mean, and how ours look. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <zlib.h>
#include "base/mem.h"
#include "celery/compress.h"
#include "celery/answer.h"
#include "celery/job.h"
#include "celery/message.h"
#include "celery/refusal.h"
#include "celery/repr.h"

#define HEADERS "{'lang': 'py', 'task': 'add', 'id': 'i'"
#define BODY "[[1, 2], {}, {}]"

/* Quotes are tiresome in C: the tables say ' where JSON has ". */
static char *
with_quotes(const char *text)
{
	char *s = xstrdup(text);

	for (char *at = s; at && *at; at++)
		if (*at == '\'')
			*at = '"';
	return s;
}

static json_t *
read_headers(const char *text)
{
	char *quoted = with_quotes(text);
	json_t *headers = json_loads(quoted, 0, NULL);

	assert_non_null(headers);
	free(quoted);
	return headers;
}

/* HEADERS and BODY as with_quotes(); NULL headers are no table. */
static int
decode(struct celery_message *m, const char *headers, const char *body, struct refusal *refusal)
{
	char *quoted = with_quotes(body);
	struct celery_envelope e = {
		.content_type = CELERY_CONTENT_TYPE,
		.content_encoding = "utf-8",
		.priority = -1,
		.headers = headers ? read_headers(headers) : NULL,
		.body = quoted,
		.body_len = strlen(quoted),
	};
	int rc;

	celery_message_init(m);
	rc = celery_decode(m, &e, refusal);
	json_decref(e.headers);
	free(quoted);	/* the message keeps its own */
	return rc;
}

static void
decode_well(struct celery_message *m, const char *headers, const char *body)
{
	struct refusal refusal;

	if (decode(m, headers, body, &refusal))
		fail_msg("%s: %s: %s", body, refusal_word(refusal.reason), refusal.err.message);
}

static void
assert_raw(struct raw v, const char *text)
{
	if (!text) {
		assert_null(v.text);
		return;
	}
	assert_non_null(v.text);
	assert_int_equal(v.len, strlen(text));
	assert_memory_equal(v.text, text, v.len);
}

static void
a_message_of_protocol_2_is_read_whole(void **state)
{
	struct celery_message m;

	decode_well(&m, "{'lang': 'py', 'task': 'proj.add', 'id': 'i', 'root_id': 'r',"
	    " 'parent_id': 'p', 'group': 'g', 'group_index': 3, 'shadow': 'shown',"
	    " 'eta': '2026-11-22T03:48:34.000078+00:00', 'expires': '2026-11-22T05:48:34+02:00',"
	    " 'retries': 2, 'timelimit': [30, 2.5], 'argsrepr': '(1, 2)', 'kwargsrepr': '{}',"
	    " 'origin': 'gen7@host', 'ignore_result': true, 'compression': null,"
	    " 'mine': {'a': 1}, 'x-death': [{}], 'x-first-death-queue': 'q'}",
	    "[[1, 2], {'k': null}, {'callbacks': [{'task': 'c'}], 'errbacks': null,"
	    " 'chain': [], 'chord': {'task': 'body', 'args': []}}]");
	assert_int_equal(m.protocol, 2);
	assert_string_equal(m.task, "proj.add");
	assert_string_equal(m.id, "i");
	assert_string_equal(m.root_id, "r");
	assert_string_equal(m.parent_id, "p");
	assert_string_equal(m.group, "g");
	assert_int_equal(m.group_index, 3);
	assert_string_equal(m.shadow, "shown");
	assert_true(m.eta == 1795319314 * SECOND + 78);
	assert_true(m.expires == 1795319314 * SECOND);
	assert_int_equal(m.retries, 2);
	assert_true(m.time_limit == 30 && m.soft_time_limit == 2.5);
	assert_string_equal(m.argsrepr, "(1, 2)");
	assert_string_equal(m.origin, "gen7@host");
	assert_true(m.ignore_result);
	assert_int_equal(m.priority, -1);
	assert_int_equal(json_object_size(m.others), 1);
	assert_non_null(json_object_get(m.others, "mine"));
	assert_raw(m.args, "[1, 2]");
	assert_raw(m.kwargs, "{\"k\": null}");
	assert_raw(m.callbacks, "[{\"task\": \"c\"}]");
	assert_raw(m.errbacks, NULL);
	assert_raw(m.chain, "[]");
	assert_raw(m.chord, "{\"task\": \"body\", \"args\": []}");
	celery_message_done(&m);
}

static void
all_but_task_id_and_three_parts_may_be_missing(void **state)
{
	static const char *const bodies[] = { "[[], {}, {}]", "[[], {}, null]",
		" [ [ ] , { } , { 'callbacks' : null , 'other' : 1 } ] " };

	for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
		struct celery_message m;

		decode_well(&m, HEADERS "}", bodies[i]);
		assert_null(m.root_id);
		assert_null(m.group);
		assert_null(m.correlation_id);
		assert_int_equal(m.group_index, -1);
		assert_int_equal(m.retries, 0);
		assert_true(m.eta == INSTANT_NEVER && m.expires == INSTANT_NEVER);
		assert_false(m.ignore_result);
		assert_null(m.others);
		assert_raw(m.chord, NULL);
		celery_message_done(&m);
	}
}

static void
a_circumstance_of_the_wrong_type_counts_as_none(void **state)
{
	struct celery_message m;

	decode_well(&m, HEADERS ", 'timelimit': '30', 'retries': 'x', 'group_index': -4,"
	    " 'root_id': 7, 'group': {}, 'ignore_result': 'yes', 'eta': '', 'shadow': 'a\\u0062'}",
	    BODY);
	assert_true(m.time_limit == 0 && m.soft_time_limit == 0);
	assert_int_equal(m.retries, 0);
	assert_int_equal(m.group_index, -1);
	assert_null(m.root_id);
	assert_null(m.group);
	assert_false(m.ignore_result);
	assert_true(m.eta == INSTANT_NEVER);
	assert_string_equal(m.shadow, "ab");
	celery_message_done(&m);
	decode_well(&m, HEADERS ", 'timelimit': [30]}", BODY);
	assert_true(m.time_limit == 0);
	celery_message_done(&m);
	decode_well(&m, HEADERS ", 'timelimit': [-1, 'x']}", BODY);
	assert_true(m.time_limit == 0 && m.soft_time_limit == 0);
	celery_message_done(&m);
}

static void
a_message_of_protocol_1_means_the_same(void **state)
{
	static const char body[] = "{'task': 'proj.add', 'id': 'i', 'args': [1], 'kwargs': {'k': 2},"
	    " 'group': 'g', 'taskset': 't', 'group_index': 1, 'retries': 2, 'utc': true,"
	    " 'eta': '2026-11-22T03:48:34', 'expires': null, 'timelimit': [3, null],"
	    " 'callbacks': [{'task': 'c'}], 'errbacks': null, 'chain': 'no', 'chord': null}";

	for (int with_table = 0; with_table < 2; with_table++) {
		struct celery_message m;

		decode_well(&m, with_table ? "{}" : NULL, body);
		assert_int_equal(m.protocol, 1);
		assert_string_equal(m.task, "proj.add");
		assert_string_equal(m.id, "i");
		assert_string_equal(m.group, "t");
		assert_int_equal(m.retries, 2);
		assert_true(m.eta == 1795319314 * SECOND);
		assert_true(m.time_limit == 3 && m.soft_time_limit == 0);
		assert_raw(m.args, "[1]");
		assert_raw(m.kwargs, "{\"k\": 2}");
		assert_raw(m.callbacks, "[{\"task\": \"c\"}]");
		assert_raw(m.chain, NULL);
		celery_message_done(&m);
	}
}

static void
protocol_1_needs_no_more_than_task_and_id(void **state)
{
	struct celery_message m;

	decode_well(&m, "{}", "{'t\\u0061sk': 'a', 'id': 'i'}");
	assert_string_equal(m.task, "a");
	assert_raw(m.args, "[]");
	assert_raw(m.kwargs, "{}");
	celery_message_done(&m);
}

static void
of_a_hybrid_the_headers_win(void **state)
{
	struct celery_message m;

	decode_well(&m, HEADERS ", 'group': null, 'mine': 1}",
	    "{'task': 'other', 'id': 'other', 'group': 'g', 'retries': 4, 'args': [7],"
	    " 'kwargs': {}, 'errbacks': [{'task': 'e'}]}");
	assert_int_equal(m.protocol, 1);
	assert_string_equal(m.task, "add");
	assert_string_equal(m.id, "i");
	assert_null(m.group);
	assert_int_equal(m.retries, 4);
	assert_int_equal(json_object_size(m.others), 1);
	assert_raw(m.args, "[7]");
	assert_raw(m.errbacks, "[{\"task\": \"e\"}]");
	celery_message_done(&m);
}

static void
values_that_jansson_cannot_hold_pass_through(void **state)
{
	static const char args[] = "[NaN, -Infinity, 123456789012345678901234567890, \"\\ud800\","
	    " \"\\u0000\", 1e999, 0.1000000000000000055]";
	char *body = xasprintf("[%s, {\"\\ud800\": Infinity}, {\"chord\": {\"task\": \"t\","
	    " \"args\": [NaN]}}]", args);
	struct celery_message m;
	struct celery_envelope e;

	decode_well(&m, HEADERS "}", body);
	assert_raw(m.args, args);
	celery_encode(&m, 0, &e);
	assert_non_null(strstr(e.body, args));
	assert_non_null(strstr(e.body, "{\"\\ud800\": Infinity}"));
	assert_non_null(strstr(e.body, "\"args\": [NaN]"));
	assert_string_equal(json_string_value(json_object_get(e.headers, "kwargsrepr")),
	    "{'\xef\xbf\xbd': inf}");
	celery_envelope_done(&e);
	celery_message_done(&m);
	free(body);
}

static void
a_malformed_message_is_refused_with_its_word(void **state)
{
	static const struct { const char *headers, *body, *word; } table[] = {
		{ HEADERS "}", "no JSON", "json" },
		{ HEADERS "}", "[[1], {}, {}", "json" },
		{ HEADERS "}", "[[1], {}, {}]]", "json" },
		{ HEADERS "}", "[[1,], {}, {}]", "json" },
		{ HEADERS "}", "[[01], {}, {}]", "json" },
		{ HEADERS "}", "[[1.], {}, {}]", "json" },
		{ HEADERS "}", "[[+1], {}, {}]", "json" },
		{ HEADERS "}", "[[nul], {}, {}]", "json" },
		{ HEADERS "}", "[['\xff'], {}, {}]", "json" },
		{ HEADERS "}", "[['\xed\xa0\x80'], {}, {}]", "json" },
		{ HEADERS "}", "[['\n'], {}, {}]", "json" },
		{ HEADERS "}", "[['\\x'], {}, {}]", "json" },
		{ HEADERS "}", "[['\\u12g4'], {}, {}]", "json" },
		{ HEADERS "}", "[[], {1: 2}, {}]", "json" },
		{ HEADERS "}", "[[], {'a' 2}, {}]", "json" },
		{ HEADERS "}", " ", "json" },
		{ HEADERS "}", "[[1}, {}, {}]", "json" },
		{ HEADERS "}", "", "body" },
		{ HEADERS "}", "7", "body" },
		{ HEADERS "}", "null", "body" },
		{ HEADERS "}", "{'kwargs': {}}", "body" },
		{ HEADERS "}", "[[], {}]", "body" },
		{ HEADERS "}", "[[], {}, {}, {}]", "body" },
		{ NULL, "[[], {}, {}]", "unknown-message" },
		{ "{}", "{'id': 'i'}", "unknown-message" },
		{ "{}", "'task'", "unknown-message" },
		{ "{'task': {}, 'id': 'i'}", BODY, "task" },
		{ "{'task': 7, 'id': 'i'}", BODY, "task" },
		{ "{'task': null, 'id': 'i'}", BODY, "task" },
		{ "{'task': '', 'id': 'i'}", BODY, "task" },
		{ "{}", "{'task': [], 'id': 'i'}", "task" },
		{ "{'task': 'a'}", BODY, "id" },
		{ "{'task': 'a', 'id': null}", BODY, "id" },
		{ "{'task': 'a', 'id': 7}", BODY, "id" },
		{ "{}", "{'task': 'a', 'args': []}", "id" },
		{ "{}", "{'task': 'a', 'id': 'i\\u0000'}", "id" },
		{ "{}", "{'task': 'a', 'id': '\\ud800'}", "id" },
		{ HEADERS ", 'eta': 'soon'}", BODY, "eta" },
		{ HEADERS ", 'eta': 7}", BODY, "eta" },
		{ HEADERS ", 'eta': 'infinity'}", BODY, "eta" },
		{ HEADERS ", 'expires': '2026-02-30T00:00:00Z'}", BODY, "expires" },
		{ HEADERS ", 'expires': []}", BODY, "expires" },
		{ HEADERS "}", "[null, {}, {}]", "args" },
		{ HEADERS "}", "['text', {}, {}]", "args" },
		{ HEADERS "}", "[{}, {}, {}]", "args" },
		{ HEADERS "}", "[[], [], {}]", "kwargs" },
		{ HEADERS "}", "[[], null, {}]", "kwargs" },
		{ "{}", "{'task': 'a', 'id': 'i', 'kwargs': 'k'}", "kwargs" },
		{ HEADERS "}", "[[], {}, []]", "embed" },
		{ HEADERS "}", "[[], {}, 'x']", "embed" },
		{ HEADERS "}", "[[], {}, {'callbacks': {}}]", "callbacks" },
		{ HEADERS "}", "[[], {}, {'callbacks': [{}]}]", "callbacks" },
		{ HEADERS "}", "[[], {}, {'callbacks': [{'task': ''}]}]", "callbacks" },
		{ HEADERS "}", "[[], {}, {'errbacks': 'x'}]", "errbacks" },
		{ HEADERS "}", "[[], {}, {'errbacks': [[]]}]", "errbacks" },
		{ HEADERS "}", "[[], {}, {'chain': 7}]", "chain" },
		{ HEADERS "}", "[[], {}, {'chain': [{'task': 'a'}, {'task': 7}]}]", "chain" },
		{ HEADERS "}", "[[], {}, {'chord': []}]", "chord" },
		{ HEADERS "}", "[[], {}, {'chord': {}}]", "chord" },
		{ HEADERS "}", "[[], {'a': 1, 'a': 2}, {}]", "duplicate-key" },
		{ HEADERS "}", "[[], {'b': 1, 'a': {'b': 2}, '\\u0062': 2}, {}]", "duplicate-key" },
		{ HEADERS "}", "[[], {'\\ud83d\\udd14': 1, '\xf0\x9f\x94\x94': 2}, {}]",
		    "duplicate-key" },
		{ HEADERS ", 'compression': 'application/x-gzip'}", BODY, "compression" },
		{ HEADERS ", 'compression': 7}", BODY, "compression" },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct celery_message m;
		struct refusal refusal = { CELERY_REASON_COUNT, { 0 } };

		if (!decode(&m, table[i].headers, table[i].body, &refusal))
			fail_msg("taken: %s %s", table[i].headers, table[i].body);
		if (strcmp(refusal_word(refusal.reason), table[i].word))
			fail_msg("%s %s: %s instead of %s: %s", table[i].headers, table[i].body,
			    refusal_word(refusal.reason), table[i].word, refusal.err.message);
		assert_true(strlen(refusal.err.message) > 0);
		celery_message_done(&m);
	}
}

/* zlib.compress(b"[[1, 2], {}, {}]"), the same by gzip, bz2 and zstd. */
#define ZLIB_BODY \
	"\170\234\213\216\066\324\121\060\212\325\121\250\256\005\341\130\000\044\102\004" \
	"\250"
#define GZIP_BODY \
	"\037\213\010\000\000\000\000\000\002\003\213\216\066\324\121\060\212\325\121\250" \
	"\256\005\341\130\000\006\320\030\242\020\000\000\000"
#define BZIP2_BODY \
	"\102\132\150\071\061\101\131\046\123\131\210\114\157\104\000\000\004\232\200\100" \
	"\004\060\000\000\012\000\012\040\000\061\014\010\032\150\302\034\327\143\075\022" \
	"\024\170\273\222\051\302\204\204\102\143\172\040"
#define ZSTD_BODY \
	"\050\265\057\375\004\130\201\000\000\133\133\061\054\040\062\135\054\040\173\175" \
	"\054\040\173\175\135\062\147\065\364"

static int
decode_packed(const char *format, const char *bytes, size_t n, struct celery_message *m,
    struct refusal *refusal)
{
	json_t *headers = read_headers(HEADERS "}");
	struct celery_envelope e = { .content_type = CELERY_CONTENT_TYPE, .priority = -1,
		.headers = headers, .body = bytes, .body_len = n };
	int rc;

	json_object_set_new(headers, "compression", json_string(format));
	celery_message_init(m);
	rc = celery_decode(m, &e, refusal);
	json_decref(headers);
	return rc;
}

static void
a_compressed_body_is_unpacked(void **state)
{
	static const struct { const char *format, *bytes; size_t n; } table[] = {
		{ "application/x-gzip", ZLIB_BODY, sizeof ZLIB_BODY - 1 },
		{ "gzip", ZLIB_BODY, sizeof ZLIB_BODY - 1 },
		{ "zlib", ZLIB_BODY, sizeof ZLIB_BODY - 1 },
		{ "application/x-gzip", GZIP_BODY, sizeof GZIP_BODY - 1 },
		{ "application/x-bz2", BZIP2_BODY, sizeof BZIP2_BODY - 1 },
		{ "bzip2", BZIP2_BODY, sizeof BZIP2_BODY - 1 },
		{ "application/zstd", ZSTD_BODY, sizeof ZSTD_BODY - 1 },
		{ "zstd", ZSTD_BODY, sizeof ZSTD_BODY - 1 },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct celery_message m;
		struct refusal refusal;

		if (!compress_knows(table[i].format))
			continue;	/* this build has no library for it */
		if (decode_packed(table[i].format, table[i].bytes, table[i].n, &m, &refusal))
			fail_msg("%s: %s", table[i].format, refusal.err.message);
		assert_raw(m.args, "[1, 2]");
		celery_message_done(&m);
		/* cut off anywhere, or with something behind it */
		for (size_t n = 1; n < table[i].n; n++) {
			assert_int_equal(decode_packed(table[i].format, table[i].bytes, n, &m,
			    &refusal), -1);
			celery_message_done(&m);
		}
		assert_int_equal(decode_packed(table[i].format, table[i].bytes, table[i].n + 1, &m,
		    &refusal), -1);
		assert_string_equal(refusal_word(refusal.reason), "compression");
		celery_message_done(&m);
	}
}

static void
a_bomb_goes_no_further_than_the_limit(void **state)
{
	struct str bytes = STR_INIT, out = STR_INIT;
	struct refusal refusal;
	uLongf n = compressBound(4000000);
	Bytef *packed = xmalloc(n);
	char *zeros = xcalloc(4000000, 1);

	assert_int_equal(compress2(packed, &n, (Bytef *)zeros, 4000000, 9), Z_OK);
	str_add(&bytes, packed, n);
	assert_int_equal(compress_unpack("zlib", bytes.text, n, 4000000, &out, &refusal), 0);
	assert_int_equal(out.len, 4000000);
	str_done(&out);
	assert_int_equal(compress_unpack("zlib", bytes.text, n, 3999999, &out, &refusal), -1);
	assert_string_equal(refusal_word(refusal.reason), "size");
	str_done(&out);
	assert_int_equal(compress_unpack("zlib", bytes.text, n, 1000, &out, &refusal), -1);
	assert_true(out.len <= 1001 && out.room < 100000);
	str_done(&out);
	str_done(&bytes);
	free(packed);
	free(zeros);
}

static void
only_what_is_said_to_be_json_is_read(void **state)
{
	static const char *const types[] = { NULL, "", "application/x-python-serialize",
		"application/x-yaml", "application/data", "text/json\x1b[2J" };

	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		struct celery_envelope e = { .content_type = types[i], .body = BODY,
			.body_len = strlen(BODY), .headers = read_headers(HEADERS "}") };
		struct celery_message m;
		struct refusal refusal;

		celery_message_init(&m);
		assert_int_equal(celery_decode(&m, &e, &refusal), -1);
		assert_string_equal(refusal_word(refusal.reason), "content-type");
		assert_null(strchr(refusal.err.message, '\x1b'));
		assert_string_equal(m.id, "i");	/* a FAILURE can be stored */
		celery_message_done(&m);
		json_decref(e.headers);
	}
}

/* N times BEFORE, then MIDDLE, then N times AFTER, as the only argument. */
static char *
nested(size_t n, const char *before, const char *middle, const char *after)
{
	struct str s = STR_INIT;

	str_puts(&s, "[[");
	for (size_t i = 0; i < n; i++)
		str_puts(&s, before);
	str_puts(&s, middle);
	for (size_t i = 0; i < n; i++)
		str_puts(&s, after);
	str_puts(&s, "], {}, {}]");
	return str_take(&s);
}

static void
depth_and_count_have_limits(void **state)
{
	static const struct { size_t n; const char *before, *middle, *after, *word; } table[] = {
		{ RAW_DEPTH_MAX - 2, "[", "", "]", NULL },
		{ RAW_DEPTH_MAX - 1, "[", "", "]", "depth" },
		{ RAW_DEPTH_MAX - 1, "{'a':", "1", "}", "depth" },
		{ 1000000, "[", "", "", "depth" },
		{ RAW_VALUES_MAX - 5, "1,", "1", "", NULL },
		{ RAW_VALUES_MAX - 4, "1,", "1", "", "count" },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		char *body = nested(table[i].n, table[i].before, table[i].middle, table[i].after);
		struct celery_message m;
		struct refusal refusal;
		int rc = decode(&m, HEADERS "}", body, &refusal);

		assert_int_equal(rc, table[i].word ? -1 : 0);
		if (rc)
			assert_string_equal(refusal_word(refusal.reason), table[i].word);
		celery_message_done(&m);
		free(body);
	}
}

static void
a_body_that_is_too_large_is_not_looked_at(void **state)
{
	struct celery_envelope e = { .content_type = CELERY_CONTENT_TYPE, .body = "[",
		.body_len = CELERY_BODY_MAX + 1 };
	struct celery_message m;
	struct refusal refusal;

	celery_message_init(&m);
	assert_int_equal(celery_decode(&m, &e, &refusal), -1);
	assert_string_equal(refusal_word(refusal.reason), "size");
	celery_message_done(&m);
}

static void
what_is_written_has_all_headers_of_celery(void **state)
{
	static const char *const expected = "{'lang': 'py', 'task': 'add', 'id': 'i', 'shadow': null,"
	    " 'eta': null, 'expires': '1970-01-01T00:00:10.000000+00:00', 'group': null,"
	    " 'group_index': null, 'retries': 0, 'timelimit': [30, 2.5], 'root_id': 'i',"
	    " 'parent_id': null, 'argsrepr': '(1,)', 'kwargsrepr': '{}', 'origin': 'gen1@h',"
	    " 'ignore_result': false}";
	struct celery_message m;
	struct celery_envelope e;
	json_t *headers = read_headers(expected);

	celery_message_init(&m);
	m.task = "add";
	m.id = "i";
	m.expires = 10 * SECOND;
	m.time_limit = 30;
	m.soft_time_limit = 2.5;
	m.origin = "gen1@h";
	m.args = (struct raw){ "[1]", 3 };
	celery_encode(&m, 7 * SECOND, &e);
	assert_true(json_equal(e.headers, headers));
	assert_string_equal(e.body, "[[1], {}, {\"callbacks\": null, \"errbacks\": null, "
	    "\"chain\": null, \"chord\": null}]");
	assert_string_equal(e.content_type, "application/json");
	assert_string_equal(e.content_encoding, "utf-8");
	assert_string_equal(e.correlation_id, "i");
	assert_string_equal(e.reply_to, "");
	assert_string_equal(e.expiration, "3000");
	assert_int_equal(e.priority, 0);
	assert_int_equal(e.delivery_mode, 2);
	celery_envelope_done(&e);
	celery_encode(&m, 11 * SECOND, &e);
	assert_string_equal(e.expiration, "0");
	celery_envelope_done(&e);
	m.expires = INSTANT_NEVER;
	m.origin = "gen1@\xff";
	celery_encode(&m, 0, &e);
	assert_null(e.expiration);
	assert_string_equal(json_string_value(json_object_get(e.headers, "origin")),
	    "gen1@\xef\xbf\xbd");
	celery_envelope_done(&e);
	json_decref(headers);
	celery_message_done(&m);
}

static void
reprs_are_those_of_python(void **state)
{
	static const struct { const char *json; long limit; const char *repr; } table[] = {
		{ "null", 99, "None" }, { "true", 99, "True" }, { "[false]", 99, "(False,)" },
		{ "[]", 99, "()" }, { "[1,2]", 99, "(1, 2)" }, { "{}", 99, "{}" },
		{ "{\"a\" : [ ] }", 99, "{'a': []}" },
		{ "\"it's \\\"so\\\"\"", 99, "'it\\'s \"so\"'" },
		{ "[[[[1]]]]", 99, "([[[...]]],)" }, { "{\"a\":{\"b\":{\"c\":{}}}}", 99,
		    "{'a': {'b': {'c': {...}}}}" },
		{ "-0", 99, "0" }, { "-0.0", 99, "-0.0" }, { "1e15", 99, "1000000000000000.0" },
		{ "1E16", 99, "1e+16" }, { "0.0001", 99, "0.0001" }, { "0.00001", 99, "1e-05" },
		{ "NaN", 99, "nan" }, { "-Infinity", 99, "-inf" }, { "1e999", 99, "inf" },
		{ "5e-324", 99, "5e-324" }, { "123456789012345678901", 99, "123456789012345678901" },
		{ "\"one two three\"", 9, "'one two...'" }, { "\"abc\"", 3, "'abc...'" },
		{ "[1,2,3,4]", 4, "(1, , ...)" }, { "[[1],[2]]", 1, "(, ...])" },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct str s = STR_INIT;
		struct raw v;
		struct refusal refusal;

		assert_int_equal(raw_check(table[i].json, strlen(table[i].json), &v, &refusal), 0);
		celery_repr(&s, v, true, table[i].limit);
		if (strcmp(str_text(&s), table[i].repr))
			fail_msg("%s: %s instead of %s", table[i].json, str_text(&s), table[i].repr);
		str_done(&s);
	}
}

static void
exceptions_are_told_as_python_does(void **state)
{
	static const struct { const char *args; const char *repr; } table[] = {
		{ "[]", "E()" }, { "[\"boom\"]", "E('boom')" }, { "[1, \"two\"]", "E(1, 'two')" },
		{ "\"alone\"", "E('alone')" }, { "null", "E()" }, { "[null]", "E(None)" },
		{ "[\"it's\"]", "E(\"it's\")" }, { "[\"\\\"so\\\"\"]", "E('\"so\"')" },
		{ "[\"it's \\\"so\\\"\"]", "E('it\\'s \"so\"')" },
		{ "[\"a\\nb\\t\\\\c\\u0000\\u007f\"]", "E('a\\nb\\t\\\\c\\x00\\x7f')" },
		{ "[\"\\ud800 \\u00fc \\u2603\"]", "E('\\ud800 \u00fc \u2603')" },
		{ "[[\"it's\"], {\"a\": 1}]", "E(['it\\'s'], {'a': 1})" },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct str s = STR_INIT;
		struct raw v;
		struct refusal refusal;

		assert_int_equal(raw_check(table[i].args, strlen(table[i].args), &v, &refusal), 0);
		celery_repr_exception(&s, "E", v);
		if (strcmp(str_text(&s), table[i].repr))
			fail_msg("%s: %s instead of %s", table[i].args, str_text(&s), table[i].repr);
		str_done(&s);
	}
}

static struct uuid
installation(void)
{
	struct uuid u;
	struct err err;

	assert_int_equal(uuid_parse("6ba7b810-9dad-11d1-80b4-00c04fd430c8", &u, &err), 0);
	return u;
}

static void
a_job_has_one_id_for_ever(void **state)
{
	struct uuid u = installation(), other = u;
	char id[UUID_TEXT], again[UUID_TEXT];

	/* python3: uuid.uuid5(uuid.UUID("6ba7b810-..."), "17/4") */
	assert_string_equal(celery_job_id(&u, 17, 4, id), "d4ca968b-1820-5cab-bad1-3ff882a99b7e");
	assert_string_equal(celery_job_id(&u, 17, 4, again), id);
	assert_string_not_equal(celery_job_id(&u, 17, 5, again), id);
	assert_string_not_equal(celery_job_id(&u, 174, 4, again), id);
	other.bytes[0] ^= 1;
	assert_string_not_equal(celery_job_id(&other, 17, 4, again), id);
}

static void
our_own_message_comes_back(void **state)
{
	static const char *const names[] = { "orders_today" };
	struct celery_job job = { .task = TASK_VARIABLE, .installation = installation(),
		.run = INT64_MAX }, back = { 0 };
	struct celery_envelope e;
	struct celery_message m;
	struct refusal refusal;

	vec_push(&job.jobs, 7);
	vec_push(&job.jobs, INT32_MAX);
	celery_job_encode(&job, names, 1, "gen1@h", &e);
	assert_string_equal(json_string_value(json_object_get(e.headers, "argsrepr")),
	    "('orders_today',)");
	celery_message_init(&m);
	assert_int_equal(celery_decode(&m, &e, &refusal), 0);
	assert_string_equal(m.correlation_id, m.id);
	assert_int_equal(celery_job_decode(&back, &m, &refusal), 0);
	assert_int_equal(back.task, TASK_VARIABLE);
	assert_true(uuid_equal(&back.installation, &job.installation));
	assert_true(back.run == INT64_MAX);
	assert_int_equal(back.jobs.n, 2);
	assert_int_equal(back.jobs.at[0], 7);
	assert_int_equal(back.jobs.at[1], INT32_MAX);
	celery_message_done(&m);
	celery_envelope_done(&e);
	celery_job_done(&job);
	celery_job_done(&back);
}

static void
a_delivery_comes_back(void **state)
{
	struct celery_job job = { .task = TASK_REACTION, .installation = installation(),
		.run = 17, .event = xstrdup("bell"), .reaction = xstrdup("ring") }, back = { 0 };
	struct celery_envelope e;
	struct celery_message m;
	struct refusal refusal;

	celery_job_encode(&job, NULL, 0, "gen1@h", &e);
	assert_string_equal(json_string_value(json_object_get(e.headers, "argsrepr")),
	    "('bell', 'ring')");
	/* python3: uuid.uuid5(uuid.UUID("6ba7b810-..."), "17/bell/ring") */
	assert_string_equal(json_string_value(json_object_get(e.headers, "id")),
	    "ed572d24-3b8c-510b-9e15-c7ab950bb510");
	celery_message_init(&m);
	assert_int_equal(celery_decode(&m, &e, &refusal), 0);
	assert_int_equal(celery_job_decode(&back, &m, &refusal), 0);
	assert_int_equal(back.task, TASK_REACTION);
	assert_true(back.run == 17);
	assert_string_equal(back.event, "bell");
	assert_string_equal(back.reaction, "ring");
	assert_int_equal(back.jobs.n, 0);
	celery_message_done(&m);
	celery_envelope_done(&e);
	celery_job_done(&job);
	celery_job_done(&back);
}

#define KWARGS(run, jobs) "{'installation': '6ba7b810-9dad-11d1-80b4-00c04fd430c8'," \
	" 'run': " run ", 'jobs': " jobs

#define DELIVERY(more) "[[], {'installation': '6ba7b810-9dad-11d1-80b4-00c04fd430c8'," \
	" 'run': 1" more "}, {}]"

static void
our_own_tasks_take_nothing_else(void **state)
{
	static const struct { const char *task, *body, *word; } table[] = {
		{ "tocsin.variable", "[[], " KWARGS("1", "[0]") "}, {}]", NULL },
		{ "tocsin.variable", "[[], " KWARGS("1", "[0]") ", 'names': ['x']}, {'chain': []}]",
		    NULL },
		{ "tocsin.cycle", "[[], " KWARGS("1", "[]") "}, {}]", NULL },
		{ "tocsin.cycle", "[[], " KWARGS("1", "[1]") "}, {}]", "kwargs" },
		{ "tocsin.reaction", DELIVERY(", 'event': 'e', 'reaction': 'r'"), NULL },
		{ "tocsin.reaction", DELIVERY(", 'event': 'e'"), "kwargs" },
		{ "tocsin.reaction", DELIVERY(", 'event': '', 'reaction': 'r'"), "kwargs" },
		{ "tocsin.reaction", DELIVERY(", 'event': 1, 'reaction': 'r'"), "kwargs" },
		{ "tocsin.reaction", DELIVERY(", 'event': 'e', 'reaction': 'r', 'jobs': [1]"),
		    "kwargs" },
		{ "tocsin.reaction", "[[], " KWARGS("1", "[0]") "}, {}]", "kwargs" },
		{ "tocsin.event", "[[], " KWARGS("1", "[0]") ", 'event': 'e', 'reaction': 'r'}, {}]",
		    "kwargs" },
		{ "tocsin.other", "[[], " KWARGS("1", "[0]") "}, {}]", "unregistered" },
		{ "tocsin.event", "[[1], " KWARGS("1", "[0]") "}, {}]", "args" },
		{ "tocsin.event", "[[], " KWARGS("1", "[0]") ", 'more': 1}, {}]", "kwargs" },
		{ "tocsin.event", "[[], " KWARGS("0", "[0]") "}, {}]", "kwargs" },
		{ "tocsin.event", "[[], " KWARGS("9223372036854775808", "[0]") "}, {}]", "kwargs" },
		{ "tocsin.event", "[[], " KWARGS("1.0", "[0]") "}, {}]", "kwargs" },
		{ "tocsin.event", "[[], " KWARGS("'1'", "[0]") "}, {}]", "kwargs" },
		{ "tocsin.event", "[[], " KWARGS("1", "[]") "}, {}]", "kwargs" },
		{ "tocsin.event", "[[], " KWARGS("1", "[-1]") "}, {}]", "kwargs" },
		{ "tocsin.event", "[[], " KWARGS("1", "[2147483648]") "}, {}]", "kwargs" },
		{ "tocsin.event", "[[], " KWARGS("1", "[[1]]") "}, {}]", "kwargs" },
		{ "tocsin.event", "[[], " KWARGS("1", "{'a': 1}") "}, {}]", "kwargs" },
		{ "tocsin.event", "[[], {'run': 1, 'jobs': [1]}, {}]", "kwargs" },
		{ "tocsin.event", "[[], {'installation': 'x', 'run': 1, 'jobs': [1]}, {}]",
		    "kwargs" },
		{ "tocsin.event", "[[], " KWARGS("1", "[0]") "}, {'chain': [{'task': 'x'}]}]",
		    "chain" },
		{ "tocsin.event", "[[], " KWARGS("1", "[0]") "}, {'chord': {'task': 'x'}}]",
		    "chord" },
		{ "tocsin.event", "[[], " KWARGS("1", "[0]") "}, {'callbacks': [{'task': 'x'}]}]",
		    "callbacks" },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		char *headers = xasprintf("{'task': '%s', 'id': 'i'}", table[i].task);
		struct celery_job job = { 0 };
		struct celery_message m;
		struct refusal refusal;
		int rc;

		decode_well(&m, headers, table[i].body);
		rc = celery_job_decode(&job, &m, &refusal);
		if (rc != (table[i].word ? -1 : 0))
			fail_msg("%s: %s", table[i].body, rc ? refusal.err.message : "taken");
		if (rc)
			assert_string_equal(refusal_word(refusal.reason), table[i].word);
		celery_job_done(&job);
		celery_message_done(&m);
		free(headers);
	}
}

static void
nanoseconds_are_cut(void **state)
{
	struct celery_message m;

	decode_well(&m, HEADERS ", 'eta': '1970-01-01T02:00:01.123456789+02:00'}", BODY);
	assert_true(m.eta == SECOND + 123456);
	celery_message_done(&m);
}

/* --- questions to others, and their answers --- */

static struct celery_question
a_question(void)
{
	struct celery_question q = { .run = 7, .job = 3, .fence = 2, .name = "churn \"x\"",
		.task = "analytics.churn", .kwargs = { "{\"window\": 30}", 14 },
		.answer_to = "tocsin", .soft = 1.5, .hard = 3, .expires = 12 * SECOND };

	memset(q.installation.bytes, 7, sizeof q.installation.bytes);
	return q;
}

/* What Celery makes of a signature: ARG before its own arguments, as a message. */
static void
follow(struct raw signature, const char *arg, struct celery_message *m)
{
	struct str body = STR_INIT, task = STR_INIT;
	struct raw kwargs = raw_get(signature, "kwargs");
	struct celery_envelope e = { .content_type = CELERY_CONTENT_TYPE,
		.content_encoding = "utf-8", .priority = -1 };
	struct refusal refusal;

	assert_true(raw_is(raw_get(raw_get(signature, "options"), "queue"), "tocsin"));
	assert_true(raw_is(raw_get(raw_get(signature, "options"), "serializer"), "json"));
	assert_int_equal(raw_kind(raw_get(signature, "immutable")), 'f');
	assert_true(raw_string(raw_get(signature, "task"), &task));
	str_printf(&body, "[[%s], %.*s, {}]", arg, (int)kwargs.len, kwargs.text);
	e.headers = json_pack("{s:s,s:s}", "task", str_text(&task), "id", "i");
	e.body = str_text(&body);
	e.body_len = body.len;
	celery_message_init(m);
	assert_int_equal(celery_decode(m, &e, &refusal), 0);
	json_decref(e.headers);
	str_done(&body);
	str_done(&task);
}

static struct raw
only_member(struct raw array)
{
	struct raw_walk walk = raw_walk(array);
	struct raw key, member = { 0 };

	assert_int_equal(raw_count(array), 1);
	raw_next(&walk, &key, &member);
	return member;
}

static void
a_question_is_answered_under_its_fence(void **state)
{
	struct celery_question q = a_question();
	struct celery_envelope e;
	struct celery_message m, answered;
	struct celery_answer a = { .job = -1 };
	struct refusal refusal;
	char id[UUID_TEXT];

	celery_question_encode(&q, "me", 0, &e);
	celery_message_init(&m);
	assert_int_equal(celery_decode(&m, &e, &refusal), 0);
	assert_string_equal(m.id, celery_question_id(&q.installation, 7, 3, 2, id));
	assert_string_equal(e.correlation_id, id);
	assert_string_equal(e.expiration, "12000");
	assert_true(m.time_limit == 3 && m.soft_time_limit == 1.5);

	follow(only_member(m.callbacks), "NaN", &answered);
	assert_true(celery_is_answer(&answered));
	assert_int_equal(celery_answer_decode(&a, &answered, &refusal), 0);
	assert_true(a.run == 7 && a.job == 3 && a.fence == 2 && !a.failed);
	assert_true(uuid_equal(&a.installation, &q.installation));
	assert_string_equal(a.name, "churn \"x\"");
	assert_int_equal(a.value.len, 3);
	celery_answer_done(&a);
	celery_message_done(&answered);

	follow(only_member(m.errbacks), "\"some-id\"", &answered);
	assert_int_equal(celery_answer_decode(&a, &answered, &refusal), 0);
	assert_string_equal(a.failed, "analytics.churn");
	assert_true(raw_is(a.value, "some-id"));
	celery_answer_done(&a);
	celery_message_done(&answered);
	celery_message_done(&m);
	celery_envelope_done(&e);
}

static void
another_fence_is_another_task(void **state)
{
	struct celery_question q = a_question();
	char a[UUID_TEXT], b[UUID_TEXT], job[UUID_TEXT];

	celery_question_id(&q.installation, 7, 3, 1, a);
	celery_question_id(&q.installation, 7, 3, 2, b);
	celery_job_id(&q.installation, 7, 3, job);
	assert_string_not_equal(a, b);
	assert_string_not_equal(a, job);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_of_protocol_2_is_read_whole),
		cmocka_unit_test(all_but_task_id_and_three_parts_may_be_missing),
		cmocka_unit_test(a_circumstance_of_the_wrong_type_counts_as_none),
		cmocka_unit_test(a_message_of_protocol_1_means_the_same),
		cmocka_unit_test(protocol_1_needs_no_more_than_task_and_id),
		cmocka_unit_test(of_a_hybrid_the_headers_win),
		cmocka_unit_test(values_that_jansson_cannot_hold_pass_through),
		cmocka_unit_test(a_malformed_message_is_refused_with_its_word),
		cmocka_unit_test(a_compressed_body_is_unpacked),
		cmocka_unit_test(a_bomb_goes_no_further_than_the_limit),
		cmocka_unit_test(only_what_is_said_to_be_json_is_read),
		cmocka_unit_test(depth_and_count_have_limits),
		cmocka_unit_test(a_body_that_is_too_large_is_not_looked_at),
		cmocka_unit_test(nanoseconds_are_cut),
		cmocka_unit_test(what_is_written_has_all_headers_of_celery),
		cmocka_unit_test(reprs_are_those_of_python),
		cmocka_unit_test(exceptions_are_told_as_python_does),
		cmocka_unit_test(a_job_has_one_id_for_ever),
		cmocka_unit_test(a_delivery_comes_back),
		cmocka_unit_test(our_own_message_comes_back),
		cmocka_unit_test(our_own_tasks_take_nothing_else),
		cmocka_unit_test(a_question_is_answered_under_its_fence),
		cmocka_unit_test(another_fence_is_another_task),
	};

	return cmocka_run_group_tests_name("celery", tests, NULL, NULL);
}
