/* refusal.c - the words for what is wrong with a message. */
#include "celery/refusal.h"
#include <stdarg.h>
#include <stdio.h>
#include "base/str.h"

const char *
refusal_word(enum celery_reason reason)
{
#define REASON_WORD(name, word) [name] = word,
	static const char *const words[] = { CELERY_REASONS(REASON_WORD) };

	return words[reason];
}

int
refuse(struct refusal *r, enum celery_reason reason, const char *format, ...)
{
	char text[sizeof r->err.message];
	struct str visible = STR_INIT;
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	/* It may quote the message, which may hold anything. */
	str_visible(&visible, text);
	r->reason = reason;
	err_set(&r->err, "%s", str_text(&visible));
	str_done(&visible);
	return -1;
}
