/* states.c - the texts of the lists in states.h. */
#include "model/states.h"
#include <stddef.h>
#include <string.h>

#define STATE_TEXT(name, text) text,
#define DEFINE(name, LIST) \
	static const char *const name##_texts[] = { LIST(STATE_TEXT) }; \
	const char * \
	name##_text(enum name state) \
	{ \
		return name##_texts[state]; \
	} \
	int \
	name##_find(const char *text) \
	{ \
		for (size_t i = 0; i < sizeof name##_texts / sizeof name##_texts[0]; i++) \
			if (!strcmp(name##_texts[i], text)) \
				return (int)i; \
		return -1; \
	}

DEFINE(kind, KINDS)
DEFINE(run_state, RUN_STATES)
DEFINE(job_state, JOB_STATES)
DEFINE(reason, REASONS)
DEFINE(event_state, EVENT_STATES)
DEFINE(signal, SIGNALS)
DEFINE(delivery_state, DELIVERY_STATES)
DEFINE(executor, EXECUTORS)
DEFINE(channel, CHANNELS)
DEFINE(on_unknown, ON_UNKNOWN)
