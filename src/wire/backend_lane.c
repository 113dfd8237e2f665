/* backend_lane.c - work for a result backend: what waits, and in which order.
 *
 * All that is not done is one list, in the order in which it came.  What is
 * begun stays where it is, so that after a failure the whole of it begins again
 * in its order.  A failure of the server pauses the lane for a back-off; one of
 * the connection is the kind's to mend. */
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "io/loop.h"
#include "wire/backend_inner.h"

#define BACK_OFF (SECOND / 4)
#define BACK_OFF_MOST (30 * SECOND)
#define BEGUN_MOST ((size_t)4 << 20)	/* bytes under way; one work may be more */

struct work *
work_new(enum work_kind kind, const char *id)
{
	struct work *w = xcalloc(1, sizeof *w);

	w->kind = kind;
	w->id = xstrdup(id);
	w->index = -1;
	return w;
}

void
work_free(struct work *w)
{
	for (size_t i = 0; i < w->words.n; i++)
		free(w->words.at[i]);
	vec_done(&w->words);
	chord_free(w->chord);
	str_done(&w->text);
	free(w->id);
	free(w->state);
	free(w->reply_to);
	free(w->correlation_id);
	free(w);
}

/* --- the list --- */

static void
append(struct lane *lane, struct work *w)
{
	w->lane = lane;
	w->before = lane->last;
	if (lane->last)
		lane->last->after = w;
	else
		lane->first = w;
	lane->last = w;
	if (!lane->next)
		lane->next = w;
	lane->n++;
	lane->bytes += w->bytes;
}

static void
take_out(struct work *w)
{
	struct lane *lane = w->lane;

	if (lane->next == w)
		lane->next = w->after;
	if (w->before)
		w->before->after = w->after;
	else
		lane->first = w->after;
	if (w->after)
		w->after->before = w->before;
	else
		lane->last = w->before;
	lane->n--;
	lane->bytes -= w->bytes;
	if (w->begun)
		lane->begun -= w->bytes;
	if (lane->n < BACKEND_WAITING_MAX / 2 && lane->bytes < BACKEND_BYTES_MAX / 2)
		lane->told_full = false;
}

/* W waits again, before all that came after it. */
static void
put_back(struct work *w)
{
	if (w->begun)
		w->lane->begun -= w->bytes;
	w->begun = false;
	w->tries++;
	w->lane->next = w->lane->first;
}

/* --- ends --- */

/* Between these two somebody is told, and may free the lane. */
static void
enter(struct lane *lane)
{
	lane->busy++;
}

static bool
leave(struct lane *lane)
{
	bool freed = lane->freed;

	if (--lane->busy == 0 && freed)
		free(lane);
	return !freed;
}

static void
tell(struct work *w, const struct celery_result *results, size_t n,
    const struct chord_answer *answer)
{
	if (w->fetched)
		w->fetched(w->arg, results, n);
	if (w->counted)
		w->counted(w->arg, answer);
	if (w->stored)
		w->stored(w->arg, w->ok);
	work_free(w);
}

/* Nobody hears of an end from within his asking. */
static void
end(struct work *w, const struct celery_result *results, size_t n,
    const struct chord_answer *answer)
{
	struct lane *lane = w->lane;

	take_out(w);
	if (lane->beginning) {
		vec_push(&lane->ended, w);
		timer_start(lane->soon, 0);
		return;
	}
	enter(lane);
	tell(w, results, n, answer);
	if (leave(lane))
		lane_pump(lane);
}

void
work_stored(struct work *w, bool ok)
{
	w->ok = ok;
	end(w, NULL, 0, &(struct chord_answer){ .ok = false });
}

void
work_fetched(struct work *w, const struct celery_result *results, size_t n)
{
	end(w, results, n, NULL);
}

void
work_counted(struct work *w, const struct chord_answer *answer)
{
	end(w, NULL, 0, answer);
}

void
work_failed(struct work *w)
{
	work_stored(w, false);
}

void
work_again(struct work *w)
{
	put_back(w);
	lane_pump(w->lane);
}

void
work_lost(struct work *w, const struct err *err)
{
	put_back(w);
	lane_trouble(w->lane, err);
}

