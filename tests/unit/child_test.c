/* child_test.c - what a command may do, and what is left of it. */
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/err.h"
#include "base/mem.h"
#include "io/child.h"
#include "io/loop.h"
#include "io/process.h"

static struct loop *loop;

struct seen {
	bool ended;
	struct child_end end;
	char *output, *errors;
};

static void
keep(void *arg, const struct child_end *end)
{
	struct seen *seen = arg;

	seen->ended = true;
	seen->end = *end;
	seen->output = xstrndup(end->output, end->output_len);
	seen->errors = xstrndup(end->errors, end->errors_len);
}

static bool
until_ended(void *arg)
{
	return !((struct seen *)arg)->ended;
}

static void
seen_done(struct seen *seen)
{
	free(seen->output);
	free(seen->errors);
	*seen = (struct seen){ 0 };
}

static const struct child_settings usual = {
	.shell = "/bin/sh",
	.mark = "test",
	.environment = (const char *const[]){ "PATH=/usr/bin:/bin", NULL },
	.grace = SECOND,
	.max_output = 1024 * 1024,
};

static void
run(struct child_settings settings, const char *command, struct seen *seen)
{
	struct err err;

	settings.command = command;
	*seen = (struct seen){ 0 };
	if (!child_start(loop, &settings, keep, seen, &err))
		fail_msg("%s", err.message);
	loop_run(loop, until_ended, seen);
}

/* --- what is left --- */

struct count {
	const char *mark;
	int n;
};

static void
count_one(void *arg, const struct process *p)
{
	struct count *count = arg;
	char mark[PROCESS_MARK_MAX];

	if (!strncmp(process_mark(p->pid, mark), count->mark, strlen(count->mark)))
		count->n++;
}

static int
marked(const char *mark)
{
	struct count count = { mark, 0 };

	process_each(count_one, &count);
	return count.n;
}

static void
count_child(void *arg, const struct process *p)
{
	if (p->parent == getpid())
		++*(int *)arg;
}

static int
children(void)
{
	int n = 0;

	process_each(count_child, &n);
	return n;
}

static int
descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* --- promises --- */

static void
a_command_answers_on_its_output(void **state)
{
	struct child_settings settings = usual;
	struct seen seen;

	settings.input = "{\"a\": 1}";
	settings.input_len = 8;
	run(settings, "cat; echo oops >&2; exit 7", &seen);
	assert_string_equal(seen.output, "{\"a\": 1}");
	assert_string_equal(seen.errors, "oops\n");
	assert_int_equal(seen.end.status, 7);
	assert_int_equal(seen.end.signum, 0);
	assert_false(seen.end.soft_limit || seen.end.hard_limit || seen.end.too_large);
	seen_done(&seen);

	run(usual, "kill -9 $$", &seen);
	assert_int_equal(seen.end.status, -1);
	assert_int_equal(seen.end.signum, SIGKILL);
	seen_done(&seen);
}

static void
its_environment_and_descriptors_are_clean(void **state)
{
	struct seen seen;

	setenv("SECRET_CANARY", "tweet", 1);
	run(usual, "tr '\\0' '\\n' </proc/$$/environ | cut -d/ -f1 | sort; ls /proc/$$/fd; "
	    /* the first 28: what glibc ignores beyond is its own affair */
	    "umask; ulimit -c; grep ^Sig[BI] /proc/$$/status | grep -o '0\\{7\\}$'", &seen);
	assert_string_equal(seen.output, "PATH=\nTOCSIN_JOB=test\n0\n1\n2\n0077\n0\n"
	    "0000000\n0000000\n");
	seen_done(&seen);
}

static void
a_large_input_need_not_be_read(void **state)
{
	struct child_settings settings = usual;
	char *input = xcalloc(1, 1024 * 1024);
	struct seen seen;

	settings.input = memset(input, 'x', 1024 * 1024);
	settings.input_len = 1024 * 1024;
	run(settings, "exec <&-; echo done", &seen);
	assert_string_equal(seen.output, "done\n");
	assert_int_equal(seen.end.status, 0);
	seen_done(&seen);
	run(settings, "wc -c", &seen);
	assert_string_equal(seen.output, "1048576\n");
	seen_done(&seen);
	free(input);
}

static void
the_soft_limit_asks_and_the_hard_limit_does_not(void **state)
{
	struct child_settings settings = usual;
	struct seen seen;

	settings.mark = "limits";
	settings.soft = SECOND;
	settings.hard = 30 * SECOND;
	run(settings, "trap 'echo asked; exit 3' TERM; sleep 60 & wait", &seen);
	assert_true(seen.end.soft_limit && !seen.end.hard_limit);
	assert_string_equal(seen.output, "asked\n");
	assert_int_equal(seen.end.status, 3);
	seen_done(&seen);
	/* F-D01 */
	settings.soft = SECOND / 2;
	settings.hard = SECOND;
	run(settings, "trap '' TERM; while :; do sleep 60; done", &seen);
	assert_true(seen.end.soft_limit && seen.end.hard_limit);
	assert_int_equal(seen.end.signum, SIGKILL);
	seen_done(&seen);
	assert_int_equal(marked("limits"), 0);
}

