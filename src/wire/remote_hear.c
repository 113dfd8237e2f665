/* remote_hear.c - what others say to a worker.
 *
 * Requests come from the worker's pidbox; events of other workers move the clock
 * and call elections; and at the beginning of a connection everybody is asked
 * ("hello") what tasks have been revoked, for whoever was away has not heard of
 * it.  All of it is taken without acknowledgement, and none of it is trusted to
 * be well formed. */
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "base/log.h"
#include "celery/control.h"
#include "celery/message.h"
#include "io/loop.h"
#include "wire/remote_inner.h"

#define MINGLING SECOND
enum { EVENTS_MOST = 1024 * 1024 };	/* bytes of others' events that are looked into */

/* Told of at 1, 2, 4, 8 ... */
static void
note_garbage(struct remote *r, const char *what, const char *why)
{
	r->garbage++;
	if ((r->garbage & (r->garbage - 1)) == 0)
		log_warn("a message of remote control is not understood", "what", what, "error", why,
		    "so_far", log_number((int64_t)r->garbage));
}

/* --- requests --- */

/* True: VALUE is the answer. */
static bool
answer_hello(struct remote *r, const struct celery_control *request, struct str *value)
{
	const char *from = celery_control_text(request->arguments, "from_node");
	const json_t *map = json_object_get(request->arguments, "revoked");

	if (!from) {
		celery_control_raised(value, "TypeError",
		    "hello() missing 1 required positional argument: 'from_node'");
		return true;
	}
	if (!strcmp(from, r->node)) {
		str_puts(value, "null");
		return true;
	}
	celery_control_each_revoked(map, r->set.revoked, r->set.arg);
	str_puts(value, "{\"revoked\": ");
	r->set.say_revoked(r->set.arg, value);
	str_printf(value, ", \"clock\": %" JSON_INTEGER_FORMAT "}",
	    (json_int_t)remote_step_clock(r));
	return true;
}

static void
take_request(struct remote *r, const struct celery_envelope *e)
{
	struct celery_control request = { 0 };
	struct refusal refusal;
	struct str value = STR_INIT;
	bool answers;
	int rc = celery_control_read(&request, e, r->node, &refusal);

	remote_adjust_clock(r, request.clock);
	if (rc < 0)
		note_garbage(r, "a request", refusal.err.message);
	if (rc > 0) {
		log_debug("remote control", "method", request.method);
		answers = !strcmp(request.method, "hello") ? answer_hello(r, &request, &value) :
		    r->set.asked(r->set.arg, &request, &value);
		if (answers && request.reply_exchange)
			remote_answer(r, &request, &value);
	}
	celery_control_done(&request);
	str_done(&value);
}

/* --- events of others --- */

static void
take_event(struct remote *r, const struct celery_envelope *e, struct arena *arena)
{
	const json_t *from = e->headers ? json_object_get(e->headers, "hostname") : NULL;
	struct celery_election election;
	int64_t clock;

	if (e->body_len > EVENTS_MOST)
		return;
	if (json_is_string(from) && !strcmp(json_string_value(from), r->node))
		return;		/* our own come back to us */
	if (celery_event_read(e->body, e->body_len, arena, &clock, &election)) {
		note_garbage(r, "an event", "it is no JSON of events");
		return;
	}
	remote_adjust_clock(r, clock);
	if (!election.id)
		return;
	/* In this order: who counts the votes must have all candidates by then. */
	remote_stand(r, &election);
	remote_tell_elect_ack(r, election.id);
}

/* --- mingling --- */

/* What we say to everybody, once it can be answered. */
void
hear_may_hello(struct remote *r)
{
	struct str revoked = STR_INIT, arguments = STR_INIT, body = STR_INIT;
	struct uuid ticket = uuid_v4();
	json_t *headers;

	if (r->mingled || r->said_hello || !r->may_hello || !r->telling)
		return;
	uuid_format(&ticket, r->ticket);
	r->set.say_revoked(r->set.arg, &revoked);
	str_puts(&arguments, "{\"from_node\": ");
	json_append_text(&arguments, r->node, strlen(r->node));
	str_printf(&arguments, ", \"revoked\": %s}", str_text(&revoked));
	celery_control_request(&body, "hello", str_text(&arguments), r->ticket, r->oid);
	headers = json_pack("{s:I, s:f}", "clock", (json_int_t)remote_step_clock(r), "expires",
	    (double)(clock_now() + MINGLING) / SECOND);
	r->said_hello = remote_publish(r, REMOTE, CELERY_PIDBOX, "", headers, &body,
	    CELERY_PERSISTENT);
	json_decref(headers);
	str_done(&revoked);
	str_done(&arguments);
	str_done(&body);
}

static void
take_hello(struct remote *r, const struct celery_envelope *e)
{
	const json_t *ticket = e->headers ? json_object_get(e->headers, "ticket") : NULL;
	int64_t clock = 0;
	json_t *map;

	if (r->mingled || !json_is_string(ticket) || strcmp(json_string_value(ticket), r->ticket))
		return;
	if (!(map = celery_control_read_hello(e->body, e->body_len, r->node, &clock)))
		return;
	remote_adjust_clock(r, clock);
	celery_control_each_revoked(map, r->set.revoked, r->set.arg);
	log_debug("another worker has told what is revoked", "tasks",
	    log_number((int64_t)json_object_size(map)));
	json_decref(map);
}

void
hear_begin(struct remote *r)
{
	r->mingled = r->may_hello = r->said_hello = false;
	timer_start(r->mingling, MINGLING);
}

/* Our mailbox ends with its consumer. */
void
hear_mingling_over(void *arg)
{
	struct remote *r = arg;

	r->mingled = true;
	if (r->may_hello)
		amqp_cancel(r->wire->in.amqp, REMOTE, HELLO_TAG);
	r->may_hello = false;
}

/* --- whatever comes --- */

static bool
is_for(const struct amqp_delivery *d, const char *tag)
{
	return d->consumer.len == strlen(tag) && !memcmp(d->consumer.bytes, tag, d->consumer.len);
}

void
hear_delivered(struct remote *r, const struct amqp_delivery *d)
{
	struct celery_envelope e = { 0 };
	struct arena arena = { 0 };
	struct refusal refusal;

	if (consume_read_envelope(d, &arena, &e, &refusal))
		note_garbage(r, "a message", refusal.err.message);
	else if (is_for(d, PIDBOX_TAG))
		take_request(r, &e);
	else if (is_for(d, GOSSIP_TAG))
		take_event(r, &e, &arena);
	else if (is_for(d, HELLO_TAG))
		take_hello(r, &e);
	json_decref(e.headers);
	arena_done(&arena);
}
