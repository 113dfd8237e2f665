/* Places where a fault can be put in, for the fault tests.
 *
 * Compiled in only by configure --enable-failpoints; otherwise nothing is left
 * of them.  TOCSIN_FAILPOINT="worker.after_commit=kill@3,plan.commit=delay:500"
 * says what happens at which passage (from 1; without @ at each): kill and stop
 * send SIGKILL and SIGSTOP to the process, exit leaves with status 70, delay
 * waits so many milliseconds, error makes failpoint() say true. */
#ifndef BASE_FAILPOINT_H
#define BASE_FAILPOINT_H

#include <stdbool.h>

#ifdef FAILPOINTS
bool failpoint(const char *name);
#else
static inline bool
failpoint(const char *name)
{
	return false;
}
#endif

#endif
