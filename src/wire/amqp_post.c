/* amqp_post.c - messages out that are no jobs: tasks for whoever takes them,
 * and results for those who wait.
 *
 * They are copied, for whoever sends one has no reason to keep it.  A post to a
 * queue of tasks waits until that is declared; one to an exchange, or to a
 * queue that belongs to a client, goes out as it is.  The names of queues come
 * from clients, so there is a limit to how many are declared. */
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

void
publish_post(struct transport *transport, const struct post *post,
    void (*confirmed)(void *, bool), void *arg)
{
	struct wire *w = (struct wire *)transport;
	struct parcel *p = xcalloc(1, sizeof *p);

	p->queue = place(w, post);
	p->posted = copy(post);
	p->confirmed = confirmed;
	p->arg = arg;
	publish_parcel(w, p);
}
