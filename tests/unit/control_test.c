/* control_test.c - what Celery's tools ask of a worker, and what monitors read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "base/arena.h"
#include "base/mem.h"
#include "base/str.h"
#include "celery/control.h"
#include "celery/event.h"
#include "celery/message.h"
#include "celery/refusal.h"

#define NODE "tocsin-1@host"
/* zlib.compress(b'{"method": "ping"}') */
#define COMPRESSED "\170\234\253\126\312\115\055\311\310\117\121\262\122\120\052\310\314\113\127\252\005\000\072\174\006\012"

/* Tables say ' where JSON has ". */
static char *
with_quotes(const char *text)
{
	char *s = xstrdup(text);

	for (char *at = s; at && *at; at++)
		if (*at == '\'')
			*at = '"';
	return s;
}

static int
read_as(struct celery_control *request, const char *type, const char *headers, const char *body,
    size_t len, struct refusal *refusal)
{
	char *quoted = headers ? with_quotes(headers) : NULL;
	struct celery_envelope e = { .content_type = type, .content_encoding = "utf-8",
		.priority = -1, .headers = quoted ? json_loads(quoted, 0, NULL) : NULL,
		.body = body, .body_len = len };
	int rc;

	memset(request, 0, sizeof *request);
	rc = celery_control_read(request, &e, NODE, refusal);
	json_decref(e.headers);
	free(quoted);
	return rc;
}

static int
read_request(struct celery_control *request, const char *body, struct refusal *refusal)
{
	char *quoted = with_quotes(body);
	int rc = read_as(request, CELERY_CONTENT_TYPE, "{'clock': 7, 'expires': 0}", quoted,
	    strlen(quoted), refusal);

	free(quoted);
	return rc;
}

