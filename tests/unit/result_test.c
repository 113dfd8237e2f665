/* result_test.c - results as Celery writes them, and pickles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "celery/pickle.h"
#include "celery/refusal.h"
#include "celery/result.h"

#define RAW(s) ((struct raw){ (s), sizeof (s) - 1 })
#define WHEN INT64_C(1795319365941644)		/* 2026-11-22T03:49:25.941644 */

static void
assert_document(const struct celery_result *r, bool extended, const char *expected)
{
	struct str s = STR_INIT;
	struct raw value;
	struct refusal refusal;

	celery_result_document(&s, r, extended, WHEN);
	assert_string_equal(str_text(&s), expected);
	assert_int_equal(raw_check(str_text(&s), s.len, &value, &refusal), 0);
	str_done(&s);
}

static void
a_success_is_written_as_celery_writes_it(void **state)
{
	struct celery_result r = { .id = "i", .state = "SUCCESS", .value = RAW("{\"a\": 1}") };

	assert_document(&r, false, "{\"status\": \"SUCCESS\", \"result\": {\"a\": 1}, "
	    "\"traceback\": null, \"children\": [], "
	    "\"date_done\": \"2026-11-22T03:49:25.941644\", \"task_id\": \"i\"}");
	r.group = "g";
	r.parent_id = "p\"";
	r.children = RAW("[[[\"c\", null], null]]");
	r.done_at = 1000000;
	r.value = (struct raw){ 0 };
	assert_document(&r, false, "{\"status\": \"SUCCESS\", \"result\": null, "
	    "\"traceback\": null, \"children\": [[[\"c\", null], null]], "
	    "\"date_done\": \"1970-01-01T00:00:01.000000\", \"group_id\": \"g\", "
	    "\"parent_id\": \"p\\\"\", \"task_id\": \"i\"}");
}

static void
what_is_not_ready_has_no_time(void **state)
{
	static const char *const ready[] = { "SUCCESS", "FAILURE", "REVOKED" };
	static const char *const others[] = { "STARTED", "RECEIVED", "RETRY", "HALFWAY" };

	for (size_t i = 0; i < sizeof ready / sizeof ready[0]; i++)
		assert_true(celery_state_is_ready(ready[i]));
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		struct celery_result r = { .id = "i", .state = others[i] };
		struct str s = STR_INIT;

		celery_result_document(&s, &r, false, WHEN);
		assert_non_null(strstr(str_text(&s), "\"date_done\": null"));
		str_done(&s);
	}
}

