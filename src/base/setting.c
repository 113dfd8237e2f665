/* setting.c - texts become values, within bounds, and texts again. */
#include "base/setting.h"
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "base/url.h"
#include "base/vec.h"

#define KIB INT64_C(1024)
#define MIB (1024 * KIB)

/* The field of S in OWNER, as a TYPE. */
#define AS(type, owner, s) ((type *)(void *)((char *)(owner) + (s)->offset))

static const struct {
	const char *name;
	int64_t bytes;
} units[] = {	/* the first that divides a size is what it is written in */
	{ "GiB", 1024 * MIB }, { "MiB", MIB }, { "KiB", KIB }, { "B", 1 },
	{ "g", 1024 * MIB }, { "m", MIB }, { "k", KIB }, { "", 1 },
};
#define N_UNITS (sizeof units / sizeof units[0])

static char *
format_size(int64_t bytes)
{
	size_t i = 0;

	if (bytes == 0)
		return xstrdup("0");
	while (bytes % units[i].bytes)
		i++;
	return xasprintf("%" PRId64 "%s", bytes / units[i].bytes, units[i].name);
}

static char *
format_number(const struct setting *s, int64_t n)
{
	char buf[INSTANT_TEXT];

	return s->type == SETTING_SIZE ? format_size(n) : s->type == SETTING_SPAN ?
	    xstrdup(clock_format_span(n, buf)) : xasprintf("%" PRId64, n);
}

/* Digits at TEXT; *END is what follows them.  Beyond 64 bits: the largest. */
static int
parse_digits(const char *text, const char **end, int64_t *n)
{
	char *e;

	if (*text < '0' || *text > '9')
		return -1;
	*n = strtoll(text, &e, 10);
	*end = e;
	return 0;
}

static int
parse_integer(const char *text, int64_t *n, struct err *err)
{
	const char *end;

	if (parse_digits(text, &end, n) || *end)
		return err_set(err, "'%.60s' is not a whole number", text);
	return 0;
}

static int
parse_size(const char *text, int64_t *n, struct err *err)
{
	const char *end;

	if (!parse_digits(text, &end, n)) {
		end += *end == ' ';
		for (size_t i = 0; i < N_UNITS; i++)
			if (!strcasecmp(end, units[i].name)) {
				*n = *n > INT64_MAX / units[i].bytes ? INT64_MAX :
				    *n * units[i].bytes;
				return 0;
			}
	}
	return err_set(err, "'%.60s' is not a size; write it as 65536, 64KiB, "
	    "4MiB or 1GiB", text);
}

static int
set_number(void *owner, const struct setting *s, const char *text,
    struct err *err)
{
	int64_t n;
	char *bound;

	if (s->type == SETTING_SPAN ? clock_parse_span(text, &n, err) :
	    s->type == SETTING_SIZE ? parse_size(text, &n, err) : parse_integer(text, &n, err))
		return -1;
	if (n < s->least || n > s->most) {
		bound = format_number(s, n < s->least ? s->least : s->most);
		err_set(err, "'%.60s' is too %s; at %s %s", text,
		    n < s->least ? "small" : "large", n < s->least ? "least" : "most", bound);
		free(bound);
		return -1;
	}
	*AS(int64_t, owner, s) = n;
	return 0;
}

static int
set_choice(void *owner, const struct setting *s, const char *text,
    struct err *err)
{
	struct str all = STR_INIT;

	for (int i = 0; s->choices[i]; i++) {
		if (!strcmp(s->choices[i], text)) {
			*AS(int, owner, s) = i;
			str_done(&all);
			return 0;
		}
		str_printf(&all, "%s%s", i ? ", " : "", s->choices[i]);
	}
	err_set(err, "'%.60s' is none of: %s", text, str_text(&all));
	str_done(&all);
	return -1;
}

static int
set_switch(void *owner, const struct setting *s, const char *text, struct err *err)
{
	if (strcmp(text, "true") && strcmp(text, "false"))
		return err_set(err, "'%.60s' is neither true nor false", text);
	*AS(bool, owner, s) = *text == 't';
	return 0;
}

