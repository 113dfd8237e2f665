/* term_test.c - what a terminal sees, and what a file gets. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/term.h"

/* A terminal or a file to write to, and what was written. */
struct sink {
	FILE *f;
	int master;		/* of a terminal, else -1 */
	char text[4096];
};

static struct sink
open_file(void)
{
	struct sink s = { .f = tmpfile(), .master = -1 };

	assert_non_null(s.f);
	return s;
}

/* A terminal of WIDTH columns; where there is none to be had, the test is skipped. */
static struct sink
open_terminal(unsigned short width)
{
	struct sink s = { .master = posix_openpt(O_RDWR | O_NOCTTY) };
	struct winsize size = { .ws_col = width, .ws_row = 24 };
	struct termios raw;
	int slave = -1;

	if (s.master < 0 || grantpt(s.master) || unlockpt(s.master) ||
	    (slave = open(ptsname(s.master), O_RDWR | O_NOCTTY)) < 0)
		skip();
	assert_int_equal(ioctl(slave, TIOCSWINSZ, &size), 0);
	tcgetattr(slave, &raw);
	raw.c_oflag &= ~(tcflag_t)OPOST;	/* "\n" stays "\n" */
	tcsetattr(slave, TCSANOW, &raw);
	s.f = fdopen(slave, "w");
	return s;
}

static const char *
written(struct sink *s)
{
	size_t len = 0;
	ssize_t n;

	fflush(s->f);
	if (s->master < 0)
		len = (size_t)pread(fileno(s->f), s->text, sizeof s->text - 1, 0);
	fclose(s->f);
	/* With the other end closed a terminal's output ends. */
	while (s->master >= 0 &&
	    (n = read(s->master, s->text + len, sizeof s->text - 1 - len)) > 0)
		len += (size_t)n;
	s->text[len] = '\0';
	if (s->master >= 0)
		close(s->master);
	return s->text;
}

static int
no_settings(void **state)
{
	unsetenv("NO_COLOR");
	setenv("TERM", "xterm", 1);
	return 0;
}

static void
colours_are_for_terminals_that_want_them(void **state)
{
	struct sink s = open_terminal(80);

	term_put(s.f, TERM_RED, "a\033b");
	term_put(s.f, TERM_PLAIN, "c");
	assert_string_equal(written(&s), "\033[31ma\\x1bb\033[0mc");

	s = open_file();
	term_put(s.f, TERM_RED, "a\033b");
	assert_string_equal(written(&s), "a\\x1bb");

	setenv("NO_COLOR", "1", 1);
	s = open_terminal(80);
	term_put(s.f, TERM_RED, "a");
	assert_string_equal(written(&s), "a");

	setenv("NO_COLOR", "", 1);	/* empty: not set, says no-color.org */
	s = open_terminal(80);
	assert_true(term_has_colour(s.f));
	setenv("TERM", "dumb", 1);
	assert_false(term_has_colour(s.f));
	assert_string_equal(written(&s), "");
}

static void
a_width_is_that_of_the_terminal(void **state)
{
	struct sink s = open_terminal(123);

	assert_int_equal(term_width(s.f), 123);
	written(&s);
	s = open_terminal(0);
	assert_int_equal(term_width(s.f), 80);
	written(&s);
	s = open_file();
	assert_int_equal(term_width(s.f), 0);
	written(&s);
}

static struct table *
some_table(void)
{
	static const char *const heads[] = { "NAME", "N", "ERROR", NULL };
	struct table *t = table_new(heads);

	table_right(t, 1);
	table_cell(t, TERM_PLAIN, "gr\xc3\xbc\xc3\x9f-dich");
	table_cell(t, TERM_PLAIN, "7");
	table_cell(t, TERM_RED, "exit status 7:\nno such file");
	table_cell(t, TERM_PLAIN, "x");
	table_cell(t, TERM_PLAIN, "1234");
	table_cell(t, TERM_PLAIN, NULL);
	return t;
}

static void
columns_are_aligned_and_lines_stay_lines(void **state)
{
	struct sink s = open_file();
	struct table *t = some_table();

	table_print(t, s.f);
	assert_string_equal(written(&s),
	    "NAME          N  ERROR\n"
	    "gr\xc3\xbc\xc3\x9f-dich     7  exit status 7:\\nno such file\n"
	    "x          1234  \n");
	table_free(t);
	table_free(NULL);
}

