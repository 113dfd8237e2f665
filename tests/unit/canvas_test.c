/* canvas_test.c - what follows a task, step by step.
 *
 * Whether a stock worker does the same is tests/celery/canvas_agrees.py's to say;
 * here is what must hold, and where we go beyond. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "base/err.h"
#include "base/mem.h"
#include "celery/canvas.h"
#include "celery/refusal.h"

#define HEADERS "{'lang': 'py', 'task': 'add', 'id': 'i', 'root_id': 'r'"
#define A "{'task': 'a', 'args': [1], 'kwargs': {}, 'options': {}}"
#define B "{'task': 'b', 'args': [], 'kwargs': {}, 'options': {}}"
#define B_WITH(options) "{'task': 'b', 'args': [], 'kwargs': {}, 'options': {" options "}}"
#define OF(kind, kwargs, options) "{'task': 'celery." kind "', 'args': [], 'kwargs': {" kwargs \
	"}, 'options': {" options "}, 'subtask_type': '" kind "'}"
#define GROUP(tasks) OF("group", "'tasks': [" tasks "]", "")
#define CHAIN(tasks) OF("chain", "'tasks': [" tasks "]", "")
#define CHORD(header, body) OF("chord", "'header': [" header "], 'body': " body, "")

static int ids;

static void
make_id(void *arg, char id[UUID_TEXT])
{
	snprintf(id, UUID_TEXT, "n%d", ++ids);
}

static struct canvas_setting setting;

static int
set_up(void **state)
{
	ids = 0;
	setting = (struct canvas_setting){ .chords = CANVAS_CHORDS_NATIVE, .reply_to = "us",
		.make_id = make_id };
	return 0;
}

/* Quotes are tiresome in C: ' stands for ". */
static char *
with_quotes(const char *text)
{
	char *s = xstrdup(text);

	for (char *at = s; at && *at; at++)
		if (*at == '\'')
			*at = '"';
	return s;
}

static void
read_message(struct celery_message *m, const char *headers, const char *body)
{
	char *h = with_quotes(headers), *b = with_quotes(body);
	struct celery_envelope e = { .content_type = CELERY_CONTENT_TYPE, .priority = 4,
		.headers = json_loads(h, 0, NULL), .body = b, .body_len = strlen(b) };
	struct refusal refusal;

	assert_non_null(e.headers);
	celery_message_init(m);
	if (celery_decode(m, &e, &refusal))
		fail_msg("%s: %s", body, refusal.err.message);
	json_decref(e.headers);
	free(h);
	free(b);
}

static void
put(struct str *s, const char *name, const char *text)
{
	if (text)
		str_printf(s, " %s=%s", name, text);
}

static void
put_raw(struct str *s, const char *name, struct raw v)
{
	if (v.text)
		str_printf(s, " %s=%.*s", name, (int)v.len, v.text);
}

static void
put_post(struct str *s, const struct canvas_step *step)
{
	const struct celery_message *m = &step->message;

	str_printf(s, "post %s%.*s %s", m->task, (int)m->args.len, m->args.text, m->id);
	put(s, "parent", m->parent_id);
	put(s, "group", m->group);
	if (m->group_index >= 0)
		str_printf(s, " index=%d", (int)m->group_index);
	put_raw(s, "callbacks", m->callbacks);
	put_raw(s, "errbacks", m->errbacks);
	if (m->chain.text)
		str_printf(s, " chain=%zu", raw_count(m->chain));
	if (m->chord.text)
		str_printf(s, " chord=%.*s", (int)raw_get(m->chord, "task").len,
		    raw_get(m->chord, "task").text);
	if (strcmp(m->root_id, "r"))
		put(s, "root", m->root_id);
	if (step->queue && strcmp(step->queue, "celery"))
		put(s, "queue", step->queue);
	put(s, "exchange", step->exchange);
	if (strcmp(m->reply_to, "us"))
		put(s, "reply_to", m->reply_to);
}

