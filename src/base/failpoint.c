/* failpoint.c - do what TOCSIN_FAILPOINT says, where it says so. */
#include "base/failpoint.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef FAILPOINTS
extern const char *const __start_failpoints[], *const __stop_failpoints[];

enum { MAX = 16 };

static struct {
	char name[64], action[16];
	long at, passed, milliseconds;
} points[MAX];
static int count = -1;

static void
refuse(const char *what)
{
	fprintf(stderr, "tocsin: TOCSIN_FAILPOINT: there is no %s\n", what);
	_exit(78);
}

static bool
is_place(const char *name)
{
	for (const char *const *p = __start_failpoints; p < __stop_failpoints; p++)
		if (!strcmp(*p, name))
			return true;
	return false;
}

static bool
is_action(const char *name)
{
	static const char *const actions[] = { "kill", "stop", "exit", "delay", "error" };

	for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++)
		if (!strcmp(actions[i], name))
			return true;
	return false;
}

static void
read_points(void)
{
	const char *s = getenv("TOCSIN_FAILPOINT");

	count = 0;
	for (; s && *s && count < MAX; s += strcspn(s, ","), s += *s == ',') {
		size_t n = strcspn(s, "=,"), m;
		const char *action = s + n + (s[n] == '=');

		m = strcspn(action, "@:,");
		if (n >= sizeof points[0].name || m >= sizeof points[0].action)
			refuse("so long a name");
		memcpy(points[count].name, s, n);
		memcpy(points[count].action, action, m);
		if (!is_place(points[count].name))
			refuse(points[count].name);
		if (!is_action(points[count].action))
			refuse(points[count].action);
		for (const char *p = action + m; *p && *p != ','; p++) {
			if (*p == '@')
				points[count].at = strtol(p + 1, NULL, 10);
			if (*p == ':')
				points[count].milliseconds = strtol(p + 1, NULL, 10);
		}
		count++;
	}
}

static bool
act(const char *action, long milliseconds)
{
	struct timespec wait = { milliseconds / 1000, milliseconds % 1000 * 1000000 };

	if (!strcmp(action, "kill"))
		kill(getpid(), SIGKILL);
	else if (!strcmp(action, "stop"))
		kill(getpid(), SIGSTOP);
	else if (!strcmp(action, "exit"))
		_exit(70);
	else if (!strcmp(action, "delay"))
		nanosleep(&wait, NULL);
	return !strcmp(action, "error");
}

bool
failpoint_pass(const char *name)
{
	bool error = false;

	if (count < 0)
		read_points();
	for (int i = 0; i < count; i++)
		if (!strcmp(points[i].name, name) &&
		    (++points[i].passed == points[i].at || !points[i].at))
			error |= act(points[i].action, points[i].milliseconds);
	return error;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int
failpoint_list(void)
{
	size_t n = (size_t)(__stop_failpoints - __start_failpoints);
	const char **names = malloc(n * sizeof *names);

	if (!names)
		abort();
	memcpy(names, __start_failpoints, n * sizeof *names);
	qsort(names, n, sizeof *names, by_name);
	for (size_t i = 0; i < n; i++)
		if (!i || strcmp(names[i], names[i - 1]))
			puts(names[i]);
	free(names);
	return 0;
}
#else
#include <stdio.h>

int
failpoint_list(void)
{
	fputs("tocsin: built without --enable-failpoints\n", stderr);
	return 1;
}
#endif
