/* Numbers on the command line. */
#ifndef CLI_NUMBER_H
#define CLI_NUMBER_H

#include <stdint.h>

struct err;

/* A positive integer, else -1 (ERR_USAGE) naming WHAT. */
int read_number(const char *text, const char *what, int64_t *, struct err *);

#endif
