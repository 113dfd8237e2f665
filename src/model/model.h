/* The words of the domain, as data: what a definition says.  Pure.
 *
 * A definition has one canonical form, its BODY: a JSON object of exactly the
 * keys that were given (without defaults).  TOML files are read into bodies,
 * the books keep bodies as immutable versions, and the structs below are made
 * from bodies by the same functions on both ways: what `check` accepts is what
 * a worker can run.
 *
 * Texts and JSON inside a struct are owned by it. */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include "base/clock.h"
#include "expr/expr.h"
#include "model/states.h"

struct err;
struct graph;
struct schedule;
struct str;
struct toml;

#define MODEL_MAX_TEXT (64 * 1024)	/* of an SQL text, a command, a definition */
#define CELERY_QUEUE "celery"		/* where Celery's tasks wait if nothing is said */
#define HARD_LIMIT (90 * SECOND)		/* of a variable, if nothing is said */
#define MODEL_MAX_OBJECTS 200000	/* of one load */

/* --- one object, made from its body --- */

struct variable {
	enum executor executor;
	char *source;		/* the SQL text, the command, or the name of the task */
	json_t *args;		/* an object, maybe empty */
	char *queue;		/* of its jobs; NULL: the default queue */
	char *task_queue;	/* of a Celery task; else NULL */
	span soft, hard;	/* limits; 0 < soft <= hard */
	span max_age;		/* -1: its value never gets too old */
};

struct evidence {
	char *definition;
	struct expr *expr;
	enum expr_operator operator;
	json_t *operand;	/* NULL without an operator */
};

struct event {
	char *definition;
	struct expr *expr;
	char *agent;		/* "default" */
	int priority;		/* 10; a smaller number first */
	enum on_unknown on_unknown;	/* UNKNOWN_KEEPS */
	/* basic, where rrule is NULL: */
	span interval;		/* 1h */
	span time_to_wait;	/* 0 */
	span max_gap;		/* between evaluations, for the hold; 3 intervals; 0: any */
	/* recurrent: */
	struct schedule *schedule;
	char *rrule;
	char *timezone;		/* "UTC" */
	instant dtstart;	/* INSTANT_ALWAYS where not given: when it was loaded */
};

struct reaction {
	char **events;		/* their names, NULL at the end */
	bool on[SIGNAL_COUNT];	/* raise and stop_raising */
	char *level;		/* "info" */
	enum channel channel;
	char *target;		/* the command, the channel of NOTIFY, the name of the task */
	char *queue;		/* of a Celery task; else NULL */
	span time_limit;	/* of a command: 60s; else 0 */
};

/* Make the struct from BODY; -1 with ERR whose message names the key at fault
 * ("interval: ...") and whose line and column, if any, are a place inside that
 * text.  There is then nothing to be done with the struct. */
int variable_init(struct variable *, const json_t *body, struct err *);
int evidence_init(struct evidence *, const json_t *body, struct err *);
int event_init(struct event *, const json_t *body, struct err *);
int reaction_init(struct reaction *, const json_t *body, struct err *);
void variable_done(struct variable *);
void evidence_done(struct evidence *);
void event_done(struct event *);
void reaction_done(struct reaction *);

/* --- many objects, as read from files --- */

struct definition {
	enum kind kind;
	char *name;
	json_t *body;		/* canonical; common keys (description, owner,
				   severity, runbook, tags, active) stay in it */
	char *file;		/* where it stands */
	int line, column;
	const struct toml *toml;	/* lent by the model; for places inside */
	union {
		struct variable variable;
		struct evidence evidence;
		struct event event;
		struct reaction reaction;
	} u;
};

struct model_index;
struct model {
	struct definition **at;	/* in the order of the files */
	size_t n;
	struct model_index *index;	/* names, and the files they came from */
};

struct model *model_new(void);
void model_free(struct model *);
struct definition *model_find(const struct model *, enum kind, const char *name);
bool definition_is_active(const struct definition *);

/* Read a TOML file, or every *.toml below a directory, in the order of names,
 * into the model; "-" is standard input.  Problems (unknown keys, wrong types,
 * bad expressions, duplicate names ...) are all added to PROBLEMS, each a line
 * "file:line:column: message", up to 100; -1 if there was any.  An object with
 * a problem stays in the model, half made, so that its name is known: such a
 * model is good for model_check() and for nothing else. */
int model_read(struct model *, const char *path, struct str *problems);
/* The same from memory; NAME stands for the file's. */
int model_read_text(struct model *, const char *name, const char *text, size_t len,
    struct str *problems);

/* Look at the objects together: every name that is used is defined and of the
 * right kind (or KNOWN, see below), variables and evidences share one
 * namespace, no circles.  The same form of PROBLEMS.  Warnings (a variable
 * that no evidence uses, an evidence that no event uses) go to WARNINGS, if
 * that is not NULL.
 *
 * KNOWN tells what else exists, outside these files (in the books): is there a
 * KIND of that NAME?  NULL: nothing else. */
int model_check(const struct model *,
    bool (*known)(void *arg, enum kind kind, const char *name), void *arg,
    struct str *problems, struct str *warnings);

/* variable -> evidence -> event of the model. */
struct graph *model_graph(const struct model *);

/* --- the domain's decisions --- */

/* k consecutive true evaluations raise a basic event.  Counting them ends at
 * EVENT_MAX_HOLD. */
#define EVENT_MAX_HOLD 1000000000
int event_hold_needed(const struct event *);	/* max(1, floor(wait / interval)); 1 where interval is 0 */

/* The truth that counts: an unknown one becomes what the event makes of it. */
enum truth event_truth(const struct event *, enum truth);

/* What an evaluation comes to.  BEFORE is read under the event's row lock. */
struct event_standing {
	enum event_state state;
	enum signal action;
	int hold;		/* consecutive true evaluations so far */
	instant as_of;		/* the latest T of its evaluations; INSTANT_ALWAYS: none yet */
};
struct event_standing event_evaluate(const struct event *,
    struct event_standing before, enum truth truth, instant t);

/* What T does to a hold: an evaluation that is not later than the last one
 * leaves it alone, one that comes after too long a gap begins it afresh. */
enum hold_course { HOLD_GOES_ON, HOLD_STAYS, HOLD_BEGINS };
enum hold_course event_hold_course(const struct event *,
    const struct event_standing *before, instant t);

/* next_call after an evaluation at T (basic: T + interval; recurrent: the next
 * occurrence after T, INSTANT_NEVER when the rule has ended).  DTSTART is the
 * event's own or, where that is not given, the time it was loaded. */
int event_next_call(const struct event *, instant dtstart, instant t, instant *next,
    struct err *);
/* next_call of an event that is loaded for the first time, or with a changed
 * schedule: a basic event's is INSTANT_ALWAYS, a recurrent one's its first
 * occurrence at or after NOW. */
int event_first_call(const struct event *, instant dtstart, instant now,
    instant *next, struct err *);
/* Do both have the same schedule (interval, or rrule, timezone and dtstart)? */
bool event_same_schedule(const struct event *, const struct event *);

#endif
