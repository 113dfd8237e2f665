/* backend_chord_join.c - what the members of a chord have come to.
 *
 * A member that was delivered again and ended differently stands there twice, so
 * when the count is reached it is ids that count.  Where a chain in the header
 * ends in a group, whoever sends that group writes its size over .s, so that the
 * count is reached too early: as Celery does we then wait a while for what a
 * GroupResult still misses. */
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "celery/refusal.h"
#include "io/loop.h"
#include "io/redis.h"
#include "wire/backend_inner.h"

#define JOIN_WAIT (3 * SECOND)	/* result_chord_join_timeout */
#define JOIN_PAUSE (SECOND / 20)

struct chord {
	int64_t size;			/* .s and .t */
	int64_t count;			/* with ours: nobody else has had this one */
	/* The members, of a GroupResult its leaves, in their order: */
	VEC(struct celery_result) members;
	VEC(struct raw) results;
	struct raw tuple;		/* of the GroupResult */
	struct str kept, built;		/* its document; the arrays of nested groups */
	struct arena arena;
	/* For leaves that are not there yet: */
	struct timer *again;
	span until;
	bool late;
};

static void
tell(struct work *w, struct chord_answer answer)
{
	lane_is_well(w->lane);
	answer.ok = true;
	work_counted(w, &answer);
}

void
chord_tell_incomplete(struct work *w)
{
	tell(w, (struct chord_answer){ .complete = false });
}

/* Nobody can make sense of what stands there: the chord ends, and says why. */
void
chord_tell_broken(struct work *w, const char *why)
{
	struct str text = STR_INIT;
	struct celery_exception e = { "ValueError", "builtins", { 0 } };

	str_printf(&text, "[\"%s\"]", why);
	e.message = (struct raw){ str_text(&text), text.len };
	tell(w, (struct chord_answer){ .complete = true, .failed_id = w->id, .exception = &e,
		.joined = true });
	str_done(&text);
}

static void
tell_complete(struct work *w, bool joined)
{
	struct chord *c = w->chord;
	struct chord_answer a = { .complete = true, .joined = joined };

	for (size_t i = 0; i < c->members.n; i++) {
		const struct celery_result *m = &c->members.at[i];

		if (strcmp(m->state, "FAILURE") && strcmp(m->state, "REVOKED"))
			continue;
		a.failed_id = m->id;
		a.exception = &m->exception;
		tell(w, a);
		return;
	}
	a.results = c->results.at;
	a.n = c->results.n;
	tell(w, a);
}

/* --- members that are counted one by one --- */

/* [1, id, state, result] */
static int
read_member(struct celery_result *m, const redisReply *reply, struct arena *arena)
{
	struct raw_walk walk;
	struct raw all, key, part[4];
	struct str id = STR_INIT, state = STR_INIT;
	struct refusal refusal;
	struct err ignored;
	int rc = -1;

	*m = (struct celery_result){ 0 };
	if (reply->type != REDIS_REPLY_STRING ||
	    raw_check(reply->str, reply->len, &all, &refusal) || raw_kind(all) != '[' ||
	    raw_count(all) != 4)
		return -1;
	walk = raw_walk(all);
	for (int i = 0; i < 4; i++)
		raw_next(&walk, &key, &part[i]);
	if (raw_kind(part[1]) == '"' && raw_kind(part[2]) == '"' && raw_string(part[1], &id) &&
	    raw_string(part[2], &state)) {
		m->id = arena_strndup(arena, str_text(&id), id.len);
		m->state = arena_strndup(arena, str_text(&state), state.len);
		m->value = part[3];
		if (celery_state_is_exception(m->state) &&
		    celery_exception_read(&m->exception, part[3], arena, &ignored))
			m->exception = (struct celery_exception){ "Exception", "builtins",
				part[3] };
		rc = 0;
	}
	str_done(&id);
	str_done(&state);
	return rc;
}

/* A number of each member, by its id. */
static int
by_id(const void *a, const void *b, void *arg)
{
	const struct chord *c = arg;
	size_t i = *(const size_t *)a, k = *(const size_t *)b;
	int order = strcmp(c->members.at[i].id, c->members.at[k].id);

	return order ? order : i < k ? -1 : i > k;
}

