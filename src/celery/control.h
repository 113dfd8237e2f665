/* Remote control: what is asked of workers over the exchange celery.pidbox, and
 * how they answer.
 *
 * A request names a method and its arguments, and whom it is for: nodes by name,
 * by a pattern, or everybody.  Answers are JSON, {node: value}, and go where the
 * request says; one that says nowhere is a command, without an answer.  Pure. */
#ifndef CELERY_CONTROL_H
#define CELERY_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/str.h"
#include "celery/raw.h"

struct celery_envelope;
struct refusal;

#define CELERY_PIDBOX "celery.pidbox"			/* fanout, transient */
#define CELERY_PIDBOX_REPLY "reply.celery.pidbox"	/* direct, transient */
#define CELERY_NODE_MAX 200				/* bytes of a node's name */
#define CELERY_METHOD_MAX 100

struct celery_control {
	char *method;
	json_t *arguments;		/* an object; NULL: what was given is none */
	char *ticket;			/* NULL: none */
	char *reply_exchange, *reply_key;	/* NULL: nobody waits for an answer */
	int64_t clock;			/* of who asks; 0: it does not say */
};

/* Fill a zeroed REQUEST.  1: it is for NODE; 0: it is for others; -1 with the
 * reason: nobody can understand it, or it asks for a matcher that we do not have
 * (of Celery's two we have "glob"). */
int celery_control_read(struct celery_control *, const struct celery_envelope *,
    const char *node, struct refusal *);
void celery_control_done(struct celery_control *);

/* Does TEXT match PATTERN wholly, as Python's fnmatch has it: * ? [a-z] [!a-z]? */
bool celery_control_glob(const char *pattern, const char *text);

/* --- arguments: what Python would make of them --- */

/* Those of KEY: one text, or an array of them; NULL at the end of what is lent,
 * which the caller frees.  Others than texts are left out. */
const char **celery_control_texts(const json_t *arguments, const char *key);
const char *celery_control_text(const json_t *arguments, const char *key);	/* or NULL */
bool celery_control_truth(const json_t *arguments, const char *key);
/* A number, or a text of one, as people type it; false: it is none. */
bool celery_control_number(const json_t *arguments, const char *key, double *);

/* --- answers --- */

/* Add {"ok": text}, {"error": text}; and as an exception that was raised,
 * {"error": "ValueError('Autoscale not enabled')"}. */
void celery_control_ok(struct str *, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void celery_control_error(struct str *, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void celery_control_raised(struct str *, const char *type, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Add {NODE: VALUE}: the body of an answer. */
void celery_control_reply(struct str *, const char *node, struct raw value);
/* Add a request to everybody, with what is to follow in the header of the
 * message; ARGUMENTS is an object's text. */
void celery_control_request(struct str *, const char *method, const char *arguments,
    const char *ticket, const char *reply_key);

/* --- mingling: workers tell each other what is revoked --- */

/* EACH revoked id of the map {id: [time, id], ...}.  What is of another form is
 * passed over.  Their times are another host's monotonic clock: no use to us. */
void celery_control_each_revoked(const json_t *map, void (*each)(void *arg, const char *id),
    void *arg);
/* Add one to such a map that is being written ("{" or more is there already).  AT
 * is this host's monotonic clock in seconds, and written as a float, always:
 * Python's side stumbles over integers. */
void celery_control_add_revoked(struct str *, const char *id, double at);
/* What others have answered to hello: {node: {"revoked": map, "clock": n}}.  NULL:
 * nothing of the kind, or NODE's own.  A new reference to the map. */
json_t *celery_control_read_hello(const char *body, size_t len, const char *node,
    int64_t *clock);

#endif
