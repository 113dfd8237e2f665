/* What is not one of our own jobs: tasks of Celery clients, and what is sent to
 * them or to other workers. */
#ifndef WIRE_LETTER_H
#define WIRE_LETTER_H

#include <stdbool.h>
#include "celery/message.h"
#include "celery/refusal.h"

struct err;

/* A task that a client asks for, decoded, or an answer to a question of ours
 * (celery/answer.h); the letter of a struct message. */
struct letter {
	struct celery_message message;
	/* It cannot be understood, and is parked already; what was read of its
	 * id, reply_to and the like is there, so that a FAILURE can be stored. */
	bool refused;
	struct refusal refusal;
	char *exchange, *routing_key;
	bool redelivered;
};

struct letter *letter_new(void);
void letter_free(struct letter *);		/* NULL is fine */

/* To be sent. */
struct post {
	const char *exchange;		/* "": the default one, and ROUTING_KEY is a queue */
	const char *routing_key;
	/* The queue is declared first, as Celery does it; false: it is somebody's
	 * own, or there is an exchange. */
	bool declare;
	bool mandatory;			/* no queue takes it: it counts as not sent */
	const struct celery_envelope *envelope;
	/* Called from the loop instead of CONFIRMED: it can never be sent.  A name is
	 * too long, or what it names is not there and cannot be made.  NULL: such a
	 * one is tried for ever. */
	void (*hopeless)(void *arg, const struct err *);
};

#endif
