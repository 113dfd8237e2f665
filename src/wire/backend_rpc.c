/* backend_rpc.c - results as messages to the clients' own queues.
 *
 * The queue is the client's: nothing is declared, and where it has gone the
 * broker drops the message, as nobody waits for it any more.  What the broker
 * has not confirmed is sent again. */
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "wire/backend_inner.h"
#include "wire/letter.h"
#include "wire/wire.h"

enum {
	AT_ONCE = 1000,			/* not confirmed yet */
	SHORT_TEXT = 255,		/* bytes, of a name in AMQP */
	TRANSIENT = 1,			/* delivery_mode */
};

/* The transport confirms for as long as it lives, which may be longer than we. */
struct slip {
	struct work *work;		/* NULL: nobody asks any more */
};

struct rpc_lane {
	struct lane lane;
	struct transport *transport;
	size_t under_way;
};

static void
confirmed(void *arg, bool ok)
{
	struct slip *slip = arg;
	struct work *w = slip->work;
	const struct err *trouble;
	struct rpc_lane *lane;
	struct err err;

	free(slip);
	if (!w)
		return;
	w->slip = NULL;
	lane = (struct rpc_lane *)w->lane;
	lane->under_way--;
	if (ok) {
		lane_is_well(&lane->lane);
		work_stored(w, true);
		return;
	}
	trouble = lane->transport->trouble(lane->transport);
	if (trouble)
		err = *trouble;
	err_class(&err, ERR_TEMPFAIL, "%s", trouble ? trouble->message :
	    "the broker has not confirmed the message");
	work_refused(w, &err);
}

static const char *
fitting(const char *text)
{
	return text && strlen(text) <= SHORT_TEXT ? text : NULL;
}

static void
begin(struct lane *lane, struct work *w)
{
	struct rpc_lane *rpc = (struct rpc_lane *)lane;
	struct celery_envelope e = { .content_type = CELERY_CONTENT_TYPE,
		.content_encoding = CELERY_CONTENT_ENCODING,
		.correlation_id = fitting(w->correlation_id ? w->correlation_id : w->id),
		.delivery_mode = TRANSIENT, .headers = json_object(),
		.body = str_text(&w->text), .body_len = w->text.len };
	struct post post = { .exchange = "", .routing_key = w->reply_to, .envelope = &e };

	w->slip = xmalloc(sizeof *w->slip);
	w->slip->work = w;
	rpc->under_way++;
	rpc->transport->post(rpc->transport, &post, confirmed, w->slip);
	json_decref(e.headers);
}

static bool
is_full(const struct lane *lane)
{
	return ((const struct rpc_lane *)lane)->under_way >= AT_ONCE;
}

static void
stop(struct lane *lane)
{
	for (struct work *w = lane->first; w; w = w->after)
		if (w->slip)
			w->slip->work = NULL;
}

static const struct lane_kind kind = { "rpc", is_full, begin, stop };

struct lane *
lane_rpc(struct loop *loop, struct transport *transport)
{
	struct rpc_lane *lane = xcalloc(1, sizeof *lane);

	lane->transport = transport;
	lane_init(&lane->lane, &kind, loop);
	return &lane->lane;
}
