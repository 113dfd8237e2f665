/* print.c - JSON of the books as text for people. */
#include "cli/print.h"
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

/* A ring, so that several texts can stand in one call. */
static const char *
lend(char *text)
{
	static char *ring[8];
	static size_t next;

	free(ring[next % 8]);
	return ring[next++ % 8] = text;
}

const char *
member_text(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	if (!v || json_is_null(v))
		return "";
	return json_is_string(v) ? json_string_value(v) : lend(json_canonical(v));
}

int64_t
member_number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

bool
member_true(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

bool
member_null(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	return !v || json_is_null(v);
}

const char *
member_time(const json_t *o, const char *key)
{
	const char *text = member_text(o, key);
	char *out;
	instant t;
	struct err ignored;

	if (!*text)
		return "-";
	if (clock_parse(text, &t, &ignored))
		return text;
	if (!clock_isfinite(t))
		return t == INSTANT_NEVER ? "infinity" : "-infinity";
	out = xcalloc(1, INSTANT_TEXT);
	clock_format(t - (t % SECOND + SECOND) % SECOND, out);
	out[10] = ' ';
	return lend(out);
}

const char *
member_age(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);
	double seconds = json_number_value(v);
	char *out;
	span t;

	if (!v || json_is_null(v))
		return "-";
	out = xcalloc(1, INSTANT_TEXT);
	/* Two units are enough: 3d4h, 1h20m, 20s, 120ms. */
	t = (span)(seconds * (double)SECOND);
	if (t < 0)
		t = 0;
	t -= t % (t >= DAY ? HOUR : t >= HOUR ? MINUTE : t >= MINUTE ? SECOND : SECOND / 1000);
	clock_format_span(t, out);
	return lend(out);
}

void
cut_text(char *text, size_t most)
{
	size_t cut = most - 3;

	if (strlen(text) <= most)
		return;
	while (cut && ((unsigned char)text[cut] & 0xc0) == 0x80)
		cut--;
	strcpy(text + cut, "...");
}

const char *
shown_text(char *text)
{
	struct str s = STR_INIT;

	str_visible(&s, text);
	free(text);
	return lend(str_take(&s));
}

const char *
member_shown(const json_t *o, const char *key)
{
	return shown_text(xstrdup(member_text(o, key)));
}

const char *
member_value(const json_t *o, const char *key, size_t most)
{
	const json_t *v = json_object_get(o, key);
	char *text;

	if (!v)
		return "-";
	text = json_canonical(v);
	cut_text(text, most);
	return shown_text(text);
}

enum term_style
state_style(const char *state)
{
	static const struct {
		const char *state;
		enum term_style style;
	} styles[] = {
		{ "DONE", TERM_GREEN }, { "done", TERM_GREEN },
		{ "DONE_WITH_ERRORS", TERM_RED }, { "ERRORED", TERM_RED },
		{ "failed", TERM_RED }, { "raising", TERM_RED }, { "raise", TERM_RED },
		{ "skipped", TERM_YELLOW }, { "STARTED", TERM_YELLOW },
		{ "CREATED", TERM_YELLOW }, { "running", TERM_YELLOW },
		{ "pending", TERM_YELLOW },
	};

	for (size_t i = 0; i < sizeof styles / sizeof styles[0]; i++)
		if (!strcmp(styles[i].state, state))
			return styles[i].style;
	return TERM_PLAIN;
}

void
print_json_line(const json_t *value)
{
	char *text = json_canonical(value);

	puts(text);
	free(text);
}
