/* dial.c - from a name and a port to a connected descriptor. */
#include "io/dial.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>
#include "base/err.h"
#include "base/mem.h"
#include "io/loop.h"
#include "io/threads.h"

struct dial {
	struct loop *loop;
	span patience;			/* with one address */
	void (*done)(void *, int, const struct err *);
	void *arg;
	uv_getaddrinfo_t *resolving;
	struct addrinfo *addresses, *address;	/* all, and the one being tried */
	int fd;
	struct watch *watch;
	struct timer *next;		/* to the next address; or tells of DOOM */
	bool doomed;
	struct err doom;
	char stage[INET6_ADDRSTRLEN + 16];
	/* Of a path there is nothing to resolve: */
	struct addrinfo local;
	struct sockaddr_un local_address;
};

static void try_address(struct dial *);

static void
forget_address(struct dial *d)
{
	timer_stop(d->next);
	watch_free(d->watch);
	d->watch = NULL;
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
}

static void
fail(struct dial *d, enum err_class class, const char *what, const char *why)
{
	struct err err;

	err_class(&err, class, "%s: %s", what, why);
	d->done(d->arg, -1, &err);
}

/* This address is of no use; ERROR says why. */
static void
next_address(struct dial *d, int error)
{
	forget_address(d);
	d->address = d->address->ai_next;
	if (d->address)
		try_address(d);
	else
		fail(d, ERR_TEMPFAIL, "cannot connect", strerror(error));
}

static void
connect_ended(void *arg, int events)
{
	struct dial *d = arg;
	socklen_t len = sizeof(int);
	int error = 0, fd = d->fd;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len))
		error = errno;
	if (error) {
		next_address(d, error);
		return;
	}
	d->fd = -1;
	forget_address(d);
	d->done(d->arg, fd, NULL);
}

static int
start_connect(struct dial *d)
{
	struct addrinfo *a = d->address;
	int on = 1;

	d->fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (d->fd < 0)
		return -1;
	setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(d->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	if (connect(d->fd, a->ai_addr, a->ai_addrlen) && errno != EINPROGRESS)
		return -1;
	d->watch = watch_new(d->loop, d->fd, connect_ended, d);
	if (!d->watch) {
		errno = EMFILE;
		return -1;
	}
	watch_set(d->watch, WATCH_WRITE);
	return 0;
}

static void
try_address(struct dial *d)
{
	struct addrinfo *a = d->address;
	char where[INET6_ADDRSTRLEN] = "?";

	getnameinfo(a->ai_addr, a->ai_addrlen, where, sizeof where, NULL, 0, NI_NUMERICHOST);
	snprintf(d->stage, sizeof d->stage, "connecting to %s", where);
	if (start_connect(d))
		next_address(d, errno);
	else if (a->ai_next)
		timer_start(d->next, d->patience);
}

static void
next_fired(void *arg)
{
	struct dial *d = arg;

	if (d->doomed)
		d->done(d->arg, -1, &d->doom);
	else
		next_address(d, ETIMEDOUT);
}

static void
resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *addresses)
{
	struct dial *d = req->data;
	int n = 0;

	free(req);
	if (!d) {
		uv_freeaddrinfo(addresses);
		return;
	}
	d->resolving = NULL;
	d->address = d->addresses = addresses;
	for (struct addrinfo *a = addresses; a; a = a->ai_next)
		n++;
	if (status || n == 0) {
		fail(d, ERR_TEMPFAIL, "the name cannot be found",
		    status ? uv_strerror(status) : "no address");
		return;
	}
	d->patience /= n;
	try_address(d);
}

/* The path of a socket in the file system is its one address. */
static int
take_path(struct dial *d, const char *path)
{
	if (strlen(path) >= sizeof d->local_address.sun_path)
		return err_class(&d->doom, ERR_CONFIG, "the path of the socket is too long");
	d->local_address.sun_family = AF_UNIX;
	snprintf(d->local_address.sun_path, sizeof d->local_address.sun_path, "%s", path);
	d->local = (struct addrinfo){ .ai_family = AF_UNIX,
		.ai_addr = (struct sockaddr *)&d->local_address,
		.ai_addrlen = sizeof d->local_address };
	d->address = &d->local;
	return 0;
}

static void
try_path(void *arg)
{
	struct dial *d = arg;

	if (d->doomed)
		d->done(d->arg, -1, &d->doom);
	else if (start_connect(d))
		next_address(d, errno);
}

static struct dial *
dial_path(struct dial *d, const char *path)
{
	snprintf(d->stage, sizeof d->stage, "connecting");
	d->doomed = take_path(d, path);
	d->next = timer_new(d->loop, try_path, d);
	timer_start(d->next, 0);
	return d;
}

struct dial *
dial_new(struct loop *loop, const char *host, int port, span patience,
    void (*done)(void *, int, const struct err *), void *arg)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct dial *d = xcalloc(1, sizeof *d);
	char service[16];
	int rc;

	d->loop = loop;
	d->patience = patience;
	d->done = done;
	d->arg = arg;
	d->fd = -1;
	if (*host == '/')
		return dial_path(d, host);
	d->next = timer_new(loop, next_fired, d);
	snprintf(d->stage, sizeof d->stage, "looking up its name");
	snprintf(service, sizeof service, "%d", port);
	if (threads_check(&d->doom)) {
		d->doomed = true;
		timer_start(d->next, 0);
		return d;
	}
	d->resolving = xcalloc(1, sizeof *d->resolving);
	d->resolving->data = d;
	rc = uv_getaddrinfo(loop_uv(loop), d->resolving, resolved, host, service, &hints);
	if (rc) {
		free(d->resolving);
		d->resolving = NULL;
		d->doomed = err_class(&d->doom, ERR_CONFIG, "the name cannot be found: %s",
		    uv_strerror(rc));
		timer_start(d->next, 0);
	}
	return d;
}

void
dial_free(struct dial *d)
{
	if (!d)
		return;
	forget_address(d);
	if (d->resolving) {
		d->resolving->data = NULL;	/* its callback frees it */
		uv_cancel((uv_req_t *)d->resolving);
	}
	if (d->addresses)
		uv_freeaddrinfo(d->addresses);
	timer_free(d->next);
	free(d);
}

const char *
dial_stage(const struct dial *d)
{
	return d->stage;
}
