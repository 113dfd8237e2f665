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
/* The names stand together in a section of the program, so that they can be
 * listed; a name in TOCSIN_FAILPOINT that is none of them ends the program. */
#define failpoint(name) ({ \
	static const char *const place \
	    __attribute__((section("failpoints"), used)) = "" name; \
	failpoint_pass(place); })
bool failpoint_pass(const char *name);
#else
static inline bool
failpoint(const char *name)
{
	(void)name;
	return false;
}
#endif

/* Print the names; the exit status. */
int failpoint_list(void);

#endif
