/* amqp_probe.c - an AMQP connection that obeys its standard input.
 *
 * Each line is a JSON array, a command and its arguments; each event is a JSON
 * object on standard output.  test_amqp.py speaks with it.
 *
 * "pump" publishes numbered messages as long as the connection is not full,
 * "drain" consumes and acknowledges them.  A numbered message is a piece of
 * PATTERN which begins where its number says, so that the other end can
 * compare every byte. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/amqp.h"
#include "io/loop.h"

enum { LARGEST = 8 << 20, STARTS = 4096, SIZES = 64 };

struct pump {
	int channel;
	char *queue;
	size_t sizes[SIZES], n_sizes;
	uint64_t number, left, unconfirmed, first_tag;
	span began;
};

struct drain {
	int channel;
	uint64_t wanted, got, last_tag, acked_tag;
	unsigned wrong;
	span began;
};

struct probe {
	struct loop *loop;
	struct amqp *amqp;
	struct watch *input;
	struct timer *tick;
	span ticked, lag;
	struct str line;
	struct pump pump;
	struct drain drain;
	bool over, reconnect, free_when_closed;
};

static uint8_t pattern[LARGEST + STARTS];

static void
make_pattern(void)
{
	uint32_t x = 2463534242u;

	for (size_t i = 0; i < sizeof pattern; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		pattern[i] = (uint8_t)x;
	}
}

static void
say(json_t *event)
{
	char *text = json_dumps(event, JSON_COMPACT | JSON_ENCODE_ANY);

	puts(text);
	fflush(stdout);
	free(text);
	json_decref(event);
}

static void
say_error(const char *event, const struct err *err)
{
	say(json_pack("{s:s, s:i, s:s}", "event", event, "class", (int)err->class,
	    "text", err->message));
}

/* --- tables and JSON --- */

static amqp_table_t table_of(json_t *, struct arena *);

static amqp_field_value_t
field_of(json_t *j, struct arena *arena)
{
	amqp_field_value_t v = { 0 };

	switch (json_typeof(j)) {
	case JSON_OBJECT:
		v.kind = AMQP_FIELD_KIND_TABLE;
		v.value.table = table_of(j, arena);
		break;
	case JSON_ARRAY:
		v.kind = AMQP_FIELD_KIND_ARRAY;
		v.value.array.num_entries = (int)json_array_size(j);
		v.value.array.entries = arena_alloc(arena,
		    (json_array_size(j) + 1) * sizeof *v.value.array.entries);
		for (size_t i = 0; i < json_array_size(j); i++)
			v.value.array.entries[i] = field_of(json_array_get(j, i), arena);
		break;
	case JSON_STRING:
		v.kind = AMQP_FIELD_KIND_UTF8;
		v.value.bytes = amqp_cstring_bytes(json_string_value(j));
		break;
	case JSON_INTEGER:
		v.kind = AMQP_FIELD_KIND_I64;
		v.value.i64 = json_integer_value(j);
		break;
	case JSON_REAL:
		v.kind = AMQP_FIELD_KIND_F64;
		v.value.f64 = json_real_value(j);
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		v.kind = AMQP_FIELD_KIND_BOOLEAN;
		v.value.boolean = json_is_true(j);
		break;
	case JSON_NULL:
		v.kind = AMQP_FIELD_KIND_VOID;
	}
	return v;
}

static amqp_table_t
table_of(json_t *object, struct arena *arena)
{
	amqp_table_t t = { 0, arena_alloc(arena,
	    (json_object_size(object) + 1) * sizeof(amqp_table_entry_t)) };
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value) {
		t.entries[t.num_entries].key = amqp_cstring_bytes(key);
		t.entries[t.num_entries++].value = field_of(value, arena);
	}
	return t;
}

static json_t *table_json(const amqp_table_t *);

static json_t *
text_json(amqp_bytes_t b)
{
	json_t *j = json_stringn(b.bytes ? b.bytes : "", b.len);

	return j ? j : json_string("(no UTF-8)");
}

