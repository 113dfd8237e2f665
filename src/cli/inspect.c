/* inspect.c - ask Celery's workers, and ours, how they are; and tell them what to do.
 *
 * A request goes to everybody by Celery's own way (celery.pidbox), the answers
 * come to a queue of ours until time is over, or until all nodes that were named
 * have answered. */
#include "cli/cmd.h"
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/conf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/term.h"
#include "base/uuid.h"
#include "base/vec.h"
#include "celery/control.h"
#include "celery/message.h"
#include "cli/kwargs.h"
#include "cli/print.h"
#include "wire/enquire.h"
#include "wire/letter.h"

#define PIDBOX_EXPIRES 10000		/* milliseconds, as Celery has them */
#define PIDBOX_TTL 300000
enum { NODES_MOST = 10000, METHOD_MOST = 100 };

struct answer {
	char *node;
	char *value;			/* JSON as Python writes it */
};

struct inspecting {
	VEC(struct answer) answers;
	size_t wanted;			/* so many, then it is enough; 0: all that come */
};

/* --- what comes back --- */

static bool
heard(void *arg, const char *body, size_t len)
{
	struct inspecting *i = arg;
	struct refusal refusal;
	struct raw all, key, value;
	struct raw_walk walk;
	struct str node = STR_INIT;

	if (raw_check(body, len, &all, &refusal) || raw_kind(all) != '{') {
		log_warn("an answer cannot be understood");
		return false;
	}
	walk = raw_walk(all);
	while (raw_next(&walk, &key, &value) && i->answers.n < NODES_MOST) {
		if (!raw_string(key, &node))
			continue;
		vec_push(&i->answers, ((struct answer){ str_take(&node),
		    xstrndup(value.text, value.len) }));
	}
	str_done(&node);
	return i->answers.n >= (i->wanted ? i->wanted : NODES_MOST);
}

static int
by_node(const void *a, const void *b)
{
	return strcmp(((const struct answer *)a)->node, ((const struct answer *)b)->node);
}

/* --- asking --- */

static void
add_nodes(struct str *s, struct call *call)
{
	const char *node = opts_nth(call, "destination", 0);

	str_puts(s, node ? "[" : "null");
	for (size_t i = 0; (node = opts_nth(call, "destination", i)); i++) {
		str_puts(s, i ? ", " : "");
		json_append_text(s, node, strlen(node));
	}
	str_puts(s, opts_has(call, "destination") ? "]" : "");
}

static void
make_request(struct call *call, const char *method, const char *arguments, const char *ticket,
    const char *reply_key, struct str *s)
{
	str_puts(s, "{\"method\": ");
	json_append_text(s, method, strlen(method));
	str_printf(s, ", \"arguments\": %s, \"destination\": ", arguments);
	add_nodes(s, call);
	str_puts(s, ", \"pattern\": null, \"matcher\": null");
	if (reply_key)
		str_printf(s, ", \"ticket\": \"%s\", \"reply_to\": {\"exchange\": \"%s\", "
		    "\"routing_key\": \"%s\"}", ticket, CELERY_PIDBOX_REPLY, reply_key);
	str_putc(s, '}');
}

/* A worker that is told to go says nothing. */
static bool
is_answered(const char *method)
{
	return strcmp(method, "shutdown") != 0;
}

static int
ask(struct call *call, const char *method, const char *arguments, span patience,
    struct inspecting *i, struct err *err)
{
	struct uuid reply = uuid_v4(), ticket = uuid_v4();
	char key[UUID_TEXT], ticket_text[UUID_TEXT], *queue;
	bool answered = is_answered(method);
	struct str body = STR_INIT;
	struct celery_envelope e = { .content_type = CELERY_CONTENT_TYPE,
		.content_encoding = CELERY_CONTENT_ENCODING, .priority = 0,
		.delivery_mode = CELERY_PERSISTENT };
	struct post post = { .exchange = CELERY_PIDBOX, .routing_key = "", .envelope = &e };
	struct enquiry enquiry = { .name = "tocsin inspect", .post = &post,
		.fanout = CELERY_PIDBOX, .reply_exchange = CELERY_PIDBOX_REPLY,
		.reply_expires = PIDBOX_EXPIRES, .reply_ttl = PIDBOX_TTL, .heard = heard,
		.arg = i, .patience = patience };
	int rc;

