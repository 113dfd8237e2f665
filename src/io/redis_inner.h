/* Between the files of a Redis connection.  For nobody else.
 *
 *	redis.c         the connection: login, time, its end
 *	redis_group.c   commands out and answers in, by groups
 *	redis_url.c     addresses
 */
#ifndef IO_REDIS_INNER_H
#define IO_REDIS_INNER_H

#include "base/vec.h"
#include "io/redis.h"
#include "io/redis_url.h"

enum redis_state { REDIS_DOWN, REDIS_CONNECTING, REDIS_LOGGING_IN, REDIS_READY };

struct group {
	size_t n, got;
	size_t bytes;			/* that were said */
	redisReply **replies;
	void (*answered)(void *, const struct redis_answer *);
	void *arg;
};

struct redis {
	struct loop *loop;
	struct redis_url url;
	char *name, *ca_file;
	span connect_timeout, answer_timeout, heartbeat;
	size_t largest_reply;
	const struct redis_events *events;
	void *arg;
	enum redis_state state;
	struct socket *socket;
	redisReader *reader;
	redisReplyObjectFunctions functions;
	size_t unread;			/* bytes of a reply that is not whole yet */
	struct timer *deadline;		/* of connecting, of answers; the next PING */
	struct timer *reconnect;
	int failures;			/* in a row */
	span heard_at;
	size_t sent;			/* all that was ever written on this connection */
	size_t taken;			/* of that by the network, when we last looked */
	size_t said, said_bytes;	/* commands of the group that is being made */
	size_t owed;			/* bytes of the groups under way */
	VEC(struct group) groups;	/* under way: from FIRST on */
	size_t first;
	bool freed;
	int busy;
};

/* --- redis.c --- */

/* It ends here, and begins again later.  Nothing happens if it is down. */
void redis_fail(struct redis *, const struct err *);
/* Sleep until an answer is overdue, or a PING is due. */
void redis_set_deadline(struct redis *);

/* --- redis_group.c --- */

size_t redis_under_way(const struct redis *);	/* groups */
/* The caller answers it, or is done with it. */
struct group group_take_first(struct redis *);
void group_answer(struct redis *, struct group *, const struct err *);
void group_done(struct group *);

void redis_create_reader(struct redis *);
void redis_take_reply(struct redis *, redisReply *);

#endif
