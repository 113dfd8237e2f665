/* canvas_unlock.c - celery.chord_unlock: chords where nobody counts.
 *
 * With a backend that cannot count, who starts a chord also sends this task.  It
 * looks whether all members of the header have ended; if not, it comes again
 * after a while; if so, it does what the last of them would have done. */
#include "celery/canvas_inner.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"

#define IDS_MAX 100000
#define IDS_DEPTH_MAX 64
#define INTERVAL_MAX 86400.0

/* [[id, parent], null | [tuple, ...]], or an id alone. */
static int
read_tuple(struct raw v, struct raw *id, struct raw *members)
{
	struct raw_walk walk = raw_walk(v);
	struct raw key, head;

	*id = *members = (struct raw){ NULL, 0 };
	if (raw_kind(v) == '"') {
		*id = v;
		return 0;
	}
	if (raw_kind(v) != '[' || raw_count(v) != 2)
		return -1;
	raw_next(&walk, &key, &head);
	raw_next(&walk, &key, members);
	if (raw_kind(head) == '[') {
		walk = raw_walk(head);
		raw_next(&walk, &key, &head);
	}
	*id = head;
	if (raw_kind(*members) == 'n')
		*members = (struct raw){ NULL, 0 };
	return raw_kind(*id) == '"' && (!members->text || raw_kind(*members) == '[') ? 0 : -1;
}

static int
add_id(struct canvas_ids *ids, struct raw id, struct err *err)
{
	struct str s = STR_INIT;
	int rc = 0;

	if (ids->at.n == IDS_MAX)
		rc = err_set(err, "more than %d results to wait for", IDS_MAX);
	else if (!raw_string(id, &s) || s.len == 0 || s.len > CELERY_NAME_MAX)
		rc = err_set(err, "a result whose id is no text of 1 to %d bytes", CELERY_NAME_MAX);
	else
		vec_push(&ids->at, arena_strndup(&ids->memory, str_text(&s), s.len));
	str_done(&s);
	return rc;
}

static int
read_ids(struct canvas_ids *ids, struct raw tuples, int depth, struct err *err)
{
	struct raw_walk walk = raw_walk(tuples);
	struct raw key, v, id, members;

	if (raw_kind(tuples) != '[' || depth == IDS_DEPTH_MAX)
		return err_set(err, "results that are no array of result tuples");
	while (raw_next(&walk, &key, &v)) {
		if (read_tuple(v, &id, &members))
			return err_set(err, "a result that is no result tuple");
		if (members.text ? read_ids(ids, members, depth + 1, err) : add_id(ids, id, err))
			return -1;
	}
	return 0;
}

int
canvas_ids_read(struct canvas_ids *ids, struct raw tuples, struct err *err)
{
	memset(ids, 0, sizeof *ids);
	return read_ids(ids, tuples, 0, err);
}

void
canvas_ids_done(struct canvas_ids *ids)
{
	vec_done(&ids->at);
	arena_done(&ids->memory);
}

static void
put_results(struct raw tuples, const struct raw **next, struct str *out)
{
	struct raw_walk walk = raw_walk(tuples);
	struct raw key, v, id, members;
	size_t n = 0;

	str_putc(out, '[');
	while (raw_next(&walk, &key, &v)) {
		if (read_tuple(v, &id, &members))
			continue;
		if (n++)
			str_puts(out, ", ");
		if (members.text)
			put_results(members, next, out);
		else if ((*next)->text)
			str_add(out, (*next)->text, (*next)->len), ++*next;
		else
			str_puts(out, "null"), ++*next;
	}
	str_putc(out, ']');
}

void
canvas_ids_results(struct raw tuples, const struct raw *results, struct str *out)
{
	put_results(tuples, &results, out);
}

/* --- the task --- */

/* An argument by name, or by its place. */
static struct raw
argument(const struct celery_message *m, size_t place, const char *name)
{
	struct raw_walk walk = raw_walk(m->args);
	struct raw key, v = raw_get(m->kwargs, name);

	if (v.text)
		return v;
	for (size_t i = 0; raw_next(&walk, &key, &v); i++)
		if (i == place)
			return v;
	return (struct raw){ NULL, 0 };
}

static span
read_interval(struct raw v)
{
	char digits[64];
	double seconds = 1;

	if (raw_kind(v) == '0' && v.len < sizeof digits) {
		memcpy(digits, v.text, v.len);
		digits[v.len] = '\0';
		seconds = strtod(digits, NULL);
	}
	if (!(seconds > 0))
		seconds = 1;
	return (span)((seconds < INTERVAL_MAX ? seconds : INTERVAL_MAX) * (double)SECOND);
}

int
canvas_unlock_read(struct canvas_unlock *u, const struct celery_message *m, struct err *err)
{
	struct raw group = argument(m, 0, "group_id"), retries = argument(m, 3, "max_retries");
	struct str s = STR_INIT;

	memset(u, 0, sizeof *u);
	u->body = argument(m, 1, "callback");
	u->tuples = argument(m, 4, "result");
	u->interval = read_interval(argument(m, 2, "interval"));
	if (raw_integer(retries, &u->max_retries))
		u->max_retries = -1;
	if (raw_kind(group) != '"' || !raw_string(group, &s) || raw_kind(u->body) != '{') {
		str_done(&s);
		return err_set(err, "celery.chord_unlock without a group's id or a body");
	}
	if (canvas_ids_read(&u->ids, u->tuples, err)) {
		str_done(&s);
		return -1;
	}
	u->group = arena_strndup(&u->ids.memory, str_text(&s), s.len);
	str_done(&s);
	return 0;
}

void
canvas_unlock_done(struct canvas_unlock *u)
{
	canvas_ids_done(&u->ids);
}

static int
look_again(struct canvas *c, const struct celery_message *m, const struct canvas_unlock *u,
    const char *queue, struct err *err)
{
	struct canvas_retry retry = { .eta = c->setting.now + u->interval, .queue = queue };

	if (u->max_retries >= 0 && m->retries + 1 > u->max_retries)
		return 1;
	return canvas_retry(c, m, &retry, err);
}

static int
end_chord(struct canvas *c, const struct canvas_unlock *u, const struct canvas_chord *chord,
    const struct canvas_state *states, struct err *err)
{
	VEC(struct raw) values = { 0 };
	struct str results = STR_INIT;
	int rc;

	for (size_t i = 0; i < u->ids.at.n; i++)
		vec_push(&values, states[i].value);
	canvas_ids_results(u->tuples, values.at, &results);
	vec_done(&values);
	rc = canvas_chord_done(c, chord, (struct raw){ str_text(&results), results.len }, err);
	str_done(&results);
	return rc;
}

int
canvas_unlock(struct canvas *c, const struct celery_message *m, const struct canvas_unlock *u,
    const struct canvas_state *states, const char *queue, struct err *err)
{
	struct canvas_chord chord = { u->body, m->id, m->root_id, m->priority };
	struct str reason = STR_INIT;
	int rc;

	for (size_t i = 0; i < u->ids.at.n; i++)
		if (states[i].state == CANVAS_WAITS)
			return look_again(c, m, u, queue, err);
	for (size_t i = 0; i < u->ids.at.n; i++) {
		if (states[i].state != CANVAS_FAILED)
			continue;
		canvas_chord_reason(&reason, u->ids.at.at[i],
		    states[i].type ? states[i].type : "Exception", states[i].value);
		rc = canvas_chord_fail(c, &chord, str_text(&reason), err);
		str_done(&reason);
		return rc;
	}
	return end_chord(c, u, &chord, states, err);
}
