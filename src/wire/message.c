/* message.c - a message in memory. */
#include "wire/wire.h"
#include "wire/letter.h"

struct message *
message_new(enum kind kind, int64_t run, const char *queue)
{
	struct message *m = xcalloc(1, sizeof *m);

	m->kind = kind;
	m->run = run;
	m->queue = xstrdup(queue);
	return m;
}

struct message *
message_new_delivery(int64_t run, const char *event, const char *reaction, const char *queue)
{
	struct message *m = message_new(REACTION, run, queue);

	m->event = xstrdup(event);
	m->reaction = xstrdup(reaction);
	return m;
}

struct letter *
letter_new(void)
{
	struct letter *letter = xcalloc(1, sizeof *letter);

	celery_message_init(&letter->message);
	return letter;
}

void
letter_free(struct letter *letter)
{
	if (!letter)
		return;
	celery_message_done(&letter->message);
	free(letter->exchange);
	free(letter->routing_key);
	free(letter);
}

size_t
message_count_open(const struct message *m)
{
	return m->kind == REACTION || m->letter ? 1 : m->jobs.n;
}

struct message *
message_dup(const struct message *m)
{
	struct message *copy = message_new(m->kind, m->run, m->queue);

	for (size_t i = 0; i < m->jobs.n; i++)
		vec_push(&copy->jobs, m->jobs.at[i]);
	for (size_t i = 0; i < m->names.n; i++)
		vec_push(&copy->names, xstrdup(m->names.at[i]));
	copy->event = xstrdup(m->event);
	copy->reaction = xstrdup(m->reaction);
	return copy;
}

void
message_free(struct message *m)
{
	if (!m)
		return;
	vec_done(&m->jobs);
	for (size_t i = 0; i < m->names.n; i++)
		free(m->names.at[i]);
	vec_done(&m->names);
	letter_free(m->letter);
	free(m->event);
	free(m->reaction);
	free(m->shown);
	free(m->queue);
	free(m);
}
