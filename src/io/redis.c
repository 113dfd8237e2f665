/* redis.c - a Redis connection from its first byte to its last.
 *
 *	redis_connect()   socket, TLS
 *	  AUTH, CLIENT SETNAME, SELECT -----> server, in one go
 *	  ready                        <----- their answers
 *	  groups                       <----> answers, in order
 *
 * The login is a group like others.  Whatever ends a connection comes to
 * fail(), which answers what is under way, tells `lost', and sets the time of
 * the next try. */
#include "io/redis.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "io/loop.h"
#include "io/redis_url.h"
#include "io/socket.h"

#define BACK_OFF (SECOND / 4)
#define BACK_OFF_MOST (30 * SECOND)
#define HIGH_WATER ((size_t)4 << 20)	/* bytes that wait for the network */
#define GROUPS_MOST 2048		/* under way */
#define SLOW ((size_t)128 << 10)	/* bytes a second: slower is no way at all */
#define REPLY_MOST ((size_t)256 << 20)
#define ELEMENTS_MOST (1 << 20)		/* of one array */

enum state { DOWN, CONNECTING, LOGGING_IN, READY };

struct group {
	size_t n, got;
	size_t bytes;			/* that were said */
	redisReply **replies;
	void (*answered)(void *, const struct redis_answer *);
	void *arg;
};

struct redis {
	struct loop *loop;
	struct redis_url url;
	char *name, *ca_file;
	span connect_timeout, answer_timeout, heartbeat;
	size_t largest_reply;
	const struct redis_events *events;
	void *arg;
	enum state state;
	struct socket *socket;
	redisReader *reader;
	redisReplyObjectFunctions functions;
	size_t unread;			/* bytes of a reply that is not whole yet */
	struct timer *deadline;		/* of connecting, of answers; the next PING */
	struct timer *reconnect;
	int failures;			/* in a row */
	span heard_at;
	size_t sent;			/* all that was ever written on this connection */
	size_t taken;			/* of that by the network, when we last looked */
	size_t said, said_bytes;	/* commands of the group that is being made */
	size_t owed;			/* bytes of the groups under way */
	VEC(struct group) groups;	/* under way: from FIRST on */
	size_t first;
	bool freed;
	int busy;
};

static size_t
under_way(const struct redis *r)
{
	return r->groups.n - r->first;
}

/* --- the end --- */

static void
group_done(struct group *g)
{
	for (size_t i = 0; i < g->got; i++)
		freeReplyObject(g->replies[i]);
	free(g->replies);
}

static void
disconnect(struct redis *r)
{
	timer_stop(r->deadline);
	socket_free(r->socket);
	r->socket = NULL;
	if (r->reader)
		redisReaderFree(r->reader);
	r->reader = NULL;
	r->unread = r->sent = r->taken = 0;
	r->said = r->said_bytes = 0;
	r->state = DOWN;
}

static void
destroy(struct redis *r)
{
	for (size_t i = r->first; i < r->groups.n; i++)
		group_done(&r->groups.at[i]);
	vec_done(&r->groups);
	timer_free(r->deadline);
	timer_free(r->reconnect);
	redis_url_done(&r->url);
	free(r->name);
	free(r->ca_file);
	free(r);
}

/* Events come between these two; an owner may free us in one. */
static void
enter(struct redis *r)
{
	r->busy++;
}

static void
leave(struct redis *r)
{
	if (--r->busy == 0 && r->freed)
		destroy(r);
}

static struct group
take_first(struct redis *r)
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

static void
answer(struct redis *r, struct group *g, const struct err *err)
{
	struct redis_answer a = { g->replies, g->n, err };

	if (g->answered && !r->freed)
		g->answered(g->arg, &a);
	group_done(g);
}

static void
connect_later(struct redis *r)
{
	span wait = r->failures < 7 ? BACK_OFF << r->failures : BACK_OFF_MOST;

	r->failures++;
	/* Jitter, so that workers do not come back all at once. */
	timer_start(r->reconnect, wait / 2 + (span)(random() % (wait / 2)));
}

static void
fail(struct redis *r, const struct err *why)
{
	struct err err = *why;

	if (r->state == DOWN)
		return;
	if (r->url.path)
		err_wrap(&err, "Redis %s", r->url.path);
	else
		err_wrap(&err, "Redis %s:%d", r->url.host, r->url.port);
	enter(r);
	disconnect(r);
	connect_later(r);
	while (under_way(r) && !r->freed) {
		struct group g = take_first(r);

		answer(r, &g, &err);
		err.class = err.class == ERR_GIVEN ? ERR_TEMPFAIL : err.class;
	}
	if (!r->freed)
		r->events->lost(r->arg, &err);
	leave(r);
}

