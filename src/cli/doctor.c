/* doctor.c - is everything as it should be, and what is to be done?
 *
 * It looks at the settings, the books, the role that measures, the broker, the
 * result backend and what must hold in the books, and goes on where something is wrong: the user
 * wants all of it at once. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "cli/cmd.h"
#include "cli/number.h"
#include "cli/print.h"
#include "io/session.h"
#include "store/inspect.h"
#include "store/migrate.h"
#include "store/report.h"
#include "store/store.h"
#include "wire/backend.h"
#include "wire/look.h"

enum level { WELL, DOUBTFUL, WRONG };
static const char *const levels[] = { "ok", "warning", "FAILED" };
static const enum term_style styles[] = { TERM_GREEN, TERM_YELLOW, TERM_RED };

#define CLOCKS_APART 5			/* seconds that call for a word */
enum { DEFAULT_RUNS = 100 };

struct visit {
	const struct conf *conf;
	json_t *findings;
	int status;			/* the exit status */
};

/* TEXT and ADVICE (or NULL) are taken. */
static void
find(struct visit *v, enum level level, const char *about, char *text, char *advice)
{
	char *safe = log_redact(text);

	json_array_append_new(v->findings, json_pack("{s:s,s:s,s:s,s:s?}", "level",
	    levels[level], "about", about, "finding", safe, "advice", advice));
	if (level == WRONG && !v->status)
		v->status = 1;
	free(safe);
	free(text);
	free(advice);
}

static void
find_error(struct visit *v, const char *about, const struct err *err)
{
	if (err->class == ERR_TEMPFAIL || err->class == ERR_CONFIG)
		v->status = err->class;
	find(v, WRONG, about, xstrdup(err->message), NULL);
}

/* --- the books --- */

/* TLS alone keeps out those who listen, not those who answer in its place. */
static void
look_at_identity(struct visit *v, const char *about, const char *setting, const char *url)
{
	char *where = session_unverified(url);

	if (where)
		find(v, DOUBTFUL, about, xasprintf("nobody makes sure that %s is the right server",
		    where), xasprintf("add sslmode=verify-full and sslrootcert to %s", setting));
	free(where);
}

static void
look_at_server(struct visit *v, PGconn *conn)
{
	struct err err;
	json_t *s = inspect_server(conn, &err);
	double apart;

	if (!s) {
		find_error(v, "database", &err);
		return;
	}
	apart = json_number_value(json_object_get(s, "now")) - (double)clock_now() / SECOND;
	find(v, WELL, "database", xasprintf("PostgreSQL %s, database %s as %s, %s of %s sessions",
	    member_text(s, "version"), member_text(s, "database"), member_text(s, "role"),
	    member_text(s, "sessions"), member_text(s, "most_sessions")), NULL);
	if (member_true(s, "standby"))
		find(v, WRONG, "database", xstrdup("it is a standby, or read-only"),
		    xstrdup("let database_url name the primary"));
	if (!member_true(s, "may_write"))
		find(v, WRONG, "database", xasprintf("role %s may not write to the books",
		    member_text(s, "role")), xstrdup("use the role that tocsin init was run with, "
		    "or a login that is granted tocsin_app of 'tocsin init --roles'"));
	if (member_true(s, "superuser"))
		find(v, DOUBTFUL, "database", xasprintf("role %s is a superuser",
		    member_text(s, "role")), xstrdup("give tocsin a role of its own"));
	if (!member_true(s, "local") && !member_true(s, "ssl"))
		find(v, DOUBTFUL, "database", xstrdup("another machine, and no TLS"),
		    xstrdup("add sslmode=verify-full to database_url"));
	else
		look_at_identity(v, "database", "database_url", v->conf->database_url);
	if (!member_true(s, "fsync") || !member_true(s, "remembers"))
		find(v, DOUBTFUL, "database", xasprintf("%s is off: a crash may lose what was "
		    "committed", member_true(s, "fsync") ? "synchronous_commit" : "fsync"),
		    xstrdup("turn it on in postgresql.conf"));
	if (fabs(apart) > CLOCKS_APART)
		find(v, DOUBTFUL, "database", xasprintf("its clock is %.0f s %s of ours",
		    fabs(apart), apart > 0 ? "ahead" : "behind"),
		    xstrdup("schedules follow the database's clock; run NTP on both"));
	if (member_number(s, "deadlocks"))
		find(v, DOUBTFUL, "database", xasprintf("%s deadlocks since its statistics began",
		    member_text(s, "deadlocks")), xstrdup("PostgreSQL's log tells between whom"));
	json_decref(s);
}

/* Its definitions, its cycles; false: there are no books to look at. */
static bool
look_at_schema(struct visit *v, PGconn *conn)
{
	struct err err;

	if (migrate_check(conn, &err)) {
		find_error(v, "books", &err);
		return false;
	}
	find(v, WELL, "books", xasprintf("schema version %d", migrations_count), NULL);
	return true;
}

