/* panel_self.c - what a worker is: its settings, its queues, its statistics.
 *
 * Everything Celery's own workers tell is there, under the same names, so that
 * what reads it need not know us; what has no meaning here is null. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/json.h"
#include "engine/panel_inner.h"
#include "io/amqp_url.h"
#include "wire/amqp.h"

/* --- settings --- */

/* Passwords as Celery's people know them. */
static json_t *
masked(const char *text)
{
	struct str s = STR_INIT;
	const char *stars;
	json_t *v;

	for (; (stars = strstr(text, "***")); text = stars + 3) {
		str_add(&s, text, (size_t)(stars - text));
		str_puts(&s, "********");
	}
	str_puts(&s, text);
	v = json_stringn(str_text(&s), s.len);
	str_done(&s);
	return v ? v : json_null();
}

static json_t *
json_setting(const struct conf *conf, const struct setting *setting)
{
	char *text = conf_show(conf, setting);
	json_t *v;

	if (setting->type == SETTING_INTEGER)
		v = json_integer(strtoll(text, NULL, 10));
	else if (setting->type == SETTING_SWITCH)
		v = json_boolean(!strcmp(text, "true"));
	else
		v = masked(text);
	free(text);
	return v;
}

/* Those that are not as they are by default, or all. */
static json_t *
json_settings(const struct conf *conf, bool all)
{
	json_t *out = json_object();

	for (size_t i = 0; i < conf_count; i++)
		if (all || conf->where[i])
			json_object_set_new(out, conf_settings[i].name,
			    json_setting(conf, &conf_settings[i]));
	return out;
}

bool
panel_conf(struct panel *p, const json_t *arguments, struct str *answer)
{
	panel_add(answer, json_settings(p->conf, celery_control_truth(arguments, "with_defaults")));
	return true;
}

static void
add_settings(struct str *s, const struct conf *conf)
{
	json_t *settings = json_settings(conf, false), *v;
	const char *name;

	json_object_foreach(settings, name, v) {
		str_printf(s, "\n%s: ", name);
		json_append(s, v);
	}
	json_decref(settings);
}

bool
panel_report(struct panel *p, const json_t *arguments, struct str *answer)
{
	struct str s = STR_INIT;
	struct utsname host = { .sysname = "" };

	(void)arguments;
	uname(&host);
	str_printf(&s, "\nsoftware -> tocsin:%s\n"
	    "platform -> system:%s arch:%s\n"
	    "            kernel version:%s imp:C\n"
	    "loader   -> tocsin.toml\n"
	    "settings -> transport:amqp results:%s\n", PACKAGE_VERSION, host.sysname,
	    host.machine, host.release, *p->conf->result_backend ? "enabled" : "disabled");
	add_settings(&s, p->conf);
	str_putc(&s, '\n');
	celery_control_ok(answer, "%s", str_text(&s));
	str_done(&s);
	return true;
}

/* --- queues --- */

static void
add_queue(void *arg, const struct amqp_source *source)
{
	struct str *answer = arg;
	const char *name = source->queue;

	panel_comma(answer);
	panel_add(answer, json_pack("{s:s, s:{s:s, s:s, s:n, s:b, s:b, s:b, s:n, s:b}, s:s, s:n, "
	    "s:n, s:n, s:b, s:b, s:b, s:b, s:n, s:[], s:n, s:n, s:n, s:n, s:n, s:n}",
	    "name", name,
	    "exchange", "name", source->exchange ? source->exchange : name,
	    "type", source->type ? source->type : "direct", "arguments", "durable", true,
	    "passive", false, "auto_delete", false, "delivery_mode", "no_declare", false,
	    "routing_key", source->routing_key ? source->routing_key : name, "queue_arguments", "binding_arguments", "consumer_arguments",
	    "durable", true, "exclusive", false, "auto_delete", false, "no_ack", false,
	    "alias", "bindings", "no_declare", "expires", "message_ttl", "max_length",
	    "max_length_bytes", "max_priority"));
}

bool
panel_active_queues(struct panel *p, const json_t *arguments, struct str *answer)
{
	(void)arguments;
	str_putc(answer, '[');
	transport_amqp_each_consumer(p->worker->set.transport, add_queue, answer);
	str_putc(answer, ']');
	return true;
}

/* --- statistics --- */