static void
what_is_left_of_the_group_goes(void **state)
{
	struct child_settings settings = usual;
	struct seen seen;
	span began = clock_monotonic();

	settings.mark = "group";
	run(settings, "sleep 60 & (sleep 60 >/dev/null 2>&1 &) ; echo 5", &seen);
	assert_string_equal(seen.output, "5\n");
	assert_int_equal(seen.end.status, 0);
	assert_true(clock_monotonic() - began >= settings.grace);
	assert_int_equal(marked("group"), 0);
	seen_done(&seen);
}

/* F-D02 */
static void
a_daemon_is_found_and_killed(void **state)
{
	static const char *const commands[] = {
		"setsid sh -c 'setsid sleep 60 & sleep 60 & wait' >/dev/null 2>&1 & sleep 0.2; echo 5",
		"setsid -f sh -c 'while :; do sleep 60; done' >/dev/null 2>&1; sleep 0.1; echo 5",
		/* without the mark: told by its age */
		"setsid -f env -i TEST_STRAY=1 /bin/sleep 60 >/dev/null 2>&1; sleep 0.1; echo 5",
	};
	struct child_settings settings = usual;
	struct seen seen;
	int before = children();

	settings.mark = "daemon";
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
		run(settings, commands[i], &seen);
		assert_string_equal(seen.output, "5\n");
		assert_int_equal(marked("daemon"), 0);
		assert_int_equal(children(), before);
		seen_done(&seen);
	}
}

static void
a_daemon_of_one_command_leaves_another_alone(void **state)
{
	struct child_settings settings = usual;
	struct seen slow = { 0 }, quick;
	struct err err;

	/* The slow one's helper is adopted while the quick one ends. */
	settings.command = "setsid -f sh -c 'sleep 0.7; echo helped' ; sleep 1";
	assert_non_null(child_start(loop, &settings, keep, &slow, &err));
	run(usual, "sleep 0.3", &quick);
	seen_done(&quick);
	loop_run(loop, until_ended, &slow);
	assert_string_equal(slow.output, "helped\n");
	seen_done(&slow);
}

/* F-D03 */
static void
output_beyond_the_budget_ends_it(void **state)
{
	struct rusage before, after;
	struct seen seen;

	getrusage(RUSAGE_SELF, &before);
	run(usual, "head -c 1000000000 /dev/zero", &seen);
	assert_true(seen.end.too_large);
	assert_true(seen.end.output_len <= usual.max_output);
	seen_done(&seen);
	run(usual, "head -c 1000000000 /dev/zero >&2", &seen);
	assert_true(seen.end.errors_too_large);
	assert_int_equal(seen.end.errors_len, 4096);
	seen_done(&seen);
	run(usual, "seq 100000 >&2; exit 1", &seen);
	assert_int_equal(seen.end.errors_len, 4096);
	assert_string_equal(seen.errors + 4096 - 14, "\n99999\n100000\n");
	seen_done(&seen);
	getrusage(RUSAGE_SELF, &after);
	assert_true(after.ru_maxrss - before.ru_maxrss < 16 * 1024);
}

struct many {
	int running, started, wanted;
};

static void
one_of_many(void *arg, const struct child_end *end)
{
	struct many *many = arg;

	assert_int_equal(end->status, 0);
	many->running--;
}

static bool
start_many(void *arg)
{
	struct many *many = arg;
	struct child_settings settings = usual;
	struct err err;

	settings.command = "(sleep 0.01 >/dev/null 2>&1 &); exit 0";
	for (; many->running < 16 && many->started < many->wanted; many->started++) {
		if (!child_start(loop, &settings, one_of_many, many, &err))
			fail_msg("%s", err.message);
		many->running++;
	}
	return many->running > 0;
}

/* F-D09, F-D10 */
static void
many_short_commands_leave_nothing(void **state)
{
	struct many many = { 0, 0, 300 };
	int fds = descriptors(), processes = children();

	loop_nudge(loop);
	loop_run(loop, start_many, &many);
	assert_int_equal(many.started, 300);
	assert_int_equal(descriptors(), fds);
	assert_int_equal(children(), processes);
}

