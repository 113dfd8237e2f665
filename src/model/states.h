/* states.h - every list of states, once.
 *
 * X(NAME, "text"): the text is what stands in SQL, in JSON and in the manual.
 * model/states.c makes the names and the look-ups of these lists; a test holds
 * them against the CHECK constraints of the schema. */
#ifndef MODEL_STATES_H
#define MODEL_STATES_H

#define KINDS(X) \
	X(VARIABLE, "variable") X(EVIDENCE, "evidence") X(EVENT, "event") \
	X(REACTION, "reaction")

#define RUN_STATES(X) \
	X(RUN_CREATED, "CREATED") X(RUN_STARTED, "STARTED") X(RUN_ERRORED, "ERRORED") \
	X(RUN_DONE, "DONE") X(RUN_DONE_WITH_ERRORS, "DONE_WITH_ERRORS")

#define JOB_STATES(X) \
	X(JOB_WAITING, "waiting") X(JOB_QUEUED, "queued") X(JOB_RUNNING, "running") \
	X(JOB_DONE, "done") X(JOB_FAILED, "failed") X(JOB_SKIPPED, "skipped")

#define REASONS(X) \
	X(REASON_OK, "ok") X(REASON_ERROR, "error") X(REASON_EXIT, "exit") \
	X(REASON_SIGNAL, "signal") X(REASON_TIMEOUT, "timeout") X(REASON_LOST, "lost") \
	X(REASON_REFUSED, "refused") X(REASON_UPSTREAM, "upstream") \
	X(REASON_EXPIRED, "expired")

#define EVENT_STATES(X) \
	X(NOT_RAISING, "not_raising") X(RAISING, "raising")

#define SIGNALS(X) \
	X(DO_NOTHING, "do_nothing") X(RAISE, "raise") \
	X(CONTINUE_RAISING, "continue_raising") X(STOP_RAISING, "stop_raising")

#define DELIVERY_STATES(X) \
	X(DELIVERY_PENDING, "pending") X(DELIVERY_SENDING, "sending") \
	X(DELIVERY_DELIVERED, "delivered") X(DELIVERY_FAILED, "failed")

#define EXECUTORS(X) \
	X(EXEC_SQL, "sql") X(EXEC_SHELL, "shell") X(EXEC_CELERY, "celery")

#define CHANNELS(X)	/* how a reaction leaves */ \
	X(CHANNEL_COMMAND, "command") X(CHANNEL_NOTIFY, "notify") \
	X(CHANNEL_CELERY, "celery")

#define ON_UNKNOWN(X)	/* what an unknown truth does to an event */ \
	X(UNKNOWN_KEEPS, "keep") X(UNKNOWN_RAISES, "raise") X(UNKNOWN_CLEARS, "clear")

#define STATE_ENUM(name, text) name,
enum kind { KINDS(STATE_ENUM) KIND_COUNT };
enum run_state { RUN_STATES(STATE_ENUM) RUN_STATE_COUNT };
enum job_state { JOB_STATES(STATE_ENUM) JOB_STATE_COUNT };
enum reason { REASONS(STATE_ENUM) REASON_COUNT };
enum event_state { EVENT_STATES(STATE_ENUM) EVENT_STATE_COUNT };
enum signal { SIGNALS(STATE_ENUM) SIGNAL_COUNT };
enum delivery_state { DELIVERY_STATES(STATE_ENUM) DELIVERY_STATE_COUNT };
enum executor { EXECUTORS(STATE_ENUM) EXECUTOR_COUNT };
enum channel { CHANNELS(STATE_ENUM) CHANNEL_COUNT };
enum on_unknown { ON_UNKNOWN(STATE_ENUM) ON_UNKNOWN_COUNT };

/* NAME_text(state) is the text; NAME_find(text) the state, or -1. */
#define STATE_NAMES(X) \
	X(kind) X(run_state) X(job_state) X(reason) X(event_state) X(signal) \
	X(delivery_state) X(executor) X(channel) X(on_unknown)
#define STATE_PROTOTYPES(name) \
	const char *name##_text(enum name); \
	int name##_find(const char *text);
STATE_NAMES(STATE_PROTOTYPES)

#endif