static void
look_at_cycles(struct visit *v, PGconn *conn)
{
	struct err err;
	json_t *s = report_status(conn, 10, v->conf->lease, &err), *c, *q;
	size_t i;

	if (!s) {
		find_error(v, "cycles", &err);
		return;
	}
	json_array_foreach(json_object_get(s, "cycles"), i, c)
		if (member_true(c, "stalled"))
			find(v, DOUBTFUL, "cycles", xasprintf("cycle %s stands still: %s, %s jobs open",
			    member_text(c, "id"), member_text(c, "state"), member_text(c, "unsettled")),
			    xstrdup("is a worker running, for all of its queues? "
			    "The next 'tocsin cycle' resumes it"));
	json_array_foreach(json_object_get(s, "cycles"), i, c)
		if (member_null(c, "finished_at") && !member_null(c, "trouble"))
			find(v, DOUBTFUL, "cycles", xasprintf("cycle %s waits: %s (seen %s ago)",
			    member_text(c, "id"), member_text(c, "trouble"),
			    member_age(c, "trouble_age")),
			    xstrdup("it goes on by itself when the broker takes messages again"));
	q = json_object_get(s, "deliveries");
	if (member_number(q, "unclaimed"))
		find(v, DOUBTFUL, "deliveries", xasprintf("%s wait, and nobody may run them",
		    member_text(q, "unclaimed")),
		    xstrdup("start a worker with --executors sql,shell"));
	if (member_number(q, "failed"))
		find(v, DOUBTFUL, "deliveries", xasprintf("%s have failed lately",
		    member_text(q, "failed")), xstrdup("'tocsin status CYCLE' tells why"));
	if (!member_number(q, "unclaimed") && !member_number(q, "failed"))
		find(v, WELL, "deliveries", xasprintf("%s pending", member_text(q, "pending")), NULL);
	json_decref(s);
}

static void
look_at_invariants(struct visit *v, PGconn *conn, int64_t runs)
{
	struct err err;
	int64_t since;
	size_t kept = 0;

	if (inspect_since(conn, runs, &since, &err)) {
		find_error(v, "invariants", &err);
		return;
	}
	for (size_t i = 0; i < invariants_count; i++) {
		json_t *b = inspect_invariant(conn, &invariants[i], since, &err);
		const char *first;

		if (!b) {
			find_error(v, "invariants", &err);
			return;
		}
		if (json_is_null(b))
			kept++;
		else {
			first = json_string_value(json_array_get(json_object_get(b, "examples"), 0));
			find(v, WRONG, "invariants", xasprintf("not so: %s; %s times, as %s",
			    invariants[i].promise, member_text(b, "breaches"), first ? first : ""),
			    xstrdup("this should never be: please report it"));
		}
		json_decref(b);
	}
	if (kept == invariants_count)
		find(v, WELL, "invariants", xasprintf("all %zu hold%s", kept,
		    since ? " in the cycles looked at" : ""), NULL);
}

static void
look_at_measuring(struct visit *v)
{
	struct err err;
	json_t *m, *what;
	struct str beyond = STR_INIT;
	const char *role, *login;
	size_t i;

	if (*v->conf->measuring_url)
		look_at_identity(v, "measuring", "measuring_url", v->conf->measuring_url);
	if (!(m = inspect_measuring(v->conf, &err))) {
		find_error(v, "measuring", &err);
		return;
	}
	role = member_text(m, "role");
	login = member_text(m, "login");
	json_array_foreach(json_object_get(m, "beyond"), i, what)
		str_printf(&beyond, "%s%s", i ? "; " : "", json_string_value(what));
	if (!beyond.len)
		find(v, WELL, "measuring", xasprintf("user SQL runs as %s, which may only read",
		    role), NULL);
	else if (!strcmp(role, login))
		find(v, DOUBTFUL, "measuring", xasprintf("user SQL runs as %s, which %s", role,
		    str_text(&beyond)), xstrdup("let measuring_url name a login that may only "
		    "SELECT, such as tocsin_measure of 'tocsin init --roles'; a read-only "
		    "transaction is no wall"));
	else
		find(v, DOUBTFUL, "measuring", xasprintf("user SQL runs as %s, but can change back "
		    "to %s, which %s", role, login, str_text(&beyond)), xstrdup("measuring_role "
		    "keeps out mistakes; the wall is a login of its own in measuring_url, such as "
		    "tocsin_measure of 'tocsin init --roles'"));
	str_done(&beyond);
	json_decref(m);
}

/* --- the broker --- */

