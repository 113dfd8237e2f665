/* pg.c - the life of a connection to PostgreSQL, without blocking.
 *
 * It connects when something is asked, breaks when it must, answers then what
 * was asked, and is silent for no longer than its deadline while it owes an
 * answer.  What is said on it: pg_group.c. */
#include "io/pg_inner.h"
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>
#include "base/mem.h"
#include "base/str.h"
#include "io/loop.h"
#include "io/session.h"
#include "io/threads.h"

static void work(struct pg *);
static void ready_for(void *arg, int events);

/* --- the connection --- */

static void
forget_connection(struct pg *pg)
{
	timer_stop(pg->deadline);
	watch_free(pg->watch);
	pg->watch = NULL;
	pg->fd = -1;
	PQfinish(pg->conn);
	pg->conn = NULL;
	pg->ready = pg->doomed = pg->listening = pg->suspected = false;
	pg->n_prepared = 0;
}

static void
destroy(struct pg *pg)
{
	struct group *next;

	forget_connection(pg);
	timer_free(pg->deadline);
	if (pg->resolving) {
		pg->resolving->data = NULL;	/* its callback frees it */
		uv_cancel((uv_req_t *)pg->resolving);
	}
	for (struct group *g = pg->first; g; g = next) {
		next = g->next;
		pg_group_free(g);
	}
	if (pg->open)
		pg_group_free(pg->open);
	session_free(&pg->set);
	free(pg);
}

/* Close, and answer every group with ERR.  An owner may ask anew from its
 * callback: only the groups that were there before are answered. */
void
pg_break(struct pg *pg, const struct err *err)
{
	struct group *last = pg->last, *g;
	struct err copy = *err;
	bool outer = !pg->in_callback;

	forget_connection(pg);
	if (pg->resolving) {
		pg->resolving->data = NULL;
		uv_cancel((uv_req_t *)pg->resolving);
		pg->resolving = NULL;
	}
	pg->in_callback = true;
	while ((g = pg->first)) {
		pg_group_fail(g, &copy, NULL);
		pg_group_answer(pg);
		if (g == last || pg->freed)
			break;
	}
	if (!outer)
		return;
	pg->in_callback = false;
	if (pg->freed)
		destroy(pg);
	else if (pg->first)
		work(pg);
}

static void
break_with_message(struct pg *pg, const char *what)
{
	struct err err;

	session_fail(pg->conn, what, &err);
	pg_break(pg, &err);
}

/* --- deadlines --- */

/* An answer is owed: from now on, unless one is awaited already. */
static void
expect_answer(struct pg *pg)
{
	if (pg->listening || !pg->set.answer_timeout)
		return;
	pg->listening = true;
	pg->heard = clock_monotonic();
	timer_start(pg->deadline, pg->set.answer_timeout);
}

static void
hear(struct pg *pg)
{
	pg->heard = clock_monotonic();
	pg->suspected = false;
}

/* The connection looks healthy, to us and perhaps to the kernel, but nobody
 * answers.  If it was us who slept the answer lies in the socket: look there
 * once before it is given up. */
static void
silent(struct pg *pg)
{
	span left = pg->heard + pg->set.answer_timeout - clock_monotonic();
	char limit[INSTANT_TEXT];
	struct err err;

	pg->listening = pg->first != NULL;
	if (!pg->listening)
		return;
	if (left > 0)
		timer_start(pg->deadline, left);
	else if (!pg->suspected) {
		pg->suspected = true;
		timer_start(pg->deadline, SECOND / 10);
	} else {
		err_class(&err, ERR_TEMPFAIL, "PostgreSQL has not answered for %s",
		    clock_format_span(pg->set.answer_timeout, limit));
		pg_break(pg, &err);
	}
}

static void
time_is_up(void *arg)
{
	struct pg *pg = arg;

	if (pg->ready)
		silent(pg);
	else
		break_with_message(pg, "cannot connect to PostgreSQL in time");
}

