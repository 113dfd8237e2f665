/* backend_look.c - is the result backend there?  Asked by those who wait. */
#include <stdlib.h>
#include <string.h>
#include "base/conf.h"
#include "base/mem.h"
#include "io/loop.h"
#include "io/pg.h"
#include "io/redis.h"
#include "wire/backend_inner.h"

struct visit {
	struct redis *redis;
	struct str *what;
	struct err *err;
	bool over;
	int rc;
};

static bool
turn(void *arg)
{
	return !((struct visit *)arg)->over;
}

static void
lost(void *arg, const struct err *err)
{
	struct visit *v = arg;

	if (v->over)
		return;
	*v->err = *err;
	v->rc = -1;
	v->over = true;
}

/* "redis_version:7.0.15" stands somewhere in INFO. */
static void
told(void *arg, const struct redis_answer *a)
{
	struct visit *v = arg;
	const char *version;

	if (a->err)
		return;			/* lost() is told, too */
	v->over = true;
	if (redis_reply_error(a->replies[0], v->err)) {
		v->rc = -1;
		return;
	}
	str_puts(v->what, "Redis");
	version = a->replies[1]->type == REDIS_REPLY_STRING ?
	    strstr(a->replies[1]->str, "redis_version:") : NULL;
	if (version)
		str_printf(v->what, " %.*s", (int)strcspn(version + 14, "\r\n"), version + 14);
	str_printf(v->what, ", database %d", redis_database(v->redis));
}

static void
ready(void *arg)
{
	struct visit *v = arg;

	redis_say_texts(v->redis, "GET", "celery-task-meta-", NULL);
	redis_say_texts(v->redis, "INFO", "server", NULL);
	redis_ask(v->redis, told, v);
}

static int
look_at_redis(const struct conf *conf, const char *url, span limit, struct str *what,
    struct err *err)
{
	static const struct redis_events events = { ready, lost };
	struct redis_settings set = { .url = url, .name = "tocsin-look",
		.ca_file = conf->redis_ca, .answer_timeout = limit,
		.connect_timeout = limit < conf->connect_timeout ? limit : conf->connect_timeout };
	struct visit v = { .what = what, .err = err };
	struct loop *loop = loop_new();

	if ((v.redis = redis_new(loop, &set, &events, &v, err))) {
		redis_connect(v.redis);
		loop_run(loop, turn, &v);
		redis_free(v.redis);
	} else
		v.rc = -1;
	loop_free(loop);
	return v.rc;
}

static int
look_at_database(const struct conf *conf, const char *url, span limit, struct str *what,
    struct err *err)
{
	struct pg_settings set = { .conninfo = url, .name = "tocsin look", .writes = true,
		.statement_timeout = limit, .answer_timeout = limit,
		.connect_timeout = limit < conf->connect_timeout ? limit : conf->connect_timeout };
	PGconn *conn = pg_connect(&set, err);
	PGresult *rows;

	if (!conn)
		return -1;
	rows = pg_exec(conn, "select current_setting('server_version'), current_database(), "
	    "to_regclass('celery_taskmeta') is not null, "
	    "has_schema_privilege(current_schema(), 'create')", 0, NULL, err);
	if (rows) {
		str_printf(what, "PostgreSQL %s, database %s", PQgetvalue(rows, 0, 0),
		    PQgetvalue(rows, 0, 1));
		if (*PQgetvalue(rows, 0, 2) != 't')
			str_puts(what, *PQgetvalue(rows, 0, 3) == 't' ?
			    "; celery_taskmeta will be made" :
			    "; celery_taskmeta is not there, and may not be made");
	}
	PQclear(rows);
	PQfinish(conn);
	return rows ? 0 : -1;
}

int
backend_look(const struct conf *conf, span limit, struct str *what, struct err *err)
{
	enum backend_kind kind;
	char *address;
	int rc = 0;

	if (backend_resolve(conf, NULL, &kind, &address, err))
		return -1;
	switch (kind) {
	case BACKEND_NONE:
		str_puts(what, "none: results are kept nowhere");
		break;
	case BACKEND_RPC:
		str_puts(what, "rpc: messages to the clients' queues at the broker");
		break;
	case BACKEND_REDIS:
		rc = look_at_redis(conf, address, limit, what, err);
		break;
	case BACKEND_DB:
		rc = look_at_database(conf, address, limit, what, err);
	}
	free(address);
	return rc;
}
