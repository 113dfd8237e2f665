/* socket.c - non-blocking TCP, perhaps with TLS.
 *
 * Two ways lead in, ready_for() when the network has something, and
 * flush_turn() just before the loop waits again.  Whoever hears of an event may
 * free the socket: after each, we look whether it is over. */
#include "io/socket.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>
#include "base/err.h"
#include "base/mem.h"
#include "io/bytes.h"
#include "io/dial.h"
#include "io/loop.h"
#include "io/tls.h"

enum {
	CHUNK = 64 << 10,		/* of one recv() */
	TURN = 1 << 20,			/* bytes each way before others have their turn */
};

enum stage { DIALLING, SHAKING_HANDS, CONNECTED };

struct socket {
	struct loop *loop;
	char *host, *ca_file;
	bool with_tls, tls_insecure;
	const struct socket_events *events;
	void *arg;
	enum stage stage;
	struct dial *dial;
	int fd;
	struct watch *watch;
	uv_prepare_t flush;		/* runs before the loop waits */
	struct tls *tls;
	struct bytes in, out, cipher;
	bool over;			/* nothing more is told */
	bool freed;
	int busy;
};

/* --- the end --- */

static void
free_memory(uv_handle_t *flush)
{
	free(flush->data);
}

static void
disconnect(struct socket *s)
{
	watch_free(s->watch);
	s->watch = NULL;
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	tls_free(s->tls);
	s->tls = NULL;
}

static void
destroy(struct socket *s)
{
	disconnect(s);
	dial_free(s->dial);
	bytes_done(&s->in);
	bytes_done(&s->out);
	bytes_done(&s->cipher);
	free(s->host);
	free(s->ca_file);
	uv_close((uv_handle_t *)&s->flush, free_memory);
}

static void
leave(struct socket *s)
{
	if (--s->busy == 0 && s->freed)
		destroy(s);
}

static void
fail(struct socket *s, const struct err *err)
{
	struct err copy = *err;

	if (s->over)
		return;
	s->over = true;
	disconnect(s);
	uv_prepare_stop(&s->flush);
	s->events->closed(s->arg, &copy);
}

static void
fail_with(struct socket *s, const char *what, int error)
{
	struct err err;

	err_class(&err, ERR_TEMPFAIL, "%s: %s", what, strerror(error));
	fail(s, &err);
}

/* --- out --- */

static size_t
waiting(const struct socket *s)
{
	return bytes_len(&s->out) + bytes_len(&s->cipher);
}

/* The bytes that go to the network next. */
static struct bytes *
outgoing(struct socket *s, struct err *err)
{
	if (!s->tls)
		return &s->out;
	if (bytes_len(&s->cipher) == 0 && tls_encrypt(s->tls, &s->out, &s->cipher, err))
		return NULL;
	return &s->cipher;
}