static void
watch_socket(struct pg *pg, int events)
{
	int fd = PQsocket(pg->conn);

	/* The socket may change while connecting: several hosts, or TLS. */
	if (pg->watch && fd != pg->fd) {
		watch_free(pg->watch);
		pg->watch = NULL;
	}
	if (!pg->watch) {
		pg->fd = fd;
		pg->watch = watch_new(pg->loop, fd, ready_for, pg);
	}
	if (pg->watch)
		watch_set(pg->watch, events);
}


/* libpq would print them on standard error. */
static void
ignore_notice(void *arg, const char *message)
{
}

static void
begin_connection(struct pg *pg, const char *addresses)
{
	pg->conn = session_start(&pg->set, addresses);
	if (!pg->conn || PQstatus(pg->conn) == CONNECTION_BAD) {
		break_with_message(pg, "cannot connect to PostgreSQL");
		return;
	}
	PQsetNoticeProcessor(pg->conn, ignore_notice, NULL);
	watch_socket(pg, WATCH_WRITE);
}

static void
resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
	struct pg *pg = req->data;
	struct str addresses = STR_INIT;
	char address[64];

	/* libpq tries them in this order: localhost is ::1 first. */
	for (struct addrinfo *a = status ? NULL : res; a; a = a->ai_next)
		if (!getnameinfo(a->ai_addr, a->ai_addrlen, address, sizeof address, NULL, 0,
		    NI_NUMERICHOST))
			str_printf(&addresses, "%s%s", addresses.len ? "," : "", address);
	if (pg) {
		pg->resolving = NULL;
		if (addresses.len)
			begin_connection(pg, str_text(&addresses));
		else {
			struct err err;

			err_class(&err, ERR_TEMPFAIL,
			    "cannot find PostgreSQL's host: %s",
			    status ? uv_strerror(status) : "no address");
			pg_break(pg, &err);
		}
	}
	str_done(&addresses);
	uv_freeaddrinfo(res);
	free(req);
}

static void
connect_now(struct pg *pg)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	char *host = session_host(&pg->set);
	struct err err;

	timer_start(pg->deadline, pg->set.connect_timeout);
	if (!host) {
		begin_connection(pg, NULL);
		return;
	}
	if (threads_check(&err)) {
		free(host);
		err_wrap(&err, "cannot find PostgreSQL's host");
		pg_break(pg, &err);
		return;
	}
	pg->resolving = xcalloc(1, sizeof *pg->resolving);
	pg->resolving->data = pg;
	if (uv_getaddrinfo(loop_uv(pg->loop), pg->resolving, resolved, host, NULL, &hints)) {
		free(pg->resolving);
		pg->resolving = NULL;
		begin_connection(pg, NULL);
	}
	free(host);
}

static void
go_on_connecting(struct pg *pg)
{
	struct err err;

	switch (PQconnectPoll(pg->conn)) {
	case PGRES_POLLING_READING:
		watch_socket(pg, WATCH_READ);
		return;
	case PGRES_POLLING_WRITING:
		watch_socket(pg, WATCH_WRITE);
		return;
	case PGRES_POLLING_OK:
		break;
	default:
		break_with_message(pg, "cannot connect to PostgreSQL");
		return;
	}
	timer_stop(pg->deadline);
	if (session_check(pg->conn, &pg->set, &err)) {
		pg_break(pg, &err);
		return;
	}
	if (PQsetnonblocking(pg->conn, 1) || !PQenterPipelineMode(pg->conn)) {
		break_with_message(pg, "PostgreSQL");
		return;
	}
	pg->ready = true;
	pg->connections++;
	work(pg);
}

/* --- going on --- */

/* Send what is asked, and wait for what is missing. */
static void
work(struct pg *pg)
{
	int more;

	if (!pg->conn) {
		if (pg->first && !pg->resolving)
			connect_now(pg);
		return;
	}
	if (!pg->ready)
		return;
	for (struct group *g = pg->first; g; g = g->next)
		if (!g->sent && pg_group_send(pg, g)) {
			break_with_message(pg, "cannot send to PostgreSQL");
			return;
		}
	if (pg->first)
		expect_answer(pg);
	more = PQflush(pg->conn);
	if (more < 0) {
		break_with_message(pg, "the connection to PostgreSQL is lost");
		return;
	}
	watch_socket(pg, WATCH_READ | (more ? WATCH_WRITE : 0));
}

