/* What went wrong, for a person: one message, with its place if it has one.
 *
 * A function that can fail takes a struct err as its last argument and
 * returns -1 (or NULL) after filling it.  The class decides the exit status
 * of the program. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>

enum err_class {
	ERR_GIVEN = 1,		/* what was given is wrong, or the work failed */
	ERR_USAGE = 2,		/* the command line is wrong */
	ERR_TEMPFAIL = 75,	/* a server cannot be reached or refuses us */
	ERR_CONFIG = 78,	/* a setting, or a database we cannot work with */
};

struct err {
	enum err_class class;
	int line, column;	/* from 1; 0 where there is no place */
	char message[1024];
};

/* All of these return -1.  err_set() is of class ERR_GIVEN. */
int err_set(struct err *, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
int err_class(struct err *, enum err_class, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
int err_at(struct err *, int line, int column, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Put "context: " in front of the message. */
int err_wrap(struct err *, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
