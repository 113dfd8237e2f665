/* log_test.c - a record is one line, bounded, and keeps secrets. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/err.h"
#include "base/json.h"
#include "base/log.h"

static int sink = -1;
static char line[4 * LOG_LINE];

static void
begin(enum log_format format)
{
	if (sink < 0)
		sink = fileno(tmpfile());
	assert_true(sink >= 0);
	assert_int_equal(ftruncate(sink, 0), 0);
	lseek(sink, 0, SEEK_SET);
	log_setup(LEVEL_INFO, format, sink);
}

/* All that was written since begin(). */
static const char *
written(void)
{
	ssize_t n = pread(sink, line, sizeof line - 1, 0);

	assert_true(n >= 0);
	line[n] = '\0';
	return line;
}

static const char *
after_message(void)
{
	const char *s = strstr(written(), " msg=");

	assert_non_null(s);
	return s + 5;
}

static void
a_record_is_a_line_of_pairs(void **state)
{
	const char *nothing = NULL;
	int month = 0;

	begin(LOG_AUTO);	/* a file is no terminal */
	log_info("cycle closed", "run", log_number(-17), "worker", nothing, "state", "DONE");
	assert_string_equal(after_message(), "\"cycle closed\" run=-17 state=DONE\n");
	assert_int_equal(sscanf(line, "time=%*d-%d-", &month), 1);
	assert_true(month >= 1 && month <= 12);
	assert_non_null(strstr(line, "Z level=info pid="));
}

static void
values_are_quoted_where_they_must_be(void **state)
{
	begin(LOG_LOGFMT);
	log_info("m", "empty", "", "space", "a b", "quote", "say \"x\"", "equals", "a=b",
	    "slash", "a\\b", "lines", "a\nb", "esc", "\033[2J", "c1", "\xc2\x9b",
	    "del", "\177", "bytes", "\xff", "umlaut", "\xc3\xbc", NULL);
	assert_string_equal(after_message(), "m empty=\"\" space=\"a b\" "
	    "quote=\"say \\\"x\\\"\" equals=\"a=b\" slash=\"a\\\\b\" lines=\"a\\nb\" "
	    "esc=\"\\x1b[2J\" c1=\"\\x9b\" del=\"\\x7f\" bytes=\"\\xff\" "
	    "umlaut=\"\xc3\xbc\"\n");
}

static void
json_lines_are_json(void **state)
{
	struct err err;
	json_t *v;

	begin(LOG_JSON);
	log_error("it \"broke\"\n", "a", "\033\xff\xc3\xbc\\", "b", "");
	v = json_read(line, strlen(written()), &err);
	assert_non_null(v);
	assert_string_equal(json_string_value(json_object_get(v, "msg")), "it \"broke\"\n");
	assert_string_equal(json_string_value(json_object_get(v, "a")), "\\x1b\\xff\xc3\xbc\\");
	assert_string_equal(json_string_value(json_object_get(v, "b")), "");
	assert_string_equal(json_string_value(json_object_get(v, "level")), "error");
	json_decref(v);
}

static void
a_line_is_bounded_and_says_that_it_was_cut(void **state)
{
	char *big = malloc(100000);
	struct err err;
	json_t *v;

	for (int c = 0; c < 3; c++) {
		memset(big, "x\n\033"[c], 99999);
		big[99999] = '\0';
		begin(LOG_LOGFMT);
		log_info("m", "big", big, "more", "lost", "also", big);
		assert_true(strlen(written()) <= LOG_LINE);
		assert_true(strlen(line) > LOG_LINE - 64);
		assert_non_null(strstr(line, c == 0 ? "... cut=true\n" : "...\" cut=true\n"));
		assert_null(strstr(line, "lost"));

		begin(LOG_JSON);
		log_info(big, "big", big);
		assert_true(strlen(written()) <= LOG_LINE);
		v = json_read(line, strlen(line), &err);
		assert_non_null(v);
		assert_non_null(json_object_get(v, "cut"));
		json_decref(v);
	}
	free(big);
}

static void
what_is_below_the_level_is_not_written(void **state)
{
	begin(LOG_LOGFMT);
	log_debug("m");
	assert_string_equal(written(), "");
	assert_false(log_wants(LEVEL_DEBUG));
	log_setup(LEVEL_DEBUG, LOG_LOGFMT, sink);
	log_debug("m");
	assert_string_not_equal(written(), "");
}

static void
a_secret_is_never_seen(void **state)
{
	static const char *const table[][2] = {
		{ "s3cret@/x", "***" }, { "as3cret@/xb", "a***b" },
		{ "s3cret%40%2fx", "***" }, { "s3cret%40/x", "***" },
		{ "%733cret%40%2Fx", "***" }, { "s3cret\\@\\/x", "***" },
		{ "s3cret@/xs3cret@/x", "******" }, { "s3cret@/", "s3cret@/" },
		{ "pass word!", "***" }, { "pass+word!", "***" }, { "pass%20word%21", "***" },
		{ "it\"s", "***" }, { "{\"k\":\"it\\\"s\"}", "{\"k\":\"***\"}" },
		{ "abc", "abc" }, { "longer-than-s3cret@/x-is", "longer-than-***-is" },
		{ "%", "%" }, { "\\", "\\" }, { "", "" },
	};

	log_secret("s3cret%40%2Fx");
	log_secret("pass word!");
	log_secret("it\"s");
	log_secret("abc");
	log_secret(NULL);
	log_secret("");
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		char *text = log_redact(table[i][0]);

		assert_string_equal(text, table[i][1]);
		free(text);
	}
	begin(LOG_LOGFMT);
	log_info("about s3cret@/x", "url", "amqp://u:s3cret%40%2Fx@h", "q", "it\"s");
	assert_string_equal(after_message(), "\"about ***\" url=amqp://u:***@h q=***\n");
}

