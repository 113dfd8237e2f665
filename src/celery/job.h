/* Our own tasks: jobs of a run, as Celery's tools see them.
 *
 * A message says which jobs of which run of which installation, and for people
 * what they are called; the books know the rest.  It carries no values, no
 * followers, no eta: whoever adds some is not us, and is refused. */
#ifndef CELERY_JOB_H
#define CELERY_JOB_H

#include <stddef.h>
#include <stdint.h>
#include "base/uuid.h"
#include "base/vec.h"

struct celery_envelope;
struct celery_message;
struct refusal;

#define CELERY_TASKS(X) \
	X(TASK_VARIABLE, "tocsin.variable") X(TASK_EVIDENCE, "tocsin.evidence") \
	X(TASK_EVENT, "tocsin.event") X(TASK_REACTION, "tocsin.reaction") \
	X(TASK_CYCLE, "tocsin.cycle")

#define TASK_ENUM(name, text) name,
enum celery_task { CELERY_TASKS(TASK_ENUM) CELERY_TASK_COUNT };
#undef TASK_ENUM

const char *celery_task_name(enum celery_task);
int celery_task_find(const char *name);		/* or -1 */

#define CELERY_JOBS_MAX 10000			/* in one message */
#define CELERY_NAMES_MAX 5			/* more are not said */

#define CELERY_EVENT_MAX 255			/* bytes of its name, and of a reaction's */

/* kwargs: {"installation": uuid, "run": n, "jobs": [n, ...], "names": [...]};
 * of a reaction, {"installation": uuid, "run": n, "event": s, "reaction": s}. */
struct celery_job {
	enum celery_task task;
	struct uuid installation;
	int64_t run;
	VEC(int) jobs;				/* one or more; none of a cycle, a reaction */
	char *event, *reaction;			/* of a reaction; else NULL */
};

void celery_job_done(struct celery_job *);

/* The task id of a job: always the same one, so that a message that is sent
 * again is known.  Job -1 stands for the run itself.  Returns OUT. */
char *celery_job_id(const struct uuid *installation, int64_t run, int job, char out[UUID_TEXT]);

/* The same of a delivery. */
char *celery_delivery_id(const struct uuid *installation, int64_t run, const char *event,
    const char *reaction, char out[UUID_TEXT]);

/* Its id is that of its first job or of its delivery, its root the run's.  NAMES (N of them, of
 * the jobs, may be none) and ORIGIN ("gen<pid>@<host>") are for people. */
void celery_job_encode(const struct celery_job *, const char *const *names, size_t n,
    const char *origin, struct celery_envelope *);

/* Fill a zeroed JOB.  Whether the installation is ours is the caller's to see. */
int celery_job_decode(struct celery_job *, const struct celery_message *, struct refusal *);

#endif
