/* conf.c - where the value of a setting comes from.
 *
 * A file, a flag or the environment names one of conf_table.c and says a text.
 * setting_read() is the one way in; here is found which setting is meant, the
 * secret that a file holds is read, and an error says where the value stood. */
#include "base/conf.h"
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "base/url.h"
#include "base/vec.h"

/* RabbitMQ's own "guest" is known to everybody: to hide it would only make errors
 * about a table of guests unreadable. */
static void
hush(const char *password)
{
	if (strcmp(password, "guest"))
		log_secret(password);
}

/* The content of a file of one secret, without its newline. */
static char *
read_secret(const char *path, struct err *err)
{
	char *text = xmalloc(CONF_ADDRESS_MAX + 3);
	struct stat st;
	ssize_t n = -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd >= 0 && !fstat(fd, &st))
		n = read(fd, text, CONF_ADDRESS_MAX + 2);
	if (n < 0)
		err_set(err, "cannot read %.200s: %s", path, strerror(errno));
	else if (memchr(text, '\0', (size_t)n))
		n = err_set(err, "%.200s holds a NUL byte", path);
	else if (S_ISREG(st.st_mode) && (st.st_mode & S_IROTH))
		log_warn("a file of a secret can be read by everybody", "file", path);
	if (fd >= 0)
		close(fd);
	if (n < 0) {
		free(text);
		return NULL;
	}
	text[n] = '\0';
	if (n > 0 && text[n - 1] == '\n')
		text[--n] = '\0';
	if (n > 0 && text[n - 1] == '\r')
		text[--n] = '\0';
	return text;
}

static int
give(struct conf *conf, size_t i, bool by_file, const char *text,
    const char *where, struct err *err)
{
	const struct setting *s = &conf_settings[i];
	char *content = NULL;
	int rc = -1;

	if (by_file && !(content = read_secret(text, err)))
		return -1;
	text = content ? content : text;
	if (s->type == SETTING_ADDRESS)
		free(url_hide(text, hush));
	if (!(rc = setting_read(s, conf, text, err))) {
		free(conf->where[i]);
		conf->where[i] = xstrdup(where);
	}
	if (content)
		explicit_bzero(content, strlen(content));
	free(content);
	return rc;
}

/* KEY, or KEY without "_file"; -1: there is none. */
static int
find(const char *key, bool *by_file)
{
	size_t len = strlen(key);

	*by_file = false;
	for (size_t i = 0; i < conf_count; i++)
		if (!strcmp(conf_settings[i].name, key))
			return (int)i;
	if (len <= 5 || strcmp(key + len - 5, "_file"))
		return -1;
	*by_file = true;
	for (size_t i = 0; i < conf_count; i++)
		if (conf_settings[i].type == SETTING_ADDRESS &&
		    strlen(conf_settings[i].name) == len - 5 &&
		    !memcmp(conf_settings[i].name, key, len - 5))
			return (int)i;
	return -1;
}

static const char *
nearest(const char *key)
{
	VEC(const char *) names = { 0 };
	const char *best;

	for (size_t i = 0; i < conf_count; i++)
		vec_push(&names, conf_settings[i].name);
	best = str_nearest(key, names.at, names.n);
	vec_done(&names);
	return best;
}

static int
fail(struct err *err, const char *where)
{
	err_wrap(err, "%s", where);
	err->class = ERR_CONFIG;
	err->line = err->column = 0;	/* WHERE has said it */
	return -1;
}

int
conf_set(struct conf *conf, const char *key, const char *text, const char *where,
    struct err *err)
{
	const char *near;
	bool by_file;
	int i = find(key, &by_file);

