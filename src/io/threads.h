/* The threads of libuv's pool, where names are looked up and queries cancelled:
 * this process has one loop and no other threads.
 *
 * libuv starts them with the first work that it is given, and abort()s where one
 * is not to be had.  So ask before any uv_getaddrinfo() or uv_queue_work(): 0 (it
 * costs nothing from the second time on), or -1 with ERR (ERR_TEMPFAIL). */
#ifndef IO_THREADS_H
#define IO_THREADS_H

struct err;

int threads_check(struct err *);

#endif
