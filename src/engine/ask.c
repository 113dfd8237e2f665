/* ask.c - have a variable computed by somebody else's worker.
 *
 *	unsent -> sending -> confirmed -> recording -> (nobody's: the lease is the deadline)
 *
 * Until the deadline is in the books the job is held like any other: its lease is
 * renewed, and if this worker dies it is sent again.  A question may thus reach
 * the other side twice; what is answered under an old fence has no effect.
 *
 * The deadline is the hard limit from the sending on, and a grace for the way back:
 * where the other side keeps the limit it tells us so before.  Then the question
 * has expired, too, so that one that nobody takes does not pile up.  The sweep
 * sends the job again once, for a worker that acknowledges early and is killed
 * loses what it had. */
#include "engine/ask.h"
#include <stdlib.h>
#include <string.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/json.h"
#include "base/str.h"
#include "celery/answer.h"
#include "celery/message.h"
#include "celery/refusal.h"
#include "engine/panel.h"
#include "engine/publish.h"
#include "engine/worker.h"
#include "exec/answer.h"
#include "io/loop.h"
#include "io/pg.h"
#include "wire/letter.h"

enum step { UNSENT, SENDING, CONFIRMED, RECORDING };

struct question {
	struct worker *worker;
	struct flight *flight;		/* NULL: it is not ours any more */
	enum step step;
	struct celery_envelope envelope;
	char *queue, *note;
	span patience;
};

struct asking {
	VEC(struct question *) questions;
	bool recording;
};

struct asking *
asking_new(void)
{
	return xcalloc(1, sizeof(struct asking));
}

static void
question_free(struct question *q)
{
	celery_envelope_done(&q->envelope);
	free(q->queue);
	free(q->note);
	free(q);
}

void
asking_free(struct asking *a)
{
	for (size_t i = 0; i < a->questions.n; i++)
		question_free(a->questions.at[i]);
	vec_done(&a->questions);
	free(a);
}

static void
remove_question(struct question *q)
{
	struct asking *a = q->worker->asking;

	for (size_t i = 0; i < a->questions.n; i++)
		if (a->questions.at[i] == q) {
			a->questions.at[i] = a->questions.at[--a->questions.n];
			break;
		}
	question_free(q);
}

/* Who is under way is told, and removed then. */
void
ask_forget(struct question *q)
{
	if (!q)
		return;
	q->flight = NULL;
	if (q->step == UNSENT || q->step == CONFIRMED)
		remove_question(q);
}

/* --- asking --- */

bool
ask_can(const struct flight *f)
{
	return f->version->u.variable.executor == EXEC_CELERY &&
	    f->worker->set.allowed[EXEC_CELERY] && f->worker->set.has_broker;
}

static void
encode(struct question *q)
{
	struct flight *f = q->flight;
	const struct variable *v = &f->version->u.variable;
	struct worker *w = q->worker;
	char *kwargs = json_canonical(v->args), id[UUID_TEXT];
	instant now = clock_now();
	struct celery_question say = { .installation = w->set.installation,
		.run = f->job.key.run, .job = f->job.key.id, .fence = f->job.fence,
		.name = f->job.name, .task = v->source,
		.kwargs = { kwargs, strlen(kwargs) }, .answer_to = w->conf->queue,
		.soft = (double)v->soft / SECOND, .hard = (double)v->hard / SECOND };

	q->patience = v->hard + w->conf->grace;
	say.expires = now + q->patience;
	celery_envelope_done(&q->envelope);
	celery_question_encode(&say, w->name, now, &q->envelope);
	celery_question_id(&say.installation, say.run, say.job, say.fence, id);
	free(q->note);
	q->note = xasprintf("task %s with id %s in queue %s", v->source, id, q->queue);
	free(kwargs);
}

static void
posted(void *arg, bool ok)
{
	struct question *q = arg;
	struct worker *w = q->worker;

	failpoint("ask.confirmed");
	if (!q->flight)
		remove_question(q);
	else
		q->step = ok ? CONFIRMED : UNSENT;
	loop_nudge(w->loop);
}

static void
send(struct question *q)
{
	struct transport *t = q->worker->set.transport;
	struct post post = { .exchange = "", .routing_key = q->queue, .declare = true,
		.mandatory = true, .envelope = &q->envelope };

	encode(q);		/* it expires anew */
	q->step = SENDING;
	t->post(t, &post, posted, q);
}

