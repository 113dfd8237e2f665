/* pool.c - connections that wait for the next measurement.
 *
 * The last one given back is the first one taken, so that a worker with little
 * to do keeps few of them open.  Cleaning is asked for when a connection comes
 * back; it may be lent again at once, for what is asked next is done after it. */
#include "exec/pool.h"
#include <stdlib.h>
#include "base/clock.h"
#include "base/conf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/vec.h"
#include "io/loop.h"
#include "io/pg.h"

#define IDLE MINUTE

struct waiting {
	struct pg *pg;
	span since;
};

struct pool {
	struct loop *loop;
	const struct conf *conf;
	VEC(struct waiting) idle;	/* the longest waiting first */
	struct timer *timer;
};

static void
close_idle(void *arg)
{
	struct pool *pool = arg;
	span now = clock_monotonic();
	size_t n = 0;

	while (n < pool->idle.n && pool->idle.at[n].since + IDLE <= now)
		pg_free(pool->idle.at[n++].pg);
	for (size_t i = n; i < pool->idle.n; i++)
		pool->idle.at[i - n] = pool->idle.at[i];
	pool->idle.n -= n;
	if (pool->idle.n)
		timer_start(pool->timer, pool->idle.at[0].since + IDLE - now);
}

struct pool *
pool_new(struct loop *loop, const struct conf *conf)
{
	struct pool *pool = xcalloc(1, sizeof *pool);

	pool->loop = loop;
	pool->conf = conf;
	pool->timer = timer_new(loop, close_idle, pool);
	return pool;
}

void
pool_free(struct pool *pool)
{
	for (size_t i = 0; i < pool->idle.n; i++)
		pg_free(pool->idle.at[i].pg);
	vec_done(&pool->idle);
	timer_free(pool->timer);
	free(pool);
}

void
pool_say_cleaning(struct pg *pg)
{
	pg_say(pg, "rollback", 0, NULL);
	pg_say(pg, "discard all", 0, NULL);
}

struct pg *
pool_take(struct pool *pool)
{
	const struct conf *conf = pool->conf;
	const struct pg_settings settings = {
		.conninfo = conf_measuring_url(conf),
		.name = "tocsin measuring",
		.role = *conf->measuring_role ? conf->measuring_role : NULL,
		.connect_timeout = conf->connect_timeout,
		.heartbeat = conf->heartbeat,
		.statement_timeout = POOL_STATEMENT_TIMEOUT,
		.idle_timeout = 10 * MINUTE,	/* between two statements of one pipeline */
		.options = "-c extra_float_digits=1 -c bytea_output=hex"
		    " -c standard_conforming_strings=on",
	};

	if (pool->idle.n)
		return pool->idle.at[--pool->idle.n].pg;
	return pg_new(pool->loop, &settings);
}

void
pool_let_go(struct pool *pool)
{
	for (size_t i = 0; i < pool->idle.n; i++)
		pg_free(pool->idle.at[i].pg);
	pool->idle.n = 0;
}

void
pool_drop(struct pool *pool, struct pg *pg)
{
	pg_free(pg);
}

/* What could not be cleaned must not answer anybody else. */
static void
cleaned(void *arg, const struct pg_answer *answer)
{
	struct err err;

	if (!answer->err || !*answer->sqlstate)
		return;
	err = *answer->err;
	err_wrap(&err, "a measuring connection cannot be cleaned");
	err.class = ERR_TEMPFAIL;
	pg_break(arg, &err);
}

void
pool_put(struct pool *pool, struct pg *pg, bool clean)
{
	struct waiting w = { pg, clock_monotonic() };

	if (pool->idle.n >= (size_t)pool->conf->concurrency) {
		pg_free(pg);
		return;
	}
	pg_limit_row(pg, 0);
	/* Two groups: what is still in a transaction cannot "discard all". */
	if (!clean) {
		pg_say(pg, "rollback", 0, NULL);
		pg_ask(pg, cleaned, pg);
		pg_say(pg, "discard all", 0, NULL);
		pg_ask(pg, cleaned, pg);
	}
	vec_push(&pool->idle, w);
	if (pool->idle.n == 1)
		timer_start(pool->timer, IDLE);
}
