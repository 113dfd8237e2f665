/* From a message to work under way: claim, find the definition, start. */
#ifndef ENGINE_TAKE_H
#define ENGINE_TAKE_H

#include <stddef.h>

struct worker;

void take_deliveries(struct worker *);		/* into the inbox */
void take_start_ready(struct worker *);		/* out of it, as far as there is room */

/* The broker keeps an unacknowledged message for a limited time: what waits in
 * the inbox for a third of that goes back, for whoever has a hand free. */
void take_give_back(struct worker *);
void take_give_back_all(struct worker *);	/* however short they have waited */

/* The variables that are claimed and have not begun, and of the inbox all but the
 * first N.  How many were there? */
size_t take_give_back_beyond(struct worker *, size_t n);

#endif
