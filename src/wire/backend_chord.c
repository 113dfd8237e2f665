/* backend_chord.c - chords, counted in Redis as Celery counts them.
 *
 *	celery-taskset-meta-G.j    a sorted set: each member that has ended, as
 *	                           [1, id, state, result], by its index
 *	                     .s    how many members there are; .t how many more
 *	celery-taskset-meta-G      a GroupResult, if there are groups in the header
 *
 * One transaction adds a member and counts; when all seem to be there,
 * backend_chord_join.c looks what they have come to.  Workers that were told to
 * use lists (result_chord_ordered = False) make .j a list; then we do so, too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "io/redis.h"
#include "wire/backend_inner.h"

char *
chord_key(const struct work *w, const char *suffix)
{
	return xasprintf("%s%s%s", CELERY_GROUP_PREFIX, w->id, suffix);
}

struct keys {
	char *j, *t, *s;
};

static struct keys
keys_of(const struct work *w)
{
	return (struct keys){ chord_key(w, ".j"), chord_key(w, ".t"), chord_key(w, ".s") };
}

static void
keys_done(struct keys *k)
{
	free(k->j);
	free(k->t);
	free(k->s);
}

static bool
read_number(const redisReply *reply, int64_t *n)
{
	char *end;

	if (reply->type != REDIS_REPLY_STRING || reply->len == 0)
		return false;
	*n = strtoll(reply->str, &end, 10);
	return *end == '\0';
}

/* COUNT members stand in .j, and what stands in .t and .s. */
static void
judge(struct work *w, int64_t count, const redisReply *more, const redisReply *size)
{
	int64_t n, extra = 0;

	/* Without .s more are to come: it is set before the last one is sent. */
	if (!read_number(size, &n)) {
		chord_tell_incomplete(w);
		return;
	}
	read_number(more, &extra);
	if (n < 0 || n > BACKEND_IDS_MAX || extra < 0 || extra > BACKEND_IDS_MAX) {
		chord_tell_broken(w, "the chord has too many members");
		return;
	}
	if (count < n + extra) {
		chord_tell_incomplete(w);
		return;
	}
	chord_join(w, n + extra, count);
}

static void ask_list(struct work *);

static void
counted(void *arg, const struct redis_answer *a)
{
	struct work *w = arg;
	redisReply *exec = a->err ? NULL : a->replies[a->n - 1];

	if (exec && exec->type == REDIS_REPLY_ARRAY && exec->elements > 0 && !w->list &&
	    exec->element[0]->type == REDIS_REPLY_ERROR &&
	    !strncmp(exec->element[0]->str, "WRONGTYPE", 9)) {
		w->list = true;
		ask_list(w);
		return;
	}
	if (!work_is_executed(w, a))
		return;
	judge(w, exec->element[1]->integer, exec->element[2], exec->element[3]);
}

static void
say_expire(struct work *w, const char *key)
{
	char seconds[24];

	if (!lane_redis_expires(w))
		return;
	snprintf(seconds, sizeof seconds, "%lld",
	    (long long)((lane_redis_expires(w) + SECOND - 1) / SECOND));
	redis_say_texts(lane_redis_of(w), "EXPIRE", key, seconds, NULL);
}

static void
say_rest(struct work *w, const struct keys *k)
{
	struct redis *redis = lane_redis_of(w);

	redis_say_texts(redis, "GET", k->t, NULL);
	redis_say_texts(redis, "GET", k->s, NULL);
	say_expire(w, k->j);
	say_expire(w, k->t);
	say_expire(w, k->s);
	redis_say_texts(redis, "EXEC", NULL);
	redis_ask(redis, counted, w);
}

static void
ask_set(struct work *w)
{
	struct redis *redis = lane_redis_of(w);
	struct keys k = keys_of(w);
	char score[24];

	if (w->index < 0)
		snprintf(score, sizeof score, "+inf");
	else
		snprintf(score, sizeof score, "%lld", (long long)w->index);
	redis_say_texts(redis, "MULTI", NULL);
	redis_say(redis, 4, (struct redis_word []){ REDIS_WORD("ZADD"), REDIS_WORD(k.j),
	    REDIS_WORD(score), { str_text(&w->text), w->text.len } });
	redis_say_texts(redis, "ZCOUNT", k.j, "-inf", "+inf", NULL);
	say_rest(w, &k);
	keys_done(&k);
}

/* A list takes a member twice: only if it is not there. */
static void
list_read(void *arg, const struct redis_answer *a)
{
	struct work *w = arg;
	struct redis *redis = lane_redis_of(w);
	struct keys k;

	if (!work_is_answered(w, a))
		return;
	for (size_t i = 0; i < a->replies[0]->elements; i++) {
		const redisReply *m = a->replies[0]->element[i];

		if (m->type == REDIS_REPLY_STRING && m->len == w->text.len &&
		    !memcmp(m->str, str_text(&w->text), m->len)) {
			judge(w, (int64_t)a->replies[0]->elements, a->replies[1],
			    a->replies[2]);
			return;
		}
	}
	k = keys_of(w);
	redis_say_texts(redis, "MULTI", NULL);
	redis_say(redis, 3, (struct redis_word []){ REDIS_WORD("RPUSH"), REDIS_WORD(k.j),
	    { str_text(&w->text), w->text.len } });
	redis_say_texts(redis, "LLEN", k.j, NULL);
	say_rest(w, &k);
	keys_done(&k);
}

static void
ask_list(struct work *w)
{
	struct redis *redis = lane_redis_of(w);
	struct keys k = keys_of(w);

	redis_say_texts(redis, "LRANGE", k.j, "0", "-1", NULL);
	redis_say_texts(redis, "GET", k.t, NULL);
	redis_say_texts(redis, "GET", k.s, NULL);
	redis_ask(redis, list_read, w);
	keys_done(&k);
}

void
chord_begin_count(struct work *w)
{
	/* What was collected before the connection was lost is of yesterday. */
	for (size_t i = 0; i < w->words.n; i++)
		free(w->words.at[i]);
	w->words.n = 0;
	if (w->list)
		ask_list(w);
	else
		ask_set(w);
}

static void
forgotten(void *arg, const struct redis_answer *a)
{
	struct work *w = arg;

	if (work_is_answered(w, a))
		work_stored(w, true);
}

void
chord_begin_forget(struct work *w)
{
	struct keys k = keys_of(w);

	redis_say_texts(lane_redis_of(w), "DEL", k.j, k.t, k.s, NULL);
	redis_ask(lane_redis_of(w), forgotten, w);
	keys_done(&k);
}