static void
an_exception_always_has_its_three_parts(void **state)
{
	static const struct {
		struct celery_exception exception;
		const char *written, *repr;
	} rows[] = {
		{ { "ValueError", "builtins", RAW("[\"a\", 2]") },
		    "{\"exc_type\": \"ValueError\", \"exc_message\": [\"a\", 2], "
		    "\"exc_module\": \"builtins\"}", "ValueError('a', 2)" },
		{ { "KeyError", NULL, RAW("\"a\"") },
		    "{\"exc_type\": \"KeyError\", \"exc_message\": [\"a\"], "
		    "\"exc_module\": null}", "KeyError('a')" },
		{ { "Shop.Closed", "shop", { 0 } },
		    "{\"exc_type\": \"Shop.Closed\", \"exc_message\": [], "
		    "\"exc_module\": \"shop\"}", "Closed()" },
		{ { NULL, NULL, { 0 } }, "{\"exc_type\": \"Exception\", \"exc_message\": [], "
		    "\"exc_module\": null}", "Exception()" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct celery_result r = { .id = "i", .state = "FAILURE",
			.exception = rows[i].exception };
		struct celery_exception again;
		struct arena arena = { 0 };
		struct str s = STR_INIT;
		struct err err;

		celery_result_value(&s, &r);
		assert_string_equal(str_text(&s), rows[i].written);
		assert_int_equal(celery_exception_read(&again,
		    (struct raw){ str_text(&s), s.len }, &arena, &err), 0);
		str_clear(&s);
		celery_exception_repr(&s, &again);
		assert_string_equal(str_text(&s), rows[i].repr);
		str_done(&s);
		arena_done(&arena);
	}
}

static void
an_extended_result_tells_of_the_call(void **state)
{
	struct celery_result r = { .id = "i", .state = "STARTED", .name = "t.add",
		.args = RAW("[1]"), .worker = "w", .retries = 2 };

	assert_document(&r, true, "{\"status\": \"STARTED\", \"result\": null, "
	    "\"traceback\": null, \"children\": [], \"date_done\": null, \"name\": \"t.add\", "
	    "\"args\": [1], \"kwargs\": null, \"worker\": \"w\", \"retries\": 2, "
	    "\"queue\": null, \"task_id\": \"i\"}");
}

static void
a_reply_has_five_members(void **state)
{
	struct celery_result r = { .id = "i", .state = "SUCCESS", .value = RAW("1"), .group = "g" };
	struct str s = STR_INIT;

	celery_result_reply(&s, &r);
	assert_string_equal(str_text(&s), "{\"task_id\": \"i\", \"status\": \"SUCCESS\", "
	    "\"result\": 1, \"traceback\": null, \"children\": []}");
	str_clear(&s);
	celery_result_member(&s, "i", "SUCCESS", RAW("[1]"));
	assert_string_equal(str_text(&s), "[1, \"i\", \"SUCCESS\", [1]]");
	str_done(&s);
}

static void
what_was_written_is_read(void **state)
{
	struct celery_result r = { .id = "i\xc3\xa9", .state = "FAILURE",
		.exception = { "KeyError", "builtins", RAW("[1]") }, .traceback = "a\nb",
		.children = RAW("[]"), .group = "g", .parent_id = "p", .name = "n",
		.args = RAW("[1]"), .kwargs = RAW("{}"), .worker = "w", .retries = 7,
		.queue = "q" }, again;
	struct arena arena = { 0 };
	struct str s = STR_INIT;
	struct err err;

	celery_result_document(&s, &r, true, WHEN);
	assert_int_equal(celery_result_read(&again, str_text(&s), s.len, &arena, &err), 0);
	assert_string_equal(again.id, r.id);
	assert_string_equal(again.state, r.state);
	assert_string_equal(again.exception.type, "KeyError");
	assert_string_equal(again.exception.module, "builtins");
	assert_int_equal(raw_kind(again.value), '{');
	assert_string_equal(again.traceback, "a\nb");
	assert_true(again.done_at == WHEN);
	assert_string_equal(again.group, "g");
	assert_string_equal(again.parent_id, "p");
	assert_string_equal(again.name, "n");
	assert_string_equal(again.worker, "w");
	assert_string_equal(again.queue, "q");
	assert_int_equal(again.retries, 7);
	assert_true(again.args.len == 3 && again.kwargs.len == 2);
	str_done(&s);
	arena_done(&arena);
}

static void
other_peoples_documents_are_read_as_far_as_they_go(void **state)
{
	static const struct {
		const char *text, *state, *type;	/* NULL: no document */
	} rows[] = {
		{ "{\"status\": \"FAILURE\", \"result\": null}", "FAILURE", "Exception" },
		{ "{\"status\": \"FAILURE\"}", "FAILURE", "Exception" },
		{ "{\"status\": \"RETRY\", \"result\": {\"exc_type\": 1}}", "RETRY", "Exception" },
		{ "{\"status\": \"FAILURE\", \"result\": {\"exc_type\": \"A\", "
		    "\"exc_message\": \"b\"}, \"date_done\": 5}", "FAILURE", "A" },
		{ "{\"status\": \"SUCCESS\", \"result\": NaN, \"date_done\": "
		    "\"2026-11-22T03:49:25+00:00\"}", "SUCCESS", NULL },
		{ "{\"status\": null}", NULL, NULL }, { "{}", NULL, NULL },
		{ "[]", NULL, NULL }, { "", NULL, NULL }, { "{\"status\"", NULL, NULL },
		{ "{\"status\": \"a\\u0000b\"}", NULL, NULL },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct arena arena = { 0 };
		struct celery_result r;
		struct err err = { 0 };
		int rc = celery_result_read(&r, rows[i].text, strlen(rows[i].text), &arena, &err);

		assert_int_equal(rc, rows[i].state ? 0 : -1);
		if (rc)
			assert_true(strlen(err.message) > 0);
		else
			assert_string_equal(r.state, rows[i].state);
		if (rows[i].type)
			assert_string_equal(r.exception.type, rows[i].type);
		arena_done(&arena);
	}
}

/* --- pickles --- */

static void
a_pickle_is_what_python_expects(void **state)
{
	static const struct {
		const char *json, *pickle;
		size_t len;
	} rows[] = {
#define ROW(json, pickle) { json, pickle, sizeof (pickle) - 1 }
		ROW("null", "\x80\x02N."), ROW("true", "\x80\x02\x88."),
		ROW("false", "\x80\x02\x89."), ROW("5", "\x80\x02J\5\0\0\0."),
		ROW("-1", "\x80\x02J\xff\xff\xff\xff."),
		ROW("2147483648", "\x80\x02L2147483648L\n."),
		ROW("1.5", "\x80\x02G\x3f\xf8\0\0\0\0\0\0."),
		ROW("\"\\u00e9\"", "\x80\x02X\2\0\0\0\xc3\xa9."),
		ROW("\"\\ud800\"", "\x80\x02X\3\0\0\0\xed\xa0\x80."),
		ROW("[]", "\x80\x02]."), ROW("{}", "\x80\x02}."),
		ROW("[1, []]", "\x80\x02](J\1\0\0\0]e."),
		ROW("{\"a\": null}", "\x80\x02}(X\1\0\0\0aNu."),
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct str s = STR_INIT, json = STR_INIT;
		struct raw value;
		struct refusal refusal;
		struct err err;

		assert_int_equal(raw_check(rows[i].json, strlen(rows[i].json), &value, &refusal), 0);
		pickle_write(&s, value);
		assert_int_equal(s.len, rows[i].len);
		assert_memory_equal(str_text(&s), rows[i].pickle, s.len);
		assert_int_equal(pickle_read(&json, str_text(&s), s.len, &err), 0);
		str_done(&s);
		str_done(&json);
	}
}

static void
pickles_are_read_or_refused(void **state)
{
	static const struct {
		const char *pickle;
		size_t len;
		const char *json;	/* after "!": what the error says */
	} rows[] = {
#define READ(pickle, json) { pickle, sizeof (pickle) - 1, json }
		READ("\x80\x05\x95\x05\0\0\0\0\0\0\0\x8c\1a\x94.", "\"a\""),
		READ("\x80\x04K\x2a.", "42"), READ("\x80\x04M\0\1.", "256"),
		READ("\x80\x04\x8a\0.", "0"), READ("\x80\x04\x8a\1\xff.", "-1"),
		READ("\x80\x04\x8a\2\0\x80.", "-32768"), READ("\x80\x04\x8a\2\xff\0.", "255"),
		READ("\x80\x04\x8a\11\0\0\0\0\0\0\0\0\1.", "18446744073709551616"),
		READ("\x80\x04\x8a\11\0\0\0\0\0\0\0\0\xff.", "-18446744073709551616"),
		READ("I01\n.", "true"), READ("I12\n.", "12"), READ("F1.5\n.", "1.5"),
		READ("L12L\n.", "12"), READ("L-0L\n.", "-0"),
		READ("\x80\x02K\1K\2\x86.", "[1, 2]"), READ("\x80\x02).", "[]"),
		READ("\x80\x02(K\1K\2K\3K\4t.", "[1, 2, 3, 4]"),
		READ("(lp0\nI1\na.", "!opcode 0x70"),
		READ("\x80\x02]q\0(h\0e.", "!holds itself"),
		READ("\x80\x02]q\0(K\1h\5e.", "!recalls"),
		READ("\x80\x02]q\5.", "!hole"),
		READ("\x80\x02}(K\1Nu.", "{\"1\": null}"),
		READ("\x80\x02}(\x88N\x89NNNu.", "{\"true\": null, \"false\": null, \"null\": null}"),
		READ("\x80\x02}()Nu.", "!no text"),
		READ("\x80\x02}(K\1u.", "!without a value"),
		READ("\x80\x02(K\1e.", "!no container"), READ("\x80\x02K\1K\2e.", "!mark"),
		READ("\x80\x02K\1K\2""a.", "!no container"),
		READ("\x80\x02(0.", "!stack is empty"),
		READ("\x80\x02.", "!stack is empty"), READ("", "!too early"),
		READ("\x80\x02", "!too early"), READ("\x80\x02J\1", "!too early"),
		READ("\x80\x02X\xff\xff\xff\xff""a.", "!too early"),
		READ("\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "!too early"),
		READ("\x80\x07N.", "!protocol"), READ("\x80\1N.", "!protocol"),
		READ("\x80\x02\x8b\xff\xff\xff\x7f.", "!too many digits"),
		READ("\x80\x02" "cos\nsystem\n.", "!class or a function"),
		READ("\x80\x04\x8c\2os\x8c\6system\x93.", "!class or a function"),
		READ("\x80\x03" "C\1a.", "!bytes"), READ("\x80\x04\x8f.", "!set"),
		READ("\x80\x02X\1\0\0\0\xff.", "!UTF-8"),
		READ("\x80\x02X\3\0\0\0\xed\xa0\x80.", "\"\\ud800\""),
		READ("\x80\x02X\2\0\0\0\0\".", "\"\\u0000\\\"\""),
		READ("I1x\n.", "!none"), READ("L\n.", "!none"), READ("F\n.", "!none"),
		READ("\0", "!opcode 0x00"),
		READ("\x80\x02G\x7f\xf8\0\0\0\0\0\0.", "NaN"),
		READ("\x80\x02G\xff\xf0\0\0\0\0\0\0.", "-Infinity"),
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct str json = STR_INIT;
		struct err err = { 0 };
		int rc = pickle_read(&json, rows[i].pickle, rows[i].len, &err);

		if (*rows[i].json == '!') {
			assert_int_equal(rc, -1);
			assert_int_equal(json.len, 0);
			if (!strstr(err.message, rows[i].json + 1))
				fail_msg("row %zu: %s", i, err.message);
		} else {
			if (rc)
				fail_msg("row %zu: %s", i, err.message);
			assert_string_equal(str_text(&json), rows[i].json);
		}
		str_done(&json);
	}
}

/* A pair of the pair before, forty times: terabytes, if one lets it. */
static void
a_bomb_of_references_is_refused(void **state)
{
	struct str pickle = STR_INIT, json = STR_INIT;
	struct err err;

	str_puts(&pickle, "\x80\x04X");
	str_add(&pickle, "\4\0\0\0boom", 8);
	for (int i = 0; i < 40; i++)
		str_puts(&pickle, "2\x86");
	str_putc(&pickle, '.');
	assert_int_equal(pickle_read(&json, str_text(&pickle), pickle.len, &err), -1);
	assert_non_null(strstr(err.message, "too large"));
	assert_int_equal(json.len, 0);
	str_done(&pickle);
}

static void
too_many_values_are_refused(void **state)
{
	struct str pickle = STR_INIT, json = STR_INIT;
	struct err err;

	str_puts(&pickle, "\x80\x02(");
	for (size_t i = 0; i <= RAW_VALUES_MAX; i++)
		str_putc(&pickle, 'N');
	str_puts(&pickle, "t.");
	assert_int_equal(pickle_read(&json, str_text(&pickle), pickle.len, &err), -1);
	assert_non_null(strstr(err.message, "too many"));
	str_done(&pickle);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_success_is_written_as_celery_writes_it),
		cmocka_unit_test(what_is_not_ready_has_no_time),
		cmocka_unit_test(an_exception_always_has_its_three_parts),
		cmocka_unit_test(an_extended_result_tells_of_the_call),
		cmocka_unit_test(a_reply_has_five_members),
		cmocka_unit_test(what_was_written_is_read),
		cmocka_unit_test(other_peoples_documents_are_read_as_far_as_they_go),
		cmocka_unit_test(a_pickle_is_what_python_expects),
		cmocka_unit_test(pickles_are_read_or_refused),
		cmocka_unit_test(a_bomb_of_references_is_refused),
		cmocka_unit_test(too_many_values_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