	if (i < 0) {
		near = nearest(key);
		err_set(err, "there is no setting '%.60s'%s%s%s", key,
		    near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
		return fail(err, where);
	}
	if (!give(conf, (size_t)i, by_file, text, where, err))
		return 0;
	if (strncmp(where, "--", 2))	/* a flag is the key */
		err_wrap(err, "%s", key);
	return fail(err, where);
}

/* An array of strings as "one,two" */
static int
join(struct str *out, const json_t *array)
{
	const json_t *v;
	size_t i;

	json_array_foreach(array, i, v) {
		if (!json_is_string(v) || strchr(json_string_value(v), ','))
			return -1;
		str_printf(out, "%s%s", i ? "," : "", json_string_value(v));
	}
	return 0;
}

int
conf_set_json(struct conf *conf, const char *key, const json_t *v, const char *where,
    struct err *err)
{
	static const char *const wants[] = {
		[SETTING_TEXT] = "text", [SETTING_ADDRESS] = "text", [SETTING_PATH] = "text",
		[SETTING_SPAN] = "a length of time as \"90s\", or a number of seconds",
		[SETTING_INTEGER] = "a whole number",
		[SETTING_SIZE] = "a size as \"4MiB\", or a number of bytes",
		[SETTING_LIST] = "a list of names", [SETTING_CHOICE] = "text",
		[SETTING_SWITCH] = "true or false",
	};
	struct str text = STR_INIT;
	bool by_file, good;
	int i = find(key, &by_file), rc;
	enum setting_type type = i < 0 || by_file ? SETTING_TEXT : conf_settings[i].type;

	if (json_is_array(v))
		good = type == SETTING_LIST && !join(&text, v);
	else if (json_is_string(v)) {
		good = type != SETTING_INTEGER && type != SETTING_SWITCH;
		str_puts(&text, json_string_value(v));
	} else {
		good = (json_is_integer(v) && (type == SETTING_INTEGER || type == SETTING_SIZE)) ||
		    (json_is_number(v) && type == SETTING_SPAN) ||
		    (json_is_boolean(v) && type == SETTING_SWITCH);
		json_append(&text, v);
	}
	if (i < 0 || good)	/* conf_set() knows what to say of an unknown name */
		rc = conf_set(conf, key, str_text(&text), where, err);
	else {
		err_set(err, "%s: must be %s, not %s %s", key, wants[type],
		    strchr("aio", *json_kind(v)) ? "an" : "a", json_kind(v));
		rc = fail(err, where);
	}
	str_done(&text);
	return rc;
}

/* --- the environment --- */

/* Variables of ours that are no settings; what follows a '*' may be anything. */
static const char *const no_settings[] = {
	"TOCSIN_ARG_*", "TOCSIN_CONFIG", "TOCSIN_CYCLE", "TOCSIN_EVENT",
	"TOCSIN_FAILPOINT", "TOCSIN_JOB", "TOCSIN_KEY", "TOCSIN_LEVEL",
	"TOCSIN_PROGRAM", "TOCSIN_SANDBOX",
	"TOCSIN_SIGNAL", "TOCSIN_TEST_*", "TOCSIN_TLS_*",
};

static bool
is_no_setting(const char *name)
{
	for (size_t i = 0; i < sizeof no_settings / sizeof no_settings[0]; i++) {
		size_t len = strcspn(no_settings[i], "*");

		if (!strncmp(name, no_settings[i], len) &&
		    (no_settings[i][len] == '*' || name[len] == '\0'))
			return true;
	}
	return false;
}

/* The value of NAME, NULL where it is not there or empty. */
static const char *
look_up(char *const *environment, const char *name)
{
	size_t len = strlen(name);

	for (; *environment; environment++)
		if (!strncmp(*environment, name, len) && (*environment)[len] == '=')
			return (*environment)[len + 1] ? *environment + len + 1 : NULL;
	return NULL;
}

static int
unknown_variable(const char *name, const char *key, struct err *err)
{
	const char *near = nearest(key);
	char buf[CONF_VARIABLE];

	for (size_t i = 0; near && i < conf_count; i++)
		if (conf_settings[i].name == near)
			conf_variable(&conf_settings[i], buf);
	err_set(err, "there is no such setting%s%s%s", near ? "; did you mean " : "",
	    near ? buf : "", near ? "?" : "");
	return fail(err, name);
}

/* NAME is TOCSIN_SOMETHING. */
static int
take_variable(struct conf *conf, char *const *environment, const char *name,
    const char *value, struct err *err)
{
	char *key = xstrdup(name + strlen("TOCSIN_")), buf[CONF_VARIABLE];
	bool by_file;
	int i, rc;

	for (char *c = key; *c; c++)
		*c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 'a' - 'A') : *c == '_' ? '_' :
		    *c >= '0' && *c <= '9' ? *c : '?';	/* no small letters */
	if ((i = find(key, &by_file)) < 0)
		rc = unknown_variable(name, key, err);
	else if (by_file && look_up(environment, conf_variable(&conf_settings[i], buf))) {
		err_set(err, "%s is set as well; keep one of them", buf);
		rc = fail(err, name);
	} else if ((rc = give(conf, (size_t)i, by_file, value, name, err)))
		fail(err, name);
	free(key);
	return rc;
}

