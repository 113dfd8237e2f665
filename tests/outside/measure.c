/* measure.c - compute variables without books or messages, for the tests.
 *
 *	measure [-j N] [-k MS] [-e EXECUTORS] [-s SETTING=VALUE]... < BODIES
 *
 * Each line of the input is the body of a variable; for each, in the same
 * order, comes a line {"reason":, "value":, "error":, "ms":, "rss":} (KiB, the
 * most so far).  -j: so many at once.  -k: after so long, kill what still runs.
 * T is 2026-05-01T09:00:00Z. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "base/vec.h"
#include "exec/exec.h"
#include "io/child.h"
#include "io/loop.h"
#include "model/model.h"

extern char **environ;

struct task {
	struct variable variable;
	struct bench *bench;
	span began;
	char *answer;
};

struct bench {
	struct hands *hands;
	VEC(struct task *) tasks;
	size_t started, running, told, at_once;
	instant now;
	bool stopped;
};

static void
stop(void *arg)
{
	((struct bench *)arg)->stopped = true;
}

static void
fail(const struct err *err)
{
	fprintf(stderr, "measure: %s\n", err->message);
	exit(2);
}

static void
finished(void *arg, const struct exec_outcome *o)
{
	struct task *task = arg;
	struct str s = STR_INIT;
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	str_printf(&s, "{\"reason\":\"%s\",\"value\":%s,\"error\":", reason_text(o->reason),
	    o->value ? o->value : "null");
	if (o->error)
		json_append_text(&s, o->error, strlen(o->error));
	else
		str_puts(&s, "null");
	str_printf(&s, ",\"ms\":%" PRId64 ",\"rss\":%ld}",
	    (clock_monotonic() - task->began) / 1000, usage.ru_maxrss);
	task->answer = str_take(&s);
	task->bench->running--;
}

static bool
turn(void *arg)
{
	struct bench *b = arg;

	for (; b->running < b->at_once && b->started < b->tasks.n; b->started++) {
		struct task *task = b->tasks.at[b->started];
		struct exec_task t = { "it", &task->variable, b->now, "measure" };

		task->began = clock_monotonic();
		b->running++;
		exec_start(b->hands, &t, finished, task);
	}
	for (; b->told < b->tasks.n && b->tasks.at[b->told]->answer; b->told++) {
		puts(b->tasks.at[b->told]->answer);
		fflush(stdout);
	}
	return b->running > 0 && !b->stopped;
}

static void
read_tasks(struct bench *b)
{
	char *line = NULL;
	size_t room = 0;
	struct err err;

	while (getline(&line, &room, stdin) > 0) {
		struct task *task = xcalloc(1, sizeof *task);
		json_t *body = json_read(line, strlen(line), &err);

		if (!body || variable_init(&task->variable, body, &err))
			fail(&err);
		json_decref(body);
		task->bench = b;
		vec_push(&b->tasks, task);
	}
	free(line);
}

static void
set(struct conf *conf, char *text)
{
	char *value = strchr(text, '=');
	struct err err;

	if (!value)
		exit(2);
	*value++ = '\0';
	if (conf_set(conf, text, value, "-s", &err))
		fail(&err);
}

int
main(int argc, char **argv)
{
	bool allowed[EXECUTOR_COUNT] = { true, true };
	struct bench b = { .at_once = 1 };
	struct conf *conf = conf_new();
	struct loop *loop = loop_new();
	struct timer *timer = timer_new(loop, stop, &b);
	struct err err;
	int c;

	if (conf_environment(conf, environ, &err))
		fail(&err);
	while ((c = getopt(argc, argv, "j:k:e:s:")) != -1)
		switch (c) {
		case 'j':
			b.at_once = (size_t)atoi(optarg);
			break;
		case 'k':
			timer_start(timer, atoi(optarg) * (SECOND / 1000));
			break;
		case 'e':
			if (hands_parse_allowed(optarg, allowed, &err))
				fail(&err);
			break;
		case 's':
			set(conf, optarg);
			break;
		default:
			return 2;
		}
	if (getenv("TOCSIN"))
		child_program(getenv("TOCSIN"));
	clock_parse("2026-05-01T09:00:00Z", &b.now, &err);
	read_tasks(&b);
	b.hands = hands_new(loop, conf, allowed);
	loop_nudge(loop);
	loop_run(loop, turn, &b);
	hands_free(b.hands);
	timer_free(timer);
	loop_free(loop);
	for (size_t i = 0; i < b.tasks.n; i++) {
		variable_done(&b.tasks.at[i]->variable);
		free(b.tasks.at[i]->answer);
		free(b.tasks.at[i]);
	}
	vec_done(&b.tasks);
	conf_free(conf);
	return 0;
}
