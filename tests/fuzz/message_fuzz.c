/* message_fuzz.c - any bytes as a message: understood or refused, and what is
 * understood says the same when it is written and read again.
 *
 * The input is the body; before a NUL byte JSON may stand: the headers. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "celery/answer.h"
#include "celery/job.h"
#include "celery/message.h"
#include "celery/refusal.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void
insist(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "message_fuzz: %s\n", what);
	abort();
}

static void
check_refusal(const struct refusal *r)
{
	size_t n = strlen(r->err.message);

	insist(r->reason < CELERY_REASON_COUNT, "a refusal without a word");
	insist(n > 0 && str_is_utf8(r->err.message, n), "a refusal without a text");
}

static bool
same_raw(struct raw a, struct raw b)
{
	return !a.text == !b.text && (!a.text || (a.len == b.len && !memcmp(a.text, b.text, a.len)));
}

static bool
same_text(const char *a, const char *b)
{
	return !a == !b && (!a || !strcmp(a, b));
}

static void
check_again(const struct celery_message *m)
{
	struct celery_envelope e;
	struct celery_message again;
	struct refusal refusal = { 0 };

	celery_encode(m, 0, &e);
	celery_message_init(&again);
	if (celery_decode(&again, &e, &refusal)) {
		fprintf(stderr, "message_fuzz: our own message: %s\n", refusal.err.message);
		abort();
	}
	insist(same_text(m->id, again.id) && same_text(m->task, again.task), "another task");
	insist(m->eta == again.eta && m->expires == again.expires, "another time");
	insist(m->retries == again.retries && m->group_index == again.group_index,
	    "another number");
	insist(same_raw(m->args, again.args) && same_raw(m->kwargs, again.kwargs) &&
	    same_raw(m->callbacks, again.callbacks) && same_raw(m->errbacks, again.errbacks) &&
	    same_raw(m->chain, again.chain) && same_raw(m->chord, again.chord),
	    "other values");
	celery_message_done(&again);
	celery_envelope_done(&e);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data, *nul = size ? memchr(data, '\0', size) : NULL;
	struct celery_envelope e = { .content_type = CELERY_CONTENT_TYPE, .priority = -1,
		.body = text, .body_len = size };
	struct celery_message m;
	struct celery_job job = { 0 };
	struct celery_answer answer = { .job = -1 };
	struct refusal refusal = { CELERY_REASON_COUNT, { 0 } };

	if (nul) {
		e.headers = json_loadb(text, (size_t)(nul - text), JSON_ALLOW_NUL, NULL);
		e.body = nul + 1;
		e.body_len = size - (size_t)(e.body - text);
	}
	celery_message_init(&m);
	if (celery_decode(&m, &e, &refusal))
		check_refusal(&refusal);
	else {
		check_again(&m);
		if (celery_job_decode(&job, &m, &refusal))
			check_refusal(&refusal);
		if (celery_answer_decode(&answer, &m, &refusal))
			check_refusal(&refusal);
		else
			insist(answer.fence >= 1 && answer.run >= 1 && answer.job >= 0 &&
			    answer.name && answer.value.text, "an answer of nobody");
	}
	celery_job_done(&job);
	celery_answer_done(&answer);
	celery_message_done(&m);
	json_decref(e.headers);
	return 0;
}
