/* environment.c - what a command gets to see of our environment. */
#include "base/environment.h"
#include <string.h>
#include "base/vec.h"

extern char **environ;

static void
pass(struct environment *e, const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	if (value || otherwise)
		environment_set(e, name, value ? value : otherwise);
}

void
environment_init(struct environment *e, char *const *names)
{
	*e = (struct environment){ 0 };
	vec_push(e, NULL);
	pass(e, "PATH", "/usr/local/bin:/usr/bin:/bin");
	pass(e, "HOME", NULL);
	pass(e, "LANG", NULL);
	pass(e, "TZ", NULL);
	for (; names && *names; names++)
		pass(e, *names, NULL);
}

void
environment_init_ours(struct environment *e)
{
	*e = (struct environment){ 0 };
	for (char *const *v = environ; *v; v++)
		if (strncmp(*v, "TOCSIN_", 7))
			vec_push(e, xstrdup(*v));
	vec_push(e, NULL);
}

void
environment_set(struct environment *e, const char *name, const char *value)
{
	size_t len = strlen(name);
	char *text = xasprintf("%s=%s", name, value);

	for (size_t i = 0; e->at[i]; i++)
		if (!strncmp(e->at[i], text, len + 1)) {
			free(e->at[i]);
			e->at[i] = text;
			return;
		}
	e->at[e->n - 1] = text;
	vec_push(e, NULL);
}

void
environment_done(struct environment *e)
{
	for (size_t i = 0; i < e->n; i++)
		free(e->at[i]);
	vec_done(e);
}
