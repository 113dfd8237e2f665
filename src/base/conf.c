/* conf.c - every setting there is, and where its value comes from.
 *
 * The table is the truth: the field, the default, the bounds, the help that
 * `tocsin settings` and the manual print.  A default is read like any other
 * text, so a default that breaks its own bounds does not survive the first
 * test. */
#include "base/conf.h"
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "base/url.h"
#include "base/vec.h"

#define MS (SECOND / 1000)
#define KIB INT64_C(1024)
#define MIB (1024 * KIB)
#define MAX_ADDRESS 4096
#define MAX_QUEUE 200		/* AMQP allows 255 bytes; ours get suffixes */

#define FIELD(name) #name, .offset = offsetof(struct conf, name)
#define ADDRESS(name, standard, help) \
	{ FIELD(name), .type = SETTING_ADDRESS, standard, 0, MAX_ADDRESS, NULL, help }
#define OTHER(kind, name, standard, least, most, help) \
	{ FIELD(name), .type = SETTING_##kind, standard, least, most, NULL, help }
#define SWITCH(name, standard, help) \
	{ FIELD(name), .type = SETTING_SWITCH, standard, 0, 0, NULL, help }
#define CHOICE(name, standard, choices, help) \
	{ FIELD(name), .type = SETTING_CHOICE, standard, 0, 0, choices, help }

const struct setting conf_settings[] = {
	ADDRESS(database_url, "",
	    "The database of the books: a URL or a libpq connection string; "
	    "empty: libpq's own PG* variables."),
	ADDRESS(measuring_url, "",
	    "The database that SQL variables are measured in; empty: database_url."),
	OTHER(TEXT, measuring_role, "", 0, 63,
	    "The role that a measuring session changes to before anything else."),
	ADDRESS(broker_url, "amqp://guest:guest@127.0.0.1:5672//",
	    "The message broker."),
	OTHER(PATH, broker_ca, "", 0, 4000,
	    "A file of the certificate authorities that are trusted for an amqps:// "
	    "broker; empty: those of the system."),
	ADDRESS(redis_url, "",
	    "The Redis server."),
	OTHER(PATH, redis_ca, "", 0, 4000,
	    "A file of the certificate authorities that are trusted for a rediss:// "
	    "server; empty: those of the system."),
	ADDRESS(result_backend, "",
	    "Where results of Celery tasks are kept: redis (as redis_url says), "
	    "redis://..., rpc, db+postgresql://...; empty: nowhere."),
	OTHER(SPAN, result_expires, "1d", 0, 3650 * DAY,
	    "How long Redis keeps a result; 0: for ever."),
	SWITCH(result_extended, "false",
	    "Whether a result also tells the task's name, arguments, worker, queue "
	    "and retries."),
	OTHER(TEXT, queue, "tocsin", 1, MAX_QUEUE,
	    "The queue of jobs whose variable names no other."),
	OTHER(TEXT, agent, "default", 1, 200,
	    "The agent whose events a cycle takes."),
	OTHER(INTEGER, concurrency, "8", 1, 1000,
	    "How many measurements run at once in one worker process."),
	OTHER(INTEGER, processes, "1", 1, 256,
	    "How many processes a worker has."),
	OTHER(LIST, executors, "", 0, 1000,
	    "The executors that may be used here, as sql,shell,celery; empty: sql "
	    "and celery for a worker, all of them for cycle --local."),
	OTHER(LIST, pass_environment, "", 0, 4000,
	    "Names of environment variables that commands get to see."),
	OTHER(PATH, shell, "/bin/sh", 1, 4000,
	    "The shell that runs commands."),
	OTHER(SPAN, lease, "60s", 100 * MS, DAY,
	    "How long a claimed job is believed in without a renewal."),
	OTHER(SPAN, sweep, "30s", 10 * MS, DAY,
	    "Every how often a worker looks for what was lost."),
	OTHER(SPAN, heartbeat, "10s", 10 * MS, HOUR,
	    "Every how often a worker renews its claims and proves itself alive."),
	OTHER(SPAN, confirm_timeout, "30s", 10 * MS, HOUR,
	    "How long to wait for the broker to confirm a message."),
	OTHER(SPAN, grace, "5s", 0, HOUR,
	    "How long a stop waits for what is running, and a command's output "
	    "after its end."),
	OTHER(SPAN, consumer_timeout, "30m", SECOND, 365 * DAY,
	    "How long the broker keeps an unacknowledged delivery (its own setting)."),
	OTHER(SPAN, connect_timeout, "10s", 10 * MS, HOUR,
	    "How long connecting to a server may take."),
	OTHER(SPAN, statement_timeout, "60s", 10 * MS, DAY,
	    "How long one statement on the books may take."),
	OTHER(SPAN, database_timeout, "30s", 100 * MS, DAY,
	    "How long the books may be silent while they owe an answer, before the "
	    "connection counts as lost."),
	OTHER(SIZE, max_value, "1MiB", KIB, 256 * MIB,
	    "The largest value of a variable, as JSON."),
	OTHER(SIZE, max_output, "4MiB", KIB, 1024 * MIB,
	    "The most that a command may write on its standard output."),
	OTHER(SIZE, command_memory, "0", 0, INT64_C(1) << 50,
	    "The address space of each process of a command; 0: no limit."),
	OTHER(SIZE, command_file_size, "1GiB", 0, INT64_C(1) << 50,
	    "The largest file that a command may write; 0: no limit."),
	OTHER(INTEGER, command_files, "1024", 0, 1048576,
	    "How many files each process of a command may have open; 0: no limit."),
	OTHER(INTEGER, command_processes, "0", 0, 1048576,
	    "How many processes the user may have for a command to start one more; "
	    "0: no limit."),
	OTHER(SPAN, command_cpu, "0", 0, 365 * DAY,
	    "How much processor time each process of a command may take; 0: no limit."),
	OTHER(INTEGER, delivery_attempts, "5", 1, 100,
	    "How often a reaction is tried before it counts as failed."),
	OTHER(SPAN, delivery_backoff, "30s", 0, DAY,
	    "How long to wait before the second try; each further wait is longer."),
	SWITCH(acks_late, "true",
	    "Acknowledge a client's task when its result is kept, not before it begins."),
	SWITCH(track_started, "false",
	    "Keep the state STARTED of a client's task that runs."),
	OTHER(INTEGER, prefetch, "0", 0, 65535,
	    "How many messages of each queue a worker process holds unacknowledged; "
	    "0: twice its concurrency, at least 32."),
	OTHER(TEXT, node_name, "tocsin-%p@%h", 1, 255,
	    "The name of a worker process among Celery's nodes; %h host, %n host without "
	    "its domain, %d domain, %q queue, %p process id, %i number of the process."),
	SWITCH(remote_control, "true",
	    "Obey what Celery's tools ask of workers over the broker."),
	SWITCH(enable_events, "false",
	    "Send events of tasks from the start; those of workers are always sent."),
	CHOICE(log_level, "info", log_level_names,
	    "How much the log tells."),
	CHOICE(log_format, "auto", log_format_names,
	    "How the log is written; auto: for people on a terminal, else logfmt."),
};
const size_t conf_count = sizeof conf_settings / sizeof conf_settings[0];

/* What a program has made something of when it began: connections, consumers,
 * processes, what it may run.  All else is looked up whenever it is needed. */
static const char *const wait_for_restart[] = {
	"database_url", "measuring_url", "measuring_role", "broker_url", "broker_ca", "redis_url",
	"redis_ca", "result_backend", "queue", "executors", "processes", "heartbeat",
	"connect_timeout", "statement_timeout", "database_timeout", "node_name", "remote_control",
	"enable_events",
};

/* --- where values come from --- */

/* RabbitMQ's own "guest" is known to everybody: to hide it would only make errors
 * about a table of guests unreadable. */
static void
hush(const char *password)
{
	if (strcmp(password, "guest"))
		log_secret(password);
}

/* The content of a file of one secret, without its newline. */
static char *
read_secret(const char *path, struct err *err)
{
	char *text = xmalloc(MAX_ADDRESS + 3);
	struct stat st;
	ssize_t n = -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd >= 0 && !fstat(fd, &st))
		n = read(fd, text, MAX_ADDRESS + 2);
	if (n < 0)
		err_set(err, "cannot read %.200s: %s", path, strerror(errno));
	else if (memchr(text, '\0', (size_t)n))
		n = err_set(err, "%.200s holds a NUL byte", path);
	else if (S_ISREG(st.st_mode) && (st.st_mode & S_IROTH))
		log_warn("a file of a secret can be read by everybody", "file", path);
	if (fd >= 0)
		close(fd);
	if (n < 0) {
		free(text);
		return NULL;
	}
	text[n] = '\0';
	if (n > 0 && text[n - 1] == '\n')
		text[--n] = '\0';
	if (n > 0 && text[n - 1] == '\r')
		text[--n] = '\0';
	return text;
}

