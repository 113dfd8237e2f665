/* amqp.c - an AMQP connection from its first byte to its last.
 *
 *	amqp_connect()   socket, TLS
 *	  "AMQP" 0 0 9 1 ----------------> broker
 *	  start-ok (who we are) <-- start
 *	  tune-ok, open         <-- tune
 *	  channel.open 1        <-- open-ok
 *	  ready                 <-- channel.open-ok
 *
 * What can end it (the socket, the broker, a deadline, a missed heartbeat, a
 * broken rule) comes to amqp_fail(), which tells `closed' once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/str.h"
#include "io/amqp_inner.h"
#include "io/loop.h"
#include "io/socket.h"

int
amqp_broken(struct err *err, const char *what)
{
	return err_class(err, ERR_TEMPFAIL, "the broker breaks the rules of AMQP: %s", what);
}

/* What a broker says may hold anything. */
char *
amqp_text(amqp_bytes_t b)
{
	char *raw = xstrndup(b.bytes ? b.bytes : "", b.len);
	struct str text = STR_INIT;

	str_visible(&text, raw);
	free(raw);
	return str_take(&text);
}

/* --- the end --- */

static void
disconnect(struct amqp *a)
{
	timer_stop(a->deadline);
	timer_stop(a->beat);
	timer_stop(a->soon);
	socket_free(a->socket);
	a->socket = NULL;
	a->state = AMQP_DOWN;
	a->blocked = a->doomed = false;
	for (int n = 1; n <= AMQP_CHANNELS; n++)
		channel_reset(&a->channels[n]);
}

static void
destroy(struct amqp *a)
{
	timer_free(a->deadline);
	timer_free(a->beat);
	timer_free(a->soon);
	for (int n = 1; n <= AMQP_CHANNELS; n++)
		channel_done(&a->channels[n]);
	empty_amqp_pool(&a->pool);
	amqp_url_done(&a->url);
	free(a->name);
	free(a->ca_file);
	free(a);
}

/* Events come between these two; an owner may free us in one. */
static void
enter(struct amqp *a)
{
	a->busy++;
}

static void
leave(struct amqp *a)
{
	if (--a->busy == 0 && a->freed)
		destroy(a);
}

static void
end(struct amqp *a, const struct err *err)
{
	enter(a);
	disconnect(a);
	AMQP_TELL(a, closed, err);
	leave(a);
}

void
amqp_fail(struct amqp *a, const struct err *err)
{
	struct err copy = *err;

	if (a->state == AMQP_DOWN)
		return;
	err_wrap(&copy, "broker %s:%d", a->url.host, a->url.port);
	end(a, &copy);
}

void
amqp_doom(struct amqp *a, const struct err *err)
{
	if (a->doomed)
		return;
	a->doomed = true;
	a->doom = *err;
	timer_start(a->soon, 0);
}

static void
doom_came(void *arg)
{
	struct amqp *a = arg;

	amqp_fail(a, &a->doom);
}

static void
deadline_came(void *arg)
{
	struct amqp *a = arg;
	char length[INSTANT_TEXT];
	struct err err;

	if (a->state == AMQP_CLOSING)
		err_class(&err, ERR_TEMPFAIL, "no answer to our goodbye");
	else
		err_class(&err, ERR_TEMPFAIL, "not ready within %s; it was %s",
		    clock_format_span(a->connect_timeout, length),
		    a->state == AMQP_CONNECTING ? socket_stage(a->socket) : "logging in");
	amqp_fail(a, &err);
}

/* --- saying --- */

void
amqp_say(struct amqp *a, int channel, amqp_method_number_t number, void *says)
{
	uint8_t *to = socket_reserve(a->socket, a->frame_max);
	int n = frame_put_method(to, a->frame_max, channel, number, says);
	struct err err;

	if (n < 0) {
		err_set(&err, "%s: a name is longer than 255 bytes, or its arguments than %zu",
		    amqp_method_name(number), a->frame_max);
		amqp_doom(a, &err);
		return;
	}
	socket_commit(a->socket, (size_t)n);
	a->last_out = clock_monotonic();
}

/* --- heartbeats --- */

/* A broker that reads nothing needs no more of them in the buffer. */
static void
say_heartbeat(struct amqp *a)
{
	if (socket_backlog(a->socket) == 0)
		socket_commit(a->socket, (size_t)frame_put(
		    socket_reserve(a->socket, FRAME_OVERHEAD), FRAME_HEARTBEAT, 0, NULL, 0));
	a->last_out = clock_monotonic();
}

