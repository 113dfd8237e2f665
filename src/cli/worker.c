/* worker.c - serve: compute what cycles ask for. */
#include <stdlib.h>
#include <string.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/vec.h"
#include "cli/cmd.h"
#include "engine/serve.h"
#include "exec/exec.h"

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

static int
run(struct call *call, struct err *err)
{
	const char *list = opts_get(call, "queues");
	char *text = xstrdup(list ? list : call->conf->queue);
	struct serve_settings settings = { .conf = call->conf };
	struct queues queues = { 0 };
	int rc = -1;

	settings.allowed[EXEC_SQL] = true;
	if (list ? read_queues(text, &queues, err) : add_queue(&queues, text, err))
		goto out;
	if (call->conf->executors.text && call->conf->executors.text[0]) {
		settings.allowed[EXEC_SQL] = false;
		if (hands_parse_allowed(call->conf->executors.text, settings.allowed, err))
			goto out;
	}
	settings.queues = queues.at;
	settings.n_queues = queues.n;
	rc = worker_serve(&settings, err);
out:
	vec_done(&queues);
	free(text);
	return rc;
}

static const struct opt options[] = {
	{ "concurrency", 'c', "N", "how many measurements run at once (default: 8)" },
	{ "queues", 'Q', "LIST", "the queues to work for (default: the setting queue)" },
	{ "executors", 0, "LIST", "what may be run here (default: sql)" },
	{ NULL, 0, NULL, NULL },
};

const struct command cmd_worker = {
	.name = "worker",
	.synopsis = "[-c N] [-Q QUEUE,...] [--executors LIST]",
	.summary = "work for cycles: measure, evaluate, decide",
	.description = "Serves until SIGTERM or SIGINT: then it takes nothing more, gives what runs\n"
	    "'grace' to end, hands the rest back and leaves with status 0. A second signal\n"
	    "ends it at once. Servers that are away are waited for.",
	.options = options,
	.run = run,
};
