/* canvas_fuzz.c - any followers that a message may name: planned, or refused.
 *
 * The input is the body of a message.  What is planned for its success, its failure
 * and its chord's end is bounded, and each message among it can be sent and is
 * understood by whoever gets it, unless it has grown too deep. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "celery/canvas.h"
#include "celery/refusal.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

#define BYTES_MAX (1024 * 1024)
#define MESSAGES_MAX 100

static void
insist(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "canvas_fuzz: %s\n", what);
	abort();
}

static void
check_post(const struct canvas_step *step)
{
	struct celery_envelope e;
	struct celery_message again;
	struct refusal refusal = { CELERY_REASON_COUNT, { 0 } };

	insist(step->message.id && *step->message.id && step->message.task,
	    "a message without a task");
	insist(step->queue || (step->exchange && step->routing_key), "a message to nowhere");
	celery_encode(&step->message, 0, &e);
	celery_message_init(&again);
	if (celery_decode(&again, &e, &refusal) && refusal.reason != REFUSED_DEPTH &&
	    refusal.reason != REFUSED_COUNT) {
		fprintf(stderr, "canvas_fuzz: our own message: %s\n%s\n", refusal.err.message,
		    e.body);
		abort();
	}
	celery_message_done(&again);
	celery_envelope_done(&e);
}

static void
check_plan(const struct canvas *c, int rc, const struct err *err)
{
	struct raw children;
	struct refusal refusal;
	size_t posts = 0;

	if (rc) {
		insist(c->steps.n == 0 && c->error_type && c->error_module, "half a plan");
		insist(*err->message && str_is_utf8(err->message, strlen(err->message)),
		    "an error without a text");
		return;
	}
	for (size_t i = 0; i < c->steps.n; i++) {
		const struct canvas_step *step = &c->steps.at[i];

		if (step->kind == CANVAS_POST) {
			check_post(step);
			posts++;
		} else
			insist(step->id || step->group, "a step about nobody");
	}
	insist(posts <= MESSAGES_MAX, "too many messages");
	insist(!raw_check(c->children.text, c->children.len, &children, &refusal),
	    "children that are no JSON");
}

static void
check_message(const struct celery_message *m, enum canvas_chords chords)
{
	struct canvas_setting setting = { .chords = chords, .messages_max = MESSAGES_MAX,
		.signatures_max = 5000, .bytes_max = BYTES_MAX };
	struct canvas_chord chord = { m->chord, m->id, m->root_id };
	struct raw one = { "1", 1 };

	for (int i = 0; i < 4; i++) {
		struct err err = { 0 };
		struct canvas c;

		if (i >= 2 && !m->chord.text)
			break;
		canvas_init(&c, &setting);
		check_plan(&c, i == 0 ? canvas_succeed(&c, m, one, &err) :
		    i == 1 ? canvas_fail(&c, m, &err) :
		    i == 2 ? canvas_chord_done(&c, &chord, one, &err) :
		    canvas_chord_fail(&c, &chord, "text", &err), &err);
		canvas_done(&c);
	}
}

static void
check_unlock(const struct celery_message *m)
{
	struct canvas_setting setting = { .messages_max = MESSAGES_MAX, .bytes_max = BYTES_MAX };
	struct canvas_unlock u;
	struct canvas_state *states;
	struct canvas c;
	struct err err = { 0 };

	if (!canvas_unlock_read(&u, m, &err)) {
		states = calloc(u.ids.at.n + 1, sizeof *states);
		for (size_t i = 0; i < u.ids.at.n; i++)
			states[i].state = CANVAS_SUCCEEDED;
		canvas_init(&c, &setting);
		check_plan(&c, canvas_unlock(&c, m, &u, states, "q", &err), &err);
		canvas_done(&c);
		free(states);
	}
	canvas_unlock_done(&u);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *headers = json_pack("{ss ss}", "task", "t", "id", "i");
	struct celery_envelope e = { .content_type = CELERY_CONTENT_TYPE, .priority = -1,
		.headers = headers, .body = (const char *)data, .body_len = size };
	struct celery_message m;
	struct refusal refusal;

	celery_message_init(&m);
	if (!celery_decode(&m, &e, &refusal)) {
		check_message(&m, (enum canvas_chords)(size % 3));
		check_unlock(&m);
	}
	celery_message_done(&m);
	json_decref(headers);
	return 0;
}