/* libpq makes room for a whole message as soon as it has seen its length, up to
 * twice as much, and only then reads on, without a pause.  So the growth of the
 * address space while we look at what has come tells of a row that is too large
 * before its bytes are there.  What fits into room that was free is not seen: it
 * costs nothing new.  (The kernel knows the size; malloc would have to count it.)
 * The file is this process's own; only those that do not fork open it.  Without it, 0:
 * then a row has no limit here. */
static size_t
address_space(void)
{
	static int fd = -1;
	char text[64];
	ssize_t n;

	if (fd < 0)
		fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : pread(fd, text, sizeof text - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	return strtoull(text, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

static void
ready_for(void *arg, int events)
{
	struct pg *pg = arg;
	const struct group *incomplete = pg->first;
	size_t before = pg->most_row && incomplete ? address_space() : 0;

	if (!pg->conn)
		return;
	if (!pg->ready) {
		go_on_connecting(pg);
		return;
	}
	if (events & WATCH_READ)
		hear(pg);
	if ((events & WATCH_READ) && !PQconsumeInput(pg->conn)) {
		/* What had arrived before the end still counts, such as the
		 * reason that the server gave. */
		if (pg_receive(pg) && pg->conn)
			break_with_message(pg, "the connection to PostgreSQL is lost");
		else if (pg->freed)
			destroy(pg);
		return;
	}
	if (!pg_receive(pg)) {
		destroy(pg);
		return;
	}
	if (before && pg->first == incomplete &&
	    address_space() > before + 4 * pg->most_row)
		pg->doomed = err_set(&pg->doom, "a row larger than %zu bytes", pg->most_row);
	if (pg->conn && pg->doomed)
		pg_break(pg, &pg->doom);
	else if (pg->conn && PQstatus(pg->conn) == CONNECTION_BAD)
		break_with_message(pg, "the connection to PostgreSQL is lost");
	else
		work(pg);
}

/* --- for the owner --- */

struct pg *
pg_new(struct loop *loop, const struct pg_settings *settings)
{
	struct pg *pg = xcalloc(1, sizeof *pg);

	pg->loop = loop;
	session_copy(&pg->set, settings);
	pg->fd = -1;
	pg->deadline = timer_new(loop, time_is_up, pg);
	return pg;
}

void
pg_free(struct pg *pg)
{
	if (!pg)
		return;
	if (pg->in_callback) {
		pg->freed = true;
		return;
	}
	destroy(pg);
}

void
pg_ask(struct pg *pg, void (*answered)(void *, const struct pg_answer *), void *arg)
{
	struct group *g = pg->open ? pg->open : xcalloc(1, sizeof *g);

	pg->open = NULL;
	if (!pg->first)
		hear(pg);	/* until now it owed nothing */
	g->answered = answered;
	g->arg = arg;
	if (pg->last)
		pg->last->next = g;
	else
		pg->first = g;
	pg->last = g;
	if (!pg->in_callback || pg->conn)
		work(pg);
}

void
pg_limit_row(struct pg *pg, size_t bytes)
{
	pg->most_row = bytes;
}

bool
pg_is_idle(const struct pg *pg)
{
	return !pg->first;
}

unsigned
pg_connections(const struct pg *pg)
{
	return pg->connections;
}

struct cancel {
	uv_work_t work;
	PGcancel *cancel;
};

static void
cancel_work(uv_work_t *work)
{
	struct cancel *c = work->data;
	char buf[256];

	PQcancel(c->cancel, buf, sizeof buf);
}

static void
cancel_done(uv_work_t *work, int status)
{
	struct cancel *c = work->data;

	PQfreeCancel(c->cancel);
	free(c);
}

void
pg_cancel(struct pg *pg)
{
	struct cancel *c;
	PGcancel *cancel;

	if (!pg->ready || threads_check(&(struct err){ 0 }) || !(cancel = PQgetCancel(pg->conn)))
		return;
	c = xcalloc(1, sizeof *c);
	c->cancel = cancel;
	c->work.data = c;
	uv_queue_work(loop_uv(pg->loop), &c->work, cancel_work, cancel_done);
}