static int
give(struct conf *conf, size_t i, bool by_file, const char *text,
    const char *where, struct err *err)
{
	const struct setting *s = &conf_settings[i];
	char *content = NULL;
	int rc = -1;

	if (by_file && !(content = read_secret(text, err)))
		return -1;
	text = content ? content : text;
	if (s->type == SETTING_ADDRESS)
		free(url_hide(text, hush));
	if (!(rc = setting_read(s, conf, text, err))) {
		free(conf->where[i]);
		conf->where[i] = xstrdup(where);
	}
	if (content)
		explicit_bzero(content, strlen(content));
	free(content);
	return rc;
}

/* KEY, or KEY without "_file"; -1: there is none. */
static int
find(const char *key, bool *by_file)
{
	size_t len = strlen(key);

	*by_file = false;
	for (size_t i = 0; i < conf_count; i++)
		if (!strcmp(conf_settings[i].name, key))
			return (int)i;
	if (len <= 5 || strcmp(key + len - 5, "_file"))
		return -1;
	*by_file = true;
	for (size_t i = 0; i < conf_count; i++)
		if (conf_settings[i].type == SETTING_ADDRESS &&
		    strlen(conf_settings[i].name) == len - 5 &&
		    !memcmp(conf_settings[i].name, key, len - 5))
			return (int)i;
	return -1;
}

