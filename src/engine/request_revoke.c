/* request_revoke.c - what Celery's tools tell about tasks: not to run one, or
 * fewer of them, or not for so long.
 *
 * A revoked id is remembered for three hours, up to 50 000 of them, the oldest
 * go first; and in the books, so that a worker that comes later knows it too.
 * Rates and limits last as long as the process. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "engine/request_inner.h"
#include "engine/worker.h"
#include "exec/exec.h"
#include "io/child.h"
#include "io/loop.h"
#include "io/pg.h"
#include "store/task.h"

static void
forget_old(struct requests *all)
{
	span oldest = clock_monotonic() - TASK_REVOKED_FOR;
	void *first;

	while ((first = json_object_iter(all->revoked)) &&
	    (json_integer_value(json_object_iter_value(first)) < oldest ||
	    json_object_size(all->revoked) > TASK_REVOKED_MOST))
		json_object_del(all->revoked, json_object_iter_key(first));
}

static void
remember(struct requests *all, const char *id)
{
	json_object_del(all->revoked, id);	/* to be the newest */
	json_object_set_new(all->revoked, id, json_integer(clock_monotonic()));
	forget_old(all);
}

bool
revoke_has(const struct requests *all, const char *id)
{
	const json_t *at = json_object_get(all->revoked, id);

	return at && json_integer_value(at) >= clock_monotonic() - TASK_REVOKED_FOR;
}

void
requests_revoke(struct requests *all, const char *id, bool heard)
{
	if (!all || !*id || strlen(id) > CELERY_NAME_MAX)
		return;
	remember(all, id);
	if (!heard && all->revoking.n < TASK_REVOKED_MOST)
		vec_push(&all->revoking, xstrdup(id));
	loop_nudge(all->worker->loop);
}

void
requests_each_revoked(const struct requests *all, void (*each)(void *, const char *, span),
    void *arg)
{
	const char *id;
	json_t *at;

	if (!all)
		return;
	json_object_foreach(all->revoked, id, at)
		each(arg, id, (span)json_integer_value(at));
}

/* --- the books --- */

static void
kept(void *arg, const struct pg_answer *answer)
{
	struct requests *all = arg;
	size_t n = all->revoking_asked;

	all->revoking_asked = 0;
	if (answer->err) {
		worker_note_trouble(all->worker, "keeping revoked tasks", answer->err);
		return;
	}
	worker_note_success(all->worker);
	for (size_t i = 0; i < n; i++)
		free(all->revoking.at[i]);
	all->revoking.n -= n;
	memmove(all->revoking.at, all->revoking.at + n,
	    all->revoking.n * sizeof *all->revoking.at);
}

void
revoke_turn(struct requests *all)
{
	struct worker *w = all->worker;

	if (!all->revoking.n || all->revoking_asked || w->waiting)
		return;
	all->revoking_asked = all->revoking.n;
	task_say_revoke(w->claims, (const char *const *)all->revoking.at, all->revoking.n);
	pg_ask(w->claims, kept, all);
}

static void
known(void *arg, const struct pg_answer *answer)
{
	struct requests *all = arg;

	if (answer->err)
		return;		/* the others tell what they know, too */
	for (int i = 0; i < PQntuples(answer->results[0]); i++)
		if (!json_object_get(all->revoked, PQgetvalue(answer->results[0], i, 0)))
			remember(all, PQgetvalue(answer->results[0], i, 0));
}

void
revoke_init(struct requests *all)
{
	all->revoked = json_object();
	task_say_revoked(all->worker->claims);
	pg_ask(all->worker->claims, known, all);
}

void
revoke_done(struct requests *all)
{
	json_decref(all->revoked);
	for (size_t i = 0; i < all->revoking.n; i++)
		free(all->revoking.at[i]);
	vec_done(&all->revoking);
}

/* --- one that runs --- */

static struct request *
find_active(const struct requests *all, const char *id)
{
	for (size_t i = 0; i < all->active.n; i++)
		if (!strcmp(request_message(all->active.at[i])->id, id))
			return all->active.at[i];
	return NULL;
}

bool
requests_terminate(struct requests *all, const char *id, int signum)
{
	struct request *r = all ? find_active(all, id) : NULL;

	requests_revoke(all, id, false);
	if (!r || r->waiting)	/* it computes nothing */
		return false;
	r->terminated = true;
	r->signum = signum;
	if (r->child)
		child_signal(r->child, signum);
	else if (!r->exec || !exec_signal(r->exec, signum)) {
		request_kill(r);
		request_end_terminated(r);
	}
	return true;
}

/* --- rates and limits --- */

double
use_rate(const struct task_use *s, const struct task *t)
{
	return s->rate >= 0 ? s->rate : t ? t->rate : 0;
}

static struct task_use *
find_use(struct requests *all, const char *task, struct err *err)
{
	if (all && registry_find(all->registry, task))
		return use_get(all, task, false);
	err_set(err, "unknown task");
	return NULL;
}

int
requests_rate_limit(struct requests *all, const char *task, const char *rate, struct err *err)
{
	struct task_use *s;
	double n = 0;

	if (rate && *rate && task_parse_rate(rate, &n, err))
		return -1;
	if (!(s = find_use(all, task, err)))
		return -1;
	s->rate = n;
	s->next = 0;
	free(s->rate_text);
	s->rate_text = n > 0 ? xstrdup(rate) : NULL;
	loop_nudge(all->worker->loop);
	return 0;
}

int
requests_time_limit(struct requests *all, const char *task, double soft, double hard,
    struct err *err)
{
	struct task_use *s = find_use(all, task, err);

	if (!s)
		return -1;
	s->soft = soft;
	s->hard = hard;
	return 0;
}
