/* event.c - write Celery's events, as 5.2.6 does. */
#include "celery/event.h"
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include "base/arena.h"
#include "base/json.h"
#include "base/str.h"
#include "celery/refusal.h"
#include "celery/repr.h"

#define EVENT_NAME(name, text) [name] = text,
static const char *const names[] = { CELERY_EVENTS(EVENT_NAME) };

static const char *const keys[] = {
	[EVENT_WORKER_ONLINE] = "worker.online",
	[EVENT_WORKER_HEARTBEAT] = "worker.heartbeat",
	[EVENT_WORKER_OFFLINE] = "worker.offline",
	[EVENT_WORKER_ELECT] = "worker.elect",
	[EVENT_WORKER_ELECT_ACK] = "worker.elect.ack",
};

const char *
celery_event_name(enum celery_event event)
{
	return names[event];
}

const char *
celery_event_key(enum celery_event event)
{
	return event >= EVENT_TASK_RECEIVED ? CELERY_EVENT_BATCH : keys[event];
}

/* Seconds west of UTC at noon of the first of MONTH (0 to 11). */
static long
west_in(int year, int month)
{
	struct tm tm = { .tm_year = year, .tm_mon = month, .tm_mday = 1, .tm_hour = 12,
		.tm_isdst = -1 };

	return mktime(&tm) == (time_t)-1 ? 0 : -tm.tm_gmtoff;
}

static int
whole_hours(long seconds)
{
	return (int)(seconds >= 0 ? seconds / 3600 : -((-seconds + 3599) / 3600));
}

/* Python knows two offsets, those of January and of July, and calls the eastern
 * one summer time; of a zone whose summer time is the winter's (Dublin) it makes
 * the same mistake as here. */
int
celery_event_utcoffset(instant at)
{
	time_t t = (time_t)(at / SECOND);
	struct tm tm;
	long january, july;

	if (!localtime_r(&t, &tm))
		return 0;
	january = west_in(tm.tm_year, 0);
	july = west_in(tm.tm_year, 6);
	if (tm.tm_isdst > 0)
		return whole_hours(january < july ? january : july);
	return whole_hours(january < july ? july : january);
}

/* --- pieces --- */

static void
add_text(struct str *s, const char *before, const char *text)
{
	str_puts(s, before);
	if (text)
		json_append_text(s, text, strlen(text));
	else
		str_puts(s, "null");
}

static void
add_real(struct str *s, const char *before, double x)
{
	char text[JSON_REAL_TEXT];

	str_printf(s, "%s%s", before, json_format_real(x, text));
}

static void
add_flag(struct str *s, const char *before, bool flag)
{
	str_printf(s, "%s%s", before, flag ? "true" : "false");
}

static void
add_time(struct str *s, const char *before, instant t)
{
	struct civil c;

	str_puts(s, before);
	if (!clock_isfinite(t)) {
		str_puts(s, "null");
		return;
	}
	clock_civil(t, &c);
	str_printf(s, "\"%04d-%02d-%02dT%02d:%02d:%02d", c.year, c.month, c.day, c.hour, c.minute,
	    c.second);
	if (c.micro)
		str_printf(s, ".%06d", c.micro);
	str_puts(s, "+00:00\"");
}

static void
begin(struct str *s, enum celery_event event, const struct celery_teller *teller)
{
	add_text(s, "{\"hostname\": ", teller->node);
	str_printf(s, ", \"utcoffset\": %d, \"pid\": %" PRId64 ", \"clock\": %" PRId64,
	    teller->utcoffset, teller->pid, teller->clock);
	add_real(s, ", \"timestamp\": ", (double)teller->at / SECOND);
	add_text(s, ", \"type\": ", names[event]);
}

/* --- events --- */

void
celery_event_worker(struct str *s, enum celery_event event, const struct celery_teller *teller,
    const struct celery_load *load)
{
	begin(s, event, teller);
	add_real(s, ", \"freq\": ", load->freq);
	str_printf(s, ", \"active\": %" PRId64 ", \"processed\": %" PRId64, load->active,
	    load->processed);
	for (int i = 0; i < 3; i++)
		add_real(s, i ? ", " : ", \"loadavg\": [", load->average[i]);
	add_text(s, "], \"sw_ident\": \"tocsin\", \"sw_ver\": ", load->version);
	add_text(s, ", \"sw_sys\": ", load->system);
	str_putc(s, '}');
}

