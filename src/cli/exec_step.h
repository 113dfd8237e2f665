/* The hidden steps of the program, which it starts itself as:
 *
 *	tocsin __exec PARENT LIMITS SHELL COMMAND	a command on its way to exec
 *	tocsin __watch TOKEN			see io/watcher.h */
#ifndef CLI_EXEC_STEP_H
#define CLI_EXEC_STEP_H

#include <stdbool.h>

bool exec_step_is(int argc, char **argv);
int exec_step(int argc, char **argv);	/* the exit status */

#endif
