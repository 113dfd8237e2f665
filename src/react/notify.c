/* notify.c - a reaction that is a NOTIFY of PostgreSQL.
 *
 * A payload of NOTIFY is shorter than 8000 bytes.  A signal that is larger is
 * announced by its key: whoever listens finds the rest in the books. */
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/pg.h"
#include "react/way.h"

#define MAX_PAYLOAD 7900

/* It cannot be taken back from the connection, and the connection may forget
 * it: so all of them are on a list. */
struct notice {
	struct attempt *attempt;	/* NULL: nobody asks any more */
	struct notice *next;
};

static struct notice *notices;

static void
answered(void *arg, const struct pg_answer *answer)
{
	struct notice *notice = arg;
	struct attempt *attempt = notice->attempt;

	for (struct notice **at = &notices; *at; at = &(*at)->next)
		if (*at == notice) {
			*at = notice->next;
			break;
		}
	free(notice);
	if (attempt)
		react_finish(attempt, answer->err ? xstrdup(answer->err->message) : NULL);
}

static char *
shorten(const struct react_task *task)
{
	const char *const pairs[][2] = {
		{ "event", task->event }, { "signal", task->signal },
		{ "level", task->level }, { "key", task->key },
	};
	struct str s = STR_INIT;

	str_putc(&s, '{');
	for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
		str_printf(&s, "\"%s\":", pairs[i][0]);
		json_append_text(&s, pairs[i][1], strlen(pairs[i][1]));
		str_putc(&s, ',');
	}
	str_printf(&s, "\"cycle\":%s,", task->cycle);	/* a number */
	str_puts(&s, "\"truncated\":true}");
	return str_take(&s);
}

static void
notify_start(struct attempt *attempt, const struct react_task *task)
{
	struct notice *notice = xcalloc(1, sizeof *notice);
	char *payload = strlen(task->payload) > MAX_PAYLOAD ?
	    shorten(task) : xstrdup(task->payload);

	notice->attempt = attempt;
	notice->next = notices;
	notices = notice;
	attempt->own = notice;
	pg_say(attempt->books, "select pg_notify($1, $2)", 2,
	    (const char *const[]){ task->reaction->target, payload });
	pg_ask(attempt->books, answered, notice);
	free(payload);
}

static void
notify_kill(struct attempt *attempt)
{
	((struct notice *)attempt->own)->attempt = NULL;
}

const struct way react_notify = { notify_start, notify_kill };
