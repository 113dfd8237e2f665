/* request_delay.c - tasks that are not due yet.
 *
 * They are kept in the books, and their messages acknowledged once they are
 * there: so they take no place from others, outlive the worker, and no broker
 * takes them back because they were held for too long.  When one is due its
 * message is sent to its queue again, without an eta, and its row goes when that
 * is confirmed.  Whichever worker comes first does it, under a lease. */
#include <stdlib.h>
#include <string.h>
#include "base/conf.h"
#include "base/json.h"
#include "base/log.h"
#include "engine/request_inner.h"
#include "engine/worker.h"
#include "io/loop.h"
#include "io/pg.h"
#include "store/task.h"
#include "wire/wire.h"

enum {
	DELAY_AT_ONCE = 256,		/* rows of one statement */
	SHOWN_MOST = 10000,		/* scheduled ones that can be looked at */
};
#define DELAY_BYTES (8 * 1024 * 1024)
#define SHOWN_BYTES ((size_t)16 * 1024 * 1024)

/* --- into the books --- */

void
delay_take(struct request *r)
{
	r->state = REQUEST_SCHEDULED;
	vec_push(&r->of->delaying, r);
}

struct kept {			/* what one of them is written down from */
	struct celery_envelope envelope;
	char *properties;
};

static void
describe(const struct request *r, struct kept *kept, struct delayed_task *row)
{
	struct celery_message m = *request_message(r);
	struct celery_envelope *e = &kept->envelope;
	json_t *json;

	m.eta = INSTANT_NEVER;		/* it will be then */
	celery_encode(&m, clock_now(), e);
	json = json_pack("{s:s,s:s,s:s,s:s,s:i,s:O}", "content_type", e->content_type,
	    "content_encoding", e->content_encoding, "correlation_id", e->correlation_id,
	    "reply_to", e->reply_to, "priority", e->priority, "headers", e->headers);
	kept->properties = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	*row = (struct delayed_task){ .task_id = m.id, .task = m.task, .queue = r->queue,
		.retries = m.retries, .due = request_message(r)->eta,
		.properties = kept->properties, .body = e->body };
}

static void
show_scheduled(struct requests *all, struct request *r)
{
	size_t bytes = request_bytes(r);

	if (all->scheduled.n == SHOWN_MOST || all->scheduled_bytes + bytes > SHOWN_BYTES) {
		request_free(r);
		return;
	}
	vec_push(&all->scheduled, r);
	all->scheduled_bytes += bytes;
}

/* At the latest with the next sweep: others may have left some. */
static void
look_in(struct requests *all, span wait)
{
	span sweep = all->worker->conf->sweep;

	timer_start(all->due, wait >= 0 && wait < sweep ? wait : sweep);
}

static void
delayed(void *arg, const struct pg_answer *answer)
{
	struct requests *all = arg;
	size_t n = all->delaying_asked;

	all->delaying_asked = 0;
	if (answer->err) {
		worker_note_trouble(all->worker, "keeping delayed tasks", answer->err);
		return;
	}
	worker_note_success(all->worker);
	for (size_t i = 0; i < n; i++) {
		request_acknowledge(all->delaying.at[i]);
		show_scheduled(all, all->delaying.at[i]);
	}
	all->delaying.n -= n;
	memmove(all->delaying.at, all->delaying.at + n,
	    all->delaying.n * sizeof *all->delaying.at);
	if (!all->due_asked)
		look_in(all, 0);	/* which tells when the first of all is due */
}

static void
keep_delayed(struct requests *all)
{
	struct worker *w = all->worker;
	struct kept kept[DELAY_AT_ONCE];
	struct delayed_task rows[DELAY_AT_ONCE] = { 0 };
	size_t n = 0, bytes = 0;

	for (; n < all->delaying.n && n < DELAY_AT_ONCE && bytes < DELAY_BYTES; n++) {
		describe(all->delaying.at[n], &kept[n], &rows[n]);
		bytes += kept[n].envelope.body_len;
	}
	all->delaying_asked = n;
	task_say_delay(w->claims, rows, n);
	pg_ask(w->claims, delayed, all);
	for (size_t i = 0; i < n; i++) {
		celery_envelope_done(&kept[i].envelope);
		free(kept[i].properties);
	}
}

/* --- out of them --- */

struct sending {
	struct requests *of;
	int64_t id;
	struct delayed_task row;	/* its texts are ours */
};

static void
sending_free(struct sending *s)
{
	free((char *)(uintptr_t)s->row.queue);
	free((char *)(uintptr_t)s->row.properties);
	free((char *)(uintptr_t)s->row.body);
	free(s);
}

