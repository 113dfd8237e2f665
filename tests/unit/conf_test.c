/* conf_test.c - settings are checked, and say where they come from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "base/url.h"

static const struct setting *
setting(const char *name)
{
	for (size_t i = 0; i < conf_count; i++)
		if (!strcmp(conf_settings[i].name, name))
			return &conf_settings[i];
	fail_msg("no setting %s", name);
	return NULL;
}

static void
assert_shown(const struct conf *conf, const char *name, const char *text)
{
	char *shown = conf_show(conf, setting(name));

	assert_string_equal(shown, text);
	free(shown);
}

static int
take_environment(struct conf *conf, const char *const *environment, struct err *err)
{
	return conf_environment(conf, (char *const *)environment, err);
}

static void
the_defaults_are_those_of_the_design(void **state)
{
	struct conf *conf = conf_new();

	assert_true(conf->lease == 60 * SECOND && conf->sweep == 30 * SECOND);
	assert_true(conf->heartbeat == 10 * SECOND && conf->grace == 5 * SECOND);
	assert_true(conf->confirm_timeout == 30 * SECOND);
	assert_true(conf->consumer_timeout == 30 * MINUTE);
	assert_true(conf->max_value == 1 << 20 && conf->max_output == 4 << 20);
	assert_string_equal(conf->queue, "tocsin");
	assert_string_equal(conf->agent, "default");
	assert_string_equal(conf->database_url, "");
	assert_null(conf->executors.at[0]);
	assert_int_equal(conf->log_level, LEVEL_INFO);
	assert_string_equal(conf_where(conf, setting("lease")), "default");
	conf_free(conf);
}

static void
every_default_is_shown_as_it_is_written(void **state)
{
	struct conf *conf = conf_new();

	for (size_t i = 0; i < conf_count; i++) {
		char *text = conf_show(conf, &conf_settings[i]);

		if (!strcmp(conf_settings[i].name, "broker_url"))
			assert_string_equal(text, "amqp://guest:***@127.0.0.1:5672//");
		else if (conf_settings[i].type == SETTING_SPAN) {
			span t;
			struct err err;

			assert_int_equal(clock_parse_span(conf_settings[i].standard, &t, &err), 0);
			free(text);
			text = malloc(INSTANT_TEXT);
			clock_format_span(t, text);
			assert_shown(conf, conf_settings[i].name, text);
		} else
			assert_string_equal(text, conf_settings[i].standard);
		free(text);
	}
	conf_free(conf);
}

static void
what_is_given_later_counts(void **state)
{
	static const char *const environment[] = { "PATH=/bin", "TOCSIN_QUEUE=from_environment",
		"TOCSIN_LEASE=2m", "TOCSIN_AGENT=", NULL };
	struct conf *conf = conf_new();
	struct err err;

	assert_int_equal(conf_set(conf, "queue", "from_file", "t.toml:1:9", &err), 0);
	assert_int_equal(conf_set(conf, "agent", "night", "t.toml:2:9", &err), 0);
	assert_int_equal(take_environment(conf, environment, &err), 0);
	assert_int_equal(conf_set(conf, "lease", "90", "--lease", &err), 0);
	assert_string_equal(conf->queue, "from_environment");
	assert_string_equal(conf_where(conf, setting("queue")), "TOCSIN_QUEUE");
	assert_string_equal(conf->agent, "night");
	assert_string_equal(conf_where(conf, setting("agent")), "t.toml:2:9");
	assert_true(conf->lease == 90 * SECOND);
	assert_shown(conf, "lease", "1m30s");
	conf_free(conf);
}

static void
values_are_read_and_shown(void **state)
{
	static const struct {
		const char *name, *text, *shown;
	} table[] = {
		{ "max_value", "65536", "64KiB" }, { "max_value", "1000001", "1000001B" },
		{ "max_value", "2 mib", "2MiB" }, { "max_value", "3k", "3KiB" },
		{ "max_output", "1g", "1GiB" }, { "concurrency", "1000", "1000" },
		{ "executors", " sql , shell,", "sql,shell" }, { "executors", "", "" },
		{ "pass_environment", "HOME,LC_ALL", "HOME,LC_ALL" },
		{ "log_level", "debug", "debug" }, { "log_format", "json", "json" },
		{ "shell", "/bin/dash", "/bin/dash" }, { "grace", "0", "0s" },
		{ "queue", "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f" },
		{ "redis_url", "redis://h/0", "redis://h/0" },
	};
	struct conf *conf = conf_new();
	struct err err;

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		if (conf_set(conf, table[i].name, table[i].text, "here", &err))
			fail_msg("%s", err.message);
		assert_shown(conf, table[i].name, table[i].shown);
	}
	assert_int_equal(conf_set(conf, "executors", "sql,shell", "here", &err), 0);
	assert_string_equal(conf->executors.at[0], "sql");
	assert_string_equal(conf->executors.at[1], "shell");
	assert_null(conf->executors.at[2]);
	conf_free(conf);
}

static void
a_wrong_value_is_refused_at_its_place(void **state)
{
	static const struct {
		const char *name, *text, *says;
	} table[] = {
		{ "lease", "soon", "lease: 'soon' is not a length of time" },
		{ "lease", "1ms", "lease: '1ms' is too small; at least 100ms" },
		{ "concurrency", "0", "concurrency: '0' is too small; at least 1" },
		{ "concurrency", "1001", "'1001' is too large; at most 1000" },
		{ "concurrency", "99999999999999999999", "too large" },
		{ "concurrency", "8x", "'8x' is not a whole number" },
		{ "concurrency", "-1", "not a whole number" },
		{ "concurrency", "", "not a whole number" },
		{ "max_value", "1 MB", "'1 MB' is not a size; write it as" },
		{ "max_value", "99999999999g", "too large; at most 256MiB" },
		{ "queue", "", "queue: must not be empty" },
		{ "queue", "a\nb", "control character (byte 10)" },
		{ "queue", "\xff", "is not UTF-8" },
		{ "executors", "sql,,shell", "'' is not a name" },
		{ "executors", "sql shell", "'sql shell' is not a name" },
		{ "shell", "sh", "'sh' is not an absolute path" },
		{ "log_level", "loud", "'loud' is none of: error, warn, info, debug" },
		{ "laese", "1s", "there is no setting 'laese'; did you mean 'lease'?" },
		{ "elephant", "1s", "there is no setting 'elephant'" },
		{ "queue_file", "/dev/null", "there is no setting 'queue_file'" },
	};
	struct conf *conf = conf_new();

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct err err = { 0 };

		assert_int_equal(conf_set(conf, table[i].name, table[i].text,
		    "t.toml:3:9", &err), -1);
		if (strncmp(err.message, "t.toml:3:9: ", 12) ||
		    !strstr(err.message, table[i].says))
			fail_msg("%s", err.message);
		assert_int_equal(err.class, ERR_CONFIG);
		assert_int_equal(err.line, 0);
	}
	assert_true(conf->lease == 60 * SECOND);
	assert_string_equal(conf->queue, "tocsin");
	conf_free(conf);
}

static void
a_file_gives_values_of_its_own_types(void **state)
{
	static const struct {
		const char *name, *json, *shown;	/* or the error */
	} table[] = {
		{ "lease", "90", "1m30s" }, { "lease", "0.5", "500ms" },
		{ "lease", "\"2m\"", "2m" }, { "concurrency", "4", "4" },
		{ "max_value", "2048", "2KiB" }, { "max_value", "\"2KiB\"", "2KiB" },
		{ "executors", "[\"sql\",\"shell\"]", "sql,shell" },
		{ "executors", "[]", "" }, { "executors", "\"sql\"", "sql" },
		{ "queue", "\"q\"", "q" },
		{ "queue", "5", "queue: must be text, not an integer" },
		{ "queue", "[\"a\"]", "queue: must be text, not an array" },
		{ "queue", "null", "queue: must be text, not a null" },
		{ "concurrency", "\"4\"", "concurrency: must be a whole number, not a string" },
		{ "concurrency", "4.0", "concurrency: must be a whole number, not a number" },
		{ "lease", "true", "lease: must be a length of time as" },
		{ "executors", "[1]", "executors: must be a list of names, not an array" },
		{ "executors", "[\"a,b\"]", "executors: must be a list of names, not an array" },
		{ "laese", "{}", "did you mean 'lease'?" },
		{ "broker_url_file", "1", "broker_url_file: must be text, not an integer" },
	};
	struct conf *conf = conf_new();

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct err err = { 0 };
		json_t *v = json_read(table[i].json, strlen(table[i].json), &err);

		if (!conf_set_json(conf, table[i].name, v, "t.toml:1:1", &err))
			assert_shown(conf, table[i].name, table[i].shown);
		else if (!strstr(err.message, table[i].shown))
			fail_msg("%s", err.message);
		json_decref(v);
	}
	conf_free(conf);
}

