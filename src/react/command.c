/* command.c - a reaction that runs a command.
 *
 * What it is about comes in its environment and, whole, on standard input;
 * never on its command line.  What it prints is nobody's.  Where no process is
 * to be had just now, that is the machine's trouble and not the reaction's. */
#include <string.h>
#include "base/conf.h"
#include "base/environment.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/child.h"
#include "react/way.h"

static void
ended(void *arg, const struct child_end *end)
{
	react_finish(arg, child_failure(end));
}

static void
command_start(struct attempt *attempt, const struct react_task *task)
{
	const struct conf *conf = attempt->conf;
	struct environment e;
	struct child_settings settings = {
		.shell = conf->shell,
		.command = task->reaction->target,
		.mark = task->key,
		.input = task->payload,
		.input_len = strlen(task->payload),
		.soft = task->reaction->time_limit,
		.hard = task->reaction->time_limit + conf->grace,
		.grace = conf->grace,
		.max_output = (size_t)conf->max_output,
		.limits = { conf->command_memory, conf->command_file_size,
		    conf->command_files, conf->command_processes, conf->command_cpu },
	};
	struct err err;

	environment_init(&e, conf->pass_environment.at);
	environment_set(&e, "TOCSIN_EVENT", task->event);
	environment_set(&e, "TOCSIN_SIGNAL", task->signal);
	environment_set(&e, "TOCSIN_CYCLE", task->cycle);
	environment_set(&e, "TOCSIN_LEVEL", task->level);
	environment_set(&e, "TOCSIN_KEY", task->key);
	settings.environment = (const char *const *)e.at;
	attempt->own = child_start(attempt->loop, &settings, ended, attempt, &err);
	environment_done(&e);
	if (attempt->own)
		return;
	if (err.class == ERR_TEMPFAIL)
		react_postpone(attempt, xstrdup(err.message));
	else
		react_finish(attempt, xstrdup(err.message));
}

static void
command_kill(struct attempt *attempt)
{
	child_kill(attempt->own);
}

const struct way react_command = { command_start, command_kill };