/* Sleep until something has to be said, or should have been heard. */
static void
sleep_until_beat(struct amqp *a)
{
	span silent = a->last_in + 2 * a->heartbeat, say = a->last_out + a->heartbeat / 2;

	timer_start(a->beat, (silent < say ? silent : say) - clock_monotonic());
}

void
amqp_start_heartbeats(struct amqp *a)
{
	if (a->heartbeat)
		sleep_until_beat(a);
}

static void
beat(void *arg)
{
	struct amqp *a = arg;
	struct socket *before = a->socket;
	struct err err;

	/* If it is we who were stopped, the broker's beats lie there unread. */
	enter(a);
	if (clock_monotonic() >= a->last_in + 2 * a->heartbeat)
		socket_read_now(a->socket);
	if (a->freed || a->socket != before) {
		leave(a);
		return;
	}
	if (clock_monotonic() >= a->last_in + 2 * a->heartbeat) {
		err_class(&err, ERR_TEMPFAIL, "silent for two heartbeats (%d s)",
		    (int)(2 * a->heartbeat / SECOND));
		amqp_fail(a, &err);
	} else {
		if (clock_monotonic() >= a->last_out + a->heartbeat / 2)
			say_heartbeat(a);
		sleep_until_beat(a);
	}
	leave(a);
}

/* --- what the broker says of the connection --- */

void
amqp_became_ready(struct amqp *a)
{
	timer_stop(a->deadline);
	a->state = AMQP_READY;
	AMQP_TELL(a, ready);
}

static int
closed_by_broker(struct amqp *a, const amqp_connection_close_t *close, struct err *err)
{
	bool by_us = close->reply_code == AMQP_ACCESS_REFUSED ||
	    close->reply_code == AMQP_NOT_ALLOWED;
	char *text = amqp_text(close->reply_text);

	amqp_say(a, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &(amqp_connection_close_ok_t){ 0 });
	socket_send_now(a->socket);
	err_class(err, by_us ? ERR_CONFIG : ERR_TEMPFAIL, "it closed the connection: %s (code %d)",
	    text, close->reply_code);
	free(text);
	return -1;
}

static void
set_blocked(struct amqp *a, bool blocked, amqp_bytes_t why)
{
	char *reason = amqp_text(why);

	a->blocked = blocked;
	AMQP_TELL(a, blocked, blocked ? reason : NULL);
	free(reason);
}

static int
take_method(struct amqp *a, const struct frame *f, struct err *err)
{
	amqp_method_number_t number;
	void *said;

	if (frame_method(f->payload, &a->pool, &number, &said))
		return amqp_broken(err, "a method cannot be decoded");
	switch (number) {
	case AMQP_CONNECTION_CLOSE_METHOD:
		return closed_by_broker(a, said, err);
	case AMQP_CONNECTION_CLOSE_OK_METHOD:
		if (a->state != AMQP_CLOSING)
			break;
		end(a, NULL);
		return 0;
	case AMQP_CONNECTION_START_METHOD:
		if (a->state != AMQP_CONNECTING)
			break;
		return amqp_take_start(a, said, err);
	case AMQP_CONNECTION_TUNE_METHOD:
		if (a->state != AMQP_TUNING)
			break;
		return amqp_take_tune(a, said, err);
	case AMQP_CONNECTION_OPEN_OK_METHOD:
		if (a->state != AMQP_OPENING)
			break;
		a->state = AMQP_PREPARING;
		amqp_open_channel(a, 1);
		return 0;
	case AMQP_CONNECTION_BLOCKED_METHOD:
		set_blocked(a, true, ((amqp_connection_blocked_t *)said)->reason);
		return 0;
	case AMQP_CONNECTION_UNBLOCKED_METHOD:
		set_blocked(a, false, amqp_empty_bytes);
		return 0;
	}
	return amqp_broken(err, "a method out of place");
}

static int
take_frame(struct amqp *a, const struct frame *f, struct err *err)
{
	if (f->channel)
		return channel_take(a, f->channel, f, err);
	if (f->type == FRAME_HEARTBEAT)
		return 0;
	if (f->type != FRAME_METHOD)
		return amqp_broken(err, "a message on channel 0");
	return take_method(a, f, err);
}

/* --- events of the socket --- */

static void
connected(void *arg)
{
	struct amqp *a = arg;

	memcpy(socket_reserve(a->socket, 8), "AMQP\0\0\x9\x1", 8);
	socket_commit(a->socket, 8);
}