/* --- time --- */

/* What is said takes its way, perhaps a slow one. */
static span
answer_limit(const struct redis *r)
{
	return r->answer_timeout + (span)(r->owed / SLOW) * SECOND;
}

/* Sleep until an answer is overdue, or a PING is due. */
static void
set_deadline(struct redis *r)
{
	span limit = under_way(r) ? answer_limit(r) : r->heartbeat;

	if (r->state == CONNECTING || r->state == LOGGING_IN)
		return;			/* the one of connecting runs */
	if (limit)
		timer_start(r->deadline, r->heard_at + limit - clock_monotonic());
	else
		timer_stop(r->deadline);
}

static bool
is_overdue(const struct redis *r)
{
	return r->state == READY && under_way(r) &&
	    clock_monotonic() >= r->heard_at + answer_limit(r);
}

/* A server that still takes what we send is alive, if slow. */
static void
look_at_progress(struct redis *r)
{
	size_t taken = r->sent - socket_backlog(r->socket);

	if (socket_backlog(r->socket) < r->sent && taken > r->taken) {
		r->taken = taken;
		r->heard_at = clock_monotonic();
	}
}

static void
deadline_came(void *arg)
{
	struct redis *r = arg;
	char length[INSTANT_TEXT];
	struct err err;

	enter(r);
	if (is_overdue(r) && socket_backlog(r->socket))
		look_at_progress(r);
	if (is_overdue(r))
		socket_read_now(r->socket);	/* it may be we who were stopped */
	if (r->freed || r->state == DOWN) {
		leave(r);
		return;
	}
	if (r->state != READY) {
		err_class(&err, ERR_TEMPFAIL, "not ready within %s; it was %s",
		    clock_format_span(r->connect_timeout, length),
		    r->state == CONNECTING ? socket_stage(r->socket) : "logging in");
		fail(r, &err);
	} else if (is_overdue(r)) {
		err_class(&err, ERR_TEMPFAIL, "no answer within %s",
		    clock_format_span(answer_limit(r), length));
		fail(r, &err);
	} else if (!under_way(r) && r->heartbeat) {
		redis_say_texts(r, "PING", NULL);
		redis_ask(r, NULL, NULL);
	} else {
		set_deadline(r);
	}
	leave(r);
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

static void
logged_in(void *arg, const struct redis_answer *a)
{
	struct redis *r = arg;
	struct err err;

	if (a->err)		/* fail() is at it */
		return;
	for (size_t i = 0; i < a->n; i++) {
		/* The name is a courtesy. */
		bool is_name = i == (r->url.password ? 1u : 0u);

		if (!is_name && redis_reply_error(a->replies[i], &err)) {
			err_wrap(&err, "at the login");
			fail(r, &err);
			return;
		}
	}
	r->state = READY;
	r->failures = 0;
	r->events->ready(r->arg);
}

/* Both of AUTH's forms: the older has no user. */
static void
say_login(struct redis *r)
{
	char database[16];

	snprintf(database, sizeof database, "%d", r->url.database);
	if (r->url.password && r->url.user)
		redis_say_texts(r, "AUTH", r->url.user, r->url.password, NULL);
	else if (r->url.password)
		redis_say_texts(r, "AUTH", r->url.password, NULL);
	redis_say_texts(r, "CLIENT", "SETNAME", r->name, NULL);
	redis_say_texts(r, "SELECT", database, NULL);
	redis_ask(r, logged_in, r);
}

static void
take_reply(struct redis *r, redisReply *reply)
{
	struct group *first, g;
	struct err err;

	if (!under_way(r)) {
		/* As one that has too many clients, or is in protected mode. */
		if (!redis_reply_error(reply, &err))
			err_class(&err, ERR_TEMPFAIL, "it answers what nobody asked");
		freeReplyObject(reply);
		fail(r, &err);
		return;
	}
	first = &r->groups.at[r->first];
	first->replies[first->got++] = reply;
	if (first->got < first->n)
		return;
	g = take_first(r);
	answer(r, &g, NULL);
}

/* hiredis would ask for memory for as many elements as the server says. */
static redisReplyObjectFunctions standard_functions;

static void *
create_array(const redisReadTask *task, int elements)
{
	return elements > ELEMENTS_MOST ? NULL : standard_functions.createArray(task, elements);
}

static void
create_reader(struct redis *r)
{
	r->reader = redisReaderCreate();
	if (!r->reader)
		mem_end();
	standard_functions = r->functions = *r->reader->fn;
	r->functions.createArray = create_array;
	r->reader->fn = &r->functions;
}

/* --- events of the socket --- */

static void
connected(void *arg)
{
	struct redis *r = arg;

	create_reader(r);
	r->state = LOGGING_IN;
	r->heard_at = clock_monotonic();
	say_login(r);
}

static size_t
arrived(void *arg, const uint8_t *p, size_t n)
{
	struct redis *r = arg;
	struct socket *before = r->socket;
	void *reply = NULL;
	struct err err;
	int rc = REDIS_OK;

	enter(r);
	r->heard_at = clock_monotonic();
	r->unread += n;
	if (redisReaderFeed(r->reader, (const char *)p, n) != REDIS_OK)
		rc = REDIS_ERR;
	while (rc == REDIS_OK && !r->freed && r->socket == before) {
		rc = redisReaderGetReply(r->reader, &reply);
		if (rc != REDIS_OK || !reply)
			break;
		r->unread = 0;
		take_reply(r, reply);
	}
	if (!r->freed && r->socket == before && rc != REDIS_OK) {
		err_class(&err, ERR_GIVEN, "it breaks the rules of the protocol: %s",
		    r->reader->errstr);
		fail(r, &err);
	} else if (!r->freed && r->socket == before && r->unread > r->largest_reply) {
		err_class(&err, ERR_GIVEN, "an answer of more than %zu bytes",
		    r->largest_reply);
		fail(r, &err);
	}
	if (!r->freed && r->state == READY)
		set_deadline(r);
	leave(r);
	return n;
}

/* A server that takes nobody says why, and closes. */
static void
lost(void *arg, const struct err *err)
{
	struct redis *r = arg;
	const struct group *g = under_way(r) ? &r->groups.at[r->first] : NULL;
	struct err why = *err;

	if (r->state == LOGGING_IN && g && g->got && redis_reply_error(g->replies[0], &why))
		err_wrap(&why, "at the login");
	fail(r, &why);
}

static const struct socket_events socket_events = { connected, arrived, lost };

static void
connect_now(void *arg)
{
	struct redis *r = arg;
	struct socket_settings s = { .host = r->url.path ? r->url.path : r->url.host,
		.port = r->url.path ? 0 : r->url.port, .patience = r->connect_timeout,
		.tls = r->url.tls, .ca_file = r->ca_file };

	r->state = CONNECTING;
	timer_start(r->deadline, r->connect_timeout);
	r->socket = socket_new(r->loop, &s, &socket_events, r);
}

/* --- for the owner --- */

struct redis *
redis_new(struct loop *loop, const struct redis_settings *s, const struct redis_events *events,
    void *arg, struct err *err)
{
	struct redis_url url;
	struct redis *r;
	const char *ca_file;

	if (redis_url_parse(s->url, &url, err))
		return NULL;
	ca_file = url.ca_file ? url.ca_file : s->ca_file;
	r = xcalloc(1, sizeof *r);
	r->loop = loop;
	r->url = url;
	r->name = xstrdup(s->name ? s->name : "tocsin");
	for (char *c = r->name; *c; c++)	/* Redis takes no spaces in it */
		if (*c <= ' ' || *c > '~')
			*c = '-';
	r->ca_file = xstrdup(ca_file && *ca_file ? ca_file : NULL);
	r->connect_timeout = s->connect_timeout ? s->connect_timeout : 10 * SECOND;
	r->answer_timeout = s->answer_timeout ? s->answer_timeout : 30 * SECOND;
	r->heartbeat = s->heartbeat;
	r->largest_reply = s->largest_reply ? s->largest_reply : REPLY_MOST;
	r->events = events;
	r->arg = arg;
	r->deadline = timer_new(loop, deadline_came, r);
	r->reconnect = timer_new(loop, connect_now, r);
	return r;
}

void
redis_free(struct redis *r)
{
	if (!r)
		return;
	timer_stop(r->reconnect);
	disconnect(r);
	r->freed = true;
	if (r->busy == 0)
		destroy(r);
}

void
redis_connect(struct redis *r)
{
	if (r->state == DOWN)
		timer_start(r->reconnect, 0);
}

bool
redis_is_ready(const struct redis *r)
{
	return r->state == READY;
}

bool
redis_is_full(const struct redis *r)
{
	return r->state != READY || under_way(r) >= GROUPS_MOST ||
	    socket_backlog(r->socket) >= HIGH_WATER;
}

int
redis_database(const struct redis *r)
{
	return r->url.database;
}

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
	if (!under_way(r))
		r->heard_at = clock_monotonic();	/* from now on it owes something */
	g.replies = xcalloc(g.n, sizeof *g.replies);
	vec_push(&r->groups, g);
	set_deadline(r);
}