static void confirmed(void *arg, bool ok);

static bool
send_again(struct sending *s)
{
	struct transport *t = s->of->worker->set.transport;
	json_error_t error;
	/* A client's headers may hold a NUL. */
	json_t *p = json_loads(s->row.properties, JSON_ALLOW_NUL, &error);
	struct celery_envelope e = {
		.content_type = json_string_value(json_object_get(p, "content_type")),
		.content_encoding = json_string_value(json_object_get(p, "content_encoding")),
		.correlation_id = json_string_value(json_object_get(p, "correlation_id")),
		.reply_to = json_string_value(json_object_get(p, "reply_to")),
		.priority = p ? (int)json_integer_value(json_object_get(p, "priority")) : -1,
		.delivery_mode = CELERY_PERSISTENT,
		.headers = json_object_get(p, "headers"),
		.body = s->row.body, .body_len = strlen(s->row.body),
	};
	struct post post = { .exchange = "", .routing_key = s->row.queue, .declare = true,
		.mandatory = true, .envelope = &e };

	if (p)
		t->post(t, &post, confirmed, s);
	else
		log_error("a delayed task cannot be read", "id", log_number(s->id),
		    "error", error.text);
	json_decref(p);
	return p != NULL;
}

/* One that is not confirmed stays, and is due again when its lease runs out. */
static void
confirmed(void *arg, bool ok)
{
	struct sending *s = arg;
	struct requests *all = s->of;

	all->sending--;
	if (ok)
		vec_push(&all->sent, s->id);
	sending_free(s);
}

static void
forget_shown(struct requests *all)
{
	instant now = clock_now();
	size_t kept = 0;

	for (size_t i = 0; i < all->scheduled.n; i++) {
		struct request *r = all->scheduled.at[i];

		if (request_message(r)->eta > now)
			all->scheduled.at[kept++] = r;
		else {
			all->scheduled_bytes -= request_bytes(r);
			request_free(r);
		}
	}
	all->scheduled.n = kept;
}

static void
due_answered(void *arg, const struct pg_answer *answer)
{
	struct requests *all = arg;
	size_t n;

	all->due_asked = false;
	if (answer->err) {
		worker_note_trouble(all->worker, "looking for delayed tasks", answer->err);
		look_in(all, -1);
		return;
	}
	worker_note_success(all->worker);
	n = task_count_due(answer);
	for (size_t i = 0; i < n; i++) {
		struct sending *s = xcalloc(1, sizeof *s);
		struct delayed_task row;

		task_read_due(answer, i, &row);
		s->of = all;
		s->id = row.id;
		s->row.queue = xstrdup(row.queue);
		s->row.properties = xstrdup(row.properties);
		s->row.body = xstrdup(row.body);
		all->sending++;
		if (!send_again(s)) {
			all->sending--;
			vec_push(&all->sent, s->id);
			sending_free(s);
		}
	}
	forget_shown(all);
	look_in(all, n == DELAY_AT_ONCE ? 0 : task_read_next(answer));
}

static void
look(void *arg)
{
	struct requests *all = arg;
	struct worker *w = all->worker;

	if (all->leaving || all->due_asked || w->stopping)
		return;
	if (w->waiting) {
		look_in(all, SECOND);
		return;
	}
	all->due_asked = true;
	task_say_due(w->claims, w->conf->lease, DELAY_AT_ONCE);
	pg_ask(w->claims, due_answered, all);
}

static void
forgotten(void *arg, const struct pg_answer *answer)
{
	struct requests *all = arg;

	if (answer->err)	/* their leases run out, and they are sent twice */
		worker_note_trouble(all->worker, "forgetting delayed tasks", answer->err);
}

void
delay_turn(struct requests *all)
{
	struct worker *w = all->worker;

	if (w->waiting)
		return;
	if (all->delaying.n && !all->delaying_asked)
		keep_delayed(all);
	if (all->sent.n) {
		task_say_sent(w->claims, all->sent.at, all->sent.n);
		pg_ask(w->claims, forgotten, all);
		all->sent.n = 0;
	}
}

void
delay_init(struct requests *all)
{
	all->due = timer_new(all->worker->loop, look, all);
	timer_start(all->due, 0);
}

void
delay_done(struct requests *all)
{
	for (size_t i = 0; i < all->delaying.n; i++)
		request_free(all->delaying.at[i]);
	vec_done(&all->delaying);
	for (size_t i = 0; i < all->scheduled.n; i++)
		request_free(all->scheduled.at[i]);
	vec_done(&all->scheduled);
	vec_done(&all->sent);
	timer_free(all->due);
}