void
celery_event_elect(struct str *s, const struct celery_teller *teller,
    const struct celery_election *election)
{
	begin(s, EVENT_WORKER_ELECT, teller);
	add_text(s, ", \"id\": ", election->id);
	add_text(s, ", \"topic\": ", election->topic);
	str_puts(s, ", \"action\": ");
	if (election->action.text)
		str_add(s, election->action.text, election->action.len);
	else
		str_puts(s, "null");
	str_puts(s, ", \"cver\": 1}");
}

void
celery_event_elect_ack(struct str *s, const struct celery_teller *teller, const char *id)
{
	begin(s, EVENT_WORKER_ELECT_ACK, teller);
	add_text(s, ", \"id\": ", id);
	str_putc(s, '}');
}

static void
add_received(struct str *s, const struct celery_task_event *e)
{
	add_text(s, ", \"name\": ", e->name);
	add_text(s, ", \"args\": ", e->args);
	add_text(s, ", \"kwargs\": ", e->kwargs);
	add_text(s, ", \"root_id\": ", e->root_id);
	add_text(s, ", \"parent_id\": ", e->parent_id);
	str_printf(s, ", \"retries\": %" PRId64, e->retries);
	add_time(s, ", \"eta\": ", e->eta);
	add_time(s, ", \"expires\": ", e->expires);
}

static void
add_succeeded(struct str *s, const struct celery_task_event *e)
{
	struct str shown = STR_INIT;

	if (e->result.text)
		celery_repr(&shown, e->result, false, CELERY_REPR_MAX);
	else
		str_puts(&shown, "None");
	str_puts(s, ", \"result\": ");
	json_append_text(s, str_text(&shown), shown.len);
	add_real(s, ", \"runtime\": ", e->runtime);
	str_done(&shown);
}

static void
add_revoked(struct str *s, const struct celery_task_event *e)
{
	add_flag(s, ", \"terminated\": ", e->terminated);
	if (e->signum)
		str_printf(s, ", \"signum\": %d", e->signum);
	else
		str_puts(s, ", \"signum\": null");
	add_flag(s, ", \"expired\": ", e->expired);
}

void
celery_event_task(struct str *s, enum celery_event event, const struct celery_teller *teller,
    const struct celery_task_event *e)
{
	begin(s, event, teller);
	add_text(s, ", \"uuid\": ", e->uuid);
	switch (event) {
	case EVENT_TASK_RECEIVED:
		add_received(s, e);
		break;
	case EVENT_TASK_SUCCEEDED:
		add_succeeded(s, e);
		break;
	case EVENT_TASK_FAILED:
	case EVENT_TASK_RETRIED:
		add_text(s, ", \"exception\": ", e->exception);
		add_text(s, ", \"traceback\": ", e->traceback);
		break;
	case EVENT_TASK_REVOKED:
		add_revoked(s, e);
		break;
	case EVENT_TASK_REJECTED:
		add_flag(s, ", \"requeue\": ", e->requeue);
		break;
	default:
		break;
	}
	str_putc(s, '}');
}

/* --- of others --- */

static const char *
keep(struct raw text, struct arena *arena)
{
	struct str s = STR_INIT;
	const char *kept = NULL;

	if (raw_kind(text) == '"' && raw_string(text, &s))
		kept = arena_strndup(arena, str_text(&s), s.len);
	str_done(&s);
	return kept;
}

static void
read_one(struct raw event, struct arena *arena, int64_t *clock, struct celery_election *election)
{
	struct raw type = raw_get(event, "type");
	int64_t n;

	if (!raw_integer(raw_get(event, "clock"), &n) && n > *clock)
		*clock = n;
	if (raw_kind(type) != '"' || !raw_is(type, names[EVENT_WORKER_ELECT]) || election->id)
		return;
	election->id = keep(raw_get(event, "id"), arena);
	election->topic = keep(raw_get(event, "topic"), arena);
	election->action = raw_get(event, "action");
}

int
celery_event_read(const char *body, size_t len, struct arena *arena, int64_t *clock,
    struct celery_election *election)
{
	struct refusal refusal;
	struct raw value, key, member;
	struct raw_walk walk;

	*clock = 0;
	*election = (struct celery_election){ 0 };
	if (raw_check(body, len, &value, &refusal))
		return -1;
	if (raw_kind(value) == '{')
		read_one(value, arena, clock, election);
	else if (raw_kind(value) == '[')
		for (walk = raw_walk(value); raw_next(&walk, &key, &member); ) {
			if (raw_kind(member) == '{')
				read_one(member, arena, clock, election);
		}
	else
		return -1;
	return 0;
}