static void
the_longer_of_two_secrets_hides_whole(void **state)
{
	char *text;

	log_secret("tick");
	log_secret("ticktock");
	log_secret("tick");
	text = log_redact("ticktock tick");
	assert_string_equal(text, "*** ***");
	free(text);
}

static void
a_cut_does_not_show_half_a_secret(void **state)
{
	char *big = malloc(2 * LOG_LINE);

	log_secret("hushhushhushhushhushhush");
	for (int at = LOG_LINE - 160; at < LOG_LINE; at++) {
		memset(big, 'x', (size_t)at);
		strcpy(big + at, "hushhushhushhushhushhush and more");
		begin(LOG_LOGFMT);
		log_info("m", "k", big);
		assert_null(strstr(written(), "hush"));
	}
	free(big);
}

static void
a_log_that_cannot_be_written_stops_nothing(void **state)
{
	int fd[2];

	assert_int_equal(pipe(fd), 0);
	close(fd[0]);
	log_setup(LEVEL_INFO, LOG_AUTO, fd[1]);
	log_info("into the void");
	close(fd[1]);
	log_info("into nothing at all");
	begin(LOG_LOGFMT);
	log_info("here again");
	assert_non_null(strstr(written(), "were lost\" lines=2\n"));
	assert_non_null(strstr(line, "msg=\"here again\"\n"));
}

/* All that can be read now, behind what BUF holds. */
static void
drain(int fd, char *buf, size_t size)
{
	size_t len = strlen(buf);
	ssize_t n;

	while (len < size - 1 && (n = read(fd, buf + len, size - 1 - len)) > 0)
		len += (size_t)n;
	buf[len] = '\0';
}

enum { RECORDS = 500 };

static void
log_to_one_who_does_not_read(int fds[2])
{
	static char big[6000], buf[1 << 20];
	int lines = 0, lost = 0;

	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	memset(big, 'x', sizeof big - 1);
	buf[0] = '\0';
	log_setup(LEVEL_INFO, LOG_LOGFMT, fds[1]);
	for (int i = 0; i < RECORDS; i++)
		log_info("m", "text", i % 3 ? "small" : big);
	assert_int_equal(fcntl(fds[1], F_GETFL) & O_NONBLOCK, 0);
	drain(fds[0], buf, sizeof buf);
	log_info("m", "text", "he reads again");
	drain(fds[0], buf, sizeof buf);
	for (char *s = strtok(buf, "\n"); s; s = strtok(NULL, "\n")) {
		char *about = strstr(s, "\"lines of the log were lost\" lines=");

		assert_memory_equal(s, "time=", 5);
		lost += about ? atoi(strrchr(about, '=') + 1) : 0;
		lines += !about && strstr(s, " msg=m text=");
	}
	assert_true(lost > 0);
	assert_int_equal(lines + lost, RECORDS + 1);
	close(fds[0]);
	close(fds[1]);
}

static void
a_reader_who_does_not_read_is_not_waited_for(void **state)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	log_to_one_who_does_not_read(fds);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	log_to_one_who_does_not_read(fds);
}

static void
a_terminal_gets_a_short_line(void **state)
{
	char buf[256];
	int master = posix_openpt(O_RDWR | O_NOCTTY), slave = -1;
	size_t len = 0;
	ssize_t n;

	if (master < 0 || grantpt(master) || unlockpt(master) ||
	    (slave = open(ptsname(master), O_RDWR | O_NOCTTY)) < 0)
		skip();
	log_setup(LEVEL_INFO, LOG_AUTO, slave);
	log_warn("lease lost", "job", "cash flow");
	log_setup(LEVEL_INFO, LOG_AUTO, 2);
	close(slave);	/* then its output ends */
	while ((n = read(master, buf + len, sizeof buf - 1 - len)) > 0)
		len += (size_t)n;
	close(master);
	assert_true(len > 8);
	buf[len] = '\0';
	assert_string_equal(buf + 8, " warn  lease lost job=\"cash flow\"\r\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_is_a_line_of_pairs),
		cmocka_unit_test(values_are_quoted_where_they_must_be),
		cmocka_unit_test(json_lines_are_json),
		cmocka_unit_test(a_line_is_bounded_and_says_that_it_was_cut),
		cmocka_unit_test(what_is_below_the_level_is_not_written),
		cmocka_unit_test(a_secret_is_never_seen),
		cmocka_unit_test(the_longer_of_two_secrets_hides_whole),
		cmocka_unit_test(a_cut_does_not_show_half_a_secret),
		cmocka_unit_test(a_log_that_cannot_be_written_stops_nothing),
		cmocka_unit_test(a_reader_who_does_not_read_is_not_waited_for),
		cmocka_unit_test(a_terminal_gets_a_short_line),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