int
conf_environment(struct conf *conf, char *const *environment, struct err *err)
{
	log_secret(look_up(environment, "PGPASSWORD"));
	for (char *const *e = environment; *e; e++) {
		const char *value = strchr(*e, '=');
		char *name;
		int rc = 0;

		if (strncmp(*e, "TOCSIN_", 7) || !value || !value[1])
			continue;
		name = xstrndup(*e, (size_t)(value - *e));
		if (!is_no_setting(name))
			rc = take_variable(conf, environment, name, value + 1, err);
		free(name);
		if (rc)
			return -1;
	}
	return 0;
}

/* --- the whole --- */

struct conf *
conf_new(void)
{
	struct conf *conf = xcalloc(1, sizeof *conf);
	struct err err;

	conf->where = xcalloc(conf_count, sizeof *conf->where);
	for (size_t i = 0; i < conf_count; i++)
		if (setting_read(&conf_settings[i], conf, conf_settings[i].standard, &err))
			abort();
	return conf;
}

void
conf_free(struct conf *conf)
{
	if (!conf)
		return;
	for (size_t i = 0; i < conf_count; i++) {
		setting_free(&conf_settings[i], conf);
		free(conf->where[i]);
	}
	free(conf->where);
	json_decref(conf->tasks);
	free(conf);
}

void
conf_take_changes(struct conf *conf, struct conf *fresh,
    void (*each)(void *, const char *, bool), void *arg)
{
	for (size_t i = 0; i < conf_count; i++) {
		const struct setting *s = &conf_settings[i];
		bool waits = conf_waits(s);
		char *where = conf->where[i];

		if (setting_is_same(s, conf, fresh))
			continue;
		each(arg, s->name, waits);
		if (waits)
			continue;
		setting_swap(s, conf, fresh);
		conf->where[i] = fresh->where[i];
		fresh->where[i] = where;
	}
	if (conf->tasks ? !json_equal(conf->tasks, fresh->tasks) : fresh->tasks != NULL) {
		json_t *tasks = conf->tasks;

		conf->tasks = fresh->tasks;
		fresh->tasks = tasks;
		each(arg, "tasks", false);
	}
}

const char *
conf_measuring_url(const struct conf *conf)
{
	return *conf->measuring_url ? conf->measuring_url : conf->database_url;
}

const char *
conf_variable(const struct setting *s, char buf[CONF_VARIABLE])
{
	snprintf(buf, CONF_VARIABLE, "TOCSIN_%s", s->name);
	for (char *c = buf; *c; c++)
		if (*c >= 'a' && *c <= 'z')
			*c = (char)(*c + 'A' - 'a');
	return buf;
}

char *
conf_show(const struct conf *conf, const struct setting *s)
{
	return setting_show(s, conf);
}

void
conf_write(const struct conf *conf, struct str *out)
{
	for (size_t i = 0; i < conf_count; i++) {
		const struct setting *s = &conf_settings[i];
		char *text;

		if (!conf->where[i])
			continue;
		text = setting_write(s, conf);
		str_printf(out, "%s = ", s->name);
		if (s->type == SETTING_SWITCH || s->type == SETTING_INTEGER)
			str_puts(out, text);
		else
			json_append_text(out, text, strlen(text));
		str_putc(out, '\n');
		explicit_bzero(text, strlen(text));
		free(text);
	}
}

const char *
conf_where(const struct conf *conf, const struct setting *s)
{
	const char *where = conf->where[s - conf_settings];

	return where ? where : "default";
}
