/* limit.c - the least that a worker and an agent must do, and nothing else.
 *
 *	limit loop JOBS BATCH QUEUE	take up to BATCH messages that are there,
 *					write a row for each, commit, publish a
 *					message for each, ack when all is confirmed
 *	limit agent JOBS MESSAGES QUEUE	COPY so many rows, commit, publish so many
 *					messages, wait for all confirms
 *
 * No worker can be faster than the loop on the same servers, and none that keeps
 * the order (commit, publish, confirm, ack) may leave a step out.  The confirms of
 * a batch are awaited while the database writes the next.  QUEUE is there and
 * empty; the table bench_limit too.  Prints jobs a second, or seconds. */
#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

#define ROWS 100000		/* of bench_limit */
#define QUEUED 4096		/* in the queue all the time */
#define BODY 300		/* bytes, as a job of tocsin has */
#define MOST_JOBS 2000000
#define MOST_BATCH 10000
#define PATIENCE 30		/* seconds without a word from the broker */

struct line {
	amqp_connection_state_t amqp;
	const char *queue;
	amqp_basic_properties_t properties;
	amqp_table_entry_t headers[12];
	char body[BODY];
	uint64_t published, confirmed, low;	/* all up to LOW are confirmed */
	bool *is_confirmed;			/* by delivery tag */
	uint64_t delivered;			/* the last tag that came */
	int waiting;				/* came, and not in a batch yet */
};

static void
die(const char *what, const char *why)
{
	fprintf(stderr, "limit: %s: %s\n", what, why);
	exit(1);
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* --- the broker --- */

static void
check(amqp_rpc_reply_t reply, const char *what)
{
	if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION)
		die(what, amqp_error_string2(reply.library_error));
	if (reply.reply_type != AMQP_RESPONSE_NORMAL)
		die(what, "the broker refuses it");
}

/* Headers like those of a task of Celery: to decode them is part of the cost. */
static void
fill_properties(struct line *l)
{
	static const char *const names[] = { "lang", "task", "id", "root_id", "parent_id", "argsrepr",
		"kwargsrepr", "origin", "shadow", "eta", "expires", "group" };
	amqp_basic_properties_t *p = &l->properties;

	for (int i = 0; i < 12; i++) {
		l->headers[i].key = amqp_cstring_bytes(names[i]);
		l->headers[i].value.kind = i < 8 ? AMQP_FIELD_KIND_UTF8 : AMQP_FIELD_KIND_VOID;
		if (i < 8)
			l->headers[i].value.value.bytes =
			    amqp_cstring_bytes("5d7c1f0e-2f5b-4f0e-9a55-0f6a1f3f9c11");
	}
	p->_flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_CONTENT_ENCODING_FLAG |
	    AMQP_BASIC_HEADERS_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG;
	p->content_type = amqp_cstring_bytes("application/json");
	p->content_encoding = amqp_cstring_bytes("utf-8");
	p->delivery_mode = AMQP_DELIVERY_PERSISTENT;
	p->headers.num_entries = 12;
	p->headers.entries = l->headers;
	memset(l->body, 'x', sizeof l->body);
}

static void
connect_broker(struct line *l, const char *queue)
{
	struct amqp_connection_info at;
	const char *env = getenv("BENCH_BROKER");
	char *url = strdup(env ? env : "amqp://");

	amqp_default_connection_info(&at);
	if (amqp_parse_url(url, &at))
		die("BENCH_BROKER", "not an address");
	l->amqp = amqp_new_connection();
	if (amqp_socket_open(amqp_tcp_socket_new(l->amqp), at.host, at.port))
		die(at.host, "cannot be reached");
	check(amqp_login(l->amqp, at.vhost, 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, at.user,
	    at.password), "login");
	amqp_channel_open(l->amqp, 1);
	check(amqp_get_rpc_reply(l->amqp), "channel");
	amqp_confirm_select(l->amqp, 1);
	check(amqp_get_rpc_reply(l->amqp), "confirm");
	if (!(l->is_confirmed = calloc(MOST_JOBS + 2 * QUEUED + MOST_BATCH, 1)))
		die("memory", "there is none");
	l->queue = queue;
	fill_properties(l);
	free(url);
}

