/* failpoint.c - do what TOCSIN_FAILPOINT says, where it says so. */
#include "base/failpoint.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef FAILPOINTS
enum { MAX = 16 };

static struct {
	char name[64], action[16];
	long at, passed, milliseconds;
} points[MAX];
static int count = -1;

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
			continue;
		memcpy(points[count].name, s, n);
		memcpy(points[count].action, action, m);
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
failpoint(const char *name)
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
#else
typedef int nothing;		/* a translation unit may not be empty */
#endif
