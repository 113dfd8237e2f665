/* request_look.c - what Celery's tools get to see of clients' tasks. */
#include <string.h>
#include "engine/request_inner.h"

static struct request_view
view_of(const struct request *r)
{
	struct request_view view = { .state = r->state, .letter = r->letter, .queue = r->queue,
		.acknowledged = !r->from, .received_at = r->received_at,
		.started_at = r->started_at, .eta = r->letter->message.eta,
		.outcome = r->outcome, .runtime = r->runtime, .terminated = r->terminated,
		.expired = r->expired, .signum = r->signum };

	if (r->value)
		view.value = (struct raw){ r->value, strlen(r->value) };
	if (r->type)
		view.exception = (struct celery_exception){ r->type, r->module,
			{ r->message, strlen(r->message) } };
	return view;
}

void
request_tell(struct request *r, enum request_event event)
{
	struct request_view view;

	if (!r->of->told)
		return;
	view = view_of(r);
	r->of->told(r->of->arg, event, &view);
}

void
requests_listen(struct requests *all, void (*told)(void *, enum request_event,
    const struct request_view *), void *arg)
{
	if (!all)
		return;
	all->told = told;
	all->arg = arg;
}

void
requests_each(const struct requests *all, void (*each)(void *, const struct request_view *),
    void *arg)
{
	if (!all)
		return;
	const struct { struct request **at; size_t n; } lists[] = {
		{ all->delaying.at, all->delaying.n }, { all->scheduled.at, all->scheduled.n },
		{ all->reserved.at, all->reserved.n }, { all->active.at, all->active.n },
		{ all->ending.at, all->ending.n },
	};

	for (size_t l = 0; l < sizeof lists / sizeof lists[0]; l++)
		for (size_t i = 0; i < lists[l].n; i++) {
			struct request_view view = view_of(lists[l].at[i]);

			each(arg, &view);
		}
}

void
requests_each_task(const struct requests *all, void (*each)(void *, const char *, bool,
    const char *, int64_t), void *arg)
{
	const struct builtin *b;

	for (size_t i = 0; all && i < registry_count(all->registry); i++) {
		const struct task *t = registry_get(all->registry, i);
		const struct task_use *s = use_get((struct requests *)(uintptr_t)all,
		    t->name, false);

		each(arg, t->name, false, s->rate_text ? s->rate_text : t->rate_limit, s->total);
	}
	for (size_t i = 0; all && (b = builtin_get(i)); i++) {
		const struct task_use *s = use_get((struct requests *)(uintptr_t)all,
		    builtin_name(b), true);

		each(arg, builtin_name(b), true, NULL, s->total);
	}
}
