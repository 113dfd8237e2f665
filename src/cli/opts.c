/* opts.c - the words behind a command.
 *
 * A command has a table of its own options; besides them every setting is an
 * option of every command ("lease" is --lease), the strongest of its sources. */
#include "cli/cmd.h"
#include <stdlib.h>
#include <string.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"

static const struct opt common[] = {
	{ "help", 'h', NULL, "print this help" },
	{ "config", 0, "FILE", "the file of settings (tocsin.toml)" },
	{ NULL, 0, NULL, NULL },
};

struct words {
	VEC(struct given) given;
	VEC(const char *) arguments;
	VEC(struct flag) flags;
};

static const struct opt *
find_in(const struct opt *table, const char *name, size_t len, char letter)
{
	for (; table && table->name; table++)
		if (letter ? table->letter == letter
		    : strlen(table->name) == len && !memcmp(table->name, name, len))
			return table;
	return NULL;
}

static const struct opt *
find_opt(const struct command *c, const char *name, size_t len, char letter)
{
	const struct opt *o = find_in(c->options, name, len, letter);

	return o ? o : find_in(common, name, len, letter);
}

/* --connect-timeout is the setting connect_timeout. */
static const struct setting *
find_setting(const char *name, size_t len)
{
	for (size_t i = 0; i < conf_count; i++) {
		const char *s = conf_settings[i].name;
		size_t k;

		for (k = 0; k < len && s[k] &&
		    (name[k] == s[k] || (name[k] == '-' && s[k] == '_')); k++)
			;
		if (k == len && !s[k])
			return &conf_settings[i];
	}
	return NULL;
}

/* The setting's name as an option: "connect-timeout".  The caller frees. */
static char *
option_of(const struct setting *s)
{
	char *name = xstrdup(s->name);

	for (char *p = name; *p; p++)
		if (*p == '_')
			*p = '-';
	return name;
}

/* The option that WORD, "--lenght=5", was perhaps to be.  The caller frees. */
static char *
nearest(const struct command *c, const char *word)
{
	char *name = xstrndup(word + 2, strcspn(word + 2, "="));
	VEC(char *) names = { 0 };
	const char *near;
	char *found;

	for (const struct opt *o = c->options; o && o->name; o++)
		vec_push(&names, xstrdup(o->name));
	for (const struct opt *o = common; o->name; o++)
		vec_push(&names, xstrdup(o->name));
	for (size_t i = 0; i < conf_count; i++)
		vec_push(&names, option_of(&conf_settings[i]));
	near = str_nearest(name, (const char *const *)names.at, names.n);
	found = near ? xstrdup(near) : NULL;
	for (size_t i = 0; i < names.n; i++)
		free(names.at[i]);
	vec_done(&names);
	free(name);
	return found;
}

static int
unknown(const struct command *c, const char *word, struct err *err)
{
	char *near = word[1] == '-' ? nearest(c, word) : NULL;
	/* Behind the '=' may stand a password. */
	int shown = word[1] == '-' ? (int)strcspn(word, "=") : (int)strlen(word);

	if (shown > 200)
		shown = 200;

	if (near)
		err_class(err, ERR_USAGE, "there is no option '%.*s'; did you mean '--%s'?",
		    shown, word, near);
	else if (word[1] != '-' && c->least)
		err_class(err, ERR_USAGE, "there is no option '%.*s'; an argument that begins "
		    "with '-' stands behind '--': tocsin %s -- %.*s", shown, word, c->name,
		    shown, word);
	else
		err_class(err, ERR_USAGE, "there is no option '%.*s'; see 'tocsin %s --help'",
		    shown, word, c->name);
	free(near);
	return -1;
}

/* The value of an option: behind '=', or the next word. */
static int
value_of(const struct command *c, const char *name, size_t len, const char *equals,
    int argc, char **argv, int *i, const char **value, struct err *err)
{
	if (equals)
		*value = equals + 1;
	else if (*i + 1 < argc)
		*value = argv[++*i];
	else
		return err_class(err, ERR_USAGE, "--%.*s needs a value; see 'tocsin %s --help'",
		    (int)len, name, c->name);
	return 0;
}

/* What is a setting too counts as one, though a command lists it for its help. */
static void
keep(struct words *w, const struct opt *o, const struct setting *setting, const char *value)
{
	if (setting)
		vec_push(&w->flags, ((struct flag){ setting, value }));
	else
		vec_push(&w->given, ((struct given){ o, value }));
}

static int
read_long(const struct command *c, int argc, char **argv, int *i, struct words *w,
    struct err *err)
{
	const char *word = argv[*i], *name = word + 2, *equals = strchr(name, '='), *value = "";
	size_t len = equals ? (size_t)(equals - name) : strlen(name);
	const struct opt *o = find_opt(c, name, len, 0);
	const struct setting *setting = find_setting(name, len);

	if (!o && !setting)
		return unknown(c, word, err);
	if (o && !o->value) {
		if (equals)
			return err_class(err, ERR_USAGE, "--%s takes no value", o->name);
	} else if (value_of(c, name, len, equals, argc, argv, i, &value, err))
		return -1;
	keep(w, o, setting, value);
	return 0;
}

/* -j, -c 4, -c4 */
static int
read_short(const struct command *c, int argc, char **argv, int *i, struct words *w,
    struct err *err)
{
	const char *word = argv[*i];