static const char *
nearest(const char *key)
{
	VEC(const char *) names = { 0 };
	const char *best;

	for (size_t i = 0; i < conf_count; i++)
		vec_push(&names, conf_settings[i].name);
	best = str_nearest(key, names.at, names.n);
	vec_done(&names);
	return best;
}

static int
fail(struct err *err, const char *where)
{
	err_wrap(err, "%s", where);
	err->class = ERR_CONFIG;
	err->line = err->column = 0;	/* WHERE has said it */
	return -1;
}

int
conf_set(struct conf *conf, const char *key, const char *text, const char *where,
    struct err *err)
{
	const char *near;
	bool by_file;
	int i = find(key, &by_file);

	if (i < 0) {
		near = nearest(key);
		err_set(err, "there is no setting '%.60s'%s%s%s", key,
		    near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
		return fail(err, where);
	}
	if (!give(conf, (size_t)i, by_file, text, where, err))
		return 0;
	if (strncmp(where, "--", 2))	/* a flag is the key */
		err_wrap(err, "%s", key);
	return fail(err, where);
}

/* An array of strings as "one,two" */
static int
join(struct str *out, const json_t *array)
{
	const json_t *v;
	size_t i;

	json_array_foreach(array, i, v) {
		if (!json_is_string(v) || strchr(json_string_value(v), ','))
			return -1;
		str_printf(out, "%s%s", i ? "," : "", json_string_value(v));
	}
	return 0;
}

int
conf_set_json(struct conf *conf, const char *key, const json_t *v, const char *where,
    struct err *err)
{
	static const char *const wants[] = {
		[SETTING_TEXT] = "text", [SETTING_ADDRESS] = "text", [SETTING_PATH] = "text",
		[SETTING_SPAN] = "a length of time as \"90s\", or a number of seconds",
		[SETTING_INTEGER] = "a whole number",
		[SETTING_SIZE] = "a size as \"4MiB\", or a number of bytes",
		[SETTING_LIST] = "a list of names", [SETTING_CHOICE] = "text",
		[SETTING_SWITCH] = "true or false",
	};
	struct str text = STR_INIT;
	bool by_file, good;
	int i = find(key, &by_file), rc;
	enum setting_type type = i < 0 || by_file ? SETTING_TEXT : conf_settings[i].type;