static void
the_last_column_ends_at_the_edge_of_a_terminal(void **state)
{
	struct sink s;
	struct table *t = some_table();

	setenv("NO_COLOR", "1", 1);
	s = open_terminal(25);
	table_print(t, s.f);
	assert_string_equal(written(&s),
	    "NAME          N  ERROR\n"
	    "gr\xc3\xbc\xc3\x9f-dich     7  exit st\xe2\x80\xa6\n"
	    "x          1234  \n");
	unsetenv("NO_COLOR");
	s = open_terminal(25);
	table_print(t, s.f);
	assert_non_null(strstr(written(&s), "  \033[31mexit st\xe2\x80\xa6\033[0m\n"));
	table_free(t);
}

static void
a_narrow_terminal_is_no_danger(void **state)
{
	struct sink s = open_terminal(1);
	struct table *t = some_table();
	struct progress *p = progress_new(s.f, "planning");

	table_print(t, s.f);
	progress_update(p, 1, 2, "x");
	progress_end(p);
	assert_non_null(strstr(written(&s), "\xe2\x80\xa6"));
	table_free(t);
}

static void
a_file_gets_plain_lines_of_progress(void **state)
{
	struct sink s = open_file();
	struct progress *p = progress_new(s.f, "cycle\t7");

	for (size_t i = 0; i <= 1000; i++)
		progress_update(p, i, 1000, i == 1000 ? "all done" : "");
	progress_end(p);
	assert_string_equal(written(&s),
	    "cycle\\t7 0/1000\ncycle\\t7 100/1000\ncycle\\t7 200/1000\n"
	    "cycle\\t7 300/1000\ncycle\\t7 400/1000\ncycle\\t7 500/1000\n"
	    "cycle\\t7 600/1000\ncycle\\t7 700/1000\ncycle\\t7 800/1000\n"
	    "cycle\\t7 900/1000\ncycle\\t7 1000/1000 all done\n");
}

static void
the_last_word_of_progress_is_always_written(void **state)
{
	struct sink s = open_file();
	struct progress *p = progress_new(s.f, "cycle");

	progress_update(p, 0, 100, NULL);
	progress_update(p, 1, 100, NULL);
	progress_update(p, 2, 100, "given up");
	progress_end(p);
	assert_string_equal(written(&s), "cycle 0/100\ncycle 2/100 given up\n");

	s = open_file();
	progress_end(progress_new(s.f, "nothing"));
	progress_end(NULL);
	assert_string_equal(written(&s), "");
}

static void
a_terminal_gets_a_bar(void **state)
{
	struct sink s = open_terminal(60);
	struct progress *p = progress_new(s.f, "cycle");

	progress_update(p, 1, 2, "a\nb");
	for (size_t i = 0; i < 1000; i++)	/* too fast to be drawn */
		progress_update(p, 1, 2, "quick");
	progress_update(p, 2, 2, "a note that is longer than the terminal is wide");
	progress_end(p);
	assert_string_equal(written(&s),
	    "\rcycle [############............] 1/2 a\\nb\033[K"
	    "\rcycle [########################] 2/2 a note that is longer\xe2\x80\xa6\033[K\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(colours_are_for_terminals_that_want_them, no_settings),
		cmocka_unit_test_setup(a_width_is_that_of_the_terminal, no_settings),
		cmocka_unit_test_setup(columns_are_aligned_and_lines_stay_lines, no_settings),
		cmocka_unit_test_setup(the_last_column_ends_at_the_edge_of_a_terminal, no_settings),
		cmocka_unit_test_setup(a_narrow_terminal_is_no_danger, no_settings),
		cmocka_unit_test_setup(a_file_gets_plain_lines_of_progress, no_settings),
		cmocka_unit_test_setup(the_last_word_of_progress_is_always_written, no_settings),
		cmocka_unit_test_setup(a_terminal_gets_a_bar, no_settings),
	};

	return cmocka_run_group_tests_name("term", tests, NULL, NULL);
}
