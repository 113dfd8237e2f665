/* child_failure.c - the end of a command, told as what went wrong. */
#include <string.h>
#include "base/str.h"
#include "io/child.h"

static char *
limit_text(bool hard, span length)
{
	struct str s = STR_INIT;
	char buf[INSTANT_TEXT];

	str_printf(&s, "%s time limit (%s) exceeded", hard ? "hard" : "soft",
	    clock_format_span(length, buf));
	return str_take(&s);
}

/* "what: the end of standard error" */
static char *
with_errors(const char *what, int number, const struct child_end *end)
{
	struct str s = STR_INIT;
	const char *text = end->errors;
	size_t len = end->errors_len, most;

	while (len && strchr(" \t\r\n", text[len - 1]))
		len--;
	str_printf(&s, "%s %d%s", what, number, len ? ": " : "");
	most = CHILD_MAX_TEXT - s.len;
	if (len > most) {
		text += len - most;
		len = most;
	}
	while (len && ((unsigned char)*text & 0xc0) == 0x80)
		text++, len--;		/* the end of half a character */
	for (; len; text++, len--)
		if (*text)
			str_putc(&s, *text);
	return str_take(&s);
}

char *
child_failure(const struct child_end *end)
{
	const struct child_settings *settings = end->settings;
	struct str s = STR_INIT;

	if (end->too_large) {
		str_printf(&s, "output larger than %zu bytes", settings->max_output);
		return str_take(&s);
	}
	if (end->errors_too_large) {
		str_printf(&s, "output larger than %zu bytes (on standard error)",
		    CHILD_MAX_ERRORS);
		return str_take(&s);
	}
	if (end->unread || end->errors_unread) {
		str_printf(&s, "the output cannot be read%s: %s",
		    end->unread ? "" : " (on standard error)",
		    strerror(end->unread ? end->unread : end->errors_unread));
		return str_take(&s);
	}
	if (end->hard_limit || end->soft_limit)
		return limit_text(end->hard_limit,
		    end->hard_limit ? settings->hard : settings->soft);
	if (end->signum)
		return with_errors("signal", end->signum, end);
	if (end->status)
		return with_errors("exit status", end->status, end);
	return NULL;
}
