/* A Celery message: what was sent, whichever way it was written down.
 *
 * Protocol 2 keeps the task's name and its circumstances in AMQP headers and
 * the values in a body of three parts; protocol 1 (old clients) puts all into
 * one object; a hybrid has the header "task" above a body of protocol 1.  We
 * read all three and write protocol 2 as Celery 5.2.6 does.
 *
 * Pure: the transport turns AMQP's tables into JSON and back.  To it falls
 * that strings are UTF-8, that tables are not deep, and that an integer is
 * written as I (or l, beyond 32 bits), null as V, and a number with a fraction
 * as d. */
#ifndef CELERY_MESSAGE_H
#define CELERY_MESSAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"
#include "celery/raw.h"

struct refusal;

#define CELERY_BODY_MAX (16 * 1024 * 1024)
#define CELERY_NAME_MAX 1024		/* bytes of a task's name, and of an id */

#define CELERY_CONTENT_TYPE "application/json"
#define CELERY_CONTENT_ENCODING "utf-8"
#define CELERY_PERSISTENT 2		/* delivery_mode */

/* A message as AMQP has it.  A property that is absent is NULL, or -1. */
struct celery_envelope {
	const char *content_type, *content_encoding;
	const char *correlation_id, *reply_to;
	const char *expiration;		/* milliseconds, in decimal */
	int priority, delivery_mode;
	json_t *headers;		/* an object, or NULL: no table */
	const char *body;
	size_t body_len;
	/* Of celery_encode(): */
	struct str text;		/* the body */
	char milliseconds[24];
};

/* Texts are UTF-8 and NULL where there is none.  After celery_decode() they
 * are the message's own; who fills a message for celery_encode() lends them. */
struct celery_message {
	int protocol;			/* how it came: 2, or 1 (hybrids too) */
	const char *task, *id;
	const char *root_id;		/* the workflow's first task; own id if none */
	const char *parent_id;		/* who sent it */
	const char *group;
	int64_t group_index;		/* -1: none */
	const char *shadow;		/* a name to show instead of the task's */
	instant eta, expires;		/* INSTANT_NEVER: none */
	int64_t retries;		/* 0 the first time */
	double time_limit, soft_time_limit;	/* seconds; 0: none */
	const char *argsrepr, *kwargsrepr;	/* NULL: made by celery_encode() */
	const char *origin;		/* "gen<pid>@<host>" */
	bool ignore_result;
	const char *correlation_id;	/* NULL: the id */
	const char *reply_to;		/* NULL: "" */
	int priority;			/* -1: none */
	/* All other headers: the user's own, stamps, tracing; not the trail
	 * that dead-lettering leaves.  NULL: none. */
	json_t *others;

	/* JSON, checked.  args is an array and kwargs an object, always. */
	struct raw args, kwargs;
	/* What is to follow; none where it was null or absent. */
	struct raw callbacks, errbacks;		/* arrays of signatures */
	struct raw chain;			/* the same, the next one last */
	struct raw chord;			/* a signature: the chord's body */

	struct arena memory;
};

void celery_message_init(struct celery_message *);
void celery_message_done(struct celery_message *);

/* Fill an initialised MESSAGE.  -1 with the reason if it cannot be understood;
 * what of task, id and the like was read by then is there nevertheless, so that
 * a FAILURE can be stored under the id. */
int celery_decode(struct celery_message *, const struct celery_envelope *, struct refusal *);

/* Make an envelope for MESSAGE, which needs task and id.  NOW turns expires
 * into the property.  The envelope lends texts of the message. */
void celery_encode(const struct celery_message *, instant now, struct celery_envelope *);
void celery_envelope_done(struct celery_envelope *);

#endif