	if (json_is_array(v))
		good = type == SETTING_LIST && !join(&text, v);
	else if (json_is_string(v)) {
		good = type != SETTING_INTEGER && type != SETTING_SWITCH;
		str_puts(&text, json_string_value(v));
	} else {
		good = (json_is_integer(v) && (type == SETTING_INTEGER || type == SETTING_SIZE)) ||
		    (json_is_number(v) && type == SETTING_SPAN) ||
		    (json_is_boolean(v) && type == SETTING_SWITCH);
		json_append(&text, v);
	}
	if (i < 0 || good)	/* conf_set() knows what to say of an unknown name */
		rc = conf_set(conf, key, str_text(&text), where, err);
	else {
		err_set(err, "%s: must be %s, not %s %s", key, wants[type],
		    strchr("aio", *json_kind(v)) ? "an" : "a", json_kind(v));
		rc = fail(err, where);
	}
	str_done(&text);
	return rc;
}

/* --- the environment --- */

/* Variables of ours that are no settings; what follows a '*' may be anything. */
static const char *const no_settings[] = {
	"TOCSIN_ARG_*", "TOCSIN_CONFIG", "TOCSIN_CYCLE", "TOCSIN_EVENT",
	"TOCSIN_FAILPOINT", "TOCSIN_JOB", "TOCSIN_KEY", "TOCSIN_LEVEL",
	"TOCSIN_PROGRAM", "TOCSIN_SANDBOX",
	"TOCSIN_SIGNAL", "TOCSIN_TEST_*",
};

static bool
is_no_setting(const char *name)
{
	for (size_t i = 0; i < sizeof no_settings / sizeof no_settings[0]; i++) {
		size_t len = strcspn(no_settings[i], "*");

		if (!strncmp(name, no_settings[i], len) &&
		    (no_settings[i][len] == '*' || name[len] == '\0'))
			return true;
	}
	return false;
}

/* The value of NAME, NULL where it is not there or empty. */
static const char *
look_up(char *const *environment, const char *name)
{
	size_t len = strlen(name);

	for (; *environment; environment++)
		if (!strncmp(*environment, name, len) && (*environment)[len] == '=')
			return (*environment)[len + 1] ? *environment + len + 1 : NULL;
	return NULL;
}

static int
unknown_variable(const char *name, const char *key, struct err *err)
{
	const char *near = nearest(key);
	char buf[CONF_VARIABLE];

	for (size_t i = 0; near && i < conf_count; i++)
		if (conf_settings[i].name == near)
			conf_variable(&conf_settings[i], buf);
	err_set(err, "there is no such setting%s%s%s", near ? "; did you mean " : "",
	    near ? buf : "", near ? "?" : "");
	return fail(err, name);
}

/* NAME is TOCSIN_SOMETHING. */
static int
take_variable(struct conf *conf, char *const *environment, const char *name,
    const char *value, struct err *err)
{
	char *key = xstrdup(name + strlen("TOCSIN_")), buf[CONF_VARIABLE];
	bool by_file;
	int i, rc;

	for (char *c = key; *c; c++)
		*c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 'a' - 'A') : *c == '_' ? '_' :
		    *c >= '0' && *c <= '9' ? *c : '?';	/* no small letters */
	if ((i = find(key, &by_file)) < 0)
		rc = unknown_variable(name, key, err);
	else if (by_file && look_up(environment, conf_variable(&conf_settings[i], buf))) {
		err_set(err, "%s is set as well; keep one of them", buf);
		rc = fail(err, name);
	} else if ((rc = give(conf, (size_t)i, by_file, value, name, err)))
		fail(err, name);
	free(key);
	return rc;
}