static void
a_request_is_for_those_it_names(void **state)
{
	static const struct {
		const char *rest;
		int rc;
	} table[] = {
		{ "", 1 },
		{ ", 'destination': null, 'pattern': null, 'matcher': null", 1 },
		{ ", 'destination': []", 1 },
		{ ", 'destination': ['tocsin-1@host']", 1 },
		{ ", 'destination': ['other@host', 'tocsin-1@host']", 1 },
		{ ", 'destination': ['other@host']", 0 },
		{ ", 'destination': ['tocsin-1']", 0 },
		{ ", 'destination': [1, null, {}]", 0 },
		{ ", 'destination': 'tocsin-1@host'", 1 },
		{ ", 'destination': {'a': 1}", 0 },
		{ ", 'pattern': 'tocsin-*', 'matcher': 'glob'", 1 },
		{ ", 'pattern': '*@other', 'matcher': 'glob'", 0 },
		{ ", 'pattern': 'x', 'matcher': null", 1 },
		{ ", 'pattern': null, 'matcher': 'glob'", 1 },
		{ ", 'destination': ['other@host'], 'pattern': '*', 'matcher': 'glob'", 0 },
		{ ", 'pattern': '.*', 'matcher': 'pcre'", -1 },
		{ ", 'pattern': 5, 'matcher': 'glob'", -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		char *body = xasprintf("{'method': 'ping'%s}", table[i].rest);
		struct celery_control request;
		struct refusal refusal;
		int rc = read_request(&request, body, &refusal);

		if (rc != table[i].rc)
			fail_msg("%s: %d", body, rc);
		assert_int_equal(request.clock, 7);
		celery_control_done(&request);
		free(body);
	}
}

static void
a_request_says_where_its_answer_goes(void **state)
{
	struct celery_control r;
	struct refusal refusal;

	(void)state;
	assert_int_equal(read_request(&r, "{'method': 'revoke', 'arguments': {'task_id': ['a', 5, "
	    "'b'], 'terminate': true, 'n': '12', 'x': 1.5}, 'ticket': 't', 'reply_to': "
	    "{'exchange': 'reply.celery.pidbox', 'routing_key': 'oid'}}", &refusal), 1);
	assert_string_equal(r.method, "revoke");
	assert_string_equal(r.ticket, "t");
	assert_string_equal(r.reply_exchange, "reply.celery.pidbox");
	assert_string_equal(r.reply_key, "oid");
	{
		const char **ids = celery_control_texts(r.arguments, "task_id");
		double x;

		assert_string_equal(ids[0], "a");
		assert_string_equal(ids[1], "b");
		assert_null(ids[2]);
		free(ids);
		assert_true(celery_control_truth(r.arguments, "terminate"));
		assert_false(celery_control_truth(r.arguments, "absent"));
		assert_true(celery_control_number(r.arguments, "n", &x));
		assert_true(x > 11.5 && x < 12.5);
		assert_false(celery_control_number(r.arguments, "task_id", &x));
	}
	celery_control_done(&r);
	assert_int_equal(read_request(&r, "{'method': 'ping', 'arguments': null, 'ticket': 5, "
	    "'reply_to': {'exchange': 1, 'routing_key': 'k'}}", &refusal), 1);
	assert_true(json_is_object(r.arguments));
	assert_null(r.ticket);
	assert_null(r.reply_exchange);
	celery_control_done(&r);
	assert_int_equal(read_request(&r, "{'method': 'ping', 'arguments': [1]}", &refusal), 1);
	assert_null(r.arguments);
	celery_control_done(&r);
}

static void
what_is_no_request_is_refused(void **state)
{
	static const struct {
		const char *type, *body;
		enum celery_reason reason;
	} table[] = {
		{ NULL, "{'method': 'ping'}", REFUSED_CONTENT_TYPE },
		{ "application/x-python-serialize", "{'method': 'ping'}", REFUSED_CONTENT_TYPE },
		{ CELERY_CONTENT_TYPE, "", REFUSED_JSON },
		{ CELERY_CONTENT_TYPE, "{'method': 'pi", REFUSED_JSON },
		{ CELERY_CONTENT_TYPE, "[]", REFUSED_BODY },
		{ CELERY_CONTENT_TYPE, "null", REFUSED_BODY },
		{ CELERY_CONTENT_TYPE, "'ping'", REFUSED_BODY },
		{ CELERY_CONTENT_TYPE, "{}", REFUSED_BODY },
		{ CELERY_CONTENT_TYPE, "{'method': null}", REFUSED_BODY },
		{ CELERY_CONTENT_TYPE, "{'method': {'a': 'ping'}}", REFUSED_BODY },
		{ CELERY_CONTENT_TYPE, "{'method': 'a\\u0000b'}", REFUSED_BODY },
		{ CELERY_CONTENT_TYPE, "{'method': 'a', 'arguments': {'x': NaN}}", REFUSED_JSON },
		{ CELERY_CONTENT_TYPE, "{'method': 'a', 'x': '\\ud800'}", REFUSED_JSON },
	};
	struct celery_control request;
	struct refusal refusal;
	static const char compressed[] = COMPRESSED;
	char deep[2000];

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		char *body = with_quotes(table[i].body);
		int rc = read_as(&request, table[i].type, NULL, body, strlen(body), &refusal);

		if (rc != -1 || refusal.reason != table[i].reason)
			fail_msg("%s: %d, %s", body, rc, refusal_word(refusal.reason));
		celery_control_done(&request);
		free(body);
	}
	memset(deep, '[', sizeof deep);
	assert_int_equal(read_as(&request, CELERY_CONTENT_TYPE, NULL, deep, sizeof deep, &refusal),
	    -1);
	assert_int_equal(refusal.reason, REFUSED_DEPTH);
	assert_int_equal(read_as(&request, CELERY_CONTENT_TYPE, "{'compression': 'zlib'}", "{}", 2,
	    &refusal), -1);
	assert_int_equal(refusal.reason, REFUSED_COMPRESSION);
	assert_int_equal(read_as(&request, CELERY_CONTENT_TYPE,
	    "{'compression': 'application/x-gzip'}", compressed, sizeof compressed - 1, &refusal), 1);
	assert_string_equal(request.method, "ping");
	celery_control_done(&request);
}

