/* conf_table.c - every setting there is.
 *
 * The table is the truth: the field, the default, the bounds, the help that
 * `tocsin settings` and the manual print.  A default is read like any other
 * text, so a default that breaks its own bounds does not survive the first
 * test. */
#include "base/conf.h"
#include <string.h>
#include "base/log.h"

#define MS (SECOND / 1000)
#define KIB INT64_C(1024)
#define MIB (1024 * KIB)
#define MAX_QUEUE 200		/* AMQP allows 255 bytes; ours get suffixes */

#define FIELD(name) #name, .offset = offsetof(struct conf, name)
#define ADDRESS(name, standard, help) \
	{ FIELD(name), .type = SETTING_ADDRESS, standard, 0, CONF_ADDRESS_MAX, NULL, help }
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

bool
conf_waits(const struct setting *s)
{
	for (size_t i = 0; i < sizeof wait_for_restart / sizeof wait_for_restart[0]; i++)
		if (!strcmp(wait_for_restart[i], s->name))
			return true;
	return false;
}