int
conf_environment(struct conf *conf, char *const *environment, struct err *err)
{
	log_secret(look_up(environment, "PGPASSWORD"));
	for (char *const *e = environment; *e; e++) {
		const char *value = strchr(*e, '=');
		char *name;
		int rc = 0;

		if (strncmp(*e, "TOCSIN_", 7) || !value || !value[1])
			continue;
		name = xstrndup(*e, (size_t)(value - *e));
		if (!is_no_setting(name))
			rc = take_variable(conf, environment, name, value + 1, err);
		free(name);
		if (rc)
			return -1;
	}
	return 0;
}

/* --- the whole --- */

struct conf *
conf_new(void)
{
	struct conf *conf = xcalloc(1, sizeof *conf);
	struct err err;

	conf->where = xcalloc(conf_count, sizeof *conf->where);
	for (size_t i = 0; i < conf_count; i++)
		if (setting_read(&conf_settings[i], conf, conf_settings[i].standard, &err))
			abort();
	return conf;
}

void
conf_free(struct conf *conf)
{
	if (!conf)
		return;
	for (size_t i = 0; i < conf_count; i++) {
		setting_free(&conf_settings[i], conf);
		free(conf->where[i]);
	}
	free(conf->where);
	json_decref(conf->tasks);
	free(conf);
}

static bool
waits_for_restart(const struct setting *s)
{
	for (size_t i = 0; i < sizeof wait_for_restart / sizeof wait_for_restart[0]; i++)
		if (!strcmp(wait_for_restart[i], s->name))
			return true;
	return false;
}

void
conf_take_changes(struct conf *conf, struct conf *fresh,
    void (*each)(void *, const char *, bool), void *arg)
{
	for (size_t i = 0; i < conf_count; i++) {
		const struct setting *s = &conf_settings[i];
		bool waits = waits_for_restart(s);
		char *where = conf->where[i];

		if (setting_is_same(s, conf, fresh))
			continue;
		each(arg, s->name, waits);
		if (waits)
			continue;
		setting_swap(s, conf, fresh);
		conf->where[i] = fresh->where[i];
		fresh->where[i] = where;
	}
	if (conf->tasks ? !json_equal(conf->tasks, fresh->tasks) : fresh->tasks != NULL) {
		json_t *tasks = conf->tasks;

		conf->tasks = fresh->tasks;
		fresh->tasks = tasks;
		each(arg, "tasks", false);
	}
}

const char *
conf_measuring_url(const struct conf *conf)
{
	return *conf->measuring_url ? conf->measuring_url : conf->database_url;
}

const char *
conf_variable(const struct setting *s, char buf[CONF_VARIABLE])
{
	snprintf(buf, CONF_VARIABLE, "TOCSIN_%s", s->name);
	for (char *c = buf; *c; c++)
		if (*c >= 'a' && *c <= 'z')
			*c = (char)(*c + 'A' - 'a');
	return buf;
}

char *
conf_show(const struct conf *conf, const struct setting *s)
{
	return setting_show(s, conf);
}

void
conf_write(const struct conf *conf, struct str *out)
{
	for (size_t i = 0; i < conf_count; i++) {
		const struct setting *s = &conf_settings[i];
		char *text;

		if (!conf->where[i])
			continue;
		text = setting_write(s, conf);
		str_printf(out, "%s = ", s->name);
		if (s->type == SETTING_SWITCH || s->type == SETTING_INTEGER)
			str_puts(out, text);
		else
			json_append_text(out, text, strlen(text));
		str_putc(out, '\n');
		explicit_bzero(text, strlen(text));
		free(text);
	}
}

const char *
conf_where(const struct conf *conf, const struct setting *s)
{
	const char *where = conf->where[s - conf_settings];

	return where ? where : "default";
}