static void
judge_queue(struct visit *v, const struct queue_look *q, const struct queue_look *parked)
{
	if (!q->there)
		find(v, WELL, "broker", xasprintf("queue %s: not made yet", q->name), NULL);
	else if (q->messages && !q->consumers)
		find(v, DOUBTFUL, "broker", xasprintf("queue %s: %u messages, no worker", q->name,
		    q->messages), xasprintf("start one: tocsin worker -Q %s", q->name));
	else
		find(v, WELL, "broker", xasprintf("queue %s: %u messages, %u consumer%s", q->name,
		    q->messages, q->consumers, q->consumers == 1 ? "" : "s"), NULL);
	if (parked->there && parked->messages)
		find(v, DOUBTFUL, "broker", xasprintf("queue %s: %u messages could not be understood",
		    parked->name, parked->messages),
		    xstrdup("their header x-tocsin-reason tells why; purge it when you have looked"));
}

static void
look_at_broker(struct visit *v, const json_t *names)
{
	VEC(struct queue_look) queues = { 0 };
	struct err err;
	size_t i;
	json_t *name;

	vec_push(&queues, ((struct queue_look){ .name = v->conf->queue }));
	json_array_foreach(names, i, name)
		if (strcmp(json_string_value(name), v->conf->queue))
			vec_push(&queues, ((struct queue_look){ .name = json_string_value(name) }));
	for (size_t n = queues.n, q = 0; q < n; q++)
		vec_push(&queues, ((struct queue_look){
		    .name = xasprintf("%s.parked", queues.at[q].name) }));
	if (queues_look(v->conf, v->conf->connect_timeout, queues.at, queues.n, &err))
		find_error(v, "broker", &err);
	else
		for (size_t q = 0; q < queues.n / 2; q++)
			judge_queue(v, &queues.at[q], &queues.at[q + queues.n / 2]);
	for (size_t q = queues.n / 2; q < queues.n; q++)
		free((char *)(uintptr_t)queues.at[q].name);
	vec_done(&queues);
}

static void
look_at_results(struct visit *v)
{
	struct str what = STR_INIT;
	struct err err;

	if (!*v->conf->result_backend)
		return;
	if (backend_look(v->conf, v->conf->connect_timeout, &what, &err))
		find_error(v, "results", &err);
	else
		find(v, WELL, "results", xstrdup(str_text(&what)), NULL);
	str_done(&what);
}

/* --- all of it --- */

static void
look(struct visit *v, int64_t runs)
{
	struct err err;
	PGconn *conn = store_connect(v->conf, &err);
	json_t *queues = NULL;

	if (!conn)
		find_error(v, "database", &err);
	else {
		look_at_server(v, conn);
		if (look_at_schema(v, conn)) {
			look_at_cycles(v, conn);
			look_at_invariants(v, conn, runs);
			queues = inspect_queues(conn, &err);
		}
		look_at_measuring(v);
	}
	PQfinish(conn);
	look_at_broker(v, queues);
	look_at_results(v);
	json_decref(queues);
}

static void
print_findings(const json_t *findings)
{
	size_t i;
	json_t *f;

	json_array_foreach(findings, i, f) {
		const char *level = member_text(f, "level");

		for (int l = WELL; l <= WRONG; l++)
			if (!strcmp(level, levels[l]))
				term_put(stdout, styles[l], level);
		printf("%*s%s: %s\n", 9 - (int)strlen(level), "", member_text(f, "about"),
		    member_shown(f, "finding"));
		if (!member_null(f, "advice"))
			printf("%9s%s\n", "", member_shown(f, "advice"));
	}
}

static int
run(struct call *call, struct err *err)
{
	struct visit v = { .conf = call->conf };
	int64_t runs = DEFAULT_RUNS;

	if (opts_has(call, "all"))
		runs = 0;
	if (opts_has(call, "cycles") &&
	    read_number(opts_get(call, "cycles"), "--cycles", &runs, err))
		return -1;
	v.findings = json_array();
	look(&v, runs);
	if (opts_has(call, "json"))
		print_json_line(v.findings);
	else
		print_findings(v.findings);
	json_decref(v.findings);
	return v.status;
}

static const struct opt options[] = {
	{ "cycles", 'n', "N", "test the invariants of the last N cycles (default: 100)" },
	{ "all", 'a', NULL, "of all cycles: as slow as the history is long" },
	{ "json", 'j', NULL, "print JSON" },
	{ NULL, 0, NULL, NULL },
};

const struct command cmd_doctor = {
	.name = "doctor",
	.synopsis = "[--cycles N | --all] [--json]",
	.summary = "is everything as it should be, and what is to be done",
	.description = "Looks at the servers, the books, the rights of the roles, the queues, at what\n"
	    "stands still, and tests what must hold in the books whatever has happened. Says\n"
	    "what is wrong and what to do about it. Changes nothing.",
	.options = options,
	.run = run,
};
