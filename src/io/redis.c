/* redis.c - a Redis connection from its first byte to its last.
 *
 *	redis_connect()   socket, TLS
 *	  AUTH, CLIENT SETNAME, SELECT -----> server, in one go
 *	  ready                        <----- their answers
 *	  groups                       <----> answers, in order
 *
 * The login is a group like others (redis_group.c).  Whatever ends a connection
 * comes to redis_fail(), which answers what is under way, tells `lost', and sets
 * the time of the next try. */
#include "io/redis.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/mem.h"
#include "base/vec.h"
#include "io/loop.h"
#include "io/redis_inner.h"
#include "io/socket.h"

#define BACK_OFF (SECOND / 4)
#define BACK_OFF_MOST (30 * SECOND)
#define HIGH_WATER ((size_t)4 << 20)	/* bytes that wait for the network */
#define GROUPS_MOST 2048		/* under way */
#define SLOW ((size_t)128 << 10)	/* bytes a second: slower is no way at all */
#define REPLY_MOST ((size_t)256 << 20)

/* --- the end --- */

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
	r->state = REDIS_DOWN;
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

static void
connect_later(struct redis *r)
{
	span wait = r->failures < 7 ? BACK_OFF << r->failures : BACK_OFF_MOST;

	r->failures++;
	/* Jitter, so that workers do not come back all at once. */
	timer_start(r->reconnect, wait / 2 + (span)(random() % (wait / 2)));
}

void
redis_fail(struct redis *r, const struct err *why)
{
	struct err err = *why;

	if (r->state == REDIS_DOWN)
		return;
	if (r->url.path)
		err_wrap(&err, "Redis %s", r->url.path);
	else
		err_wrap(&err, "Redis %s:%d", r->url.host, r->url.port);
	enter(r);
	disconnect(r);
	connect_later(r);
	while (redis_under_way(r) && !r->freed) {
		struct group g = group_take_first(r);

		group_answer(r, &g, &err);
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
void
redis_set_deadline(struct redis *r)
{
	span limit = redis_under_way(r) ? answer_limit(r) : r->heartbeat;

	if (r->state == REDIS_CONNECTING || r->state == REDIS_LOGGING_IN)
		return;			/* the one of connecting runs */
	if (limit)
		timer_start(r->deadline, r->heard_at + limit - clock_monotonic());
	else
		timer_stop(r->deadline);
}

static bool
is_overdue(const struct redis *r)
{
	return r->state == REDIS_READY && redis_under_way(r) &&
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
	if (r->freed || r->state == REDIS_DOWN) {
		leave(r);
		return;
	}
	if (r->state != REDIS_READY) {
		err_class(&err, ERR_TEMPFAIL, "not ready within %s; it was %s",
		    clock_format_span(r->connect_timeout, length),
		    r->state == REDIS_CONNECTING ? socket_stage(r->socket) : "logging in");
		redis_fail(r, &err);
	} else if (is_overdue(r)) {
		err_class(&err, ERR_TEMPFAIL, "no answer within %s",
		    clock_format_span(answer_limit(r), length));
		redis_fail(r, &err);
	} else if (!redis_under_way(r) && r->heartbeat) {
		redis_say_texts(r, "PING", NULL);
		redis_ask(r, NULL, NULL);
	} else {
		redis_set_deadline(r);
	}
	leave(r);
}

/* --- the login --- */

static void
logged_in(void *arg, const struct redis_answer *a)
{
	struct redis *r = arg;
	struct err err;

	if (a->err)		/* redis_fail() is at it */
		return;
	for (size_t i = 0; i < a->n; i++) {
		/* The name is a courtesy. */
		bool is_name = i == (r->url.password ? 1u : 0u);

		if (!is_name && redis_reply_error(a->replies[i], &err)) {
			err_wrap(&err, "at the login");
			redis_fail(r, &err);
			return;
		}
	}
	r->state = REDIS_READY;
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

/* --- events of the socket --- */

static void
connected(void *arg)
{
	struct redis *r = arg;

	redis_create_reader(r);
	r->state = REDIS_LOGGING_IN;
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
		redis_take_reply(r, reply);
	}
	if (!r->freed && r->socket == before && rc != REDIS_OK) {
		err_class(&err, ERR_GIVEN, "it breaks the rules of the protocol: %s",
		    r->reader->errstr);
		redis_fail(r, &err);
	} else if (!r->freed && r->socket == before && r->unread > r->largest_reply) {
		err_class(&err, ERR_GIVEN, "an answer of more than %zu bytes",
		    r->largest_reply);
		redis_fail(r, &err);
	}
	if (!r->freed && r->state == REDIS_READY)
		redis_set_deadline(r);
	leave(r);
	return n;
}

/* A server that takes nobody says why, and closes. */
static void
lost(void *arg, const struct err *err)
{
	struct redis *r = arg;
	const struct group *g = redis_under_way(r) ? &r->groups.at[r->first] : NULL;
	struct err why = *err;

	if (r->state == REDIS_LOGGING_IN && g && g->got && redis_reply_error(g->replies[0], &why))
		err_wrap(&why, "at the login");
	redis_fail(r, &why);
}

static const struct socket_events socket_events = { connected, arrived, lost };

static void
connect_now(void *arg)
{
	struct redis *r = arg;
	struct socket_settings s = { .host = r->url.path ? r->url.path : r->url.host,
		.port = r->url.path ? 0 : r->url.port, .patience = r->connect_timeout,
		.tls = r->url.tls, .ca_file = r->ca_file };

	r->state = REDIS_CONNECTING;
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
	if (r->state == REDIS_DOWN)
		timer_start(r->reconnect, 0);
}

bool
redis_is_ready(const struct redis *r)
{
	return r->state == REDIS_READY;
}

bool
redis_is_full(const struct redis *r)
{
	return r->state != REDIS_READY || redis_under_way(r) >= GROUPS_MOST ||
	    socket_backlog(r->socket) >= HIGH_WATER;
}

int
redis_database(const struct redis *r)
{
	return r->url.database;
}
