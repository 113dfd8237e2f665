/* `status --check`: the exit status and the line of a monitoring plugin. */
#ifndef CLI_HEALTH_H
#define CLI_HEALTH_H

struct call;

int health_check(struct call *);	/* 0 ok, 1 warning, 2 critical, 3 unknown */

#endif
