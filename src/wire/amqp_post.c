/* amqp_post.c - messages out that are no jobs: tasks for whoever takes them,
 * and results for those who wait.
 *
 * They are copied, for whoever sends one has no reason to keep it.  A post to a
 * queue of tasks waits until that is declared; one to an exchange, or to a
 * queue that belongs to a client, goes out as it is.  The names of queues come
 * from clients, so there is a limit to how many are declared. */
#include <stdlib.h>
#include <string.h>
#include "base/str.h"
#include "wire/amqp_inner.h"

enum { QUEUES_MOST = 1000 };

struct posted {
	char *exchange, *routing_key;
	bool mandatory;
	struct celery_envelope envelope;	/* its texts are the arena's */
	struct arena arena;
};

static const char *
keep(struct arena *arena, const char *text)
{
	return text ? arena_strndup(arena, text, strlen(text)) : NULL;
}

static struct posted *
copy(const struct post *post)
{
	struct posted *p = xcalloc(1, sizeof *p);
	const struct celery_envelope *from = post->envelope;
	struct celery_envelope *e = &p->envelope;

	p->exchange = xstrdup(post->exchange);
	p->routing_key = xstrdup(post->routing_key);
	p->mandatory = post->mandatory;
	e->content_type = keep(&p->arena, from->content_type);
	e->content_encoding = keep(&p->arena, from->content_encoding);
	e->correlation_id = keep(&p->arena, from->correlation_id);
	e->reply_to = keep(&p->arena, from->reply_to);
	e->expiration = keep(&p->arena, from->expiration);
	e->priority = from->priority;
	e->delivery_mode = from->delivery_mode;
	e->headers = json_incref(from->headers);
	e->body = arena_strndup(&p->arena, from->body, from->body_len);
	e->body_len = from->body_len;
	return p;
}

void
posted_free(struct posted *p)
{
	if (!p)
		return;
	json_decref(p->envelope.headers);
	arena_done(&p->arena);
	free(p->exchange);
	free(p->routing_key);
	free(p);
}

void
posted_describe(const struct posted *p, struct arena *arena, amqp_basic_properties_t *props,
    struct amqp_message *out)
{
	properties_of_envelope(&p->envelope, arena, props);
	out->exchange = p->exchange;
	out->routing_key = p->routing_key;
	out->mandatory = p->mandatory;
	out->body = p->envelope.body;
	out->len = p->envelope.body_len;
}

/* One place for all that is not declared. */
static struct wire_queue *
alien_queue(struct wire *w)
{
	struct wire_queue *q = queue_get(&w->out, "", true);

	q->alien = true;
	q->state = QUEUE_KNOWN;
	return q;
}

static struct wire_queue *
place(struct wire *w, const struct post *post)
{
	if (!post->declare || !*post->routing_key || *post->exchange ||
	    (!queue_find(&w->out, post->routing_key) && w->out.queues.n >= QUEUES_MOST))
		return alien_queue(w);
	return queue_get(&w->out, post->routing_key, false);
}

bool
posted_has_exchange(const struct parcel *p)
{
	return p->posted && *p->posted->exchange;
}

bool
posted_is_named(const struct parcel *p, const char *error)
{
	char *name = posted_has_exchange(p) ? xasprintf("exchange '%s'", p->posted->exchange) : NULL;
	bool is = name && strstr(error, name);

	free(name);
	return is;
}

/* The names in headers are short texts in AMQP. */
static bool
names_fit(const json_t *v)
{
	const char *name;
	json_t *part;
	size_t i;

	json_object_foreach((json_t *)v, name, part)
		if (strlen(name) > AMQP_NAME_MOST || !names_fit(part))
			return false;
	json_array_foreach(v, i, part)
		if (!names_fit(part))
			return false;
	return true;
}

/* -1 with the reason: no broker would take it. */
static int
check(struct wire *w, const struct post *post, struct err *err)
{
	if (strlen(post->exchange) > AMQP_NAME_MOST || strlen(post->routing_key) > AMQP_NAME_MOST)
		return err_set(err, "the name of a queue, an exchange or a routing key is longer "
		    "than %d bytes", AMQP_NAME_MOST);
	if (post->declare && !*post->routing_key)
		return err_set(err, "the name of a queue is empty");
	if (post->declare && !*post->exchange && !queue_find(&w->out, post->routing_key) &&
	    w->out.queues.n >= QUEUES_MOST)
		return err_set(err, "more than %d queues are named by clients", QUEUES_MOST);
	if (!names_fit(post->envelope->headers))
		return err_set(err, "the name of a header is longer than %d bytes", AMQP_NAME_MOST);
	return 0;
}

void
publish_post(struct transport *transport, const struct post *post,
    void (*confirmed)(void *, bool), void *arg)
{
	struct wire *w = (struct wire *)transport;
	struct parcel *p = xcalloc(1, sizeof *p);
	struct err err;

	p->confirmed = confirmed;
	p->hopeless = post->hopeless;
	p->arg = arg;
	if (p->hopeless && check(w, post, &err)) {
		publish_give_up(w, p, &err);
		return;
	}
	p->queue = place(w, post);
	p->posted = copy(post);
	publish_parcel(w, p);
}
