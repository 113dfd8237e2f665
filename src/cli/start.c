/* start.c - the settings of a command: tocsin.toml, then the environment. */
#include "cli/cmd.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/toml.h"
#include "model/registry.h"

#ifndef SYSCONFDIR
#define SYSCONFDIR "/etc"
#endif

extern char **environ;

/* --config, TOCSIN_CONFIG, ./tocsin.toml, the system's; NULL: none. */
static const char *
find_file(const char *config, bool *must)
{
	*must = true;
	if (config)
		return config;
	if ((config = getenv("TOCSIN_CONFIG")) && *config)
		return config;
	*must = false;
	if (!access("tocsin.toml", F_OK))
		return "tocsin.toml";
	return SYSCONFDIR "/tocsin/tocsin.toml";
}

/* The only table that the file may have. */
static int
read_tasks(struct conf *conf, const json_t *table, const struct toml *toml, const char *path,
    struct err *err)
{
	struct registry *r = registry_new(table, &(struct task_defaults){ 0 }, toml, path, err);

	if (!r)
		return -1;
	registry_release(r);
	json_decref(conf->tasks);
	conf->tasks = json_deep_copy(table);
	return 0;
}

static int
read_file(struct conf *conf, const char *path, struct err *err)
{
	struct toml *toml = toml_open(path, err);
	const char *key;
	json_t *value;
	int rc = -1;

	if (!toml) {
		char *at = err->line ? xasprintf("%s:%d:%d", path, err->line, err->column)
		    : xstrdup(path);

		err_wrap(err, "%s", at);
		free(at);
		err->class = ERR_CONFIG;
		err->line = err->column = 0;	/* it is in the message */
		return -1;
	}
	json_object_foreach((json_t *)(uintptr_t)toml_root(toml), key, value) {
		int line, column;
		char *where;
		int failed;

		if (!strcmp(key, "tasks")) {
			if (read_tasks(conf, value, toml, path, err))
				goto out;
			continue;
		}
		toml_key_place(toml, &key, 1, &line, &column);
		where = xasprintf("%s:%d:%d", path, line, column);
		failed = conf_set_json(conf, key, value, where, err);
		free(where);
		if (failed)
			goto out;
	}
	rc = 0;
out:
	toml_free(toml);
	return rc;
}

int
start_settings(struct conf *conf, const char *config, struct err *err)
{
	bool must;
	const char *path = find_file(config, &must);

	if ((must || !access(path, F_OK)) && read_file(conf, path, err))
		return -1;
	return conf_environment(conf, environ, err);
}