/* Full segments instead of one for each message. */
static void
cork(struct line *l, int on)
{
	setsockopt(amqp_get_sockfd(l->amqp), IPPROTO_TCP, TCP_CORK, &on, sizeof on);
}

static void
publish(struct line *l, int n)
{
	cork(l, 1);
	for (int i = 0; i < n; i++)
		if (amqp_basic_publish(l->amqp, 1, amqp_empty_bytes, amqp_cstring_bytes(l->queue), 0, 0,
		    &l->properties, (amqp_bytes_t){ sizeof l->body, l->body }))
			die("publish", "it fails");
	cork(l, 0);
	l->published += (uint64_t)n;
}

static void
note_confirm(struct line *l, const amqp_basic_ack_t *ack)
{
	uint64_t from = ack->multiple ? l->low + 1 : ack->delivery_tag;

	for (uint64_t tag = from; tag <= ack->delivery_tag && tag <= l->published; tag++) {
		l->confirmed += !l->is_confirmed[tag];
		l->is_confirmed[tag] = true;
	}
	while (l->low < l->published && l->is_confirmed[l->low + 1])
		l->low++;
}

/* Take one thing that the broker says; false if it says nothing for so long. */
static bool
hear(struct line *l, double seconds)
{
	struct timeval limit = { (time_t)seconds, (suseconds_t)((seconds - (time_t)seconds) * 1e6) };
	amqp_message_t message;
	amqp_frame_t frame;
	int rc;

	amqp_maybe_release_buffers(l->amqp);
	rc = amqp_simple_wait_frame_noblock(l->amqp, &frame, &limit);
	if (rc == AMQP_STATUS_TIMEOUT)
		return false;
	if (rc != AMQP_STATUS_OK)
		die("the broker", amqp_error_string2(rc));
	if (frame.frame_type != AMQP_FRAME_METHOD)
		die("the broker", "something else was expected");
	if (frame.payload.method.id == AMQP_BASIC_ACK_METHOD) {
		note_confirm(l, frame.payload.method.decoded);
	} else if (frame.payload.method.id == AMQP_BASIC_DELIVER_METHOD) {
		l->delivered = ((amqp_basic_deliver_t *)frame.payload.method.decoded)->delivery_tag;
		check(amqp_read_message(l->amqp, 1, &message, 0), "message");
		amqp_destroy_message(&message);
		l->waiting++;
	} else {
		die("the broker", "it closes the channel");
	}
	return true;
}

static void
await_confirms(struct line *l)
{
	while (l->confirmed < l->published)
		if (!hear(l, PATIENCE))
			die("the broker", "it does not confirm");
}

/* --- the database --- */

static PGconn *
connect_database(void)
{
	PGconn *db = PQconnectdb("");

	if (PQstatus(db) != CONNECTION_OK)
		die("the database", PQerrorMessage(db));
	PQclear(PQprepare(db, "write", "update bench_limit r set value = u.value, runs = runs + 1"
	    " from unnest($1::int[], $2::float8[]) u (id, value) where r.id = u.id", 0, NULL));
	return db;
}

static void
begin_write(PGconn *db, long first, int n)
{
	static char ids[MOST_BATCH * 12], values[MOST_BATCH * 28];
	const char *arguments[] = { ids, values };
	char *id = ids, *value = values;

	for (int i = 0; i < n; i++) {
		id += sprintf(id, "%c%ld", i ? ',' : '{', (first + i) * 7919 % ROWS);
		value += sprintf(value, "%c%.17g", i ? ',' : '{', 1 + (double)(first + i) / 7e6);
	}
	strcpy(id, "}");
	strcpy(value, "}");
	if (!PQsendQueryPrepared(db, "write", 2, arguments, NULL, NULL, 0))
		die("the database", PQerrorMessage(db));
	PQflush(db);
}

