/* shell.c - a variable computed by a command.
 *
 * It gets its arguments as JSON on standard input and in its environment, and
 * answers on standard output.  Where no process is to be had just now, the
 * start is tried again until the soft limit has passed: that is the machine's
 * trouble, not the variable's, and it is told of once, however many wait. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "base/conf.h"
#include "base/environment.h"
#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "exec/hand.h"
#include "exec/output.h"
#include "exec/pool.h"
#include "io/child.h"
#include "io/loop.h"

struct shell {
	struct exec *exec;
	struct child *child;
	struct timer *again;
	span pause, deadline;
	bool counted;		/* among those that wait for a process */
};

static unsigned waiting;	/* for a process */

#define MAX_ARGUMENT (64 * 1024)	/* in the environment */

/* The first that waits says why; the last, that it is over. */
static void
wait_for_process(struct shell *shell, const char *why)
{
	if (!shell->counted && waiting++ == 0)
		log_warn("no process can be started, trying again", "error", why);
	shell->counted = true;
}

static void
wait_no_more(struct shell *shell)
{
	if (shell->counted && --waiting == 0)
		log_info("no command waits for a process any more");
	shell->counted = false;
}

static void
shell_free(struct shell *shell)
{
	wait_no_more(shell);
	timer_free(shell->again);
	free(shell);
}

static enum reason
reason_of(const struct child_end *end)
{
	if (end->too_large || end->errors_too_large || end->unread || end->errors_unread)
		return REASON_ERROR;
	if (end->hard_limit || end->soft_limit)
		return REASON_TIMEOUT;
	return end->signum ? REASON_SIGNAL : REASON_EXIT;
}

static void
ended(void *arg, const struct child_end *end)
{
	struct shell *shell = arg;
	struct exec *exec = shell->exec;
	char *failure = child_failure(end), *value;
	char *(*read)(const char *, size_t, struct err *) = exec->input ? output_raw : output_value;
	struct err err;

	shell_free(shell);
	if (failure)
		exec_finish(exec, reason_of(end), NULL, failure);
	else if ((value = read(end->output, end->output_len, &err)))
		exec_finish(exec, REASON_OK, value, NULL);
	else
		exec_fail(exec, REASON_ERROR, "%s", err.message);
}

/* --- the start --- */

static void
add_argument(struct environment *e, const char *name, const json_t *value)
{
	struct str variable = STR_INIT, text = STR_INIT;

	str_puts(&variable, "TOCSIN_ARG_");
	for (; *name; name++)
		str_putc(&variable, *name >= 'a' && *name <= 'z' ? *name - 'a' + 'A' : *name);
	if (json_is_string(value))
		str_add(&text, json_string_value(value), json_string_length(value));
	else
		json_append(&text, value);
	if (text.len <= MAX_ARGUMENT && !strchr(str_text(&variable), '=') &&
	    strlen(str_text(&text)) == text.len)
		environment_set(e, str_text(&variable), str_text(&text));
	str_done(&variable);
	str_done(&text);
}

static int
start_child(struct shell *shell, struct err *err)
{
	const struct variable *v = shell->exec->variable;
	const struct conf *conf = shell->exec->hands->conf;
	struct environment e;
	char *input = shell->exec->input ? xstrdup(shell->exec->input) : json_canonical(v->args);
	struct child_settings settings = {
		.shell = conf->shell,
		.command = v->source,
		.mark = shell->exec->key,
		.input = input,
		.input_len = strlen(input),
		.soft = v->soft,
		.hard = v->hard,
		.grace = conf->grace,
		.max_output = (size_t)conf->max_output,
		.limits = { conf->command_memory, conf->command_file_size,
		    conf->command_files, conf->command_processes, conf->command_cpu },
	};
	const char *name;
	json_t *value;

	environment_init(&e, conf->pass_environment.at);
	json_object_foreach(v->args, name, value)
		add_argument(&e, name, value);
	settings.environment = (const char *const *)e.at;
	shell->child = child_start(shell->exec->hands->loop, &settings, ended, shell, err);
	environment_done(&e);
	free(input);
	return shell->child ? 0 : -1;
}

static void
try_start(void *arg)
{
	struct shell *shell = arg;
	struct exec *exec = shell->exec;
	struct err err;

	if (start_child(shell, &err) == 0) {
		wait_no_more(shell);
		return;
	}
	if (err.class == ERR_TEMPFAIL && clock_monotonic() + shell->pause < shell->deadline) {
		wait_for_process(shell, err.message);
		/* The descriptors may be those that wait for queries. */
		pool_let_go(exec->hands->pool);
		timer_start(shell->again, shell->pause);
		if (shell->pause < 4 * SECOND)
			shell->pause *= 2;
		return;
	}
	shell_free(shell);
	exec_fail(exec, REASON_ERROR, "%s", err.message);
}

static void
shell_start(struct exec *exec)
{
	struct shell *shell = xcalloc(1, sizeof *shell);

	exec->own = shell;
	shell->exec = exec;
	shell->again = timer_new(exec->hands->loop, try_start, shell);
	shell->pause = SECOND / 4;
	shell->deadline = clock_monotonic() + exec->variable->soft;
	try_start(shell);
}

static void
shell_kill(struct exec *exec)
{
	struct shell *shell = exec->own;

	child_kill(shell->child);
	shell_free(shell);
}

static bool
shell_signal(struct exec *exec, int signum)
{
	struct shell *shell = exec->own;

	if (shell->child)
		child_signal(shell->child, signum);
	return shell->child != NULL;
}

const struct hand exec_shell = { shell_start, shell_kill, shell_signal };
