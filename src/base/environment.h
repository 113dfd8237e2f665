/* The environment of a command: PATH, HOME, LANG, TZ, what the setting
 * pass_environment names, and what is set by hand; nothing else of ours. */
#ifndef BASE_ENVIRONMENT_H
#define BASE_ENVIRONMENT_H

#include <stddef.h>

struct environment {
	char **at;		/* "NAME=value", NULL at the end */
	size_t n, room;
};

void environment_init(struct environment *, char *const *pass);
/* For a command that is this program: all that we have but settings, which are
 * told otherwise. */
void environment_init_ours(struct environment *);
void environment_set(struct environment *, const char *name, const char *value);
void environment_done(struct environment *);

#endif
