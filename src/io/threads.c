/* threads.c - a rehearsal: are there as many threads as libuv will start?
 *
 * All of them are started, and live at the same time; then they end, and what
 * they had is there for libuv's.  That holds for their memory too, which glibc
 * keeps for the next threads with stacks of that size.  Somebody else may still
 * take the last process that the kernel allows, between us and libuv. */
#include "io/threads.h"
#include <stdbool.h>
#include <stdlib.h>
#include <uv.h>
#include "base/err.h"

#define POOL 4		/* libuv's own */
#define MAX_POOL 1024

static size_t
pool_size(void)
{
	const char *text = getenv("UV_THREADPOOL_SIZE");
	int n = text ? atoi(text) : POOL;

	return n < 0 || n > MAX_POOL ? MAX_POOL : n == 0 ? 1 : (size_t)n;
}

static void
wait_for_all(void *all_are_there)
{
	uv_sem_wait(all_are_there);
}

/* 0, or libuv's number of an error. */
static int
rehearse(size_t n)
{
	uv_thread_t threads[MAX_POOL];
	uv_sem_t all_are_there;
	size_t started = 0;
	int rc = uv_sem_init(&all_are_there, 0);

	if (rc)
		return rc;
	while (started < n && !(rc = uv_thread_create(&threads[started], wait_for_all,
	    &all_are_there)))
		started++;
	for (size_t i = 0; i < started; i++)
		uv_sem_post(&all_are_there);
	for (size_t i = 0; i < started; i++)
		uv_thread_join(&threads[i]);
	uv_sem_destroy(&all_are_there);
	return rc;
}

int
threads_check(struct err *err)
{
	static bool ready;
	int rc;

	if (!ready && (rc = rehearse(pool_size())))
		return err_class(err, ERR_TEMPFAIL, "cannot start a thread: %s",
		    uv_strerror(rc));
	ready = true;
	return 0;
}