static size_t
arrived(void *arg, const uint8_t *p, size_t n)
{
	struct amqp *a = arg;
	struct socket *before = a->socket;
	size_t used = 0, taken;
	struct frame frame;
	struct err err;
	int rc;

	enter(a);
	a->last_in = clock_monotonic();
	while ((rc = frame_read(p + used, n - used, a->frame_max, &frame, &taken, &err)) > 0) {
		rc = take_frame(a, &frame, &err);
		recycle_amqp_pool(&a->pool);
		if (a->freed || a->socket != before)
			break;
		if (rc < 0)
			break;
		used += taken;
	}
	if (rc < 0 && !a->freed && a->socket == before)
		amqp_fail(a, &err);
	leave(a);
	return used;
}

static void
lost(void *arg, const struct err *err)
{
	struct amqp *a = arg;
	struct err why = *err;

	/* As brokers do that do not know "authentication_failure_close". */
	if (a->state == AMQP_TUNING)
		err_wrap(&why, "at the login (wrong password?)");
	amqp_fail(a, &why);
}

static const struct socket_events socket_events = { connected, arrived, lost };

/* --- for the owner --- */

struct amqp *
amqp_new(struct loop *loop, const struct amqp_settings *s, const struct amqp_events *events,
    void *arg, struct err *err)
{
	struct amqp_url url;
	struct amqp *a;

	if (amqp_url_parse(s->url, &url, err))
		return NULL;
	a = xcalloc(1, sizeof *a);
	a->loop = loop;
	a->url = url;
	a->name = xstrdup(s->name ? s->name : "tocsin");
	a->ca_file = xstrdup(s->ca_file && *s->ca_file ? s->ca_file : NULL);
	a->tls_insecure = s->tls_insecure;
	a->connect_timeout = s->connect_timeout ? s->connect_timeout : 10 * SECOND;
	a->wanted_heartbeat = s->heartbeat;
	a->high_water = s->high_water ? s->high_water : (size_t)4 << 20;
	a->largest_body = s->largest_body ? s->largest_body : (size_t)128 << 20;
	a->events = events;
	a->arg = arg;
	a->frame_max = FRAME_MAX;
	a->deadline = timer_new(loop, deadline_came, a);
	a->beat = timer_new(loop, beat, a);
	a->soon = timer_new(loop, doom_came, a);
	init_amqp_pool(&a->pool, 4096);
	return a;
}

void
amqp_free(struct amqp *a)
{
	if (!a)
		return;
	disconnect(a);
	a->freed = true;
	if (a->busy == 0)
		destroy(a);
}

void
amqp_connect(struct amqp *a)
{
	struct socket_settings s = { .host = a->url.host, .port = a->url.port,
		.patience = a->connect_timeout, .tls = a->url.tls, .ca_file = a->ca_file,
		.tls_insecure = a->tls_insecure };

	if (a->state != AMQP_DOWN)
		return;
	a->state = AMQP_CONNECTING;
	a->frame_max = FRAME_MAX;
	a->heartbeat = 0;
	timer_start(a->deadline, a->connect_timeout);
	a->socket = socket_new(a->loop, &s, &socket_events, a);
}

bool
amqp_is_ready(const struct amqp *a)
{
	return a->state == AMQP_READY;
}

void
amqp_close(struct amqp *a, span limit)
{
	amqp_connection_close_t close = { .reply_code = AMQP_REPLY_SUCCESS,
		.reply_text = amqp_cstring_bytes("goodbye") };
	struct err err;

	if (a->state == AMQP_DOWN || a->state == AMQP_CLOSING)
		return;
	if (a->state == AMQP_READY) {
		amqp_say(a, 0, AMQP_CONNECTION_CLOSE_METHOD, &close);
		timer_start(a->deadline, limit);
	} else {
		/* Nobody to take leave of; the owner is told all the same. */
		err_set(&err, "closed before it was ready");
		amqp_doom(a, &err);
	}
	a->state = AMQP_CLOSING;
}

size_t
amqp_backlog(const struct amqp *a)
{
	return a->socket ? socket_backlog(a->socket) : 0;
}

void
amqp_send_now(struct amqp *a)
{
	socket_send_now(a->socket);
}

bool
amqp_is_full(const struct amqp *a)
{
	return a->state != AMQP_READY || a->blocked || amqp_backlog(a) >= a->high_water;
}

size_t
amqp_frame_max(const struct amqp *a)
{
	return a->frame_max;
}
