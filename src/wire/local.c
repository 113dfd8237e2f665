/* local.c - the transport of a process that keeps its messages to itself.
 *
 * Confirms come from the next turn of the loop, as a broker's would: nobody
 * can come to rely on their being immediate. */
#include "wire/wire.h"
#include "io/loop.h"

struct confirm {
	void (*confirmed)(void *, bool);
	void *arg;
};

struct answer {
	void (*counted)(void *, int64_t);
	void *arg;
};

struct local {
	struct transport transport;
	struct loop *loop;
	struct timer *soon;
	VEC(struct message *) queue;
	size_t head;
	VEC(struct message *) taken;	/* not acknowledged yet */
	VEC(struct confirm) unconfirmed;
	VEC(struct answer) counting;
};

/* One process works for all queues, so its own is all of them. */
static void
tell_counts(struct local *local)
{
	struct answer *answers = local->counting.at;
	size_t n = local->counting.n;

	local->counting.at = NULL;
	local->counting.n = local->counting.room = 0;
	for (size_t i = 0; i < n; i++)
		answers[i].counted(answers[i].arg, (int64_t)(local->queue.n - local->head));
	free(answers);
}

static void
confirm_all(void *arg)
{
	struct local *local = arg;
	struct confirm *confirms = local->unconfirmed.at;
	size_t n = local->unconfirmed.n;

	/* A callback may publish: that is for the next turn. */
	local->unconfirmed.at = NULL;
	local->unconfirmed.n = local->unconfirmed.room = 0;
	for (size_t i = 0; i < n; i++)
		confirms[i].confirmed(confirms[i].arg, true);
	free(confirms);
	tell_counts(local);
}

static void
publish(struct transport *transport, const struct message *m, void (*confirmed)(void *, bool),
    void *arg)
{
	struct local *local = (struct local *)transport;

	vec_push(&local->queue, message_dup(m));
	vec_push(&local->unconfirmed, ((struct confirm){ confirmed, arg }));
	timer_start(local->soon, 0);
}

/* There is nobody else here: it does not come to that. */
static void
post(struct transport *transport, const struct post *p, void (*confirmed)(void *, bool), void *arg)
{
	if (confirmed)
		confirmed(arg, false);
}

static void
count(struct transport *transport, const char *queue, void (*counted)(void *, int64_t), void *arg)
{
	struct local *local = (struct local *)transport;

	vec_push(&local->counting, ((struct answer){ counted, arg }));
	timer_start(local->soon, 0);
}

static struct message *
take(struct transport *transport)
{
	struct local *local = (struct local *)transport;
	struct message *m;

	if (local->head == local->queue.n)
		return NULL;
	m = local->queue.at[local->head++];
	if (local->head == local->queue.n)
		local->head = local->queue.n = 0;
	m->open = message_count_open(m);
	m->arrived_at = clock_monotonic();
	m->place = local->taken.n;
	vec_push(&local->taken, m);
	return m;
}

static void
forget(struct local *local, struct message *m)
{
	struct message *last = local->taken.at[--local->taken.n];

	local->taken.at[last->place = m->place] = last;
}

static void
ack(struct transport *transport, struct message *m)
{
	struct local *local = (struct local *)transport;

	forget(local, m);
	message_free(m);
}

static void
give_back(struct transport *transport, struct message *m)
{
	struct local *local = (struct local *)transport;

	forget(local, m);
	vec_push(&local->queue, m);
}

static void
take_no_more(struct transport *transport)
{
}

static const struct err *
trouble(struct transport *transport)
{
	return NULL;
}

static bool
close_nothing(struct transport *transport)
{
	return true;
}

static void
local_free(struct transport *transport)
{
	struct local *local = (struct local *)transport;

	for (size_t i = local->head; i < local->queue.n; i++)
		message_free(local->queue.at[i]);
	vec_done(&local->queue);
	for (size_t i = 0; i < local->taken.n; i++)
		message_free(local->taken.at[i]);
	vec_done(&local->taken);
	for (size_t i = 0; i < local->unconfirmed.n; i++)
		local->unconfirmed.at[i].confirmed(local->unconfirmed.at[i].arg, false);
	vec_done(&local->unconfirmed);
	tell_counts(local);
	timer_free(local->soon);
	free(local);
}

struct transport *
transport_local(struct loop *loop)
{
	struct local *local = xcalloc(1, sizeof *local);

	local->transport = (struct transport){ publish, post, count, take, ack, give_back,
		take_no_more, trouble,
		close_nothing, local_free };
	local->loop = loop;
	local->soon = timer_new(loop, confirm_all, local);
	return &local->transport;
}