static void
put_step(struct str *s, const struct canvas_step *step)
{
	switch (step->kind) {
	case CANVAS_POST:
		put_post(s, step);
		break;
	case CANVAS_CHORD_SIZE:
		str_printf(s, "size %s %d", step->group, (int)step->size);
		break;
	case CANVAS_SAVE_GROUP:
		str_printf(s, "save %s", step->group);
		put_raw(s, "document", step->document);
		break;
	case CANVAS_FAIL:
		str_printf(s, "fail %s", step->id);
		put(s, "error", step->error_type);
		put_raw(s, "args", step->error_args);
		break;
	default:
		str_printf(s, "count %s in %s at %d", step->id, step->group,
		    (int)step->group_index);
	}
	str_putc(s, '\n');
}

static void
assert_steps(struct canvas *c, const char *steps)
{
	struct str s = STR_INIT;
	char *wanted = with_quotes(steps);

	for (size_t i = 0; i < c->steps.n; i++)
		put_step(&s, &c->steps.at[i]);
	assert_string_equal(str_text(&s), wanted);
	str_done(&s);
	free(wanted);
}

static void
check_success(const char *embed, const char *steps)
{
	struct celery_message m;
	struct canvas c;
	struct err err;
	char *body = xasprintf("[[], {}, {%s}]", embed);

	set_up(NULL);
	read_message(&m, HEADERS "}", body);
	canvas_init(&c, &setting);
	if (canvas_succeed(&c, &m, (struct raw){ "7", 1 }, &err))
		fail_msg("%s: %s", embed, err.message);
	assert_steps(&c, steps);
	canvas_done(&c);
	celery_message_done(&m);
	free(body);
}

