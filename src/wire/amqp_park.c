/* amqp_park.c - what cannot be understood is put aside, where a person finds it.
 *
 * It is published to "<queue>.parked" with its own headers, so that it can be
 * moved back, and the reason beside them; the original is acknowledged when
 * that is confirmed.  Until then the broker counts it against our prefetch, so
 * there are never many of them here. */
#include <string.h>
#include "base/log.h"
#include "base/str.h"
#include "io/loop.h"
#include "wire/amqp_inner.h"

enum { BODY_MOST = 64 * 1024 };

struct parked {
	struct wire *wire;
	size_t place;
	struct wire_queue *queue;	/* that it goes to */
	unsigned epoch;			/* of the original, and its number */
	uint64_t tag;
	char *from, *content_type, *content_encoding;
	json_t *headers;		/* NULL: none, or not to be understood */
	char *word, *error;
	char *body;
	size_t len, whole;
};

static void
parked_free(struct parked *p)
{
	struct wire *w = p->wire;
	struct parked *last = w->parking.at[--w->parking.n];

	w->parking.at[last->place = p->place] = last;
	free(p->from);
	free(p->content_type);
	free(p->content_encoding);
	json_decref(p->headers);
	free(p->word);
	free(p->error);
	free(p->body);
	free(p);
}

static void confirmed(void *arg, bool ok);

static void
publish_parked(struct parked *p)
{
	struct parcel *parcel = xcalloc(1, sizeof *parcel);

	parcel->queue = p->queue;
	parcel->parked = p;
	parcel->confirmed = confirmed;
	parcel->arg = p;
	publish_parcel(p->wire, parcel);
}

static void
confirmed(void *arg, bool ok)
{
	struct parked *p = arg;

	if (ok)
		consume_ack_tag(p->wire, p->epoch, p->tag);
	if (ok || p->epoch != p->wire->epoch)	/* else it comes again by itself */
		parked_free(p);
	else
		publish_parked(p);
}

static char *
text_of(const amqp_basic_properties_t *props, amqp_flags_t flag, amqp_bytes_t b)
{
	return props && props->_flags & flag ? xstrndup(b.len ? b.bytes : "", b.len) : NULL;
}

void
park(struct wire *w, const char *queue, const struct amqp_delivery *d,
    const struct refusal *refusal)
{
	const amqp_basic_properties_t *props = d->properties;
	struct parked *p = xcalloc(1, sizeof *p);
	char *name = xasprintf("%s.parked", queue);

	log_warn("a message cannot be understood, it is parked", "queue", queue,
	    "reason", refusal_word(refusal->reason), "error", refusal->err.message);
	p->wire = w;
	p->place = w->parking.n;
	vec_push(&w->parking, p);
	p->queue = queue_get(&w->out, name, true);
	p->epoch = w->epoch;
	p->tag = d->tag;
	p->from = xstrdup(queue);
	p->content_type = text_of(props, AMQP_BASIC_CONTENT_TYPE_FLAG,
	    props ? props->content_type : amqp_empty_bytes);
	p->content_encoding = text_of(props, AMQP_BASIC_CONTENT_ENCODING_FLAG,
	    props ? props->content_encoding : amqp_empty_bytes);
	if (props && props->_flags & AMQP_BASIC_HEADERS_FLAG)
		p->headers = table_to_json(&props->headers);
	p->word = xstrdup(refusal_word(refusal->reason));
	p->error = xstrdup(refusal->err.message);
	p->whole = d->body.len;
	p->len = d->body.len < BODY_MOST ? d->body.len : BODY_MOST;
	p->body = xmalloc(p->len + 1);
	if (p->len)
		memcpy(p->body, d->body.bytes, p->len);
	free(name);
	publish_parked(p);
}

static json_t *
json_visible(const char *text)
{
	struct str s = STR_INIT;
	json_t *v;

	str_visible(&s, text);
	v = json_string(str_text(&s));
	str_done(&s);
	return v;
}

void
parked_describe(const struct parked *p, bool with_headers, struct arena *arena,
    amqp_basic_properties_t *props, struct amqp_message *out)
{
	json_t *headers = p->headers && with_headers ? json_copy(p->headers) : json_object();

	json_object_set_new(headers, "x-tocsin-reason", json_string(p->word));
	json_object_set_new(headers, "x-tocsin-error", json_visible(p->error));
	json_object_set_new(headers, "x-tocsin-queue", json_visible(p->from));
	json_object_set_new(headers, "x-tocsin-bytes", json_integer((json_int_t)p->whole));
	props->_flags = AMQP_BASIC_HEADERS_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG;
	props->headers = table_of_json(headers, arena);
	props->delivery_mode = 2;
	if (p->content_type) {
		props->_flags |= AMQP_BASIC_CONTENT_TYPE_FLAG;
		props->content_type = amqp_cstring_bytes(p->content_type);
	}
	if (p->content_encoding) {
		props->_flags |= AMQP_BASIC_CONTENT_ENCODING_FLAG;
		props->content_encoding = amqp_cstring_bytes(p->content_encoding);
	}
	out->body = p->body;
	out->len = p->len;
	json_decref(headers);
}

void
park_free_all(struct wire *w)
{
	while (w->parking.n)
		parked_free(w->parking.at[w->parking.n - 1]);
	vec_done(&w->parking);
}
