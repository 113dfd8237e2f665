/* backend.c - one result backend, whichever it is, and the replies besides.
 *
 * Two lanes at most: the one that the settings name, and the one of rpc, for
 * clients that wait for a message.  A result goes to both, and is stored when
 * both say so. */
#include "wire/backend.h"
#include <stdlib.h>
#include <string.h>
#include "base/conf.h"
#include "base/mem.h"
#include "io/loop.h"
#include "wire/backend_inner.h"

struct backend {
	const struct conf *conf;
	enum backend_kind kind;
	struct lane *lane;		/* NULL: none, or it is rpc */
	struct lane *replies;		/* NULL: nobody is answered */
	struct lane *idle;		/* where there is nothing to do, it is told from here */
	bool over;
};

/* --- which --- */

static bool
begins(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

static bool
is(const char *url, const char *name)
{
	size_t n = strlen(name);

	return !strncmp(url, name, n) && (!url[n] || !strcmp(url + n, "://"));
}

/* "db+postgresql+psycopg2://..." as libpq has it. */
static char *
database_address(const char *url)
{
	const char *rest;

	if (begins(url, "db+"))
		url += 3;
	rest = strstr(url, "://");
	return rest && (begins(url, "postgresql://") || begins(url, "postgresql+") ||
	    begins(url, "postgres://")) ? xasprintf("postgresql%s", rest) : NULL;
}

int
backend_resolve(const struct conf *conf, const char *url, enum backend_kind *kind,
    char **address, struct err *err)
{
	*address = NULL;
	url = url ? url : conf->result_backend;
	if (!*url || is(url, "disabled")) {
		*kind = BACKEND_NONE;
		return 0;
	}
	if (is(url, "rpc")) {
		*kind = BACKEND_RPC;
		return 0;
	}
	*kind = BACKEND_REDIS;
	if (is(url, "redis")) {
		url = conf->redis_url;
		if (!*url)
			return err_class(err, ERR_CONFIG, "result_backend is redis, but redis_url "
			    "is empty");
	}
	if (begins(url, "redis://") || begins(url, "rediss://") || begins(url, "redis+socket://")) {
		*address = xstrdup(url);
		return 0;
	}
	*kind = BACKEND_DB;
	if ((*address = database_address(url)))
		return 0;
	return err_class(err, ERR_CONFIG, "result_backend: must be redis, redis://..., "
	    "rediss://..., rpc or db+postgresql://...");
}

static int
open_lanes(struct backend *b, struct loop *loop, const char *address,
    struct transport *transport, struct err *err)
{
	if (b->kind == BACKEND_RPC && !transport)
		return err_class(err, ERR_CONFIG, "result_backend is rpc, which needs a broker");
	if (b->kind == BACKEND_REDIS && !(b->lane = lane_redis(loop, b->conf, address, err)))
		return -1;
	if (b->kind == BACKEND_DB && !(b->lane = lane_db(loop, b->conf, address, err)))
		return -1;
	if (transport)
		b->replies = lane_rpc(loop, transport);
	return 0;
}

/* --- nothing to do --- */

static bool
is_never_full(const struct lane *lane)
{
	return false;
}

/* A FETCH and a count cannot be; all else is as good as done. */
static void
end_at_once(struct lane *lane, struct work *w)
{
	work_stored(w, w->kind == WORK_STORE || w->kind == WORK_CLEAN);
}

static void
stop_nothing(struct lane *lane)
{
}

static const struct lane_kind nothing = { "none", is_never_full, end_at_once, stop_nothing };

/* Who is told that it is over may not know yet. */
static void
give(struct backend *b, struct lane *lane, struct work *w)
{
	if (b->over)
		lane_hopeless(b->idle, w);
	else
		lane_take(lane, w);
}

/* --- its users' side --- */

struct backend *
backend_open(struct loop *loop, const struct conf *conf, const char *url,
    struct transport *transport, struct err *err)
{
	struct backend *b;
	enum backend_kind kind;
	char *address;

	if (backend_resolve(conf, url, &kind, &address, err))
		return NULL;
	b = xcalloc(1, sizeof *b);
	b->conf = conf;
	b->kind = kind;
	b->idle = xcalloc(1, sizeof *b->idle);
	lane_init(b->idle, &nothing, loop);
	if (open_lanes(b, loop, address, transport, err)) {
		backend_free(b);
		b = NULL;
	}
	free(address);
	return b;
}

void
backend_free(struct backend *b)
{
	if (!b)
		return;
	b->over = true;
	lane_free(b->lane);
	lane_free(b->replies);
	lane_free(b->idle);
	free(b);
}

bool
backend_is_none(const struct backend *b)
{
	return !b->lane && !b->replies;
}

static bool
lane_is_idle(const struct lane *lane)
{
	return !lane || (lane->n == 0 && lane->ended.n == 0);
}

bool
backend_is_idle(const struct backend *b)
{
	return lane_is_idle(b->lane) && lane_is_idle(b->replies) && lane_is_idle(b->idle);
}

const struct err *
backend_trouble(const struct backend *b)
{
	if (b->lane && b->lane->troubled)
		return &b->lane->trouble;
	return b->replies && b->replies->troubled ? &b->replies->trouble : NULL;
}

/* A result that goes two ways. */
struct both {
	int left;
	bool ok;
	void (*stored)(void *, bool);
	void *arg;
};

static void
one_of_both(void *arg, bool ok)
{
	struct both *both = arg;

	both->ok = both->ok && ok;
	if (--both->left)
		return;
	if (both->stored)
		both->stored(both->arg, both->ok);
	free(both);
}

static void
store_in(struct backend *b, struct lane *lane, const struct celery_result *r,
    void (*done)(void *, bool), void *arg)
{
	struct work *w = work_new(WORK_STORE, r->id);

	w->stored = done;
	w->arg = arg;
	w->state = xstrdup(r->state);
	if (lane == b->replies) {
		celery_result_reply(&w->text, r);
		w->reply_to = xstrdup(r->reply_to);
		w->correlation_id = xstrdup(r->correlation_id);
	} else if (b->kind == BACKEND_REDIS && lane == b->lane) {
		celery_result_document(&w->text, r, b->conf->result_extended, clock_now());
	} else if (b->kind == BACKEND_DB && lane == b->lane) {
		lane_db_row(w, r, b->conf->result_extended, clock_now());
	}
	give(b, lane, w);
}

static bool
is_to_be_answered(const struct backend *b, const struct celery_result *r)
{
	/* Longer than any name that a queue can have. */
	return b->replies && r->reply_to && *r->reply_to && strlen(r->reply_to) <= 255;
}

void
backend_store(struct backend *b, const struct celery_result *r, void (*stored)(void *, bool),
    void *arg)
{
	struct both *both;

	if (!b->lane) {
		store_in(b, is_to_be_answered(b, r) ? b->replies : b->idle, r, stored, arg);
	} else if (!is_to_be_answered(b, r)) {
		store_in(b, b->lane, r, stored, arg);
	} else {
		both = xcalloc(1, sizeof *both);
		*both = (struct both){ 2, true, stored, arg };
		store_in(b, b->lane, r, one_of_both, both);
		store_in(b, b->replies, r, one_of_both, both);
	}
}

void
backend_fetch(struct backend *b, const char *const *ids, size_t n,
    void (*fetched)(void *, const struct celery_result *, size_t), void *arg)
{
	struct work *w = work_new(WORK_FETCH, n ? ids[0] : "");
	bool fits = n <= BACKEND_IDS_MAX;

	w->fetched = fetched;
	w->arg = arg;
	for (size_t i = 0; fits && i < n; i++)
		vec_push(&w->words, xstrdup(ids[i]));
	give(b, b->lane && fits && n > 0 ? b->lane : b->idle, w);
}

bool
backend_can_fetch(const struct backend *b)
{
	return b->lane != NULL;
}

bool
backend_has_chords(const struct backend *b)
{
	return b->kind == BACKEND_REDIS;
}

void
backend_clean(struct backend *b, void (*cleaned)(void *, bool), void *arg)
{
	struct work *w = work_new(WORK_CLEAN, "");

	w->stored = cleaned;
	w->arg = arg;
	vec_push(&w->words, xasprintf("%lld microseconds", (long long)b->conf->result_expires));
	give(b, b->kind == BACKEND_DB && b->conf->result_expires ? b->lane : b->idle, w);
}

/* The lane that counts chords. */
static struct lane *
counting(struct backend *b)
{
	return backend_has_chords(b) ? b->lane : b->idle;
}

void
backend_chord_size(struct backend *b, const char *group, int64_t n, void (*set)(void *, bool),
    void *arg)
{
	struct work *w = work_new(WORK_CHORD_SIZE, group);

	w->stored = set;
	w->arg = arg;
	str_printf(&w->text, "%lld", (long long)n);
	give(b, counting(b), w);
}

void
backend_save_group(struct backend *b, const char *group, struct raw document,
    void (*saved)(void *, bool), void *arg)
{
	struct work *w = work_new(WORK_SAVE_GROUP, group);

	w->stored = saved;
	w->arg = arg;
	str_add(&w->text, document.text, document.len);
	give(b, counting(b), w);
}

void
backend_chord_count(struct backend *b, const struct chord_member *m,
    void (*counted)(void *, const struct chord_answer *), void *arg)
{
	struct work *w = work_new(WORK_COUNT, m->group);

	w->counted = counted;
	w->arg = arg;
	w->index = m->index;
	celery_result_member(&w->text, m->id, m->state, m->result);
	give(b, counting(b), w);
}

void
backend_chord_forget(struct backend *b, const char *group)
{
	give(b, counting(b), work_new(WORK_FORGET, group));
}