	for (const char *l = word + 1; *l; l++) {
		const struct opt *o = find_opt(c, NULL, 0, *l);
		const char *value = "";

		if (!o)
			return unknown(c, word, err);
		if (o->value && l[1])
			value = l + 1;
		else if (o->value && value_of(c, o->name, strlen(o->name), NULL, argc, argv,
		    i, &value, err))
			return -1;
		keep(w, o, find_setting(o->name, strlen(o->name)), value);
		if (o->value)
			break;
	}
	return 0;
}

static int
read_words(const struct command *c, int argc, char **argv, struct words *w, struct err *err)
{
	bool only_arguments = false;

	for (int i = 0; i < argc; i++) {
		const char *word = argv[i];
		int rc = 0;

		if (only_arguments || word[0] != '-' || !word[1])
			vec_push(&w->arguments, word);
		else if (!strcmp(word, "--"))
			only_arguments = true;
		else if (word[1] == '-')
			rc = read_long(c, argc, argv, &i, w, err);
		else
			rc = read_short(c, argc, argv, &i, w, err);
		if (rc)
			return -1;
	}
	vec_push(&w->arguments, NULL);
	return 0;
}

static int
check_count(const struct call *call, struct err *err)
{
	const struct command *c = call->command;

	if (call->n_arguments < c->least)
		return err_class(err, ERR_USAGE, "%s is missing: see 'tocsin %s --help'",
		    c->least == 1 ? "an argument" : "some argument", c->name);
	if (call->n_arguments > c->most)
		return err_class(err, ERR_USAGE, "'%.200s' is one argument too many: "
		    "see 'tocsin %s --help'", call->arguments[c->most], c->name);
	return 0;
}

static int
set_flags(const struct call *call, struct conf *conf, struct err *err)
{
	for (size_t i = 0; i < call->n_flags; i++) {
		const struct setting *s = call->flags[i].setting;
		char *name = option_of(s), *where = xasprintf("--%s", name);
		int rc;

		rc = conf_set(conf, s->name, call->flags[i].value, where, err);
		free(where);
		free(name);
		if (rc) {
			err->class = ERR_USAGE;
			return -1;
		}
	}
	return 0;
}

struct conf *
opts_read_settings(const struct call *call, struct err *err)
{
	struct conf *conf = conf_new();

	if (start_settings(conf, opts_get(call, "config"), err) || set_flags(call, conf, err)) {
		conf_free(conf);
		return NULL;
	}
	return conf;
}

int
opts_read(struct call *call, int argc, char **argv, struct err *err)
{
	struct words w = { 0 };
	int rc = read_words(call->command, argc, argv, &w, err);

	call->given = w.given.at;
	call->n_given = w.given.n;
	call->flags = w.flags.at;
	call->n_flags = w.flags.n;
	call->arguments = w.arguments.at;
	if (rc)
		return -1;
	call->n_arguments = w.arguments.n - 1;
	if (opts_has(call, "help")) {
		help_command(call->command, stdout);
		return 1;
	}
	if (check_count(call, err) || !(call->conf = opts_read_settings(call, err)))
		return -1;
	return 0;
}

void
opts_done(struct call *call)
{
	conf_free(call->conf);
	free(call->given);
	free(call->flags);
	free(call->arguments);
}

const char *
opts_nth(const struct call *call, const char *name, size_t nth)
{
	for (size_t i = 0; i < call->n_given; i++)
		if (!strcmp(call->given[i].opt->name, name) && nth-- == 0)
			return call->given[i].value;
	return NULL;
}

const char *
opts_get(const struct call *call, const char *name)
{
	for (size_t i = call->n_given; i-- > 0; )
		if (!strcmp(call->given[i].opt->name, name))
			return call->given[i].value;
	return NULL;
}

bool
opts_has(const struct call *call, const char *name)
{
	return opts_get(call, name) != NULL;
}

/* --- help --- */

static void
print_options(const struct opt *o, FILE *out)
{
	for (; o && o->name; o++) {
		char *left = xasprintf("  %c%c%c --%s%s%s", o->letter ? '-' : ' ',
		    o->letter ? o->letter : ' ', o->letter ? ',' : ' ', o->name,
		    o->value ? " " : "", o->value ? o->value : "");

		fprintf(out, "%-30s %s\n", left, o->help);
		free(left);
	}
}

void
help_command(const struct command *c, FILE *out)
{
	fprintf(out, "usage: tocsin %s %s\n\n%s\n\nOptions:\n", c->name, c->synopsis,
	    c->description);
	print_options(c->options, out);
	print_options(common, out);
	fprintf(out, "\nEvery setting is an option too, such as --database-url URL; "
	    "'tocsin settings' lists them.\nThe manual: man tocsin-%s\n", c->name);
}

void
help_all(FILE *out)
{
	fputs("usage: tocsin COMMAND [ARGUMENT]...\n\n"
	    "Measure variables, test evidences, decide events, and ring.\n\nCommands:\n", out);
	for (const struct command *const *c = commands; *c; c++)
		fprintf(out, "  %-10s %s\n", (*c)->name, (*c)->summary);
	fputs("\n'tocsin COMMAND --help' tells more of each; the manual is tocsin(1).\n", out);
}