static void
patterns_match_as_those_of_python(void **state)
{
	static const struct {
		const char *pattern, *text;
		bool matches;
	} table[] = {
		{ "", "", true }, { "", "a", false }, { "a", "", false }, { "*", "", true },
		{ "**", "", true }, { "*", "abc", true }, { "?", "", false }, { "?", "a", true },
		{ "a*c", "abbbc", true }, { "a*c", "abbbcd", false }, { "*b*", "abc", true },
		{ "*.com", "a.com.com", true }, { "a?c", "abc", true }, { "a?c", "ac", false },
		{ "?", "\xc3\xa9", true }, { "[\xc3\xa0-\xc3\xbf]", "\xc3\xa9", true },
		{ "[abc]x", "bx", true }, { "[!abc]x", "bx", false }, { "[!abc]x", "dx", true },
		{ "[a-c]", "b", true }, { "[a-c]", "d", false }, { "[-a]", "-", true },
		{ "[a-]", "-", true }, { "[]]", "]", true }, { "[!]]", "]", false },
		{ "[!]]", "a", true }, { "[", "[", true }, { "[a", "[a", true },
		{ "[c-a]", "b", false }, { "\\*", "*", false }, { "\\*", "\\abc", true },
		{ "tocsin-*@host", "tocsin-1@host", true },
	};
	char *stars = xasprintf("%s", "a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b");
	char as[201];

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		if (celery_control_glob(table[i].pattern, table[i].text) != table[i].matches)
			fail_msg("'%s' and '%s'", table[i].pattern, table[i].text);
	memset(as, 'a', sizeof as - 1);
	as[sizeof as - 1] = '\0';
	assert_false(celery_control_glob(stars, as));	/* in this life */
	free(stars);
}

static void
assert_text(struct str *s, const char *text)
{
	char *quoted = with_quotes(text);

	assert_string_equal(str_text(s), quoted);
	str_done(s);
	free(quoted);
}

static void
answers_look_as_those_of_python(void **state)
{
	struct str s = STR_INIT;

	(void)state;
	celery_control_ok(&s, "%s", "pong");
	assert_text(&s, "{'ok': 'pong'}");
	celery_control_error(&s, "unknown task");
	assert_text(&s, "{'error': 'unknown task'}");
	celery_control_raised(&s, "KeyError", "%s", "nonesuch");
	assert_string_equal(str_text(&s), "{\"error\": \"KeyError('nonesuch')\"}");
	str_done(&s);
	celery_control_raised(&s, "TypeError", "%s", "missing: 'id'");
	assert_string_equal(str_text(&s), "{\"error\": \"TypeError(\\\"missing: 'id'\\\")\"}");
	str_done(&s);
	celery_control_raised(&s, "KeyError", "%s", "a\nb");
	assert_string_equal(str_text(&s), "{\"error\": \"KeyError('a\\\\nb')\"}");
	str_done(&s);
	celery_control_reply(&s, NODE, (struct raw){ "[1, NaN]", 8 });
	assert_text(&s, "{'tocsin-1@host': [1, NaN]}");
	celery_control_request(&s, "hello", "{}", "t", "o");
	assert_text(&s, "{'method': 'hello', 'arguments': {}, 'destination': null, 'pattern': null, "
	    "'matcher': null, 'ticket': 't', 'reply_to': {'exchange': 'reply.celery.pidbox', "
	    "'routing_key': 'o'}}");
}

static void
collect(void *arg, const char *id)
{
	str_printf(arg, "%s,", id);
}

