/* redis_group.c - commands out and answers in, by groups.
 *
 * Commands are written as they are said; what was said since the last asking is a
 * group.  Redis answers in order, so the next reply is always one of the first
 * group that is under way.  What is no reply to anything ends the connection. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/redis_inner.h"
#include "io/socket.h"

#define ELEMENTS_MOST (1 << 20)		/* of one array */

/* --- what is under way --- */

size_t
redis_under_way(const struct redis *r)
{
	return r->groups.n - r->first;
}

void
group_done(struct group *g)
{
	for (size_t i = 0; i < g->got; i++)
		freeReplyObject(g->replies[i]);
	free(g->replies);
}

struct group
group_take_first(struct redis *r)
{
	struct group g = r->groups.at[r->first++];

	r->owed -= g.bytes;
	if (r->first == r->groups.n)
		r->first = r->groups.n = 0;
	else if (r->first >= 1024 && r->first * 2 >= r->groups.n) {
		r->groups.n -= r->first;
		memmove(r->groups.at, r->groups.at + r->first,
		    r->groups.n * sizeof *r->groups.at);
		r->first = 0;
	}
	return g;
}

void
group_answer(struct redis *r, struct group *g, const struct err *err)
{
	struct redis_answer a = { g->replies, g->n, err };

	if (g->answered && !r->freed)
		g->answered(g->arg, &a);
	group_done(g);
}

/* --- answers --- */

int
redis_reply_error(const redisReply *reply, struct err *err)
{
	static const char *const ours[] = { "NOAUTH", "WRONGPASS", "NOPERM",
		"ERR invalid password", "ERR Client sent AUTH", "ERR AUTH", "ERR DB index",
		"ERR invalid DB index" };
	struct str text = STR_INIT;
	enum err_class class = ERR_TEMPFAIL;
	char *raw;

	if (!reply || reply->type != REDIS_REPLY_ERROR)
		return 0;
	if (!strncmp(reply->str, "WRONGTYPE", 9) || (!strncmp(reply->str, "ERR ", 4) &&
	    strncmp(reply->str, "ERR max number of clients", 25)))
		class = ERR_GIVEN;
	for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
		if (!strncmp(reply->str, ours[i], strlen(ours[i])))
			class = ERR_CONFIG;
	raw = xstrndup(reply->str, reply->len);
	str_visible(&text, raw);
	err_class(err, class, "it says: %.500s", str_text(&text));
	free(raw);
	str_done(&text);
	return -1;
}

void
redis_take_reply(struct redis *r, redisReply *reply)
{
	struct group *first, g;
	struct err err;

	if (!redis_under_way(r)) {
		/* As one that has too many clients, or is in protected mode. */
		if (!redis_reply_error(reply, &err))
			err_class(&err, ERR_TEMPFAIL, "it answers what nobody asked");
		freeReplyObject(reply);
		redis_fail(r, &err);
		return;
	}
	first = &r->groups.at[r->first];
	first->replies[first->got++] = reply;
	if (first->got < first->n)
		return;
	g = group_take_first(r);
	group_answer(r, &g, NULL);
}

/* hiredis would ask for memory for as many elements as the server says. */
static redisReplyObjectFunctions standard_functions;

static void *
create_array(const redisReadTask *task, int elements)
{
	return elements > ELEMENTS_MOST ? NULL : standard_functions.createArray(task, elements);
}

void
redis_create_reader(struct redis *r)
{
	r->reader = redisReaderCreate();
	if (!r->reader)
		mem_end();
	standard_functions = r->functions = *r->reader->fn;
	r->functions.createArray = create_array;
	r->reader->fn = &r->functions;
}

/* --- commands --- */

/* The memory is the codec's; it is bounded by who asks. */
void
redis_say(struct redis *r, size_t n, const struct redis_word *words)
{
	const char **texts = xcalloc(n, sizeof *texts);
	size_t *lengths = xcalloc(n, sizeof *lengths);
	char *command;
	int len;

	for (size_t i = 0; i < n; i++) {
		texts[i] = words[i].text;
		lengths[i] = words[i].len;
	}
	len = redisFormatCommandArgv(&command, (int)n, texts, lengths);
	if (len < 0)
		mem_end();
	if (r->socket) {
		memcpy(socket_reserve(r->socket, (size_t)len), command, (size_t)len);
		socket_commit(r->socket, (size_t)len);
		r->sent += (size_t)len;
		r->said_bytes += (size_t)len;
		r->said++;
	}
	free(command);
	free(lengths);
	free(texts);
}

void
redis_say_texts(struct redis *r, const char *first, ...)
{
	struct redis_word words[16];
	size_t n = 0;
	va_list ap;

	va_start(ap, first);
	for (const char *text = first; text && n < 16; text = va_arg(ap, const char *))
		words[n++] = REDIS_WORD(text);
	va_end(ap);
	redis_say(r, n, words);
}

void
redis_ask(struct redis *r, void (*answered)(void *, const struct redis_answer *), void *arg)
{
	struct group g = { .n = r->said, .bytes = r->said_bytes, .answered = answered,
		.arg = arg };

	if (r->said == 0)
		return;
	r->owed += r->said_bytes;
	r->said = r->said_bytes = 0;
	if (!redis_under_way(r))
		r->heard_at = clock_monotonic();	/* from now on it owes something */
	g.replies = xcalloc(g.n, sizeof *g.replies);
	vec_push(&r->groups, g);
	redis_set_deadline(r);
}
