/* From a message to work under way: claim, find the definition, start. */
#ifndef ENGINE_TAKE_H
#define ENGINE_TAKE_H

struct worker;

void take_deliveries(struct worker *);		/* into the inbox */
void take_start_ready(struct worker *);		/* out of it, as far as there is room */

#endif
