/* Why a message is not taken: one word for machines, one sentence for people.
 *
 * A message that is refused must still be settled: parked with its word in a
 * header, or answered with a FAILURE.  It is never put back where it came
 * from, for the next worker would not understand it either. */
#ifndef CELERY_REFUSAL_H
#define CELERY_REFUSAL_H

#include "base/err.h"

#define CELERY_REASONS(X) \
	/* its form */ \
	X(REFUSED_CONTENT_TYPE, "content-type")	/* not JSON, or not said to be */ \
	X(REFUSED_COMPRESSION, "compression")	/* in a way we do not know, or badly */ \
	X(REFUSED_SIZE, "size")			/* more than CELERY_BODY_MAX bytes */ \
	X(REFUSED_JSON, "json") \
	X(REFUSED_DEPTH, "depth")		/* deeper than RAW_DEPTH_MAX */ \
	X(REFUSED_COUNT, "count")		/* more than RAW_VALUES_MAX values */ \
	X(REFUSED_DUPLICATE, "duplicate-key") \
	/* its parts */ \
	X(REFUSED_UNKNOWN, "unknown-message")	/* JSON, but no task */ \
	X(REFUSED_BODY, "body")			/* not three parts */ \
	X(REFUSED_TASK, "task") \
	X(REFUSED_ID, "id") \
	X(REFUSED_ETA, "eta") \
	X(REFUSED_EXPIRES, "expires") \
	X(REFUSED_ARGS, "args") \
	X(REFUSED_KWARGS, "kwargs") \
	X(REFUSED_EMBED, "embed") \
	X(REFUSED_CALLBACKS, "callbacks") \
	X(REFUSED_ERRBACKS, "errbacks") \
	X(REFUSED_CHAIN, "chain") \
	X(REFUSED_CHORD, "chord") \
	/* its meaning */ \
	X(REFUSED_UNREGISTERED, "unregistered")	/* no task of ours */ \
	X(REFUSED_INSTALLATION, "installation")	/* of other books than ours */

#define REASON_ENUM(name, word) name,
enum celery_reason { CELERY_REASONS(REASON_ENUM) CELERY_REASON_COUNT };
#undef REASON_ENUM

struct refusal {
	enum celery_reason reason;
	struct err err;
};

const char *refusal_word(enum celery_reason);

/* Always -1. */
int refuse(struct refusal *, enum celery_reason, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
