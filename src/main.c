/* main.c - which command it is. */
#include <stdio.h>

int
main(int argc, char **argv)
{
	puts("tocsin 0.1.0");
	return 0;
}
