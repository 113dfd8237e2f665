/* Politely giving jobs back that were claimed and are not to be done here: queued
 * again as if they had never been claimed, with no attempt charged. */
#ifndef ENGINE_HAND_BACK_H
#define ENGINE_HAND_BACK_H

#include <stdbool.h>
#include <stddef.h>

struct flight;
struct flights;
struct hand_back;
struct worker;

struct hand_back *hand_back_new(void);
void hand_back_free(struct hand_back *);

/* Taken; what runs is killed.  The message goes back when that is committed. */
void hand_back_add(struct worker *, struct flight *);
void hand_back_all(struct worker *, struct flights *);
void hand_back_turn(struct worker *);
bool hand_back_is_idle(const struct hand_back *);
size_t hand_back_count(const struct hand_back *);	/* since the beginning */

#endif
