/* backend_redis.c - results in Redis, as Celery's redis backend keeps them.
 *
 *	GET celery-task-meta-ID         a SUCCESS is never overwritten
 *	MULTI, SETEX, PUBLISH, EXEC     who waits listens, and looks only once
 *
 * Many works are under way on one connection.  A step of one is asked when the
 * one before is answered; all works of a task come in their order, and so do
 * their steps. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/conf.h"
#include "base/mem.h"
#include "celery/refusal.h"
#include "io/redis.h"
#include "wire/backend_inner.h"

#define KEYS_AT_ONCE 100		/* of one MGET: its answer has a limit */

struct redis_lane {
	struct lane lane;
	struct redis *redis;
	span expires;
};

struct redis *
lane_redis_of(const struct work *w)
{
	return ((struct redis_lane *)w->lane)->redis;
}

span
lane_redis_expires(const struct work *w)
{
	return ((struct redis_lane *)w->lane)->expires;
}

/* --- answers --- */

bool
work_is_answered(struct work *w, const struct redis_answer *a)
{
	struct err err;

	if (a->err) {
		if (a->err->class == ERR_GIVEN)
			work_refused(w, a->err);
		else
			work_lost(w, a->err);
		return false;
	}
	for (size_t i = 0; i < a->n; i++)
		if (redis_reply_error(a->replies[i], &err)) {
			work_refused(w, &err);
			return false;
		}
	return true;
}

bool
work_is_executed(struct work *w, const struct redis_answer *a)
{
	const redisReply *exec;
	struct err err;

	if (!work_is_answered(w, a))
		return false;
	exec = a->replies[a->n - 1];
	if (exec->type != REDIS_REPLY_ARRAY || exec->elements != a->n - 2) {
		err_class(&err, ERR_TEMPFAIL, "Redis has not executed a transaction");
		work_refused(w, &err);
		return false;
	}
	for (size_t i = 0; i < exec->elements; i++)
		if (redis_reply_error(exec->element[i], &err)) {
			work_refused(w, &err);
			return false;
		}
	return true;
}

/* --- store --- */

static void
stored(void *arg, const struct redis_answer *a)
{
	struct work *w = arg;
	struct lane *lane = w->lane;

	if (!work_is_executed(w, a))
		return;
	lane_is_well(lane);
	work_stored(w, true);
}

/* What Celery does in set(): whoever waits for the key hears of it. */
static void
ask_to_set(struct work *w, const char *key)
{
	struct redis_lane *lane = (struct redis_lane *)w->lane;
	struct redis *redis = lane->redis;
	struct redis_word text = { str_text(&w->text), w->text.len };
	char seconds[24];

	snprintf(seconds, sizeof seconds, "%lld",
	    (long long)((lane->expires + SECOND - 1) / SECOND));
	redis_say_texts(redis, "MULTI", NULL);
	if (lane->expires)
		redis_say(redis, 4, (struct redis_word []){ REDIS_WORD("SETEX"),
		    REDIS_WORD(key), REDIS_WORD(seconds), text });
	else
		redis_say(redis, 3, (struct redis_word []){ REDIS_WORD("SET"),
		    REDIS_WORD(key), text });
	redis_say(redis, 3, (struct redis_word []){ REDIS_WORD("PUBLISH"), REDIS_WORD(key),
	    text });
	redis_say_texts(redis, "EXEC", NULL);
	redis_ask(redis, stored, w);
}

static char *
task_key(const char *id)
{
	return xasprintf("%s%s", CELERY_RESULT_PREFIX, id);
}

/* Must what is there stay?  A SUCCESS always; and where it may be our own that
 * came after W, when W was asked for the first time, all that is final. */
static bool
must_stay(const struct work *w, const redisReply *there)
{
	struct refusal refusal;
	struct str state = STR_INIT;
	struct raw document;
	bool stays = false;

	if (there->type != REDIS_REPLY_STRING ||
	    raw_check(there->str, there->len, &document, &refusal) ||
	    raw_kind(document) != '{' || raw_kind(raw_get(document, "status")) != '"')
		return false;
	if (raw_string(raw_get(document, "status"), &state))
		stays = !strcmp(str_text(&state), "SUCCESS") || (w->tries > 0 &&
		    celery_state_is_ready(str_text(&state)) && !celery_state_is_ready(w->state));
	str_done(&state);
	return stays;
}

static void
looked(void *arg, const struct redis_answer *a)
{
	struct work *w = arg;
	struct lane *lane = w->lane;
	char *key;

	if (!work_is_answered(w, a))
		return;
	if (must_stay(w, a->replies[0])) {
		lane_is_well(lane);
		work_stored(w, true);
		return;
	}
	key = task_key(w->id);
	ask_to_set(w, key);
	free(key);
}

