/* One Redis connection on the loop, never blocking it.
 *
 * hiredis is a codec here: the bytes go over our own socket (io/socket.h), with
 * TLS if the address says so.  Work is asked for in groups: some commands, sent
 * together (be they a MULTI ... EXEC) and answered together.  Groups are
 * answered in the order in which they were asked; many may be under way.
 *
 * A connection that was told to connect comes back by itself, with a back-off
 * that grows and has jitter.  When it breaks, every group under way is answered
 * with an error (whether it took effect is then unknown), then `lost' is told;
 * nothing waits here for the next one, so what is kept is the owner's business
 * and bound.  Whoever asks looks at redis_is_full() before.
 *
 * A server that owes an answer and is silent for too long counts as lost; one
 * that owes nothing is asked with PING now and then.  Errors never hold a
 * password. */
#ifndef IO_REDIS_H
#define IO_REDIS_H

#include <hiredis/read.h>
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include "base/clock.h"

struct err;
struct loop;
struct redis;

struct redis_settings {
	const char *url;		/* see io/redis_url.h */
	const char *name;		/* of the connection, in the server's listing */
	const char *ca_file;		/* unless the address names one; NULL or "": the system's */
	span connect_timeout;		/* of connecting, TLS and the login together */
	span answer_timeout;		/* of silence, while an answer is owed */
	span heartbeat;			/* of silence, then a PING; 0: none */
	size_t largest_reply;		/* bytes; 0: 256 MiB */
};

/* A connection may be freed in all of these. */
struct redis_events {
	void (*ready)(void *arg);	/* logged in; groups may be asked */
	/* It could not be had, or has gone; the next try is on its way. */
	void (*lost)(void *arg, const struct err *);
};

/* NULL with ERR (ERR_CONFIG) if the address is wrong.  Copies the settings. */
struct redis *redis_new(struct loop *, const struct redis_settings *,
    const struct redis_events *, void *arg, struct err *);
/* Groups under way are forgotten: their callbacks do not come any more. */
void redis_free(struct redis *);	/* NULL is fine */

void redis_connect(struct redis *);
bool redis_is_ready(const struct redis *);
/* Not ready, or so much is under way that more should wait. */
bool redis_is_full(const struct redis *);
int redis_database(const struct redis *);	/* which the address names */

struct redis_word {
	const char *text;
	size_t len;
};
#define REDIS_WORD(s) ((struct redis_word){ (s), strlen(s) })

/* What a group was answered.  REPLIES are lent until the callback returns, one
 * for each command; ERR is NULL unless the connection broke; it is of class
 * ERR_GIVEN if it was the answer to this group that could not be read, and would
 * not be the next time.  That a command was refused stands in its reply
 * (REDIS_REPLY_ERROR). */
struct redis_answer {
	redisReply **replies;
	size_t n;
	const struct err *err;
};

/* Say the commands of a group one by one, then redis_ask(); only when the
 * connection is ready. */
void redis_say(struct redis *, size_t n, const struct redis_word *words);
/* The same for words that are all texts; ends in NULL. */
void redis_say_texts(struct redis *, const char *first, ...);
void redis_ask(struct redis *, void (*answered)(void *arg, const struct redis_answer *),
    void *arg);

/* What an error reply says, fit to be shown, in ERR: ERR_CONFIG where somebody
 * has to change something (the login, the rights), ERR_GIVEN where it will
 * always be refused, else ERR_TEMPFAIL.  -1; 0 if the reply is no error. */
int redis_reply_error(const redisReply *, struct err *);

#endif