static json_t *
field_json(const amqp_field_value_t *v)
{
	json_t *list;

	switch (v->kind) {
	case AMQP_FIELD_KIND_TABLE:
		return table_json(&v->value.table);
	case AMQP_FIELD_KIND_ARRAY:
		list = json_array();
		for (int i = 0; i < v->value.array.num_entries; i++)
			json_array_append_new(list, field_json(&v->value.array.entries[i]));
		return list;
	case AMQP_FIELD_KIND_UTF8:
	case AMQP_FIELD_KIND_BYTES:
		return text_json(v->value.bytes);
	case AMQP_FIELD_KIND_I8:
		return json_integer(v->value.i8);
	case AMQP_FIELD_KIND_I16:
		return json_integer(v->value.i16);
	case AMQP_FIELD_KIND_I32:
		return json_integer(v->value.i32);
	case AMQP_FIELD_KIND_I64:
	case AMQP_FIELD_KIND_TIMESTAMP:
		return json_integer(v->value.i64);
	case AMQP_FIELD_KIND_F64:
		return json_real(v->value.f64);
	case AMQP_FIELD_KIND_BOOLEAN:
		return json_boolean(v->value.boolean);
	case AMQP_FIELD_KIND_VOID:
		return json_null();
	default:
		return json_sprintf("(kind %c)", v->kind);
	}
}

static json_t *
table_json(const amqp_table_t *t)
{
	json_t *j = json_object();

	for (int i = 0; i < t->num_entries; i++) {
		char *key = xstrndup(t->entries[i].key.bytes, t->entries[i].key.len);

		json_object_set_new(j, key, field_json(&t->entries[i].value));
		free(key);
	}
	return j;
}

static json_t *
properties_json(const amqp_basic_properties_t *p)
{
	if (!p)
		return json_null();
	return json_pack("{s:o, s:o, s:o, s:i}",
	    "headers", p->_flags & AMQP_BASIC_HEADERS_FLAG ? table_json(&p->headers) : json_null(),
	    "content_type", p->_flags & AMQP_BASIC_CONTENT_TYPE_FLAG ?
		text_json(p->content_type) : json_null(),
	    "message_id", p->_flags & AMQP_BASIC_MESSAGE_ID_FLAG ?
		text_json(p->message_id) : json_null(),
	    "delivery_mode", p->_flags & AMQP_BASIC_DELIVERY_MODE_FLAG ? p->delivery_mode : 0);
}

/* --- events --- */

static void
on_ready(void *arg)
{
	say(json_pack("{s:s}", "event", "ready"));
}

static void
on_closed(void *arg, const struct err *err)
{
	struct probe *p = arg;

	if (err)
		say_error("closed", err);
	else
		say(json_pack("{s:s, s:n}", "event", "closed", "text"));
	if (p->reconnect)
		amqp_connect(p->amqp);
	if (p->free_when_closed) {
		amqp_free(p->amqp);
		p->amqp = NULL;
	}
}

static void
on_channel_closed(void *arg, int channel, int code, const struct err *err)
{
	say(json_pack("{s:s, s:i, s:i, s:s}", "event", "channel_closed", "channel", channel,
	    "code", code, "text", err->message));
}

static void
on_answer(void *arg, const struct amqp_answer *a)
{
	const char *asked = amqp_method_name(a->asked);

	say(json_pack("{s:s, s:i, s:s, s:o, s:i, s:i}", "event", "answered",
	    "channel", a->channel, "asked", asked ? asked : "?", "name", text_json(a->name),
	    "messages", (int)a->messages, "consumers", (int)a->consumers));
}

/* Is it the piece of the pattern that its number says? */
static void
drain_one(struct drain *d, const struct amqp_delivery *m)
{
	uint64_t number = 0;

	for (size_t i = 0; m->properties && i < m->properties->message_id.len; i++)
		number = number * 10 + (uint64_t)(((char *)m->properties->message_id.bytes)[i] - '0');
	if (!m->properties || m->properties->priority != m->body.len % 251 ||
	    memcmp(m->body.bytes ? m->body.bytes : "", pattern + number % STARTS, m->body.len) != 0)
		d->wrong++;
	d->got++;
	d->last_tag = m->tag;
}