	uuid_format(&reply, key);
	uuid_format(&ticket, ticket_text);
	queue = xasprintf("%s.%s", key, CELERY_PIDBOX_REPLY);
	enquiry.reply_queue = answered ? queue : NULL;
	enquiry.reply_key = key;
	make_request(call, method, arguments, ticket_text, answered ? key : NULL, &body);
	/* Workers do not look at it, but a real number is what Celery sends. */
	e.headers = json_pack("{s:i,s:f}", "clock", 1, "expires",
	    (double)(clock_now() + patience) / SECOND);
	e.body = str_text(&body);
	e.body_len = body.len;
	rc = enquire(call->conf, &enquiry, err);
	json_decref(e.headers);
	str_done(&body);
	free(queue);
	return rc;
}

/* --- telling --- */

static void
print_lines(const char *text)
{
	for (size_t n; *text; text += n) {
		n = strcspn(text, "\n");
		char *line = xstrndup(text, n);

		printf("        %s\n", shown_text(line));
		n += text[n] == '\n';
	}
}

static void
print_list(const json_t *list)
{
	const char *text;
	char *dumped;
	size_t i;
	json_t *item;

	if (!json_array_size(list))
		puts("    - empty -");
	json_array_foreach(list, i, item) {
		text = json_string_value(item);
		dumped = text ? xstrdup(text) : json_dumps(item, JSON_ENCODE_ANY);
		printf("    * %s\n", shown_text(dumped));
	}
}

static void
print_pretty(const char *raw, const json_t *value)
{
	char *text = value ? json_dumps(value, JSON_INDENT(4) | JSON_ENCODE_ANY) : xstrdup(raw);

	print_lines(text);
	free(text);
}

/* "ok" and "error" are how commands say what they did. */
static void
print_answer(const struct answer *a)
{
	json_t *value = json_loads(a->value, JSON_DECODE_ANY, NULL);
	const json_t *ok = json_object_get(value, "ok"), *error = json_object_get(value, "error");

	fputs("->  ", stdout);
	term_put(stdout, TERM_BOLD, a->node);
	fputs(": ", stdout);
	if (error) {
		term_put(stdout, TERM_RED, "ERROR");
		putchar('\n');
		print_lines(json_is_string(error) ? json_string_value(error) : a->value);
	} else {
		term_put(stdout, TERM_GREEN, "OK");
		putchar('\n');
		if (json_is_string(ok))
			print_lines(json_string_value(ok));
		else if (json_is_array(value))
			print_list(value);
		else if (!json_is_null(value))
			print_pretty(a->value, value);
	}
	json_decref(value);
}

static void
print_status(const struct answer *a)
{
	term_put(stdout, TERM_BOLD, a->node);
	fputs(": ", stdout);
	term_put(stdout, TERM_GREEN, "OK");
	putchar('\n');
}

static void
print_json_answers(const struct inspecting *i)
{
	struct str s = STR_INIT;

	str_putc(&s, '{');
	for (size_t n = 0; n < i->answers.n; n++) {
		str_puts(&s, n ? "," : "");
		json_append_text(&s, i->answers.at[n].node, strlen(i->answers.at[n].node));
		str_printf(&s, ":%s", i->answers.at[n].value);
	}
	str_putc(&s, '}');
	puts(str_text(&s));
	str_done(&s);
}

static bool
any_failed(const struct inspecting *i)
{
	bool failed = false;

	for (size_t n = 0; n < i->answers.n; n++) {
		json_t *value = json_loads(i->answers.at[n].value, JSON_DECODE_ANY, NULL);

		failed |= json_object_get(value, "error") != NULL;
		json_decref(value);
	}
	return failed;
}

static int
tell(struct call *call, const struct inspecting *i, const char *method, span patience,
    struct err *err)
{
	bool status = !strcmp(call->arguments[0], "status");
	char buf[INSTANT_TEXT];