static void
revoked_tasks_are_told_with_times_that_are_floats(void **state)
{
	struct str s = STR_INIT, seen = STR_INIT;
	int64_t clock = 0;
	json_t *map;
	char *hello = with_quotes("{'w@h': {'revoked': {'a': [5.0, 'a'], 'b': [1, 'b'], '': 3}, "
	    "'clock': 40}}");

	(void)state;
	str_putc(&s, '{');
	celery_control_add_revoked(&s, "a", 5);
	celery_control_add_revoked(&s, "b", 5.5);
	str_putc(&s, '}');
	assert_text(&s, "{'a': [5.0, 'a'], 'b': [5.5, 'b']}");
	map = celery_control_read_hello(hello, strlen(hello), NODE, &clock);
	assert_non_null(map);
	assert_int_equal(clock, 40);
	celery_control_each_revoked(map, collect, &seen);
	assert_text(&seen, "a,b,");
	json_decref(map);
	assert_null(celery_control_read_hello(hello, strlen(hello), "w@h", &clock));
	assert_null(celery_control_read_hello("{\"w@h\": null}", 13, NODE, &clock));
	assert_null(celery_control_read_hello("[", 1, NODE, &clock));
	free(hello);
}

/* --- events --- */

static const struct celery_teller teller = { NODE, 11, 42, -2, 1500000 };

static void
a_worker_tells_of_its_load(void **state)
{
	struct celery_load load = { 2, 3, 9, { 0.5, 1, 2.25 }, "0.1.0", "Linux" };
	struct str s = STR_INIT;

	(void)state;
	assert_string_equal(celery_event_key(EVENT_WORKER_HEARTBEAT), "worker.heartbeat");
	assert_string_equal(celery_event_key(EVENT_WORKER_ELECT_ACK), "worker.elect.ack");
	assert_string_equal(celery_event_key(EVENT_TASK_STARTED), "task.multi");
	celery_event_worker(&s, EVENT_WORKER_HEARTBEAT, &teller, &load);
	assert_text(&s, "{'hostname': 'tocsin-1@host', 'utcoffset': -2, 'pid': 11, 'clock': 42, "
	    "'timestamp': 1.5, 'type': 'worker-heartbeat', 'freq': 2.0, 'active': 3, "
	    "'processed': 9, 'loadavg': [0.5, 1.0, 2.25], 'sw_ident': 'tocsin', "
	    "'sw_ver': '0.1.0', 'sw_sys': 'Linux'}");
	celery_event_elect(&s, &teller, &(struct celery_election){ "e", NULL, { "{}", 2 } });
	assert_non_null(strstr(str_text(&s), "\"type\": \"worker-elect\", \"id\": \"e\", "
	    "\"topic\": null, \"action\": {}, \"cver\": 1}"));
	str_done(&s);
	celery_event_elect_ack(&s, &teller, "e");
	assert_non_null(strstr(str_text(&s), "\"type\": \"worker-elect-ack\", \"id\": \"e\"}"));
	str_done(&s);
}

static void
assert_task(enum celery_event event, const struct celery_task_event *e, const char *end)
{
	struct str s = STR_INIT;
	char *quoted = xasprintf("\"type\": \"%s\", \"uuid\": \"u\"%s", celery_event_name(event), end);

	celery_event_task(&s, event, &teller, e);
	if (!strstr(str_text(&s), quoted))
		fail_msg("%s has not %s", str_text(&s), quoted);
	str_done(&s);
	free(quoted);
}

static void
a_task_is_told_of_from_its_arrival_to_its_end(void **state)
{
	struct celery_task_event e = { .uuid = "u", .name = "t.add", .args = "(1, '\xc3\xa9')",
		.kwargs = "{}", .root_id = "r", .retries = 2, .eta = 1500000,
		.expires = INSTANT_NEVER };

	(void)state;
	assert_task(EVENT_TASK_RECEIVED, &e, ", \"name\": \"t.add\", \"args\": \"(1, '\xc3\xa9')\", "
	    "\"kwargs\": \"{}\", \"root_id\": \"r\", \"parent_id\": null, \"retries\": 2, "
	    "\"eta\": \"1970-01-01T00:00:01.500000+00:00\", \"expires\": null}");
	assert_task(EVENT_TASK_STARTED, &e, "}");
	e.runtime = 0.25;
	assert_task(EVENT_TASK_SUCCEEDED, &e, ", \"result\": \"None\", \"runtime\": 0.25}");
	e.result = (struct raw){ "[true, \"a\"]", 11 };
	assert_task(EVENT_TASK_SUCCEEDED, &e, ", \"result\": \"[True, 'a']\", \"runtime\": 0.25}");
	e.exception = "ValueError('boom')";
	assert_task(EVENT_TASK_FAILED, &e,
	    ", \"exception\": \"ValueError('boom')\", \"traceback\": null}");
	assert_task(EVENT_TASK_REVOKED, &e,
	    ", \"terminated\": false, \"signum\": null, \"expired\": false}");
	e.terminated = true;
	e.signum = 15;
	assert_task(EVENT_TASK_REVOKED, &e,
	    ", \"terminated\": true, \"signum\": 15, \"expired\": false}");
	assert_task(EVENT_TASK_REJECTED, &e, ", \"requeue\": false}");
}