static void
an_unknown_variable_of_ours_is_an_error(void **state)
{
	static const struct {
		const char *entry;
		const char *says;	/* NULL: is let pass */
	} table[] = {
		{ "TOCSIN_LAESE=1s", "TOCSIN_LAESE: there is no such setting; did you mean TOCSIN_LEASE?" },
		{ "TOCSIN_ELEPHANT=1", "TOCSIN_ELEPHANT: there is no such setting" },
		{ "TOCSIN_lease=1s", "TOCSIN_lease: there is no such setting" },
		{ "TOCSIN_LEASE=soon", "TOCSIN_LEASE: 'soon' is not a length" },
		{ "TOCSIN_KEYS=1", "TOCSIN_KEYS: there is no such setting" },
		{ "TOCSIN_KEY=1", NULL }, { "TOCSIN_ARG_X=1", NULL }, { "TOCSIN_CONFIG=x", NULL },
		{ "TOCSIN_JOB=1/x-1", NULL },
		{ "TOCSIN_TEST_ANYTHING=x", NULL }, { "TOCSIN_FAILPOINT=x", NULL },
		{ "TOCSIN_EVENT=x", NULL }, { "TOCSIN_LAESE=", NULL }, { "TOCSIN_", NULL },
		{ "TOCSINX=1", NULL }, { "OTHER=1", NULL },
	};
	struct conf *conf = conf_new();

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		const char *const environment[] = { table[i].entry, NULL };
		struct err err = { 0 };
		int rc = take_environment(conf, environment, &err);

		if (rc != (table[i].says ? -1 : 0) ||
		    (rc && strncmp(err.message, table[i].says, strlen(table[i].says))))
			fail_msg("%s: %s", table[i].entry, err.message);
		if (rc)
			assert_int_equal(err.class, ERR_CONFIG);
	}
	conf_free(conf);
}

