/* react.c - the table of channels, and what all attempts have in common. */
#include "react/react.h"
#include <stdlib.h>
#include "base/mem.h"
#include "base/str.h"
#include "io/loop.h"
#include "react/way.h"

enum { REACT_MAX_ERROR = 4096 };

static const struct way *const ways[CHANNEL_COUNT] = {
	[CHANNEL_COMMAND] = &react_command,
	[CHANNEL_NOTIFY] = &react_notify,
	[CHANNEL_CELERY] = &react_celery,
};

static void
attempt_free(struct attempt *attempt)
{
	timer_free(attempt->tell);
	free(attempt->error);
	free(attempt);
}

/* From the loop, so that nobody is called while he is busy himself. */
static void
tell(void *arg)
{
	struct attempt *attempt = arg;

	attempt->finished(attempt->arg, attempt->error, !attempt->postponed);
	attempt_free(attempt);
}

void
react_finish(struct attempt *attempt, char *error)
{
	attempt->own = NULL;
	attempt->error = error ? str_clean(error, REACT_MAX_ERROR) : NULL;
	free(error);
	timer_start(attempt->tell, 0);
}

void
react_postpone(struct attempt *attempt, char *error)
{
	attempt->postponed = true;
	react_finish(attempt, error);
}

struct attempt *
react_start(struct loop *loop, const struct conf *conf, struct pg *books,
    struct transport *broker, const struct react_task *task,
    void (*finished)(void *, const char *, bool), void *arg)
{
	struct attempt *attempt = xcalloc(1, sizeof *attempt);

	attempt->loop = loop;
	attempt->conf = conf;
	attempt->books = books;
	attempt->broker = broker;
	attempt->way = ways[task->reaction->channel];
	attempt->finished = finished;
	attempt->arg = arg;
	attempt->tell = timer_new(loop, tell, attempt);
	attempt->way->start(attempt, task);
	return attempt;
}

void
react_kill(struct attempt *attempt)
{
	if (!attempt)
		return;
	if (attempt->own)
		attempt->way->kill(attempt);
	attempt_free(attempt);
}
