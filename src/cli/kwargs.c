/* kwargs.c - what is given to a task on the command line. */
#include "cli/kwargs.h"
#include <string.h>
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "celery/raw.h"
#include "celery/refusal.h"

/* Has one of the N words before this one the same name? */
static bool
is_there(const char *const *words, size_t n, const char *name, size_t len)
{
	for (size_t i = 0; i < n; i++)
		if (!strncmp(words[i], name, len) && words[i][len] == '=')
			return true;
	return false;
}

int
kwargs_read(const char *const *words, size_t n, struct str *out, struct err *err)
{
	struct refusal refusal;
	struct raw value;

	str_putc(out, '{');
	for (size_t i = 0; i < n; i++) {
		const char *equals = strchr(words[i], '=');
		size_t len = equals ? (size_t)(equals - words[i]) : 0;

		if (!len)
			return err_class(err, ERR_USAGE, "'%.200s' should be ARG=JSON", words[i]);
		if (is_there(words, i, words[i], len))
			return err_class(err, ERR_USAGE, "%.*s is given twice",
			    (int)(len < 200 ? len : 200), words[i]);
		if (raw_check(equals + 1, strlen(equals + 1), &value, &refusal))
			return err_class(err, ERR_USAGE, "%.*s: %s (a text needs quotes: "
			    "%.*s='\"text\"')", (int)(len < 200 ? len : 200), words[i],
			    refusal.err.message, (int)(len < 200 ? len : 200), words[i]);
		str_puts(out, i ? ", " : "");
		json_append_text(out, words[i], len);
		str_puts(out, ": ");
		str_add(out, value.text, value.len);
	}
	str_putc(out, '}');
	return 0;
}

int
kwargs_read_array(const char *text, const char *what, struct str *out, struct err *err)
{
	struct refusal refusal;
	struct raw value;

	if (raw_check(text, strlen(text), &value, &refusal))
		return err_class(err, ERR_USAGE, "%s: %s", what, refusal.err.message);
	if (raw_kind(value) != '[')
		return err_class(err, ERR_USAGE, "%s is an array of JSON, such as '[1, \"two\"]'",
		    what);
	str_add(out, value.text, value.len);
	return 0;
}