static void
a_secret_comes_from_a_file(void **state)
{
	char path[] = "/tmp/conf_test.XXXXXX", entry[64];
	const char *environment[] = { entry, NULL, NULL };
	int fd = mkstemp(path);
	struct conf *conf = conf_new();
	struct err err = { 0 };

	assert_int_equal(write(fd, "amqp://u:fr0mfile@h\n", 20), 20);
	close(fd);
	snprintf(entry, sizeof entry, "TOCSIN_BROKER_URL_FILE=%s", path);
	assert_int_equal(take_environment(conf, environment, &err), 0);
	assert_string_equal(conf->broker_url, "amqp://u:fr0mfile@h");
	assert_string_equal(conf_where(conf, setting("broker_url")), "TOCSIN_BROKER_URL_FILE");
	assert_shown(conf, "broker_url", "amqp://u:***@h");

	assert_int_equal(conf_set(conf, "redis_url_file", path, "t.toml:1:1", &err), 0);
	assert_string_equal(conf->redis_url, "amqp://u:fr0mfile@h");

	environment[1] = "TOCSIN_BROKER_URL=amqp://h";
	assert_int_equal(take_environment(conf, environment, &err), -1);
	assert_non_null(strstr(err.message, "TOCSIN_BROKER_URL is set as well"));

	unlink(path);
	environment[1] = NULL;
	assert_int_equal(take_environment(conf, environment, &err), -1);
	assert_non_null(strstr(err.message, "No such file"));
	assert_int_equal(conf_set(conf, "redis_url_file", "/", "here", &err), -1);
	assert_int_equal(conf_set(conf, "redis_url_file", "/dev/zero", "here", &err), -1);
	assert_non_null(strstr(err.message, "NUL"));
	conf_free(conf);
}

static void
an_error_never_repeats_an_address(void **state)
{
	struct conf *conf = conf_new();
	struct err err = { 0 };

	assert_int_equal(conf_set(conf, "broker_url", "amqp://u:pa\tss@h", "here", &err), -1);
	assert_null(strstr(err.message, "ss"));
	conf_free(conf);
}

static void
passwords_become_known_to_the_log(void **state)
{
	static const char *const environment[] = { "PGPASSWORD=fr0m-pg", NULL };
	struct conf *conf = conf_new();
	struct err err;
	char *text;

	assert_int_equal(conf_set(conf, "broker_url", "amqp://user:h%40sh@h//", "x", &err), 0);
	assert_int_equal(conf_set(conf, "database_url", "user=u password='it\\'s me'", "x", &err), 0);
	assert_int_equal(take_environment(conf, environment, &err), 0);
	text = log_redact("h@sh h%40sh it's me, user guest, fr0m-pg");
	assert_string_equal(text, "*** *** ***, user guest, ***");
	free(text);
	conf_free(conf);
}

