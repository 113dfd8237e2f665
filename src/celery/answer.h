/* A question to somebody else's worker, and what comes back.
 *
 * The question is a call of one of his tasks, with a link and a link_error that
 * lead back to a queue of ours: no result backend is needed, and whoever works
 * for that queue may take the answer.  Celery puts the result, or the id of the
 * task that has failed, before our kwargs, which say whose answer it is and under
 * which fence it was asked for.  Pure. */
#ifndef CELERY_ANSWER_H
#define CELERY_ANSWER_H

#include <stdbool.h>
#include <stdint.h>
#include "base/clock.h"
#include "base/uuid.h"
#include "celery/raw.h"

struct celery_envelope;
struct celery_message;
struct refusal;

#define CELERY_ANSWER "tocsin.answer"		/* the task's name */

struct celery_question {
	struct uuid installation;
	int64_t run;
	int job, fence;
	const char *name;		/* of the variable */
	const char *task;
	struct raw kwargs;
	const char *answer_to;		/* our queue */
	double soft, hard;		/* limits, in seconds */
	instant expires;		/* nobody is to begin it any more */
};

/* The task id: one for each job and fence, so that a question that is sent twice
 * by accident is known.  Returns OUT. */
char *celery_question_id(const struct uuid *installation, int64_t run, int job, int fence,
    char out[UUID_TEXT]);

/* The envelope owns all of its texts but ORIGIN. */
void celery_question_encode(const struct celery_question *, const char *origin, instant now,
    struct celery_envelope *);

struct celery_answer {
	struct uuid installation;
	int64_t run;
	int job, fence;			/* the fence is at least 1 */
	char *name;
	char *failed;			/* the name of the task if it has; else NULL */
	struct raw value;		/* lent by the message; of a failure the task's id */
};

bool celery_is_answer(const struct celery_message *);
/* Fill a zeroed ANSWER, which wants its celery_answer_done() in any case. */
int celery_answer_decode(struct celery_answer *, const struct celery_message *,
    struct refusal *);
void celery_answer_done(struct celery_answer *);

#endif
