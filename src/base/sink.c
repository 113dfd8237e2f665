/* sink.c - lines to a descriptor whose reader may have stopped reading.
 *
 * O_NONBLOCK belongs to the open file, which others share with us (a shell has
 * its terminal there), so it is not ours to set.  A pipe or a terminal is opened
 * anew instead, through /proc, for ourselves alone; a socket can be told for each
 * write.  Where that is not allowed we ask before each write, and write no more
 * than fits into a pipe that has room; only a neighbour who fills it between the
 * two could still hold us up. */
#include "base/sink.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

void
sink_use(struct sink *s, int fd)
{
	struct stat file;
	char path[32];

	if (s->own >= 0)
		close(s->own);
	if (s->fd != fd)
		str_clear(&s->rest);
	s->fd = fd;
	s->own = -1;
	s->stuck = s->is_socket = false;
	if (fstat(fd, &file))
		return;
	s->is_socket = S_ISSOCK(file.st_mode);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (S_ISFIFO(file.st_mode) || isatty(fd))
		s->own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static bool
wait_for_room(struct sink *s, span until)
{
	struct pollfd p = { .fd = s->fd, .events = POLLOUT };
	span left = s->stuck ? 0 : until - clock_monotonic();
	int rc = poll(&p, 1, left > 0 ? (int)(left / (SECOND / 1000)) : 0);

	return rc > 0 || (rc < 0 && errno == EINTR && left > 0);
}

static ssize_t
put(struct sink *s, const char *bytes, size_t n)
{
	if (s->is_socket)
		return send(s->fd, bytes, n, MSG_DONTWAIT);
	return write(s->own >= 0 ? s->own : s->fd, bytes, n);
}

/* How many of the LEN bytes could be written. */
static size_t
push(struct sink *s, const char *bytes, size_t len)
{
	span until = clock_monotonic() + SINK_MOMENT;
	size_t done = 0;

	while (done < len) {
		size_t some = len - done < PIPE_BUF ? len - done : PIPE_BUF;
		ssize_t n;

		if (!wait_for_room(s, until)) {
			s->stuck = true;
			break;
		}
		n = put(s, bytes + done, some);
		if (n > 0)
			done += (size_t)n;
		else if (n == 0 || (errno != EINTR && errno != EAGAIN))
			break;
		else if (s->stuck || clock_monotonic() > until) {
			s->stuck = true;
			break;
		}
	}
	if (done == len && len > 0)
		s->stuck = false;
	return done;
}

static bool
write_line(struct sink *s, const char *line, size_t len)
{
	size_t n = push(s, s->rest.text, s->rest.len);

	if (n < s->rest.len) {
		memmove(s->rest.text, s->rest.text + n, s->rest.len - n);
		s->rest.len -= n;
		return false;
	}
	str_clear(&s->rest);
	n = push(s, line, len);
	if (n > 0)
		str_add(&s->rest, line + n, len - n);
	return n > 0;
}

/* The reader may be gone altogether; that must not end us. */
bool
sink_write(struct sink *s, const char *line, size_t len)
{
	sigset_t pipe_signal, before, pending;
	bool written;

	sigemptyset(&pipe_signal);
	sigaddset(&pipe_signal, SIGPIPE);
	sigpending(&pending);
	pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
	written = write_line(s, line, len);
	if (!sigismember(&pending, SIGPIPE))
		sigtimedwait(&pipe_signal, NULL, &(struct timespec){ 0 });
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	s->lost += !written;
	return written;
}
