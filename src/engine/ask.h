/* Variables that somebody else's worker computes: asking, and being answered.
 *
 * The claiming worker sends the question and, when that is confirmed, writes the
 * deadline into the books; from there on the job runs without a worker of ours,
 * and the answer may reach any of them. */
#ifndef ENGINE_ASK_H
#define ENGINE_ASK_H

#include <stdbool.h>

struct asking;
struct flight;
struct message;
struct question;
struct worker;

struct asking *asking_new(void);
void asking_free(struct asking *);	/* the transport has gone before */

/* Is it F's way to be computed, and can this worker go it? */
bool ask_can(const struct flight *);
/* F is running: from now on it is ours, until it is landed. */
void ask_begin(struct flight *);
/* What is to be sent (again), and what is to be written down. */
void ask_turn(struct worker *);
/* The flight of QUESTION (or NULL) ends otherwise. */
void ask_forget(struct question *);

/* A message whose letter is an answer: it becomes an outcome, to be settled under
 * the fence that it was asked for under. */
void ask_take(struct worker *, struct message *);

#endif