/* Of members with the same id one is left: a SUCCESS, or the first. */
static void
drop_doubles(struct chord *c)
{
	size_t n = c->members.n, *order = xcalloc(n, sizeof *order), kept = 0;
	bool *gone = xcalloc(n, sizeof *gone);

	for (size_t i = 0; i < n; i++)
		order[i] = i;
	qsort_r(order, n, sizeof *order, by_id, c);
	for (size_t i = 0, k; i < n; i = k) {
		size_t best = order[i];

		for (k = i + 1; k < n && !strcmp(c->members.at[order[k]].id,
		    c->members.at[order[i]].id); k++)
			if (strcmp(c->members.at[best].state, "SUCCESS") &&
			    !strcmp(c->members.at[order[k]].state, "SUCCESS"))
				best = order[k];
		for (size_t d = i; d < k; d++)
			gone[order[d]] = order[d] != best;
	}
	for (size_t i = 0; i < n; i++)
		if (!gone[i])
			c->members.at[kept++] = c->members.at[i];
	c->members.n = kept;
	free(gone);
	free(order);
}

/* -1: one of them cannot be read. */
static int
read_members(struct chord *c, const redisReply *array)
{
	struct celery_result m;

	for (size_t i = 0; i < array->elements; i++) {
		if (read_member(&m, array->element[i], &c->arena))
			return -1;
		vec_push(&c->members, m);
	}
	drop_doubles(c);
	for (size_t i = 0; i < c->members.n; i++)
		vec_push(&c->results, c->members.at[i].value);
	return 0;
}

/* --- a GroupResult --- */

/* A result's tuple is [[id, parent], null], a group's [[id, parent], [tuple, ...]];
 * the id may stand alone in place of the pair. */
static bool
take_tuple(struct raw tuple, struct raw *id, struct raw *members)
{
	struct raw_walk walk = raw_walk(tuple), inner;
	struct raw key;

	if (raw_kind(tuple) != '[' || !raw_next(&walk, &key, id) ||
	    !raw_next(&walk, &key, members))
		return false;
	inner = raw_walk(*id);
	if (raw_kind(*id) == '[' && !raw_next(&inner, &key, id))
		return false;
	return raw_kind(*id) == '"';
}

/* The ids of all tasks in MEMBERS, into the words of W.  raw_check() has seen to
 * the depth. */
static int
collect_ids(struct work *w, struct raw members)
{
	struct raw_walk walk = raw_walk(members);
	struct raw key, tuple, id, inner;

	while (raw_next(&walk, &key, &tuple)) {
		struct str text = STR_INIT;

		if (!take_tuple(tuple, &id, &inner) || w->words.n >= BACKEND_IDS_MAX)
			return -1;
		if (raw_kind(inner) == '[') {
			if (collect_ids(w, inner))
				return -1;
			continue;
		}
		if (!raw_string(id, &text)) {
			str_done(&text);
			return -1;
		}
		vec_push(&w->words, str_take(&text));
	}
	return 0;
}

/* The values of MEMBERS, the next of which is at *AT, as an array. */
static void
build_array(struct chord *c, struct str *out, struct raw members, size_t *at)
{
	struct raw_walk walk = raw_walk(members);
	struct raw key, tuple, id, inner;
	bool first = true;

	str_putc(out, '[');
	for (; raw_next(&walk, &key, &tuple); first = false) {
		str_puts(out, first ? "" : ", ");
		take_tuple(tuple, &id, &inner);
		if (raw_kind(inner) == '[') {
			build_array(c, out, inner, at);
		} else {
			struct raw v = c->members.at[(*at)++].value;

			str_add(out, v.text ? v.text : "null", v.text ? v.len : 4);
		}
	}
	str_putc(out, ']');
}

static void
build_results(struct chord *c)
{
	struct raw_walk walk;
	struct raw id, members, key, member;
	size_t at = 0;

	take_tuple(c->tuple, &id, &members);
	build_array(c, &c->built, members, &at);
	walk = raw_walk((struct raw){ str_text(&c->built), c->built.len });
	while (raw_next(&walk, &key, &member))
		vec_push(&c->results, member);
}

static void
take_leaf(struct chord *c, const char *id, const redisReply *reply)
{
	static const char timeout[] = "[\"The operation timed out.\"]";
	struct celery_result m = { 0 };
	struct err ignored;

	if (reply && reply->type == REDIS_REPLY_STRING)
		celery_result_read(&m, reply->str, reply->len, &c->arena, &ignored);
	if (!m.state || !celery_state_is_ready(m.state)) {
		m = (struct celery_result){ .state = "FAILURE", .exception = { "TimeoutError",
			"celery.exceptions", { timeout, sizeof timeout - 1 } } };
		c->late = true;
	}
	m.id = id;
	vec_push(&c->members, m);
}