static void
add_usage(struct str *s)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	str_puts(s, ", \"rusage\": ");
	panel_add(s, json_pack("{s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
	    "s:I, s:I, s:I}",
	    "utime", (double)u.ru_utime.tv_sec + (double)u.ru_utime.tv_usec / 1e6,
	    "stime", (double)u.ru_stime.tv_sec + (double)u.ru_stime.tv_usec / 1e6,
	    "maxrss", (json_int_t)u.ru_maxrss, "ixrss", (json_int_t)u.ru_ixrss,
	    "idrss", (json_int_t)u.ru_idrss, "isrss", (json_int_t)u.ru_isrss,
	    "minflt", (json_int_t)u.ru_minflt, "majflt", (json_int_t)u.ru_majflt,
	    "nswap", (json_int_t)u.ru_nswap, "inblock", (json_int_t)u.ru_inblock,
	    "oublock", (json_int_t)u.ru_oublock, "msgsnd", (json_int_t)u.ru_msgsnd,
	    "msgrcv", (json_int_t)u.ru_msgrcv, "nsignals", (json_int_t)u.ru_nsignals,
	    "nvcsw", (json_int_t)u.ru_nvcsw, "nivcsw", (json_int_t)u.ru_nivcsw));
}

static void
add_broker(struct str *s, const struct conf *conf)
{
	struct amqp_url url;
	struct err err;

	str_puts(s, ", \"broker\": ");
	if (amqp_url_parse(conf->broker_url, &url, &err)) {
		str_puts(s, "null");
		return;
	}
	panel_add(s, json_pack("{s:s, s:s, s:s, s:i, s:b, s:b, s:s, s:f, s:{}, s:s, s:n, s:f, s:s, "
	    "s:[]}",
	    "hostname", url.host, "userid", url.user, "virtual_host", url.vhost,
	    "port", url.port, "insist", false, "ssl", url.tls, "transport", "amqp",
	    "connect_timeout", (double)conf->connect_timeout / SECOND, "transport_options",
	    "login_method", "PLAIN", "uri_prefix",
	    "heartbeat", (double)conf->heartbeat / SECOND, "failover_strategy", "round-robin",
	    "alternates"));
	amqp_url_done(&url);
}

static void
add_pool(struct str *s, const struct panel *p)
{
	str_puts(s, ", \"pool\": ");
	panel_add(s, json_pack("{s:I, s:[i], s:s, s:b, s:[f, f], s:{}}",
	    "max-concurrency", (json_int_t)worker_concurrency(p->worker), "processes", (int)getpid(),
	    "max-tasks-per-child", "N/A", "put-guarded-by-semaphore", false,
	    "timeouts", 0.0, 0.0, "writes"));
}

bool
panel_stats(struct panel *p, const json_t *arguments, struct str *answer)
{
	(void)arguments;
	str_puts(answer, "{\"total\": ");
	panel_add_totals(p, answer);
	str_printf(answer, ", \"pid\": %ld, \"clock\": \"%" PRId64 "\", \"uptime\": %" PRId64,
	    (long)getpid(), remote_clock(p->remote), (clock_monotonic() - p->since) / SECOND);
	add_pool(answer, p);
	add_broker(answer, p->conf);
	str_printf(answer, ", \"prefetch_count\": %u",
	    transport_amqp_prefetch_count(p->worker->set.transport));
	add_usage(answer);
	str_printf(answer, ", \"events_dropped\": %" PRIu64 "}", remote_dropped(p->remote));
	return true;
}

bool
panel_clock(struct panel *p, const json_t *arguments, struct str *answer)
{
	(void)arguments;
	str_printf(answer, "{\"clock\": %" PRId64 "}", remote_clock(p->remote));
	return true;
}

/* Resident memory: the second number of statm, in pages. */
bool
panel_memsample(struct panel *p, const json_t *arguments, struct str *answer)
{
	FILE *f = fopen("/proc/self/statm", "re");
	long pages = -1;

	(void)p;
	(void)arguments;
	if (f && fscanf(f, "%*d %ld", &pages) != 1)
		pages = -1;
	if (f)
		fclose(f);
	if (pages < 0)
		str_puts(answer, "null");
	else
		str_printf(answer, "\"%.2fMB\"",
		    (double)pages * (double)sysconf(_SC_PAGESIZE) / (1024 * 1024));
	return true;
}
