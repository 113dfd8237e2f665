/* How a worker stops. */
#ifndef ENGINE_STOP_H
#define ENGINE_STOP_H

struct stopping;
struct worker;

void stop_turn(struct worker *);
void stopping_free(struct worker *);

#endif
