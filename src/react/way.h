/* What a way (a channel) is to react.c: two functions, and one call back.
 *
 * START begins the attempt and returns at once; what it keeps stands in
 * attempt->own.  It ends with one react_finish(), which may even come from
 * START itself, or with a react_postpone() where that has done nothing.  KILL ends
 * an attempt that has not finished, silently. */
#ifndef REACT_WAY_H
#define REACT_WAY_H

#include "react/react.h"

struct way {
	void (*start)(struct attempt *, const struct react_task *);
	void (*kill)(struct attempt *);
};

extern const struct way react_command, react_notify, react_celery;

struct attempt {
	struct loop *loop;
	const struct conf *conf;
	struct pg *books;
	struct transport *broker;
	const struct way *way;
	void *own;
	char *error;
	struct timer *tell;		/* runs once it has ended */
	bool postponed;
	void (*finished)(void *, const char *, bool);
	void *arg;
};

void react_finish(struct attempt *, char *error);	/* taken; NULL: delivered */
void react_postpone(struct attempt *, char *error);	/* taken; it has not begun */

#endif