	if (!is_answered(method))
		return 0;
	if (opts_has(call, "json"))
		print_json_answers(i);
	if (!i->answers.n)
		return err_class(err, ERR_TEMPFAIL, "no node has answered within %s",
		    clock_format_span(patience, buf));
	for (size_t n = 0; n < i->answers.n && !opts_has(call, "json"); n++)
		if (status)
			print_status(&i->answers.at[n]);
		else
			print_answer(&i->answers.at[n]);
	if (!opts_has(call, "json"))
		printf("\n%zu node%s online.\n", i->answers.n, i->answers.n == 1 ? "" : "s");
	return any_failed(i);
}

static int
check_words(struct call *call, struct err *err)
{
	const char *node, *method = call->arguments[0];

	if (!*method || strlen(method) > METHOD_MOST || method[strspn(method,
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789")])
		return err_class(err, ERR_USAGE, "'%.100s' is no command: it has 1 to %d letters, "
		    "digits and '_', such as active, registered, stats", method, METHOD_MOST);
	for (size_t i = 0; (node = opts_nth(call, "destination", i)); i++)
		if (!*node || strlen(node) > CELERY_NODE_MAX)
			return err_class(err, ERR_USAGE, "--destination: the name of a node has "
			    "1 to %d bytes", CELERY_NODE_MAX);
	return 0;
}

static int
run(struct call *call, struct err *err)
{
	struct inspecting i = { .wanted = 0 };
	const char *method = call->arguments[0], *timeout = opts_get(call, "timeout");
	span patience = SECOND;
	struct str arguments = STR_INIT;
	int rc = -1;

	if (!strcmp(method, "status"))
		method = "ping";
	while (opts_nth(call, "destination", i.wanted))
		i.wanted++;
	if (check_words(call, err) ||
	    kwargs_read(call->arguments + 1, call->n_arguments - 1, &arguments, err))
		goto out;
	if (timeout && clock_parse_span(timeout, &patience, err)) {
		err->class = ERR_USAGE;
		err_wrap(err, "--timeout");
		goto out;
	}
	if (ask(call, method, str_text(&arguments), patience, &i, err))
		goto out;
	if (i.answers.n)
		qsort(i.answers.at, i.answers.n, sizeof *i.answers.at, by_node);
	rc = tell(call, &i, method, patience, err);
out:
	for (size_t n = 0; n < i.answers.n; n++) {
		free(i.answers.at[n].node);
		free(i.answers.at[n].value);
	}
	vec_done(&i.answers);
	str_done(&arguments);
	return rc;
}

static const struct opt options[] = {
	{ "destination", 'd', "NODE", "only this node, as celery@host (may be repeated)" },
	{ "timeout", 't', "SPAN", "how long to wait for answers (default: 1s)" },
	{ "json", 'j', NULL, "print JSON: one object, an answer for each node" },
	{ NULL, 0, NULL, NULL },
};

const struct command cmd_inspect = {
	.name = "inspect",
	.synopsis = "COMMAND [ARG=JSON]... [--destination NODE]... [--timeout SPAN]",
	.summary = "ask Celery's workers how they are, or tell them what to do",
	.description = "Asks all workers of the broker, Celery's and tocsin's, by Celery's remote control:\n\n"
	    "  status ping active reserved scheduled revoked registered stats active_queues\n"
	    "  report conf clock memsample hello query_task\n\n"
	    "The commands that 'celery control' has go the same way; what they need is given\n"
	    "as ARG=JSON, and they act on every node that is not left out by --destination:\n\n"
	    "  revoke task_id terminate signal; terminate task_id signal; shutdown; heartbeat\n"
	    "  rate_limit task_name rate_limit; time_limit task_name soft hard; autoscale max min\n"
	    "  enable_events disable_events; pool_grow n; pool_shrink n; pool_restart\n"
	    "  add_consumer queue exchange exchange_type routing_key; cancel_consumer queue\n\n"
	    "  tocsin inspect revoke task_id='\"4d2c...\"' terminate=true signal='\"SIGKILL\"'\n\n"
	    "Exit status: 0 answered, 1 a node has answered with an error, 75 nobody has\n"
	    "answered, or the broker is away.",
	.least = 1,
	.most = ARGUMENTS_MANY,
	.options = options,
	.run = run,
};