void
work_refused(struct work *w, const struct err *err)
{
	struct lane *lane = w->lane;
	span wait = lane->failures < 7 ? BACK_OFF << lane->failures : BACK_OFF_MOST;

	if (err->class == ERR_GIVEN) {
		log_warn("a result is refused", "backend", lane->kind->what, "id", w->id,
		    "error", err->message);
		work_failed(w);
		return;
	}
	work_lost(w, err);
	if (lane->paused)
		return;
	lane->paused = true;
	lane->failures++;
	timer_start(lane->pause, wait / 2 + (span)(random() % (wait / 2)));
}

/* --- the lane --- */

void
lane_trouble(struct lane *lane, const struct err *err)
{
	log_line(lane->troubled ? LEVEL_DEBUG : LEVEL_WARN,
	    "the result backend cannot be used, trying again", "backend", lane->kind->what,
	    "error", err->message, "waiting", log_number((int64_t)lane->n));
	lane->troubled = true;
	lane->trouble = *err;
}

void
lane_is_well(struct lane *lane)
{
	lane->failures = 0;
	if (!lane->troubled)
		return;
	lane->troubled = false;
	log_info("the result backend is there again", "backend", lane->kind->what, "waiting",
	    log_number((int64_t)lane->n));
}

void
lane_pump(struct lane *lane)
{
	if (lane->beginning || lane->freed)
		return;
	while (lane->next && !lane->paused && lane->begun < BEGUN_MOST &&
	    !lane->kind->is_full(lane)) {
		struct work *w = lane->next;

		lane->next = w->after;
		if (w->begun)
			continue;
		w->begun = true;
		lane->begun += w->bytes;
		lane->beginning = true;
		lane->kind->begin(lane, w);
		lane->beginning = false;
	}
}

static void
pause_ended(void *arg)
{
	struct lane *lane = arg;

	lane->paused = false;
	lane_pump(lane);
}

static void
tell_of_ended(struct lane *lane)
{
	VEC(struct work *) ended = { lane->ended.at, lane->ended.n, lane->ended.room };

	/* Whoever hears of one may ask for the next. */
	lane->ended.at = NULL;
	lane->ended.n = lane->ended.room = 0;
	for (size_t i = 0; i < ended.n; i++)
		tell(ended.at[i], NULL, 0, &(struct chord_answer){ .ok = false });
	vec_done(&ended);
}

static void
tell_ended(void *arg)
{
	struct lane *lane = arg;

	enter(lane);
	tell_of_ended(lane);
	if (leave(lane))
		lane_pump(lane);
}

void
lane_hopeless(struct lane *lane, struct work *w)
{
	w->ok = false;
	vec_push(&lane->ended, w);
	timer_start(lane->soon, 0);
}

static void
tell_full(struct lane *lane)
{
	if (!lane->told_full)
		log_error("too many results wait for their backend, those on top are lost",
		    "backend", lane->kind->what, "waiting", log_number((int64_t)lane->n),
		    "bytes", log_number((int64_t)lane->bytes));
	lane->told_full = true;
}

void
lane_take(struct lane *lane, struct work *w)
{
	w->bytes = sizeof *w + w->text.len;
	for (size_t i = 0; i < w->words.n; i++)
		w->bytes += w->words.at[i] ? strlen(w->words.at[i]) : 0;
	if (lane->n >= BACKEND_WAITING_MAX || lane->bytes + w->bytes > BACKEND_BYTES_MAX) {
		tell_full(lane);
		lane_hopeless(lane, w);
		return;
	}
	append(lane, w);
	lane_pump(lane);
}

void
lane_init(struct lane *lane, const struct lane_kind *kind, struct loop *loop)
{
	lane->kind = kind;
	lane->loop = loop;
	lane->soon = timer_new(loop, tell_ended, lane);
	lane->pause = timer_new(loop, pause_ended, lane);
}

void
lane_free(struct lane *lane)
{
	if (!lane || lane->freed)
		return;
	enter(lane);
	lane->freed = true;
	lane->kind->stop(lane);
	tell_of_ended(lane);
	while (lane->first) {
		struct work *w = lane->first;

		w->ok = false;
		take_out(w);
		tell(w, NULL, 0, &(struct chord_answer){ .ok = false });
	}
	tell_of_ended(lane);
	timer_free(lane->soon);
	timer_free(lane->pause);
	leave(lane);
}