static void leaves_fetched(void *, const struct redis_answer *);

static void
look_again(void *arg)
{
	redis_fetch_words(arg, leaves_fetched);
}

/* False: some leaf is missing, and has been for long. */
static bool
wait_for_leaves(struct work *w)
{
	struct chord *c = w->chord;
	span now = clock_monotonic();

	if (!c->until)
		c->until = now + JOIN_WAIT;
	if (now >= c->until)
		return false;
	c->members.n = 0;
	if (!c->again)
		c->again = timer_new(w->lane->loop, look_again, w);
	timer_start(c->again, JOIN_PAUSE);
	return true;
}

static void
leaves_fetched(void *arg, const struct redis_answer *a)
{
	struct work *w = arg;
	struct chord *c = w->chord;
	size_t n = 0;

	if (!work_is_answered(w, a))
		return;
	c->late = false;
	for (size_t i = 0; i < a->n; i++)
		for (size_t k = 0; k < a->replies[i]->elements && n < w->words.n; k++, n++)
			take_leaf(c, w->words.at[n], a->replies[i]->element[k]);
	for (; n < w->words.n; n++)
		take_leaf(c, w->words.at[n], NULL);
	if (c->late && wait_for_leaves(w))
		return;
	build_results(c);
	tell_complete(w, true);
}

/* Is there a GroupResult in REPLY?  Then its tuple is the chord's. */
static bool
take_group(struct chord *c, const redisReply *reply)
{
	struct refusal refusal;
	struct raw document, id, members;

	if (reply->type != REDIS_REPLY_STRING)
		return false;
	str_clear(&c->kept);
	str_add(&c->kept, reply->str, reply->len);
	if (raw_check(str_text(&c->kept), c->kept.len, &document, &refusal) ||
	    raw_kind(document) != '{')
		return false;
	c->tuple = raw_get(document, "result");
	return c->tuple.text && take_tuple(c->tuple, &id, &members) && raw_kind(members) == '[';
}

static void
join_group(struct work *w)
{
	struct raw id, members;

	take_tuple(w->chord->tuple, &id, &members);
	if (collect_ids(w, members)) {
		chord_tell_broken(w, "the GroupResult cannot be read");
	} else if (w->words.n == 0) {
		build_results(w->chord);
		tell_complete(w, true);
	} else {
		redis_fetch_words(w, leaves_fetched);
	}
}

/* --- all of them --- */

/* By us, and by nobody else.  Where the size is too small, as above, others may
 * have been counted since. */
static bool
is_reached(const struct chord *c)
{
	int64_t n = (int64_t)c->members.n;

	return n == c->size || (n > c->size && c->count == c->size);
}

static void
members_read(void *arg, const struct redis_answer *a)
{
	struct work *w = arg;
	struct chord *c = w->chord;

	if (!work_is_answered(w, a))
		return;
	if (read_members(c, a->replies[1])) {
		chord_tell_broken(w, "a member of the chord cannot be read");
		return;
	}
	if (!is_reached(c)) {
		chord_tell_incomplete(w);
		return;
	}
	if (take_group(c, a->replies[0])) {
		c->members.n = c->results.n = 0;	/* its leaves, instead */
		join_group(w);
		return;
	}
	tell_complete(w, false);
}

void
chord_free(struct chord *c)
{
	if (!c)
		return;
	vec_done(&c->members);
	vec_done(&c->results);
	str_done(&c->kept);
	str_done(&c->built);
	arena_done(&c->arena);
	timer_free(c->again);
	free(c);
}

void
chord_join(struct work *w, int64_t size, int64_t count)
{
	struct redis *redis = lane_redis_of(w);
	char *group = chord_key(w, ""), *members = chord_key(w, ".j");

	chord_free(w->chord);
	w->chord = xcalloc(1, sizeof *w->chord);
	w->chord->size = size;
	w->chord->count = count;
	redis_say_texts(redis, "GET", group, NULL);
	redis_say_texts(redis, w->list ? "LRANGE" : "ZRANGE", members, "0", "-1", NULL);
	redis_ask(redis, members_read, w);
	free(group);
	free(members);
}