static void
begin_store(struct work *w)
{
	char *key = task_key(w->id);

	redis_say_texts(lane_redis_of(w), "GET", key, NULL);
	redis_ask(lane_redis_of(w), looked, w);
	free(key);
}

/* Of a group: .s, or its document. */
static void
begin_set(struct work *w, const char *suffix)
{
	char *key = xasprintf("%s%s%s", CELERY_GROUP_PREFIX, w->id, suffix);

	ask_to_set(w, key);
	free(key);
}

/* --- fetch --- */

/* A document that nobody can read says no more than one that is not there. */
static void
take_document(struct celery_result *r, const char *id, const redisReply *reply,
    struct arena *arena)
{
	struct err ignored;

	*r = (struct celery_result){ 0 };
	if (reply->type == REDIS_REPLY_STRING)
		celery_result_read(r, reply->str, reply->len, arena, &ignored);
	if (!r->state)
		r->state = celery_state_name(STATE_PENDING);
	r->id = id;
}

static void
fetched(void *arg, const struct redis_answer *a)
{
	struct work *w = arg;
	struct lane *lane = w->lane;
	struct arena arena = { 0 };
	struct celery_result *results;
	size_t n = 0;

	if (!work_is_answered(w, a))
		return;
	results = xcalloc(w->words.n, sizeof *results);
	for (size_t i = 0; i < a->n; i++)
		for (size_t k = 0; k < a->replies[i]->elements && n < w->words.n; k++, n++)
			take_document(&results[n], w->words.at[n], a->replies[i]->element[k],
			    &arena);
	for (; n < w->words.n; n++)	/* no array: a proxy, perhaps */
		take_document(&results[n], w->words.at[n],
		    &(redisReply){ .type = REDIS_REPLY_NIL }, &arena);
	lane_is_well(lane);
	work_fetched(w, results, n);
	arena_done(&arena);
	free(results);
}

static void
say_mget(struct redis *redis, char *const *ids, size_t n)
{
	struct redis_word *words = xcalloc(n + 1, sizeof *words);
	VEC(char *) keys = { 0 };

	words[0] = REDIS_WORD("MGET");
	for (size_t i = 0; i < n; i++) {
		vec_push(&keys, task_key(ids[i]));
		words[i + 1] = REDIS_WORD(keys.at[i]);
	}
	redis_say(redis, n + 1, words);
	for (size_t i = 0; i < n; i++)
		free(keys.at[i]);
	vec_done(&keys);
	free(words);
}

void
redis_fetch_words(struct work *w, void (*answered)(void *, const struct redis_answer *))
{
	struct redis *redis = lane_redis_of(w);

	for (size_t i = 0; i < w->words.n; i += KEYS_AT_ONCE)
		say_mget(redis, w->words.at + i,
		    w->words.n - i < KEYS_AT_ONCE ? w->words.n - i : KEYS_AT_ONCE);
	redis_ask(redis, answered, w);
}

/* --- the lane --- */

static void
begin(struct lane *lane, struct work *w)
{
	switch (w->kind) {
	case WORK_STORE:
		begin_store(w);
		break;
	case WORK_FETCH:
		redis_fetch_words(w, fetched);
		break;
	case WORK_CHORD_SIZE:
		begin_set(w, ".s");
		break;
	case WORK_SAVE_GROUP:
		begin_set(w, "");
		break;
	case WORK_COUNT:
		chord_begin_count(w);
		break;
	case WORK_CLEAN:		/* Redis does that by itself */
		work_stored(w, true);
		break;
	case WORK_FORGET:
		chord_begin_forget(w);
	}
}

static bool
is_full(const struct lane *lane)
{
	return redis_is_full(((const struct redis_lane *)lane)->redis);
}

static void
stop(struct lane *lane)
{
	redis_free(((struct redis_lane *)lane)->redis);
}

static const struct lane_kind kind = { "redis", is_full, begin, stop };

static void
ready(void *arg)
{
	struct lane *lane = arg;

	/* If something waits, its answer is what tells. */
	if (!lane->first)
		lane_is_well(lane);
	lane_pump(lane);
}

static void
lost(void *arg, const struct err *err)
{
	lane_trouble(arg, err);
}

static const struct redis_events events = { ready, lost };

struct lane *
lane_redis(struct loop *loop, const struct conf *conf, const char *url, struct err *err)
{
	struct redis_settings set = { .url = url, .name = "tocsin-results",
		.ca_file = conf->redis_ca, .connect_timeout = conf->connect_timeout,
		.answer_timeout = conf->confirm_timeout, .heartbeat = conf->heartbeat };
	struct redis_lane *lane = xcalloc(1, sizeof *lane);

	lane->redis = redis_new(loop, &set, &events, lane, err);
	if (!lane->redis) {
		free(lane);
		return NULL;
	}
	lane->expires = conf->result_expires;
	lane_init(&lane->lane, &kind, loop);
	redis_connect(lane->redis);
	return &lane->lane;
}