static void
a_success_makes_follow_what_it_says(void **state)
{
	static const struct { const char *embed, *steps; } table[] = {
		{ "", "" },
		{ "'callbacks': [], 'chain': []", "" },
		{ "'callbacks': [" A "]", "post a[7, 1] n1 parent=i\n" },
		/* several: one new group; but groups go alone */
		{ "'callbacks': [" A ", " B "]",
		    "post a[7, 1] n2 parent=i group=n1\npost b[7] n3 parent=i group=n1\n" },
		{ "'callbacks': [" A ", " GROUP(B) "]",
		    "post b[7] n2 parent=i group=n1\npost a[7, 1] n4 parent=i group=n3\n" },
		/* the chain's last element is the next; the last step has an empty one */
		{ "'chain': [" A ", " B "]", "post b[7] n1 parent=i chain=1\n" },
		{ "'chain': [" A "]", "post a[7, 1] n1 parent=i chain=0\n" },
		{ "'chain': [" A "], 'callbacks': [" B "]",
		    "post b[7] n1 parent=i\npost a[7, 1] n2 parent=i chain=0\n" },
		{ "'callbacks': [" CHAIN(A ", " CHAIN(B ", " A)) "]",
		    "post a[7, 1] n3 parent=i chain=2\n" },
		{ "'callbacks': [{'task': 'a', 'args': [1], 'immutable': true}]",
		    "post a[1] n1 parent=i\n" },
		{ "'callbacks': [" B_WITH("'task_id': 't', 'queue': 'q', 'reply_to': 'me', "
		    "'link': " A) "]",
		    "post b[7] t parent=i callbacks=[" A "] queue=q reply_to=me\n" },
		{ "'callbacks': [" B_WITH("'exchange': 'x', 'routing_key': 'k'") "]",
		    "post b[7] n1 parent=i exchange=x\n" },
		{ "'callbacks': [" B_WITH("'root_id': 'other', 'group_id': 'g'") "]",
		    "post b[7] n1 parent=i group=g\n" },
		{ "'callbacks': [{'task': 'celery.chunks', 'kwargs': {'task': " A
		    ", 'it': [[1], [2], [3]], 'n': 2}, 'subtask_type': 'chunks'}]",
		    "post celery.starmap[] n2 parent=i group=n1\n"
		    "post celery.starmap[] n3 parent=i group=n1\n" },
		/* chords: the size before the last member, the body with each of them */
		{ "'callbacks': [" CHORD(A ", " A, B) "]",
		    "post a[7, 1] n3 parent=i group=n2 index=0 chord='b'\nsize n2 2\n"
		    "post a[7, 1] n4 parent=i group=n2 index=1 chord='b'\n" },
		{ "'callbacks': [" CHORD("", B) "]", "post b[[]] n1 parent=i\n" },
		/* a group before another task; the header's chain ends in the chord */
		{ "'callbacks': [" CHAIN(A ", " GROUP(CHAIN(A ", " A) ", " A) ", " B) "]",
		    "post a[7, 1] n6 parent=i chain=1\n" },
		{ "'chain': [" A ", " CHORD(CHAIN(A ", " A) ", " GROUP(A ", " A), B) "]",
		    "post a[7, 1] n4 parent=i chain=1\n"
		    "post a[7, 1] n5 parent=i group=n2 index=1 chord='b'\nsize n2 3\n"
		    "post a[7, 1] n6 parent=i group=n2 index=2 chord='b'\n" },
		/* results that are groups keep their form */
		{ "'callbacks': [" CHORD(CHAIN(A ", " GROUP(A ", " A)), B) "]",
		    "save n2 document={'result': [['n2', null], [[['n2', [['n5', null], null]], "
		    "[[['n3', null], null], [['n4', null], null]]]]]}\nsize n2 2\n"
		    "post a[7, 1] n5 parent=i chain=1\n" },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		check_success(table[i].embed, table[i].steps);
}

/* Of embed's parts, as JSON: the message of the first step. */
static void
plan(struct canvas *c, struct celery_message *m, const char *headers, const char *embed,
    const char *result)
{
	char *body = xasprintf("[[], {}, {%s}]", embed);
	struct err err;

	read_message(m, headers, body);
	free(body);
	canvas_init(c, &setting);
	if (canvas_succeed(c, m, (struct raw){ result, strlen(result) }, &err))
		fail_msg("%s: %s", embed, err.message);
}

static void
values_pass_through_as_they_are(void **state)
{
	struct celery_message m;
	struct canvas c;

	plan(&c, &m, HEADERS "}", "'callbacks': [{'task': 'a', 'kwargs': {'z': 1e400, 'b': NaN, "
	    "'a': 123456789012345678901234567890}}]", "[-Infinity, \"\\ud800\"]");
	assert_int_equal(c.steps.n, 1);
	assert_memory_equal(c.steps.at[0].message.args.text, "[[-Infinity, \"\\ud800\"]]", 24);
	assert_memory_equal(c.steps.at[0].message.kwargs.text, "{\"z\": 1e400, \"b\": NaN, "
	    "\"a\": 123456789012345678901234567890}", 57);
	canvas_done(&c);
	celery_message_done(&m);
}

static void
the_rest_of_an_outer_chain_waits_for_the_body(void **state)
{
	struct celery_message m;
	struct canvas c;
	struct raw options;

	plan(&c, &m, HEADERS "}", "'chain': [" A ", " CHORD(A, B) "]", "7");
	assert_int_equal(c.steps.n, 2);
	assert_null(c.steps.at[1].message.chain.text);
	options = raw_get(c.steps.at[1].message.chord, "options");
	assert_int_equal(raw_count(raw_get(options, "chain")), 1);
	canvas_done(&c);
	celery_message_done(&m);
}

static void
children_tell_what_was_sent(void **state)
{
	struct celery_message m;
	struct canvas c;

	plan(&c, &m, HEADERS "}", "'callbacks': [" GROUP(A ", " A) "], 'chain': [" B "]", "7");
	assert_memory_equal(c.children.text, "[[[\"n1\", null], [[[\"n2\", null], null], "
	    "[[\"n3\", null], null]]], [[\"n4\", null], null]]", c.children.len);
	canvas_done(&c);
	celery_message_done(&m);
}

static void
stamps_and_headers_reach_the_followers(void **state)
{
	static const struct { const char *headers, *options, *others; } table[] = {
		{ HEADERS "}", "'headers': {'x': 1}", "{'x': 1}" },
		{ HEADERS "}", "'stamped_headers': ['user'], 'user': 'me'",
		    "{'stamped_headers': ['user'], 'stamps': {'user': 'me'}}" },
		{ HEADERS ", 'stamped_headers': ['user'], 'stamps': {'user': 'them'}}", "",
		    "{'stamped_headers': ['user'], 'stamps': {'user': 'them'}}" },
		{ HEADERS ", 'stamped_headers': ['user'], 'stamps': {'user': 'them'}}",
		    "'stamped_headers': ['user'], 'user': 'me'",
		    "{'stamped_headers': ['user'], 'stamps': {'user': 'me'}}" },
		{ HEADERS ", 'x': 1}", "", NULL },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct celery_message m;
		struct canvas c;
		char *wanted = with_quotes(table[i].others ? table[i].others : "null");
		char *embed = xasprintf("'callbacks': [{'task': 'b', 'options': {%s}}]",
		    table[i].options);
		json_t *others;

		plan(&c, &m, table[i].headers, embed, "7");
		others = json_loads(wanted, JSON_DECODE_ANY, NULL);
		assert_true(json_equal(others, c.steps.at[0].message.others) ||
		    (!c.steps.at[0].message.others && !table[i].others));
		json_decref(others);
		free(wanted);
		free(embed);
		canvas_done(&c);
		celery_message_done(&m);
	}
}

static void
times_and_limits_are_those_of_the_signature(void **state)
{
	struct celery_message m;
	struct canvas c;
	const struct celery_message *a, *b;

	setting.now = 1000 * SECOND;
	setting.inherit_priority = true;
	plan(&c, &m, HEADERS "}", "'callbacks': ["
	    B_WITH("'countdown': 1.5, 'expires': 60, 'time_limit': 3, 'soft_time_limit': 2.5, "
	    "'priority': 9, 'retries': 2, 'shadow': 's', 'ignore_result': true") "], 'chain': ["
	    B_WITH("'eta': '1970-01-01T00:00:02.000005+00:00'") "]", "7");
	a = &c.steps.at[0].message;
	b = &c.steps.at[1].message;
	assert_true(a->eta == 1000 * SECOND + SECOND * 3 / 2 && a->expires == 1060 * SECOND);
	assert_true(a->time_limit == 3 && a->soft_time_limit == 2.5 && a->retries == 2);
	assert_true(a->ignore_result && !strcmp(a->shadow, "s"));
	assert_int_equal(a->priority, 4);	/* inherited */
	assert_true(b->eta == 2 * SECOND + 5 && b->expires == INSTANT_NEVER);
	canvas_done(&c);
	celery_message_done(&m);
}

static void
check_failure(const char *embed, const char *steps)
{
	struct celery_message m;
	struct canvas c;
	struct err err;
	char *body = xasprintf("[[], {}, {%s}]", embed);

	set_up(NULL);
	read_message(&m, HEADERS "}", body);
	canvas_init(&c, &setting);
	if (canvas_fail(&c, &m, &err))
		fail_msg("%s: %s", embed, err.message);
	assert_steps(&c, steps);
	canvas_done(&c);
	celery_message_done(&m);
	free(body);
}

static void
what_would_have_followed_fails_with_the_task(void **state)
{
	static const struct { const char *embed, *steps; } table[] = {
		{ "'callbacks': [" A "]", "" },
		{ "'errbacks': [" A ", " B "]",
		    "post a['i', 1] n2 parent=i group=n1\npost b['i'] n3 parent=i group=n1\n" },
		{ "'chain': [" B_WITH("'task_id': 't2', 'group_id': 'g', 'group_index': 3, "
		    "'chord': " A) ", " B_WITH("'task_id': 't1'") "]",
		    "fail t2\ncount t2 in g at 3\nfail t1\n" },
		{ "'chain': [" A "]", "" },	/* it has no id that anybody knows */
		/* the body of a chord, and what is behind it */
		{ "'chain': [" OF("chord", "'header': [" B_WITH("'task_id': 'h'") "], 'body': "
		    B_WITH("'task_id': 't', 'group_id': 'g', 'chord': " A ", 'chain': ["
		    B_WITH("'task_id': 'later'") "]"), "'task_id': 'G'") "]",
		    "fail G\nfail t\ncount t in g at -1\nfail later\n" },
		{ "'chain': [" OF("group", "'tasks': [" B_WITH("'task_id': 't'") "]",
		    "'task_id': 'G'") "]", "fail G\nfail t\n" },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		check_failure(table[i].embed, table[i].steps);
}

static void
check_chord(const char *body, const char *results, const char *steps)
{
	char *text = with_quotes(body);
	struct canvas_chord chord = { { text, strlen(text) }, "m", "r" };
	struct canvas c;
	struct err err;

	set_up(NULL);
	canvas_init(&c, &setting);
	if (results ? canvas_chord_done(&c, &chord, (struct raw){ results, strlen(results) }, &err) :
	    canvas_chord_fail(&c, &chord, "Dependency x raised Y()", &err))
		fail_msg("%s: %s", body, err.message);
	assert_steps(&c, steps);
	canvas_done(&c);
	free(text);
}

#define CHORD_ERROR " error=ChordError args=['Dependency x raised Y()']\n"

static void
a_body_runs_with_the_results_or_fails(void **state)
{
	check_chord(B_WITH("'task_id': 't'"), "[1, 2]", "post b[[1, 2]] t parent=m\n");
	check_chord(B_WITH("'task_id': 't', 'parent_id': 'p', 'root_id': 'R'"), "[]",
	    "post b[[]] t parent=p root=R\n");
	check_chord(CHAIN(B_WITH("'task_id': 't'") ", " A), "[1]",
	    "post b[[1]] t parent=m chain=1\n");
	check_chord(B_WITH("'task_id': 't', 'link_error': " A), NULL,
	    "post a['t', 1] n2 parent=t group=n1 root=t\nfail t" CHORD_ERROR);
	/* Celery leaves these waiting for ever. */
	check_chord(B_WITH("'task_id': 't', 'group_id': 'g', 'group_index': 2, 'chord': " A
	    ", 'chain': [" B_WITH("'task_id': 'later'") "]"), NULL,
	    "fail t" CHORD_ERROR "count t in g at 2\nfail later" CHORD_ERROR);
	check_chord(OF("chain", "'tasks': [" B_WITH("'task_id': 't'") ", "
	    B_WITH("'task_id': 'u'") "]", "'link_error': [" A "]"), NULL,
	    "post a['t', 1] n2 parent=t group=n1 root=t\nfail t" CHORD_ERROR "fail u" CHORD_ERROR);
	check_chord(GROUP(B_WITH("'task_id': 't', 'link_error': [" A "]")), NULL,
	    "post a['t', 1] n2 parent=t group=n1 root=t\nfail t" CHORD_ERROR);
}

static void
a_retry_is_the_same_message_once_more(void **state)
{
	struct canvas_retry retry = { .eta = 5 * SECOND, .queue = "q" };
	struct celery_message m;
	struct canvas c;
	struct err err;

	read_message(&m, HEADERS ", 'retries': 2, 'group': 'g', 'group_index': 1, 'x': 'own'}",
	    "[[1], {}, {'callbacks': [" A "], 'chain': [" B "], 'chord': " B "}]");
	canvas_init(&c, &setting);
	assert_int_equal(canvas_retry(&c, &m, &retry, &err), 0);
	assert_int_equal(c.steps.at[0].message.retries, 3);
	assert_true(c.steps.at[0].message.eta == 5 * SECOND);
	assert_string_equal(json_string_value(json_object_get(c.steps.at[0].message.others, "x")),
	    "own");
	c.steps.at[0].message.reply_to = "us";
	assert_steps(&c, "post add[1] i parent=i group=g index=1 callbacks=[" A
	    "] chain=1 chord='b' queue=q\n");
	canvas_done(&c);
	celery_message_done(&m);
}

static void
check_error(const char *embed, const char *type, const char *part)
{
	struct celery_message m;
	struct canvas c;
	struct err err;
	char *body = xasprintf("[[], {}, {%s}]", embed);

	read_message(&m, HEADERS "}", body);
	free(body);
	canvas_init(&c, &setting);
	assert_int_equal(canvas_succeed(&c, &m, (struct raw){ "7", 1 }, &err), -1);
	assert_int_equal(c.steps.n, 0);
	assert_string_equal(c.error_type, type);
	if (!strstr(err.message, part))
		fail_msg("%s: %s", embed, err.message);
	canvas_done(&c);
	celery_message_done(&m);
}

static void
what_is_no_signature_is_an_error(void **state)
{
	static const struct { const char *signature, *part; } table[] = {
		{ "{'task': 'a', 'args': {}}", "arguments" },
		{ "{'task': 'a', 'kwargs': []}", "keyword" },
		{ "{'task': 'a', 'options': 7}", "options" },
		{ "{'task': 'a', 'subtask_type': 'tree'}", "kind" },
		{ "{'task': 'a', 'subtask_type': 7}", "subtask_type" },
		{ "{'task': 'a', 'subtask_type': 'group'}", "array" },
		{ "{'task': 'a', 'subtask_type': 'group', 'kwargs': {'tasks': [7]}}", "object" },
		{ CHORD(A, "null"), "object" },
		{ "{'task': 'a', 'subtask_type': 'chunks'}", "chunks" },
		{ B_WITH("'task_id': 7"), "task_id" },
		{ B_WITH("'eta': 'soon'"), "no time" },
		{ B_WITH("'chord': 7"), "chord" },
		{ B_WITH("'link': 'x'"), "link" },
		{ B_WITH("'link': [" A ", {}]"), "link" },
		{ B_WITH("'chain': [true]"), "chain" },
		{ CHAIN(A ", " CHAIN("") ", " GROUP(CHAIN("") ", " A)), "empty" },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		char *embed = xasprintf("'callbacks': [%s]", table[i].signature);

		check_error(embed, "InvalidTaskError", table[i].part);
		free(embed);
	}
	setting.chords = CANVAS_CHORDS_NONE;
	check_error("'callbacks': [" CHORD(A, B) "]", "NotImplementedError", "backend");
	check_error("'callbacks': [" CHAIN(GROUP(A ", " A) ", " B) "]", "NotImplementedError",
	    "backend");
}

static char *
repeated(const char *before, const char *part, int n, const char *after)
{
	struct str s = STR_INIT;

	str_puts(&s, before);
	for (int i = 0; i < n; i++)
		str_puts(&s, part);
	str_puts(&s, after);
	return str_take(&s);
}

static void
a_flow_that_grows_beyond_its_limits_is_an_error(void **state)
{
	char *many = repeated("'callbacks': [" GROUP(A), ", " A, 10001, "]");
	char *groups = repeated("'callbacks': [{'task': 'c', 'subtask_type': 'chain', 'kwargs': "
	    "{'tasks': [" A, ", " GROUP(A ", " A), 1000, "]}}]");

	check_error(many, "RuntimeError", "10000 messages");
	check_error(groups, "InvalidTaskError", "too many");
	setting.bytes_max = 1000;
	check_error("'callbacks': [" CHORD(A ", " A ", " A ", " A ", " A ", " A, B) "]",
	    "RuntimeError", "1000 bytes");
	setting.bytes_max = 0;
	setting.signatures_max = 5;
	check_error("'callbacks': [" CHORD(A ", " A ", " A ", " A ", " A ", " A, B) "]",
	    "InvalidTaskError", "too many signatures");
	free(many);
	free(groups);
}

/* --- celery.chord_unlock --- */

#define UNLOCK "[['G', " B_WITH("'task_id': 't'") "], {'interval': 2, 'max_retries': 3, " \
	"'result': [[['x', null], null], [['y', null], [[['z', null], null]]]]}, {}]"

static int
unlock(const char *headers, const struct canvas_state *states, const char *steps)
{
	struct canvas_unlock u;
	struct celery_message m;
	struct canvas c;
	struct err err;
	int rc;

	read_message(&m, headers, UNLOCK);
	canvas_init(&c, &setting);
	assert_int_equal(canvas_unlock_read(&u, &m, &err), 0);
	assert_string_equal(u.group, "G");
	assert_int_equal(u.ids.at.n, 2);
	assert_string_equal(u.ids.at.at[1], "z");
	rc = canvas_unlock(&c, &m, &u, states, "celery", &err);
	if (steps)
		assert_steps(&c, steps);
	canvas_unlock_done(&u);
	canvas_done(&c);
	celery_message_done(&m);
	return rc;
}

static void
an_unlock_waits_until_all_are_there(void **state)
{
	struct raw one = { "1", 1 }, boom = { "[1]", 3 };
	struct canvas_state waits[] = { { CANVAS_SUCCEEDED, one, NULL }, { CANVAS_WAITS } };
	struct canvas_state done[] = { { CANVAS_SUCCEEDED, one, NULL },
		{ CANVAS_SUCCEEDED, one, NULL } };
	struct canvas_state failed[] = { { CANVAS_SUCCEEDED, one, NULL },
		{ CANVAS_FAILED, boom, "ValueError" } };

	assert_int_equal(unlock(HEADERS ", 'retries': 3}", waits, NULL), 1);
	assert_int_equal(unlock(HEADERS ", 'retries': 2}", waits, NULL), 0);
	unlock(HEADERS "}", done, "post b[[1, [1]]] t parent=i\n");
	unlock(HEADERS "}", failed,
	    "fail t error=ChordError args=['Dependency z raised ValueError(1)']\n");
}

static void
a_chord_that_nobody_counts_is_unlocked(void **state)
{
	struct celery_message m;
	struct canvas c;
	const struct canvas_step *unlocking;

	setting.chords = CANVAS_CHORDS_UNLOCK;
	setting.now = 9 * SECOND;
	plan(&c, &m, HEADERS "}", "'callbacks': [" CHORD(A ", " A, B_WITH("'queue': 'q'")) "]", "7");
	assert_int_equal(c.steps.n, 3);
	unlocking = &c.steps.at[0];
	assert_string_equal(unlocking->message.task, "celery.chord_unlock");
	assert_string_equal(unlocking->queue, "q");
	assert_true(unlocking->message.eta == 10 * SECOND && unlocking->message.ignore_result);
	assert_memory_equal(unlocking->message.kwargs.text, "{\"interval\": null, "
	    "\"max_retries\": null, \"result\": [[[\"n3\", null], null], [[\"n4\", null], null]]}",
	    unlocking->message.kwargs.len);
	canvas_done(&c);
	celery_message_done(&m);
}

static void
an_exception_has_the_repr_of_python(void **state)
{
	static const struct { const char *args, *repr; } table[] = {
		{ "[]", "E()" }, { "[\"boom\"]", "E('boom')" }, { "[\"a\", 1]", "E('a', 1)" },
		{ "\"boom\"", "E('boom')" }, { "[[1]]", "E([1])" }, { "null", "E()" },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct str s = STR_INIT;
		char *wanted = xasprintf("Dependency x raised %s", table[i].repr);

		canvas_chord_reason(&s, "x", "E",
		    (struct raw){ table[i].args, strlen(table[i].args) });
		assert_string_equal(str_text(&s), wanted);
		free(wanted);
		str_done(&s);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_success_makes_follow_what_it_says, set_up),
		cmocka_unit_test_setup(values_pass_through_as_they_are, set_up),
		cmocka_unit_test_setup(the_rest_of_an_outer_chain_waits_for_the_body, set_up),
		cmocka_unit_test_setup(children_tell_what_was_sent, set_up),
		cmocka_unit_test_setup(stamps_and_headers_reach_the_followers, set_up),
		cmocka_unit_test_setup(times_and_limits_are_those_of_the_signature, set_up),
		cmocka_unit_test_setup(what_would_have_followed_fails_with_the_task, set_up),
		cmocka_unit_test_setup(a_body_runs_with_the_results_or_fails, set_up),
		cmocka_unit_test_setup(a_retry_is_the_same_message_once_more, set_up),
		cmocka_unit_test_setup(what_is_no_signature_is_an_error, set_up),
		cmocka_unit_test_setup(a_flow_that_grows_beyond_its_limits_is_an_error, set_up),
		cmocka_unit_test_setup(an_unlock_waits_until_all_are_there, set_up),
		cmocka_unit_test_setup(a_chord_that_nobody_counts_is_unlocked, set_up),
		cmocka_unit_test_setup(an_exception_has_the_repr_of_python, set_up),
	};

	return cmocka_run_group_tests_name("canvas", tests, NULL, NULL);
}