static void
passwords_are_found_wherever_they_stand(void **state)
{
	static const char *const table[][2] = {
		{ "", "" }, { "amqp://h", "amqp://h" }, { "amqp://u@h:1/v", "amqp://u@h:1/v" },
		{ "amqp://u:p@h:1/v", "amqp://u:***@h:1/v" },
		{ "redis://:p@h/0", "redis://:***@h/0" },
		{ "amqp://u:@h", "amqp://u:@h" },
		{ "amqp://u:p@ss/w@h/v", "amqp://u:***@h/v" },
		{ "amqp://u:p@h//;amqp://u:q@i//", "amqp://u:***@h//;amqp://u:***@i//" },
		{ "db+postgresql://u:p@h/d", "db+postgresql://u:***@h/d" },
		{ "postgres:///d?host=/run&password=p&user=u", "postgres:///d?host=/run&password=***&user=u" },
		{ "postgres://u:p@h/d?sslpassword=q", "postgres://u:***@h/d?sslpassword=***" },
		{ "host=h password=p dbname=d", "host=h password=*** dbname=d" },
		{ "password = 'a b\\'c' host=h", "password = '***' host=h" },
		{ "password=a\\ b host=h", "password=*** host=h" },
		{ "passwordless=1", "passwordless=1" }, { "password=", "password=" },
		{ "password='unfinished", "password='***" }, { "password=x\\", "password=***" },
		{ "host=h passfile=/p", "host=h passfile=/p" },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		char *text = url_hide(table[i][0], NULL);

		assert_string_equal(text, table[i][1]);
		free(text);
	}
}

static void
measuring_follows_the_books_unless_told_otherwise(void **state)
{
	struct conf *conf = conf_new();
	struct err err;

	assert_int_equal(conf_set(conf, "database_url", "dbname=books", "x", &err), 0);
	assert_string_equal(conf_measuring_url(conf), "dbname=books");
	assert_int_equal(conf_set(conf, "measuring_url", "dbname=shop", "x", &err), 0);
	assert_string_equal(conf_measuring_url(conf), "dbname=shop");
	conf_free(conf);
}

struct seen {
	char taken[200], waiting[200];
};

static void
see(void *arg, const char *name, bool waits)
{
	struct seen *seen = arg;
	char *list = waits ? seen->waiting : seen->taken;

	strcat(strcat(list, " "), name);
}

static void
give(struct conf *conf, const char *key, const char *text)
{
	struct err err;

	assert_int_equal(conf_set(conf, key, text, "here", &err), 0);
}

static void
what_changes_is_taken_over_and_what_waits_is_named(void **state)
{
	struct conf *conf = conf_new(), *fresh = conf_new();
	struct seen seen = { "", "" };
	const char *database = conf->database_url;

	give(conf, "shell", "/bin/bash");
	give(conf, "lease", "7s");
	give(fresh, "lease", "7s");
	give(fresh, "grace", "9s");
	give(fresh, "log_level", "debug");
	give(fresh, "pass_environment", "ONE,TWO");
	give(fresh, "database_url", "host=other password=a");
	give(fresh, "executors", "sql");
	give(fresh, "processes", "3");
	conf_take_changes(conf, fresh, see, &seen);
	conf_free(fresh);
	assert_string_equal(seen.taken, " pass_environment shell grace log_level");
	assert_string_equal(seen.waiting, " database_url processes executors");
	assert_string_equal(conf->shell, "/bin/sh");
	assert_string_equal(conf_where(conf, setting("shell")), "default");
	assert_true(conf->grace == 9 * SECOND && conf->lease == 7 * SECOND);
	assert_int_equal(conf->log_level, LEVEL_DEBUG);
	assert_string_equal(conf->pass_environment.at[1], "TWO");
	assert_string_equal(conf_where(conf, setting("grace")), "here");
	assert_ptr_equal(conf->database_url, database);
	assert_int_equal(conf->processes, 1);
	conf_free(conf);
}

static void
a_password_alone_is_a_change(void **state)
{
	struct conf *conf = conf_new(), *fresh = conf_new();
	struct seen seen = { "", "" };

	give(conf, "broker_url", "amqp://u:one@h/");
	give(fresh, "broker_url", "amqp://u:two@h/");
	conf_take_changes(conf, fresh, see, &seen);
	assert_string_equal(seen.waiting, " broker_url");
	conf_free(fresh);
	conf_free(conf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_defaults_are_those_of_the_design),
		cmocka_unit_test(every_default_is_shown_as_it_is_written),
		cmocka_unit_test(what_is_given_later_counts),
		cmocka_unit_test(values_are_read_and_shown),
		cmocka_unit_test(a_wrong_value_is_refused_at_its_place),
		cmocka_unit_test(a_file_gives_values_of_its_own_types),
		cmocka_unit_test(an_unknown_variable_of_ours_is_an_error),
		cmocka_unit_test(a_secret_comes_from_a_file),
		cmocka_unit_test(an_error_never_repeats_an_address),
		cmocka_unit_test(passwords_become_known_to_the_log),
		cmocka_unit_test(passwords_are_found_wherever_they_stand),
		cmocka_unit_test(measuring_follows_the_books_unless_told_otherwise),
		cmocka_unit_test(what_changes_is_taken_over_and_what_waits_is_named),
		cmocka_unit_test(a_password_alone_is_a_change),
	};

	return cmocka_run_group_tests_name("conf", tests, NULL, NULL);
}