void
ask_begin(struct flight *f)
{
	struct question *q = xcalloc(1, sizeof *q);
	struct worker *w = f->worker;

	q->worker = w;
	q->flight = f;
	q->queue = xstrdup(f->version->u.variable.task_queue);
	f->question = q;
	vec_push(&w->asking->questions, q);
	vec_push(&w->running, f);
	f->started_at = clock_now();
	panel_job_started(w, f);
	failpoint("ask.before_send");
	send(q);
}

/* --- the deadline --- */

/* A row that was not there any more is somebody else's, or is answered already. */
static void
recorded(void *arg, const struct pg_answer *answer)
{
	struct worker *w = arg;
	struct asking *a = w->asking;
	VEC(struct question *) over = { 0 };

	a->recording = false;
	if (answer->err)
		worker_note_trouble(w, "writing down what was asked", answer->err);
	else
		worker_note_success(w);
	for (size_t i = 0; i < a->questions.n; i++) {
		struct question *q = a->questions.at[i];

		if (q->step != RECORDING)
			continue;
		q->step = CONFIRMED;
		if (!answer->err || !q->flight)
			vec_push(&over, q);
	}
	if (over.n)
		failpoint("ask.recorded");
	for (size_t i = 0; i < over.n; i++) {
		struct flight *f = over.at[i]->flight;

		if (f) {
			flight_land(w, f);
			publish_release(w, f->from);
			f->question = NULL;
			flight_free(f);
		}
		remove_question(over.at[i]);
	}
	vec_done(&over);
	loop_nudge(w->loop);
}

static void
record(struct worker *w)
{
	struct asking *a = w->asking;
	VEC(struct asked) asked = { 0 };

	for (size_t i = 0; i < a->questions.n && asked.n < BATCH_MAX; i++) {
		struct question *q = a->questions.at[i];

		if (q->step != CONFIRMED)
			continue;
		q->step = RECORDING;
		vec_push(&asked, ((struct asked){ { q->flight->job.key, q->flight->job.fence },
		    q->patience, q->note }));
	}
	if (asked.n) {
		a->recording = true;
		failpoint("ask.before_record");
		claim_say_asked(w->claims, asked.at, asked.n);
		pg_ask(w->claims, recorded, w);
	}
	vec_done(&asked);
}

void
ask_turn(struct worker *w)
{
	struct asking *a = w->asking;

	/* Sending may tell at once, which changes the list. */
	for (size_t i = a->questions.n; i-- > 0; )
		if (i < a->questions.n && a->questions.at[i]->step == UNSENT)
			send(a->questions.at[i]);
	if (!a->recording && !w->waiting)
		record(w);
}

/* --- being answered --- */

/* The outcome that ANSWER is. */
static void
read_outcome(const struct worker *w, const struct celery_answer *answer, struct outcome *o)
{
	size_t most = (size_t)w->conf->max_value;
	struct str text = STR_INIT;
	struct err err;

	if (answer->failed) {
		raw_string(answer->value, &text);
		o->error = xasprintf("the Celery task %s failed; why, its worker's log and its "
		    "result backend tell under its id, %.100s", answer->failed, str_text(&text));
	} else if (!(o->value = answer_value(answer->value, most, &err)))
		o->error = xstrdup(err.message);
	o->state = o->value ? JOB_DONE : JOB_FAILED;
	o->reason = o->value ? REASON_OK : REASON_ERROR;
	str_done(&text);
}

void
ask_take(struct worker *w, struct message *m)
{
	struct celery_answer answer = { .job = -1 };
	struct flight *f = xcalloc(1, sizeof *f);
	struct outcome *o = &f->outcome;
	struct refusal refusal;

	failpoint("ask.on_answer");
	/* The transport has refused, or dropped, what is none, or none of ours. */
	celery_answer_decode(&answer, &m->letter->message, &refusal);
	f->worker = w;
	f->from = m;
	o->key = f->job.key = (struct job_key){ answer.run, answer.job };
	o->fence = f->job.fence = answer.fence;
	o->kind = VARIABLE;
	o->name = xstrdup(answer.name);
	f->job.name = xstrdup(answer.name);
	o->truth = TRUTH_UNKNOWN;
	o->is_answer = true;
	read_outcome(w, &answer, o);
	f->started_at = clock_now();		/* when it was, somebody else knows */
	panel_job_ended(w, f);
	vec_push(&w->finished, f);
	celery_answer_done(&answer);
}