static void
on_delivery(void *arg, const struct amqp_delivery *m)
{
	struct probe *p = arg;
	char path[] = "body-XXXXXX";
	FILE *f;

	if (p->drain.wanted) {
		drain_one(&p->drain, m);
		return;
	}
	f = fdopen(mkstemp(path), "w");
	if (!f)
		abort();
	fwrite(m->body.bytes, 1, m->body.len, f);
	fclose(f);
	say(json_pack("{s:s, s:i, s:o, s:I, s:b, s:o, s:o, s:o, s:s}", "event", "delivered",
	    "channel", m->channel, "consumer", text_json(m->consumer),
	    "tag", (json_int_t)m->tag, "redelivered", m->redelivered,
	    "exchange", text_json(m->exchange), "key", text_json(m->routing_key),
	    "properties", properties_json(m->properties), "body", path));
}

static void
on_confirm(void *arg, int channel, uint64_t tag, bool multiple, bool ack)
{
	struct probe *p = arg;
	struct pump *pump = &p->pump;

	if (!pump->queue) {
		say(json_pack("{s:s, s:i, s:I, s:b, s:b}", "event", "confirmed",
		    "channel", channel, "tag", (json_int_t)tag, "multiple", multiple, "ack", ack));
		return;
	}
	/* Every tag once: singles may come in any order, but not twice. */
	if (!multiple)
		pump->unconfirmed--;
	else
		pump->unconfirmed -= tag - pump->first_tag + 1;
	if (multiple)
		pump->first_tag = tag + 1;
	else if (tag == pump->first_tag)
		pump->first_tag++;
}

static void
on_return(void *arg, const struct amqp_return *r)
{
	say(json_pack("{s:s, s:i, s:s, s:o, s:o, s:I}", "event", "returned", "code", r->code,
	    "text", r->text, "key", text_json(r->routing_key),
	    "properties", properties_json(r->properties), "size", (json_int_t)r->body.len));
}

static void
on_cancel(void *arg, int channel, amqp_bytes_t consumer)
{
	say(json_pack("{s:s, s:i, s:o}", "event", "cancelled", "channel", channel,
	    "consumer", text_json(consumer)));
}

static void
on_blocked(void *arg, const char *reason)
{
	say(json_pack("{s:s, s:s?}", "event", "blocked", "reason", reason));
}

static const struct amqp_events events = { on_ready, on_closed, on_channel_closed, on_answer,
	on_delivery, on_confirm, on_return, on_cancel, on_blocked };

/* --- commands --- */

