/* amqp_login.c - who we are, and what we agree on with the broker. */
#include <string.h>
#include "base/str.h"
#include "io/amqp_inner.h"

static void
set_text(amqp_table_entry_t *e, const char *key, const char *value)
{
	e->key = amqp_cstring_bytes(key);
	e->value.kind = AMQP_FIELD_KIND_UTF8;
	e->value.value.bytes = amqp_cstring_bytes(value);
}

/* Without them a broker sends neither basic.cancel nor connection.blocked, and
 * hangs up on a wrong password without a word. */
static amqp_table_t
capabilities(void)
{
	static const char *const names[] = { "publisher_confirms", "consumer_cancel_notify",
		"connection.blocked", "basic.nack", "exchange_exchange_bindings",
		"authentication_failure_close" };
	enum { N = sizeof names / sizeof *names };
	static amqp_table_entry_t entries[N];

	for (int i = 0; i < N; i++) {
		entries[i].key = amqp_cstring_bytes(names[i]);
		entries[i].value.kind = AMQP_FIELD_KIND_BOOLEAN;
		entries[i].value.value.boolean = 1;
	}
	return (amqp_table_t){ N, entries };
}

static bool
has_word(amqp_bytes_t words, const char *word)
{
	const char *p = words.bytes, *end = p + words.len;
	size_t n = strlen(word);

	while (p < end) {
		const char *space = memchr(p, ' ', (size_t)(end - p));
		size_t len = (size_t)((space ? space : end) - p);

		if (len == n && !memcmp(p, word, n))
			return true;
		p += len + 1;
	}
	return false;
}

int
amqp_take_start(struct amqp *a, const amqp_connection_start_t *start, struct err *err)
{
	amqp_table_entry_t entries[4];
	struct str plain = STR_INIT;
	amqp_connection_start_ok_t ok = { .client_properties = { 4, entries },
		.mechanism = amqp_cstring_bytes("PLAIN"),
		.locale = amqp_cstring_bytes("en_US") };

	if (!has_word(start->mechanisms, "PLAIN"))
		return err_class(err, ERR_CONFIG, "it does not let anybody log in by "
		    "user and password (PLAIN)");
	set_text(&entries[0], "product", "tocsin");
	set_text(&entries[1], "version", PACKAGE_VERSION);
	set_text(&entries[2], "connection_name", a->name);
	entries[3].key = amqp_cstring_bytes("capabilities");
	entries[3].value.kind = AMQP_FIELD_KIND_TABLE;
	entries[3].value.value.table = capabilities();
	str_putc(&plain, '\0');
	str_puts(&plain, a->url.user);
	str_putc(&plain, '\0');
	str_puts(&plain, a->url.password);
	ok.response = (amqp_bytes_t){ plain.len, plain.text };
	amqp_say(a, 0, AMQP_CONNECTION_START_OK_METHOD, &ok);
	str_done(&plain);
	a->state = AMQP_TUNING;
	return 0;
}

/* The lesser of two limits, of which 0 is none. */
static uint32_t
lesser(uint32_t ours, uint32_t theirs)
{
	if (ours == 0 || theirs == 0)
		return ours ? ours : theirs;
	return ours < theirs ? ours : theirs;
}

int
amqp_take_tune(struct amqp *a, const amqp_connection_tune_t *tune, struct err *err)
{
	amqp_connection_tune_ok_t ok = {
		.channel_max = (uint16_t)lesser(AMQP_CHANNELS, tune->channel_max),
		.frame_max = lesser(FRAME_MAX, tune->frame_max),
		/* Ours decides whether there are any. */
		.heartbeat = a->wanted_heartbeat ? (uint16_t)lesser(
		    (uint32_t)(a->wanted_heartbeat / SECOND), tune->heartbeat) : 0 };
	amqp_connection_open_t open = { .virtual_host = amqp_cstring_bytes(a->url.vhost) };

	if (ok.frame_max < AMQP_FRAME_MIN_SIZE)
		return amqp_broken(err, "frames smaller than 4096 bytes");
	a->frame_max = ok.frame_max;
	a->heartbeat = ok.heartbeat * SECOND;
	amqp_say(a, 0, AMQP_CONNECTION_TUNE_OK_METHOD, &ok);
	amqp_say(a, 0, AMQP_CONNECTION_OPEN_METHOD, &open);
	a->state = AMQP_OPENING;
	amqp_start_heartbeats(a);
	return 0;
}
