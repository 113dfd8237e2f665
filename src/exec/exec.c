/* exec.c - the table of executors, and what all measurements have in common.
 *
 * An outcome is never told from inside the call that brought it about: a timer
 * of no length tells it from the loop, so that neither the owner nor the
 * executor is called while it is still busy with its own. */
#include "exec/exec.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "exec/hand.h"
#include "exec/pool.h"
#include "io/loop.h"

static const struct hand *const of[EXECUTOR_COUNT] = {
	[EXEC_SQL] = &exec_sql,
	[EXEC_SHELL] = &exec_shell,
	[EXEC_CELERY] = &exec_celery,
};

struct hands *
hands_new(struct loop *loop, const struct conf *conf, const bool allowed[EXECUTOR_COUNT])
{
	struct hands *hands = xcalloc(1, sizeof *hands);

	hands->loop = loop;
	hands->conf = conf;
	memcpy(hands->allowed, allowed, sizeof hands->allowed);
	hands->pool = pool_new(loop, conf);
	return hands;
}

void
hands_free(struct hands *hands)
{
	if (!hands)
		return;
	while (hands->first)
		exec_kill(hands->first);
	pool_free(hands->pool);
	free(hands);
}

int
hands_parse_allowed(const char *list, bool allowed[EXECUTOR_COUNT], struct err *err)
{
	bool found[EXECUTOR_COUNT] = { false };

	if (!list || !*list)
		return 0;
	for (const char *s = list; ; s++) {
		size_t len = strcspn(s, ",");
		char *word = xstrndup(s, len);
		int which = executor_find(word);

		if (which < 0)
			err_class(err, ERR_CONFIG, "there is no executor '%s'; "
			    "there are: sql, shell, celery", word);
		else
			found[which] = true;
		free(word);
		if (which < 0)
			return -1;
		s += len;
		if (!*s)
			break;
	}
	memcpy(allowed, found, sizeof found);
	return 0;
}

static void
exec_free(struct exec *exec)
{
	for (struct exec **at = &exec->hands->first; *at; at = &(*at)->next)
		if (*at == exec) {
			*at = exec->next;
			break;
		}
	timer_free(exec->tell);
	free(exec->outcome.value);
	free(exec->outcome.error);
	free(exec->name);
	free(exec->key);
	free(exec->input);
	free(exec);
}

static void
tell(void *arg)
{
	struct exec *exec = arg;

	exec->finished(exec->arg, &exec->outcome);
	exec_free(exec);
}

void
exec_finish(struct exec *exec, enum reason reason, char *value, char *error)
{
	size_t most = (size_t)exec->hands->conf->max_value;

	exec->own = NULL;
	if (value && strlen(value) > most) {
		reason = REASON_ERROR;
		free(value);
		value = NULL;
		error = xasprintf("value larger than %zu bytes", most);
	}
	exec->outcome.reason = reason;
	exec->outcome.value = value;
	exec->outcome.error = error ? str_clean(error, EXEC_MAX_ERROR) : NULL;
	free(error);
	timer_start(exec->tell, 0);
}

void
exec_fail(struct exec *exec, enum reason reason, const char *format, ...)
{
	struct str s = STR_INIT;
	va_list ap;

	va_start(ap, format);
	str_vprintf(&s, format, ap);
	va_end(ap);
	exec_finish(exec, reason, NULL, str_take(&s));
}

void
exec_fail_limit(struct exec *exec, bool hard)
{
	const struct variable *v = exec->variable;
	char buf[INSTANT_TEXT];

	exec_fail(exec, REASON_TIMEOUT, "%s time limit (%s) exceeded",
	    hard ? "hard" : "soft", clock_format_span(hard ? v->hard : v->soft, buf));
}

struct exec *
exec_start(struct hands *hands, const struct exec_task *task,
    void (*finished)(void *, const struct exec_outcome *), void *arg)
{
	struct exec *exec = xcalloc(1, sizeof *exec);
	enum executor which = task->variable->executor;

	exec->hands = hands;
	exec->hand = of[which];
	exec->name = xstrdup(task->name);
	exec->key = xstrdup(task->key ? task->key : "");
	exec->input = xstrdup(task->input);
	exec->variable = task->variable;
	exec->now = task->now;
	exec->finished = finished;
	exec->arg = arg;
	exec->tell = timer_new(hands->loop, tell, exec);
	exec->next = hands->first;
	hands->first = exec;
	if (hands->allowed[which])
		exec->hand->start(exec);
	else
		exec_fail(exec, REASON_REFUSED, "the executor '%s' is not allowed here; "
		    "give the variable a queue whose workers have it",
		    executor_text(which));
	return exec;
}

bool
exec_signal(struct exec *exec, int signum)
{
	return exec->own && exec->hand->signal && exec->hand->signal(exec, signum);
}

void
exec_kill(struct exec *exec)
{
	if (!exec)
		return;
	if (exec->own)
		exec->hand->kill(exec);
	exec_free(exec);
}
