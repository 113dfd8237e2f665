/* process.c - reading /proc.
 *
 * /proc/PID/stat is one line whose second field, the command's name in
 * parentheses, may itself hold blanks and parentheses: fields are counted from
 * the last ')'. */
#include "io/process.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static ssize_t
slurp(int dir, const char *path, char *buf, size_t room)
{
	int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -1;
	do
		n = read(fd, buf, room - 1);
	while (n < 0 && errno == EINTR);
	close(fd);
	buf[n > 0 ? n : 0] = '\0';
	return n;
}

static bool
parse(const char *line, struct process *p)
{
	const char *s = strrchr(line, ')');
	unsigned long long born;
	char state;

	if (!s || sscanf(s + 1, " %c %d %d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u"
	    " %*d %*d %*d %*d %*d %*d %llu",
	    &state, &p->parent, &p->group, &p->session, &born) != 5)
		return false;
	p->dead = state == 'Z' || state == 'X';
	p->born = (int64_t)born;
	return true;
}

int
process_each(void (*show)(void *, const struct process *), void *arg)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;

	if (!dir)
		return -1;
	while ((entry = readdir(dir))) {
		struct process p;
		char path[sizeof entry->d_name + 8], line[1024];

		if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
			continue;
		p.pid = (pid_t)atoi(entry->d_name);
		snprintf(path, sizeof path, "%s/stat", entry->d_name);
		if (slurp(dirfd(dir), path, line, sizeof line) > 0 && parse(line, &p))
			show(arg, &p);
	}
	closedir(dir);
	return 0;
}

const char *
process_mark(pid_t pid, char mark[PROCESS_MARK_MAX])
{
	static const char name[] = PROCESS_MARK "=";
	char path[40], chunk[4096];
	size_t matched = 0, len = 0;
	bool fresh = true, taking = false;
	ssize_t n;
	int fd;

	mark[0] = '\0';
	snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return mark;
	/* An environment may be megabytes: never hold it, walk through it. */
	while ((n = read(fd, chunk, sizeof chunk)) > 0 || (n < 0 && errno == EINTR))
		for (ssize_t i = 0; i < n; i++) {
			char c = chunk[i];

			if (taking && (c == '\0' || len == PROCESS_MARK_MAX - 1))
				goto out;
			if (taking) {
				mark[len++] = c;
			} else if (c == '\0') {
				fresh = true;
				matched = 0;
			} else if (fresh && c == name[matched]) {
				taking = ++matched == sizeof name - 1;
			} else {
				fresh = false;
			}
		}
out:
	mark[len] = '\0';
	close(fd);
	return mark;
}

bool
process_bury(pid_t pid)
{
	pid_t rc;

	do
		rc = waitpid(pid, NULL, WNOHANG);
	while (rc < 0 && errno == EINTR);
	return rc != 0;		/* an error: there is no such child any more */
}

int64_t
process_ticks(void)
{
	static long hz;
	struct timespec ts;

	if (!hz)
		hz = sysconf(_SC_CLK_TCK);
	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t)ts.tv_sec * hz + ts.tv_nsec / (1000000000L / hz);
}