static void
end_query(PGconn *db)
{
	for (PGresult *r; (r = PQgetResult(db)); PQclear(r))
		if (PQresultStatus(r) != PGRES_COMMAND_OK)
			die("the database", PQerrorMessage(db));
}

static void
copy_rows(PGconn *db, long n)
{
	char row[200];

	PQclear(PQexec(db, "begin"));
	PQclear(PQexec(db, "copy bench_limit_job from stdin"));
	for (long i = 0; i < n; i++) {
		int len = sprintf(row, "1\t%ld\tvariable\tv%ld\t%ld\ttocsin\tqueued\t0\t{%ld,%ld}\n", i, i, i,
		    n + 2 * i, n + 2 * i + 1);

		if (PQputCopyData(db, row, len) != 1)
			die("copy", PQerrorMessage(db));
	}
	PQputCopyEnd(db, NULL);
	end_query(db);
	PQclear(PQexec(db, "commit"));
}

/* --- the two of them --- */

static void
loop(struct line *l, PGconn *db, long jobs, int batch)
{
	uint64_t to_ack = 0;
	double began;
	long done = 0;

	publish(l, QUEUED);
	await_confirms(l);
	amqp_basic_qos(l->amqp, 1, 0, (uint16_t)(2 * batch), 0);
	began = now();
	amqp_basic_consume(l->amqp, 1, amqp_cstring_bytes(l->queue), amqp_empty_bytes, 0, 0, 0,
	    amqp_empty_table);
	check(amqp_get_rpc_reply(l->amqp), "consume");
	while (done < jobs) {
		int n;
		uint64_t last;

		while (l->waiting < batch && hear(l, l->waiting || to_ack ? 0 : PATIENCE))
			;
		n = l->waiting < batch ? l->waiting : batch;
		last = l->delivered - (uint64_t)(l->waiting - n);
		l->waiting -= n;
		if (n)
			begin_write(db, done, n);
		if (to_ack) {
			await_confirms(l);
			amqp_basic_ack(l->amqp, 1, to_ack, 1);
			to_ack = 0;
		}
		if (n) {
			end_query(db);
			publish(l, n);
			to_ack = last;
		}
		done += n;
	}
	await_confirms(l);
	printf("%.1f\n", (double)done / (now() - began));
}

static void
agent(struct line *l, PGconn *db, long jobs, long messages)
{
	double began = now();

	copy_rows(db, jobs);
	for (long sent = 0; sent < messages; sent += 1000)
		publish(l, (int)(messages - sent < 1000 ? messages - sent : 1000));
	await_confirms(l);
	printf("%.6f\n", now() - began);
}

int
main(int argc, char **argv)
{
	bool is_loop = argc == 5 && !strcmp(argv[1], "loop");
	long jobs = argc > 2 ? atol(argv[2]) : 0;
	int batch = is_loop ? atoi(argv[3]) : 1;
	long messages = argc > 3 && !is_loop ? atol(argv[3]) : 1;
	static struct line line;
	PGconn *db;

	if (!(is_loop || (argc == 5 && !strcmp(argv[1], "agent"))) || jobs < 1 || jobs > MOST_JOBS ||
	    batch < 1 || batch > MOST_BATCH || messages < 1 || messages > jobs)
		die("usage", "limit loop JOBS BATCH QUEUE | limit agent JOBS MESSAGES QUEUE");
	connect_broker(&line, argv[argc - 1]);
	db = connect_database();
	if (is_loop)
		loop(&line, db, jobs, batch);
	else
		agent(&line, db, jobs, messages);
	PQfinish(db);
	amqp_connection_close(line.amqp, AMQP_REPLY_SUCCESS);
	return 0;
}
