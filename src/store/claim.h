/* Claims: jobs that are ours for a lease, with all that computing them needs. */
#ifndef STORE_CLAIM_H
#define STORE_CLAIM_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/clock.h"
#include "base/vec.h"
#include "expr/expr.h"
#include "model/states.h"

struct pg;
struct pg_answer;

struct job_key {
	int64_t run;
	int id;
};
/* For qsort() and bsearch() of whatever begins with its key. */
int job_key_compare(const void *, const void *);

/* What stands upstream of an evidence or event. */
struct input {
	char *name;
	char *value;			/* of a variable: JSON text; NULL: never computed */
	enum truth truth;		/* of an evidence; OPEN: not settled yet */
};

struct claimed {
	struct job_key key;
	enum kind kind;
	char *name;
	int64_t version;
	int fence, attempts;
	bool active;
	bool alone;			/* its last claim ended with its worker */
	instant as_of;			/* T of its run */
	VEC(struct input) inputs;
};

struct claims {
	struct claimed *at;
	size_t n;
	VEC(struct job_key) later;	/* queued still: to be claimed after these */
};

/* Claim those of the N jobs that are queued; jobs that are not are no error,
 * they are just missing from the answer (somebody else has them).  Of those
 * that run alone one is claimed.  WITH_INPUTS: there are others than variables.  Books newer than the program give nothing;
 * the answer ends with migrate_say_version(). */
void claim_say(struct pg *, const struct job_key *keys, size_t n, bool with_inputs,
    const char *worker, span lease);
struct claims *claim_read(const struct pg_answer *);
void claims_free(struct claims *);
void claimed_done(struct claimed *);

/* Give N running jobs another lease; those that are not in the answer are ours
 * no more. */
struct held {
	struct job_key key;
	int fence;
};
void claim_say_renew(struct pg *, const struct held *, size_t n, span lease);
bool claim_read_renewed(const struct pg_answer *, const struct held *);

/* N running jobs were asked of somebody else's worker: their leases last until the
 * answer is overdue, and nobody renews them.  Those that are not running under
 * their fence any more are left alone. */
enum { ASKS_MAX = 2 };			/* of one job, then it is failed */
struct asked {
	struct held held;
	span patience;
	const char *note;		/* for people */
};
void claim_say_asked(struct pg *, const struct asked *, size_t n);

/* Give back N jobs as if they had never been claimed: queued, no attempt
 * charged, lease cleared. */
void claim_say_hand_back(struct pg *, const struct held *, size_t n);

/* Versions of definitions: say, and read each (id, kind, body; the hash of an event's). */
void claim_say_versions(struct pg *, const int64_t *ids, size_t n);
/* Those of RUN's jobs FIRST to LAST that have not settled; to be read likewise. */
void claim_say_versions_of_jobs(struct pg *, int64_t run, int first, int last);
void claim_read_versions(const PGresult *, void (*version)(void *arg,
    int64_t id, enum kind, const char *body, const char *hash), void *arg);

#endif
