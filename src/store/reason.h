/* What decided the events that give a signal: evidences, values and their ages.
 * One round of a settling, between the moves of the events and its end. */
#ifndef STORE_REASON_H
#define STORE_REASON_H

#include "store/settle.h"

/* Of those that give a signal; there should be one. */
void reasons_say(struct pg *, const struct moved *, size_t n);
/* Fill in decided_by, the text of a JSON object. */
void reasons_read(const struct pg_answer *, struct moved *, size_t n);

#endif
