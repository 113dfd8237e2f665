/* main.c - which command it is. */
#include <stdio.h>
#include "cli/exec_step.h"

int
main(int argc, char **argv)
{
	if (exec_step_is(argc, argv))
		return exec_step(argc, argv);
	puts("tocsin 0.1.0");
	return 0;
}