/* Send what goes, at most a turn's worth. */
static int
push(struct socket *s, struct err *err)
{
	struct bytes *b = NULL;
	size_t sent = 0, more;

	while (sent < TURN && (b = outgoing(s, err)) && bytes_len(b)) {
		ssize_t n = send(s->fd, bytes_at(b), bytes_len(b), MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		if (n < 0)
			return err_class(err, ERR_TEMPFAIL, "the connection is lost: %s",
			    strerror(errno));
		bytes_drop(b, (size_t)n);
		sent += (size_t)n;
	}
	if (!b)
		return -1;
	/* Under TLS what is still to be encrypted waits, too. */
	more = s->stage == CONNECTED ? waiting(s) : bytes_len(b);
	watch_set(s->watch, WATCH_READ | (more ? WATCH_WRITE : 0));
	return 0;
}

static void receive(struct socket *);

static void
flush(struct socket *s)
{
	struct err err;

	if (s->over || s->fd < 0 || !push(s, &err))
		return;
	/* The peer may have said why it closes. */
	receive(s);
	fail(s, &err);
}

static void
flush_turn(uv_prepare_t *prepare)
{
	struct socket *s = prepare->data;

	uv_prepare_stop(prepare);
	s->busy++;
	flush(s);
	leave(s);
}

/* --- in --- */

static void
shake_hands(struct socket *s)
{
	struct err err;
	int rc = tls_shake_hands(s->tls, &err);

	/* An alert that says why is for the peer to read. */
	if (rc < 0) {
		struct err lost;

		push(s, &lost);
		fail(s, &err);
		return;
	}
	if (rc == 0) {
		flush(s);
		return;
	}
	s->stage = CONNECTED;
	s->events->connected(s->arg);
	if (!s->over)
		flush(s);
}

static void
hand_over(struct socket *s)
{
	size_t used;

	if (s->over || bytes_len(&s->in) == 0)
		return;
	used = s->events->arrived(s->arg, bytes_at(&s->in), bytes_len(&s->in));
	bytes_drop(&s->in, used);
}

/* Bytes of TLS have arrived. */
static void
take_cipher(struct socket *s, const void *data, size_t n)
{
	struct err err;
	int rc;

	tls_feed(s->tls, data, n);
	if (s->stage == SHAKING_HANDS)
		shake_hands(s);
	if (s->over || s->stage != CONNECTED)
		return;
	rc = tls_decrypt(s->tls, &s->in, &err);
	hand_over(s);
	if (rc && !s->over) {
		if (rc > 0)
			err_class(&err, ERR_TEMPFAIL, "the server has closed the connection");
		fail(s, &err);
	}
}

/* All that is there, but no more than a turn's worth. */
static void
receive(struct socket *s)
{
	uint8_t cipher[CHUNK];
	size_t total = 0;

	while (!s->over && s->fd >= 0 && total < TURN) {
		uint8_t *to = s->tls ? cipher : bytes_reserve(&s->in, CHUNK);
		ssize_t n = recv(s->fd, to, CHUNK, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n < 0) {
			fail_with(s, "the connection is lost", errno);
			return;
		}
		if (n == 0) {
			struct err err;

			err_class(&err, ERR_TEMPFAIL, "the server has closed the connection");
			fail(s, &err);
			return;
		}
		total += (size_t)n;
		if (s->tls) {
			take_cipher(s, to, (size_t)n);
		} else {
			bytes_commit(&s->in, (size_t)n);
			hand_over(s);
		}
		if (n < CHUNK)
			return;
	}
}

/* --- the loop calls --- */

static void
ready_for(void *arg, int events)
{
	struct socket *s = arg;

	if (s->over)
		return;
	s->busy++;
	if (events & WATCH_READ)
		receive(s);
	if (events & WATCH_WRITE)
		flush(s);
	leave(s);
}

static void
begin_stream(struct socket *s, int fd)
{
	struct err err;

	s->fd = fd;
	s->watch = watch_new(s->loop, fd, ready_for, s);
	if (!s->watch) {
		fail_with(s, "cannot watch the connection", EMFILE);
		return;
	}
	watch_set(s->watch, WATCH_READ);
	s->stage = s->with_tls ? SHAKING_HANDS : CONNECTED;
	if (!s->with_tls) {
		s->events->connected(s->arg);
		return;
	}
	s->tls = tls_new(s->host, s->ca_file, s->tls_insecure, &err);
	if (s->tls)
		shake_hands(s);
	else
		fail(s, &err);
}

static void
dialled(void *arg, int fd, const struct err *err)
{
	struct socket *s = arg;

	s->busy++;
	if (err)
		fail(s, err);
	else
		begin_stream(s, fd);
	leave(s);
}

/* --- for the owner --- */

struct socket *
socket_new(struct loop *loop, const struct socket_settings *settings,
    const struct socket_events *events, void *arg)
{
	struct socket *s = xcalloc(1, sizeof *s);

	s->loop = loop;
	s->host = xstrdup(settings->host);
	s->with_tls = settings->tls;
	s->ca_file = xstrdup(settings->ca_file);
	s->tls_insecure = settings->tls_insecure;
	s->events = events;
	s->arg = arg;
	s->fd = -1;
	uv_prepare_init(loop_uv(loop), &s->flush);
	s->flush.data = s;
	s->dial = dial_new(loop, s->host, settings->port, settings->patience, dialled, s);
	return s;
}

void
socket_free(struct socket *s)
{
	if (!s)
		return;
	s->over = s->freed = true;
	disconnect(s);
	uv_prepare_stop(&s->flush);
	if (s->busy == 0)
		destroy(s);
}

uint8_t *
socket_reserve(struct socket *s, size_t n)
{
	return bytes_reserve(&s->out, n);
}

void
socket_commit(struct socket *s, size_t n)
{
	bytes_commit(&s->out, n);
	if (s->over)
		bytes_clear(&s->out);
	else
		uv_prepare_start(&s->flush, flush_turn);
}

size_t
socket_backlog(const struct socket *s)
{
	return waiting(s);
}

void
socket_send_now(struct socket *s)
{
	struct err err;

	if (!s->over && s->stage == CONNECTED)
		push(s, &err);
}

void
socket_read_now(struct socket *s)
{
	s->busy++;
	if (s->stage == CONNECTED)
		receive(s);
	leave(s);
}

const char *
socket_stage(const struct socket *s)
{
	switch (s->stage) {
	case DIALLING:
		return dial_stage(s->dial);
	case SHAKING_HANDS:
		return "agreeing on TLS";
	default:
		return "connected";
	}
}
