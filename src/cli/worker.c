/* worker.c - serve: compute what cycles ask for. */
#include <stdlib.h>
#include <string.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "base/vec.h"
#include "cli/cmd.h"
#include "engine/processes.h"
#include "engine/serve.h"
#include "exec/exec.h"
#include "io/session.h"

enum { QUEUE_NAME_MOST = 200, QUEUES_MOST = 64 };

struct queues {
	const char **at;
	size_t n, room;
};

static int
add_queue(struct queues *queues, const char *name, struct err *err)
{
	if (!*name || strlen(name) > QUEUE_NAME_MOST)
		return err_class(err, ERR_USAGE, "--queues: the name of a queue has 1 to %d bytes",
		    QUEUE_NAME_MOST);
	for (size_t i = 0; i < queues->n; i++)
		if (!strcmp(queues->at[i], name))
			return 0;
	if (queues->n == QUEUES_MOST)
		return err_class(err, ERR_USAGE, "--queues: at most %d", QUEUES_MOST);
	vec_push(queues, name);
	return 0;
}

/* TEXT is cut at its commas. */
static int
read_queues(char *text, struct queues *queues, struct err *err)
{
	for (char *name; (name = strsep(&text, ",")); )
		if (add_queue(queues, name, err))
			return -1;
	return 0;
}

/* --- while it runs --- */

struct changes {
	struct str taken, waiting;
};

static void
note_change(void *arg, const char *name, bool waits)
{
	struct changes *changes = arg;
	struct str *list = waits ? &changes->waiting : &changes->taken;

	str_printf(list, "%s%s", list->len ? "," : "", name);
}

static bool
read_again(struct call *call, struct changes *changes)
{
	struct err err;
	struct conf *fresh = opts_read_settings(call, &err);

	if (!fresh) {
		log_error("the settings are wrong, the old ones stay", "error", err.message);
		return false;
	}
	conf_take_changes(call->conf, fresh, note_change, changes);
	conf_free(fresh);
	log_setup((enum log_level)call->conf->log_level,
	    (enum log_format)call->conf->log_format, 2);
	return true;
}

static bool
reload(void *arg)
{
	struct changes changes = { STR_INIT, STR_INIT };
	bool good = read_again(arg, &changes);

	if (good)
		log_info("the settings are read again", "changed",
		    changes.taken.len ? str_text(&changes.taken) : "none");
	if (changes.waiting.len)
		log_warn("settings have changed that wait for a restart",
		    "settings", str_text(&changes.waiting));
	str_done(&changes.taken);
	str_done(&changes.waiting);
	return good;
}

/* The parent tells of what is wrong; of what has changed the processes do. */
static bool
reload_quietly(void *arg)
{
	struct changes changes = { STR_INIT, STR_INIT };
	bool good = read_again(arg, &changes);

	str_done(&changes.taken);
	str_done(&changes.waiting);
	return good;
}

/* Once for all processes. */
static void
warn_of_strangers(const struct conf *conf)
{
	const char *const names[] = { "database_url", "measuring_url" };
	const char *const urls[] = { conf->database_url, conf->measuring_url };

	for (int i = 0; i < 2; i++) {
		char *where = i && !*urls[i] ? NULL : session_unverified(urls[i]);

		if (where)
			log_warn("nobody makes sure that the database is the right server",
			    "setting", names[i], "server", where,
			    "advice", "add sslmode=verify-full and sslrootcert");
		free(where);
	}
}

static int
run(struct call *call, struct err *err)
{
	const char *list = opts_get(call, "queues");
	char *text = xstrdup(list ? list : call->conf->queue);
	struct serve_settings settings = { .conf = call->conf, .reload = reload, .arg = call };
	struct processes_settings processes = { .n = (int)call->conf->processes,
		.reload = reload_quietly, .arg = call };
	struct queues queues = { 0 };
	bool serves = processes.n == 1;
	int rc = -1;

	settings.allowed[EXEC_SQL] = settings.allowed[EXEC_CELERY] = true;
	if (list ? read_queues(text, &queues, err) : add_queue(&queues, text, err))
		goto out;
	if (call->conf->executors.text && call->conf->executors.text[0]) {
		settings.allowed[EXEC_SQL] = settings.allowed[EXEC_CELERY] = false;
		if (hands_parse_allowed(call->conf->executors.text, settings.allowed, err))
			goto out;
	}
	settings.queues = queues.at;
	settings.n_queues = queues.n;
	warn_of_strangers(call->conf);
	if (!serves) {
		rc = processes_run(&processes, &settings.process);
		serves = settings.process > 0;
	}
	if (serves)
		rc = worker_serve(&settings, err);
out:
	vec_done(&queues);
	free(text);
	return rc;
}

static const struct opt options[] = {
	{ "concurrency", 'c', "N", "how many measurements run at once (default: 8)" },
	{ "processes", 0, "P", "how many processes do so (default: 1)" },
	{ "queues", 'Q', "LIST", "the queues to work for (default: the setting queue)" },
	{ "executors", 0, "LIST", "what may be run here (default: sql,celery)" },
	{ NULL, 0, NULL, NULL },
};

const struct command cmd_worker = {
	.name = "worker",
	.synopsis = "[-c N] [--processes P] [-Q QUEUE,...] [--executors LIST]",
	.summary = "work for cycles: measure, evaluate, decide",
	.description = "Serves until SIGTERM or SIGINT: then it takes nothing more, gives what runs\n"
	    "'grace' to end, hands the rest back and leaves with status 0. A second signal\n"
	    "allows no grace. SIGHUP reads the settings again. Servers that are away are\n"
	    "waited for. With --processes one more process watches the others, and starts\n"
	    "another for one that dies.",
	.options = options,
	.run = run,
};
