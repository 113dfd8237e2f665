/* control_fuzz.c - any bytes as a request of remote control, as an event, as an
 * answer to hello: understood or refused.
 *
 * The input is the body; before a NUL byte a pattern may stand. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/arena.h"
#include "base/mem.h"
#include "celery/control.h"
#include "celery/event.h"
#include "celery/message.h"
#include "celery/refusal.h"

#define NODE "tocsin-1@host"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void
insist(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "control_fuzz: %s\n", what);
	abort();
}

static void
use_arguments(const struct celery_control *request)
{
	static const char *const keys[] = { "task_id", "n", "safe", "from_node" };
	double x;

	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		free(celery_control_texts(request->arguments, keys[i]));
		celery_control_text(request->arguments, keys[i]);
		celery_control_truth(request->arguments, keys[i]);
		celery_control_number(request->arguments, keys[i], &x);
	}
}

static void
try_request(const char *body, size_t len)
{
	struct celery_envelope e = { .content_type = CELERY_CONTENT_TYPE, .priority = -1,
		.body = body, .body_len = len };
	struct celery_control request = { 0 };
	struct refusal refusal = { CELERY_REASON_COUNT, { 0 } };
	int rc = celery_control_read(&request, &e, NODE, &refusal);

	if (rc < 0)
		insist(refusal.reason < CELERY_REASON_COUNT && *refusal.err.message,
		    "a refusal without a reason");
	if (rc > 0) {
		insist(request.method != NULL, "a request without a method");
		insist(!request.reply_exchange == !request.reply_key, "half an address");
		use_arguments(&request);
	}
	celery_control_done(&request);
}

static void
ignore(void *arg, const char *id)
{
	(void)arg;
	insist(*id != '\0', "an empty id");
}

static void
try_others(const char *body, size_t len)
{
	struct celery_election election;
	struct arena arena = { 0 };
	int64_t clock;
	json_t *map;

	celery_event_read(body, len, &arena, &clock, &election);
	arena_done(&arena);
	if ((map = celery_control_read_hello(body, len, NODE, &clock)))
		celery_control_each_revoked(map, ignore, NULL);
	json_decref(map);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data, *nul = size ? memchr(data, '\0', size) : NULL;
	size_t len = size;

	if (nul) {
		celery_control_glob(text, NODE);
		len -= (size_t)(nul - text) + 1;
		text = nul + 1;
	}
	try_request(text, len);
	try_others(text, len);
	return 0;
}