static const char *
text(json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static bool
flag(json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

static long long
number(json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static void
command_new(struct probe *p, json_t *o)
{
	struct amqp_settings s = { .url = text(o, "url"), .name = "probe",
		.connect_timeout = number(o, "timeout") * SECOND / 1000,
		.heartbeat = number(o, "heartbeat") * SECOND,
		.high_water = (size_t)number(o, "high_water"),
		.largest_body = (size_t)number(o, "largest_body"),
		.ca_file = text(o, "ca_file"), .tls_insecure = flag(o, "insecure") };
	struct err err;

	amqp_free(p->amqp);
	p->reconnect = flag(o, "reconnect");
	p->free_when_closed = flag(o, "free_when_closed");
	p->amqp = amqp_new(p->loop, &s, &events, p, &err);
	if (p->amqp)
		amqp_connect(p->amqp);
	else
		say_error("refused", &err);
}

static void
command_publish(struct probe *p, int channel, json_t *o)
{
	struct arena arena = { 0 };
	amqp_basic_properties_t properties = { ._flags = AMQP_BASIC_DELIVERY_MODE_FLAG |
		AMQP_BASIC_HEADERS_FLAG | AMQP_BASIC_CONTENT_TYPE_FLAG,
		.content_type = amqp_cstring_bytes("application/x-probe"), .delivery_mode = 2 };
	struct amqp_message m = { .exchange = text(o, "exchange"), .routing_key = text(o, "key"),
		.mandatory = flag(o, "mandatory"), .properties = &properties,
		.body = pattern, .len = (size_t)number(o, "size") };
	struct err err;
	char *body = NULL;

	if (text(o, "file")) {
		FILE *f = fopen(text(o, "file"), "r");

		if (!f)
			abort();
		body = xmalloc(LARGEST * 2);
		m.body = body;
		m.len = fread(body, 1, LARGEST * 2, f);
		fclose(f);
	}
	properties.headers = table_of(json_object_get(o, "headers"), &arena);
	if (number(o, "blob")) {	/* a header as large as that */
		static amqp_table_entry_t e;

		e.key = amqp_cstring_bytes("blob");
		e.value.kind = AMQP_FIELD_KIND_BYTES;
		e.value.value.bytes = (amqp_bytes_t){ (size_t)number(o, "blob"), pattern };
		properties.headers = (amqp_table_t){ 1, &e };
	}
	if (!amqp_publish(p->amqp, channel, &m, &err))
		say_error("not_published", &err);
	arena_done(&arena);
	free(body);
}

static void
command_pump(struct probe *p, int channel, json_t *o)
{
	struct pump *pump = &p->pump;
	json_t *sizes = json_object_get(o, "sizes");

	*pump = (struct pump){ .channel = channel, .queue = xstrdup(text(o, "queue")),
		.left = (uint64_t)number(o, "count"), .first_tag = 1,
		.n_sizes = json_array_size(sizes), .began = clock_monotonic() };
	for (size_t i = 0; i < pump->n_sizes; i++)
		pump->sizes[i] = (size_t)json_integer_value(json_array_get(sizes, i));
	amqp_want_confirms(p->amqp, channel);
}

static void
command_state(struct probe *p)
{
	say(json_pack("{s:s, s:b, s:b, s:I, s:f}", "event", "state",
	    "ready", amqp_is_ready(p->amqp), "full", amqp_is_full(p->amqp),
	    "backlog", (json_int_t)amqp_backlog(p->amqp), "lag", (double)p->lag / SECOND));
	p->lag = 0;
}

static void
obey_declare(struct probe *p, const char *verb, int n, json_t *o)
{
	struct arena arena = { 0 };
	amqp_table_t arguments = table_of(json_object_get(o, "arguments"), &arena);

	if (!strcmp(verb, "queue"))
		amqp_declare_queue(p->amqp, n, &(struct amqp_queue){ .name = text(o, "name"),
		    .passive = flag(o, "passive"), .durable = flag(o, "durable"),
		    .auto_delete = flag(o, "auto_delete"), .arguments = arguments });
	else
		amqp_declare_exchange(p->amqp, n, &(struct amqp_exchange){ .name = text(o, "name"),
		    .type = text(o, "type"), .passive = flag(o, "passive"),
		    .durable = flag(o, "durable"), .arguments = arguments });
	arena_done(&arena);
}

static void
obey(struct probe *p, json_t *command)
{
	const char *verb = json_string_value(json_array_get(command, 0));
	int n = (int)json_integer_value(json_array_get(command, 1));
	json_t *two = json_array_get(command, 2), *three = json_array_get(command, 3),
	    *four = json_array_get(command, 4);
	const char *name = json_string_value(two);

	if (!strcmp(verb, "new"))
		command_new(p, json_array_get(command, 1));
	else if (!strcmp(verb, "quit"))
		p->over = true;
	else if (!p->amqp)
		return;
	else if (!strcmp(verb, "connect"))
		amqp_connect(p->amqp);
	else if (!strcmp(verb, "close"))
		amqp_close(p->amqp, n * (SECOND / 1000));
	else if (!strcmp(verb, "state"))
		command_state(p);
	else if (!strcmp(verb, "open"))
		amqp_open_channel(p->amqp, n);
	else if (!strcmp(verb, "shut"))
		amqp_close_channel(p->amqp, n);
	else if (!strcmp(verb, "queue") || !strcmp(verb, "exchange"))
		obey_declare(p, verb, n, two);
	else if (!strcmp(verb, "bind"))
		amqp_bind(p->amqp, n, name, json_string_value(three), json_string_value(four));
	else if (!strcmp(verb, "purge"))
		amqp_purge(p->amqp, n, name);
	else if (!strcmp(verb, "delete"))
		amqp_delete_queue(p->amqp, n, name);
	else if (!strcmp(verb, "qos"))
		amqp_qos(p->amqp, n, (uint16_t)json_integer_value(two));
	else if (!strcmp(verb, "consume"))
		amqp_consume(p->amqp, n, &(struct amqp_consumer){ .queue = name,
		    .tag = json_string_value(three) });
	else if (!strcmp(verb, "cancel"))
		amqp_cancel(p->amqp, n, name);
	else if (!strcmp(verb, "confirms"))
		amqp_want_confirms(p->amqp, n);
	else if (!strcmp(verb, "ack"))
		amqp_ack(p->amqp, n, (uint64_t)json_integer_value(two), json_is_true(three));
	else if (!strcmp(verb, "nack"))
		amqp_nack(p->amqp, n, (uint64_t)json_integer_value(two), false,
		    json_is_true(three));
	else if (!strcmp(verb, "publish"))
		command_publish(p, n, two);
	else if (!strcmp(verb, "pump"))
		command_pump(p, n, two);
	else if (!strcmp(verb, "drain"))
		p->drain = (struct drain){ .channel = n, .began = clock_monotonic(),
			.wanted = (uint64_t)json_integer_value(two) };
	else
		abort();
}

static void
input_ready(void *arg, int ready)
{
	struct probe *p = arg;
	char buf[4096];
	ssize_t n = read(0, buf, sizeof buf);

	if (n <= 0) {
		p->over = n == 0 || errno != EAGAIN;
		return;
	}
	for (ssize_t i = 0; i < n; i++) {
		json_t *command;

		if (buf[i] != '\n') {
			str_putc(&p->line, buf[i]);
			continue;
		}
		command = json_loads(str_text(&p->line), 0, NULL);
		str_clear(&p->line);
		obey(p, command);
		json_decref(command);
	}
}

static void
ticked(void *arg)
{
	struct probe *p = arg;
	span now = clock_monotonic(), late = now - p->ticked - SECOND / 100;

	if (late > p->lag)
		p->lag = late;
	p->ticked = now;
	timer_start(p->tick, SECOND / 100);
}

/* --- the turn --- */

static void
pump_some(struct probe *p)
{
	struct pump *pump = &p->pump;

	while (pump->left && !amqp_is_full(p->amqp)) {
		size_t size = pump->sizes[pump->number % pump->n_sizes];
		char id[24];
		amqp_basic_properties_t properties = {
			._flags = AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_PRIORITY_FLAG |
			    AMQP_BASIC_DELIVERY_MODE_FLAG, .delivery_mode = 2,
			.priority = (uint8_t)(size % 251) };
		struct amqp_message m = { .exchange = "", .routing_key = pump->queue,
			.properties = &properties,
			.body = pattern + pump->number % STARTS, .len = size };
		struct err err;

		snprintf(id, sizeof id, "%llu", (unsigned long long)pump->number);
		properties.message_id = amqp_cstring_bytes(id);
		if (!amqp_publish(p->amqp, pump->channel, &m, &err))
			break;
		pump->number++;
		pump->left--;
		pump->unconfirmed++;
	}
	if (pump->queue && pump->left == 0 && pump->unconfirmed == 0) {
		say(json_pack("{s:s, s:f}", "event", "pumped", "seconds",
		    (double)(clock_monotonic() - pump->began) / SECOND));
		free(pump->queue);
		pump->queue = NULL;
	}
}

static void
drain_some(struct probe *p)
{
	struct drain *d = &p->drain;

	if (d->last_tag > d->acked_tag) {
		amqp_ack(p->amqp, d->channel, d->last_tag, true);
		d->acked_tag = d->last_tag;
	}
	if (d->wanted && d->got >= d->wanted) {
		say(json_pack("{s:s, s:I, s:i, s:f}", "event", "drained", "got",
		    (json_int_t)d->got, "wrong", (int)d->wrong, "seconds",
		    (double)(clock_monotonic() - d->began) / SECOND));
		d->wanted = 0;
	}
}

static bool
turn(void *arg)
{
	struct probe *p = arg;

	if (p->amqp) {
		pump_some(p);
		drain_some(p);
	}
	return !p->over;
}

int
main(void)
{
	struct probe p = { .loop = loop_new() };

	make_pattern();
	fcntl(0, F_SETFL, O_NONBLOCK);
	p.input = watch_new(p.loop, 0, input_ready, &p);
	if (!p.input)
		return 1;
	watch_set(p.input, WATCH_READ);
	p.tick = timer_new(p.loop, ticked, &p);
	p.ticked = clock_monotonic();
	timer_start(p.tick, SECOND / 100);
	loop_run(p.loop, turn, &p);
	amqp_free(p.amqp);
	timer_free(p.tick);
	watch_free(p.input);
	loop_free(p.loop);
	free(p.pump.queue);
	str_done(&p.line);
	return 0;
}
