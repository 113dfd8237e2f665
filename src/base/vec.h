/* Growable arrays: struct { T *at; size_t n, room; } and three macros.
 *
 *	VEC(struct job *) ready = { 0 };
 *	vec_push(&ready, job);
 *	for (size_t i = 0; i < ready.n; i++) use(ready.at[i]);
 *	vec_done(&ready);
 */
#ifndef BASE_VEC_H
#define BASE_VEC_H

#include <stdlib.h>
#include "base/mem.h"

#define VEC(T) struct { T *at; size_t n, room; }

#define vec_grow(v, more) do { \
	if ((v)->n + (more) > (v)->room) { \
		(v)->room = ((v)->n + (more)) * 2 < 8 ? 8 : ((v)->n + (more)) * 2; \
		(v)->at = xreallocarray((v)->at, (v)->room, sizeof *(v)->at); \
	} \
} while (0)

#define vec_push(v, x) do { vec_grow(v, 1); (v)->at[(v)->n++] = (x); } while (0)

#define vec_done(v) do { \
	free((v)->at); (v)->at = NULL; (v)->n = (v)->room = 0; \
} while (0)

#endif