static void
of_others_the_clock_and_elections_are_read(void **state)
{
	static const struct {
		const char *body;
		int rc;
		int64_t clock;
		const char *id;
	} table[] = {
		{ "{'type': 'worker-heartbeat', 'clock': 5}", 0, 5, "" },
		{ "{'type': 'worker-elect', 'clock': 5, 'id': 'e'}", 0, 5, "e" },
		{ "{'type': 'worker-elect', 'id': 7}", 0, 0, "" },
		{ "{'type': 'worker-elect', 'id': '\\u0000'}", 0, 0, "" },
		{ "[{'clock': 3}, {'clock': 9}, 4, {'clock': 1}]", 0, 9, "" },
		{ "{'clock': 99999999999999999999999}", 0, 0, "" },
		{ "{'clock': '7'}", 0, 0, "" },
		{ "7", -1, 0, "" }, { "", -1, 0, "" }, { "{", -1, 0, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		char *body = with_quotes(table[i].body);
		struct celery_election election;
		struct arena arena = { 0 };
		int64_t clock;

		if (celery_event_read(body, strlen(body), &arena, &clock, &election) !=
		    table[i].rc || clock != table[i].clock ||
		    strcmp(election.id ? election.id : "", table[i].id))
			fail_msg("%s: clock %lld, id '%s'", body, (long long)clock, election.id);
		arena_done(&arena);
		free(body);
	}
}

/* What Python 3.11 says of time.timezone, time.altzone and tm_isdst. */
static void
the_offset_is_that_of_python(void **state)
{
	static const struct {
		const char *zone;
		int in_january, in_july;
	} table[] = {
		{ "UTC", 0, 0 },
		{ "Europe/Berlin", -1, -2 },
		{ "America/New_York", 5, 4 },
		{ "Asia/Kolkata", -6, -6 },
		{ "America/St_Johns", 3, 2 },
		{ "Australia/Sydney", -11, -10 },
	};
	const instant january = INT64_C(1768478400) * SECOND;	/* 2026-01-15T12:00:00Z */
	const instant july = INT64_C(1784116800) * SECOND;	/* 2026-07-15T12:00:00Z */
	char *before = xstrdup(getenv("TZ"));

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		setenv("TZ", table[i].zone, 1);
		tzset();
		if (celery_event_utcoffset(january) != table[i].in_january ||
		    celery_event_utcoffset(july) != table[i].in_july)
			fail_msg("%s: %d, %d", table[i].zone, celery_event_utcoffset(january),
			    celery_event_utcoffset(july));
	}
	if (before)
		setenv("TZ", before, 1);
	else
		unsetenv("TZ");
	tzset();
	free(before);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_for_those_it_names),
		cmocka_unit_test(a_request_says_where_its_answer_goes),
		cmocka_unit_test(what_is_no_request_is_refused),
		cmocka_unit_test(patterns_match_as_those_of_python),
		cmocka_unit_test(answers_look_as_those_of_python),
		cmocka_unit_test(revoked_tasks_are_told_with_times_that_are_floats),
		cmocka_unit_test(a_worker_tells_of_its_load),
		cmocka_unit_test(a_task_is_told_of_from_its_arrival_to_its_end),
		cmocka_unit_test(of_others_the_clock_and_elections_are_read),
		cmocka_unit_test(the_offset_is_that_of_python),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