/* F-D06 */
static void
no_descriptor_is_an_error_and_no_leak(void **state)
{
	struct child_settings settings = usual;
	struct rlimit old, few;
	struct seen seen = { 0 };
	struct err err;
	int taken[64], n = 0, fds;

	settings.command = "true";
	getrlimit(RLIMIT_NOFILE, &old);
	few = (struct rlimit){ 64, old.rlim_max };
	setrlimit(RLIMIT_NOFILE, &few);
	while ((taken[n] = dup(0)) >= 0)
		n++;
	for (int spare = 0; spare < 6; spare++) {
		assert_null(child_start(loop, &settings, keep, &seen, &err));
		assert_int_equal(err.class, ERR_TEMPFAIL);
		close(taken[--n]);
	}
	fds = n;
	while ((taken[n] = dup(0)) >= 0)
		n++;
	assert_int_equal(n, fds + 6);	/* as many to be had as before */
	while (n > 0)
		close(taken[--n]);
	setrlimit(RLIMIT_NOFILE, &old);
	run(usual, "echo again", &seen);
	assert_string_equal(seen.output, "again\n");
	seen_done(&seen);
}

static void
a_missing_shell_says_so(void **state)
{
	struct child_settings settings = usual;
	struct seen seen;

	settings.shell = "/no/such/shell";
	run(settings, "true", &seen);
	assert_int_equal(seen.end.status, 127);
	assert_string_equal(seen.errors,
	    "tocsin: cannot run /no/such/shell: No such file or directory\n");
	seen_done(&seen);
}

static void
never(void *arg, const struct child_end *end)
{
	fail_msg("a killed child called back");
}

static void
wake(void *arg)
{
	((struct seen *)arg)->ended = true;
}

static void
wait_for(span length)
{
	struct seen seen = { 0 };
	struct timer *timer = timer_new(loop, wake, &seen);

	timer_start(timer, length);
	loop_run(loop, until_ended, &seen);
	timer_free(timer);
}

static void
a_killed_child_is_gone_without_a_word(void **state)
{
	struct child_settings settings = usual;
	struct child *child;
	struct err err;

	settings.mark = "killed";
	settings.command = "trap '' TERM; setsid sleep 60 & sleep 60";
	assert_non_null(child = child_start(loop, &settings, never, NULL, &err));
	wait_for(SECOND / 5);
	child_kill(child);
	while (marked("killed") > 0)
		wait_for(SECOND / 50);
}

/* F-A08 */
static void
when_the_worker_dies_its_commands_die(void **state)
{
	static const char command[] = "trap '' TERM; (sleep 60; :) & "
	    "setsid -f sleep 60; sleep 60; :";
	int left;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		/* A process of its own, so a fresh one: through exec. */
		execl("/proc/self/exe", "child_test", "--doomed", command, (char *)NULL);
		_exit(1);
	}
	for (int i = 0; i < 500 && marked("doomed") < 5; i++)
		usleep(20000);
	if ((left = marked("doomed")) < 5)
		fail_msg("%d of 5 processes are there", left);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	for (int i = 0; i < 250 && (left = marked("doomed")) > 0; i++)
		usleep(20000);
	assert_int_equal(left, 0);
}

static int
be_doomed(const char *command)
{
	struct child_settings settings = usual;
	struct err err;
	struct seen seen = { 0 };

	settings.mark = "doomed";
	settings.command = command;
	if (!child_start(loop, &settings, keep, &seen, &err))
		return 1;
	loop_run(loop, until_ended, &seen);
	return 0;
}

static int
start(void **state)
{
	struct seen seen;

	loop = loop_new();
	run(usual, "true", &seen);	/* the watcher is there from now on */
	seen_done(&seen);
	return 0;
}

static int
stop(void **state)
{
	loop_free(loop);
	return 0;
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_command_answers_on_its_output),
		cmocka_unit_test(its_environment_and_descriptors_are_clean),
		cmocka_unit_test(a_large_input_need_not_be_read),
		cmocka_unit_test(the_soft_limit_asks_and_the_hard_limit_does_not),
		cmocka_unit_test(what_is_left_of_the_group_goes),
		cmocka_unit_test(a_daemon_is_found_and_killed),
		cmocka_unit_test(a_daemon_of_one_command_leaves_another_alone),
		cmocka_unit_test(output_beyond_the_budget_ends_it),
		cmocka_unit_test(many_short_commands_leave_nothing),
		cmocka_unit_test(no_descriptor_is_an_error_and_no_leak),
		cmocka_unit_test(a_missing_shell_says_so),
		cmocka_unit_test(a_killed_child_is_gone_without_a_word),
		cmocka_unit_test(when_the_worker_dies_its_commands_die),
	};

	child_program(getenv("TOCSIN"));
	if (argc == 3 && !strcmp(argv[1], "--doomed")) {
		loop = loop_new();
		return be_doomed(argv[2]);
	}
	return cmocka_run_group_tests_name("child", tests, start, stop);
}
