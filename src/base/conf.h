/* The settings: one table, read from the file, the environment and the flags.
 *
 * A program makes a struct conf, which holds the defaults, and gives it what it
 * finds, the weakest source first: what is given later counts.  Fields are read
 * directly: conf->lease.  Every setting has a name in the environment, TOCSIN_
 * and its name in capitals; a setting whose value is an address with a password
 * in it can also be read from a file, which <name>_file (TOCSIN_<NAME>_FILE)
 * names.  Passwords are made known to the log as secrets as they come.
 *
 * All errors are of class ERR_CONFIG and say where the value was given. */
#ifndef BASE_CONF_H
#define BASE_CONF_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/clock.h"
#include "base/setting.h"

struct err;
struct str;

/* What each of them means stands in conf_table.c.  Texts are never NULL, but may
 * be empty. */
struct conf {
	char *database_url, *measuring_url, *measuring_role;
	char *broker_url, *broker_ca, *redis_url, *redis_ca, *result_backend;
	char *queue, *agent, *shell, *node_name;
	struct setting_list executors, pass_environment;
	int64_t concurrency, processes, delivery_attempts, prefetch;
	bool acks_late, track_started, enable_events, remote_control, result_extended;
	int64_t max_value, max_output;		/* bytes */
	int64_t command_memory, command_file_size, command_files, command_processes;
	span lease, sweep, heartbeat, confirm_timeout, grace, consumer_timeout;
	span result_expires;
	span connect_timeout, statement_timeout, database_timeout, delivery_backoff;
	span command_cpu;
	int log_level, log_format;		/* enum log_level, log_format */
	char **where;		/* for each setting; NULL: the default */
	json_t *tasks;		/* the table [tasks] of the file; NULL: none.  See model/registry.h */
};

struct conf *conf_new(void);
void conf_free(struct conf *);		/* NULL is fine */

/* Take from FRESH what may change while a program runs; EACH is told of every
 * setting that differs, and whether it WAITS for a restart.  What a text or a
 * list of CONF was belongs to FRESH afterwards. */
void conf_take_changes(struct conf *, struct conf *fresh,
    void (*each)(void *arg, const char *name, bool waits), void *arg);

/* Where measuring connects: measuring_url, or database_url where it is empty. */
const char *conf_measuring_url(const struct conf *);

/* Give the setting KEY (or KEY_file) the value that TEXT says.  WHERE is for
 * people: "tocsin.toml:3:9", "--queue". */
int conf_set(struct conf *, const char *key, const char *text, const char *where,
    struct err *);
/* The same from a file that has types: a list may be an array, a span or a size
 * a number of seconds or bytes. */
int conf_set_json(struct conf *, const char *key, const json_t *, const char *where,
    struct err *);
/* All that TOCSIN_* in ENVIRONMENT says; an empty value counts as not given, a
 * name that is no setting is an error. */
int conf_environment(struct conf *, char *const *environment, struct err *);

/* --- the table, for printing and for the manual --- */

extern const struct setting conf_settings[];
extern const size_t conf_count;
#define CONF_ADDRESS_MAX 4096
/* A program that runs keeps what it had until it is started again. */
bool conf_waits(const struct setting *);

#define CONF_VARIABLE 64
/* "TOCSIN_LEASE".  Returns BUF. */
const char *conf_variable(const struct setting *, char buf[CONF_VARIABLE]);
/* The value as text, passwords as "***"; the caller frees. */
char *conf_show(const struct conf *, const struct setting *);
/* Add all that is not the default as a file of settings, passwords as they are. */
void conf_write(const struct conf *, struct str *);
const char *conf_where(const struct conf *, const struct setting *);	/* or "default" */

#endif
