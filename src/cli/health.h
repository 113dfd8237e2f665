/* status --check, in the form that monitoring systems ask for. */
#ifndef CLI_HEALTH_H
#define CLI_HEALTH_H

struct call;
struct err;

/* Prints one line; the exit status is 0 ok, 1 warning, 2 critical.  -1 with
 * ERR when it cannot be found out. */
int health_check(struct call *, struct err *);

/* The same for what could not be found out, be it for a slip in the arguments:
 * 3 unknown.  -1: these do not ask for a check. */
int health_unknown(int argc, char **argv, const struct err *);

#endif