static int
check_text(const struct setting *s, const char *text, struct err *err)
{
	size_t len = strlen(text);

	if (len < (size_t)s->least)
		return err_set(err, "must not be empty");
	if (len > (size_t)s->most)
		return err_set(err, "is %zu bytes long; at most %" PRId64, len, s->most);
	if (!str_is_utf8(text, len))
		return err_set(err, "is not UTF-8");
	for (const char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return err_set(err, "holds a control character (byte %u)",
			    (unsigned char)*c);
	if (s->type == SETTING_PATH && *text && *text != '/')
		return err_set(err, "'%.60s' is not an absolute path", text);
	return 0;
}

static void
free_list(struct setting_list *list)
{
	for (char **p = list->at; p && *p; p++)
		free(*p);
	free(list->at);
	free(list->text);
}

static bool
is_word(const char *s, size_t len)
{
	if (len == 0 || (*s >= '0' && *s <= '9'))
		return false;
	while (len > 0 && (*s == '_' || *s == '-' || (*s >= '0' && *s <= '9') ||
	    (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z')))
		s++, len--;
	return len == 0;
}

/* "sql, shell" */
static int
set_list(void *owner, const struct setting *s, const char *text,
    struct err *err)
{
	VEC(char *) words = { 0 };
	struct str joined = STR_INIT;
	struct setting_list list;
	bool good = true;

	for (text += strspn(text, " "); good && *text; text += strspn(text, " ")) {
		size_t len = strcspn(text, ",");
		const char *next = text + len + (text[len] == ',');

		while (len > 0 && text[len - 1] == ' ')
			len--;
		if (!(good = is_word(text, len)))
			err_set(err, "'%.*s' is not a name; write the list as one,two",
			    (int)(len < 60 ? len : 60), text);
		str_printf(&joined, "%s%.*s", words.n ? "," : "", (int)len, text);
		vec_push(&words, xstrndup(text, len));
		text = next;
	}
	vec_push(&words, NULL);
	list = (struct setting_list){ str_take(&joined), words.at };
	if (!good) {
		free_list(&list);
		return -1;
	}
	free_list(AS(struct setting_list, owner, s));
	*AS(struct setting_list, owner, s) = list;
	return 0;
}

int
setting_read(const struct setting *s, void *owner, const char *text, struct err *err)
{
	switch (s->type) {
	case SETTING_TEXT:
	case SETTING_ADDRESS:
	case SETTING_PATH:
		if (check_text(s, text, err))
			return -1;
		free(*AS(char *, owner, s));
		*AS(char *, owner, s) = xstrdup(text);
		return 0;
	case SETTING_LIST:
		return check_text(s, text, err) ? -1 : set_list(owner, s, text, err);
	case SETTING_CHOICE:
		return set_choice(owner, s, text, err);
	case SETTING_SWITCH:
		return set_switch(owner, s, text, err);
	default:
		return set_number(owner, s, text, err);
	}
}

char *
setting_show(const struct setting *s, const void *owner)
{
	switch (s->type) {
	case SETTING_TEXT:
	case SETTING_PATH:
		return xstrdup(*AS(char *const, owner, s));
	case SETTING_ADDRESS:
		return url_hide(*AS(char *const, owner, s), NULL);
	case SETTING_LIST:
		return xstrdup(AS(const struct setting_list, owner, s)->text);
	case SETTING_CHOICE:
		return xstrdup(s->choices[*AS(const int, owner, s)]);
	case SETTING_SWITCH:
		return xstrdup(*AS(const bool, owner, s) ? "true" : "false");
	default:
		return format_number(s, *AS(const int64_t, owner, s));
	}
}

char *
setting_write(const struct setting *s, const void *owner)
{
	return s->type == SETTING_ADDRESS ? xstrdup(*AS(char *const, owner, s)) :
	    setting_show(s, owner);
}

void
setting_free(const struct setting *s, void *owner)
{
	switch (s->type) {
	case SETTING_TEXT:
	case SETTING_ADDRESS:
	case SETTING_PATH:
		free(*AS(char *, owner, s));
		break;
	case SETTING_LIST:
		free_list(AS(struct setting_list, owner, s));
		break;
	default:
		break;
	}
}

bool
setting_is_same(const struct setting *s, const void *owner, const void *other)
{
	switch (s->type) {
	case SETTING_TEXT:
	case SETTING_ADDRESS:
	case SETTING_PATH:
		return !strcmp(*AS(char *const, owner, s), *AS(char *const, other, s));
	case SETTING_LIST:
		return !strcmp(AS(const struct setting_list, owner, s)->text,
		    AS(const struct setting_list, other, s)->text);
	case SETTING_CHOICE:
		return *AS(const int, owner, s) == *AS(const int, other, s);
	case SETTING_SWITCH:
		return *AS(const bool, owner, s) == *AS(const bool, other, s);
	default:
		return *AS(const int64_t, owner, s) == *AS(const int64_t, other, s);
	}
}

#define SWAP(type) do { \
		type kept = *AS(type, owner, s); \
		*AS(type, owner, s) = *AS(type, other, s); \
		*AS(type, other, s) = kept; \
	} while (0)

void
setting_swap(const struct setting *s, void *owner, void *other)
{
	switch (s->type) {
	case SETTING_TEXT:
	case SETTING_ADDRESS:
	case SETTING_PATH:
		SWAP(char *);
		break;
	case SETTING_LIST:
		SWAP(struct setting_list);
		break;
	case SETTING_SWITCH:
		SWAP(bool);
		break;
	case SETTING_CHOICE:
		SWAP(int);
		break;
	default:
		SWAP(int64_t);
	}
}
