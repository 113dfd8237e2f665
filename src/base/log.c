/* log.c - what happened, for whoever has to find out why.
 *
 * A record is put together in memory and written at once, by base/sink.c.  Each value passes
 * first through the redactor and then through the escaper: in the other order a
 * secret with a quote in it would no longer be recognised, and one that is cut in
 * the middle would show its first half. */
#include "base/log.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/sink.h"
#include "base/str.h"
#include "base/vec.h"

const char *const log_level_names[] = { "error", "warn", "info", "debug", NULL };
const char *const log_format_names[] = { "auto", "logfmt", "json", NULL };

static enum { FORM_UNKNOWN, FORM_HUMAN, FORM_LOGFMT, FORM_JSON } form;
static enum log_level most = LEVEL_INFO;
static struct sink sink = SINK_INIT(STDERR_FILENO);

/* --- secrets --- */

struct secret {
	char *text;
	size_t len;
};
static VEC(struct secret) secrets;	/* the longest first */

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 :
	    c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that "%40" at S stands for, or -1. */
static int
percent_byte(const char *s)
{
	int high, low;

	if (s[0] != '%' || (high = hex_digit(s[1])) < 0 || (low = hex_digit(s[2])) < 0)
		return -1;
	return high << 4 | low;
}

/* How many bytes of TEXT are the secret S, in whatever disguise; 0: none. */
static size_t
match(const char *text, const struct secret *s)
{
	const char *t = text;

	if (!strncmp(text, s->text, s->len))
		return s->len;
	for (size_t i = 0; i < s->len; i++) {
		unsigned char c = (unsigned char)s->text[i];

		if (percent_byte(t) == c)
			t += 3;
		else if (*t == '\\' && (unsigned char)t[1] == c)
			t += 2;
		else if ((unsigned char)*t == c || (c == ' ' && *t == '+'))
			t++;
		else
			return 0;
	}
	return (size_t)(t - text);
}

static void
keep_secret(const char *text)
{
	struct secret s = { NULL, strlen(text) };
	size_t i;

	if (s.len < 4)
		return;
	for (i = 0; i < secrets.n && secrets.at[i].len >= s.len; i++)
		if (!strcmp(secrets.at[i].text, text))
			return;
	s.text = xstrdup(text);
	vec_push(&secrets, s);
	memmove(secrets.at + i + 1, secrets.at + i, (secrets.n - 1 - i) * sizeof s);
	secrets.at[i] = s;
}

void
log_secret(const char *value)
{
	struct str plain = STR_INIT;

	if (!value)
		return;
	keep_secret(value);
	for (const char *s = value; *s; s++) {
		int c = percent_byte(s);

		str_putc(&plain, c > 0 ? (char)c : *s);
		if (c > 0)
			s += 2;
	}
	keep_secret(str_text(&plain));
	str_done(&plain);
}

char *
log_redact(const char *text)
{
	struct str out = STR_INIT;

	while (*text) {
		size_t n = 0;

		for (size_t i = 0; i < secrets.n && n == 0; i++)
			n = match(text, &secrets.at[i]);
		if (n > 0)
			str_puts(&out, "***");
		else
			str_putc(&out, *text);
		text += n > 0 ? n : 1;
	}
	return str_take(&out);
}

/* --- a record --- */

struct record {
	struct str line;
	bool cut;
};

/* What "..." and the mark of a record that was cut need, and the newline. */
#define TAIL 32

static bool
has_room(struct record *r, size_t more)
{
	if (r->line.len + more + TAIL > LOG_LINE)
		r->cut = true;
	return !r->cut;
}

/* Add TEXT, escaped for the inside of quotes. */
static void
add_escaped(struct record *r, const char *text)
{
	struct str piece = STR_INIT;

	for (size_t n, len = strlen(text); len > 0; text += n, len -= n) {
		char one[5] = "";

		n = str_char(text, len);
		n = n ? n : 1;
		memcpy(one, text, n);
		str_clear(&piece);
		if (*text == '"' || *text == '\\')
			str_putc(&piece, '\\');
		str_visible(&piece, one);
		if (!has_room(r, piece.len + 1)) {
			str_puts(&r->line, "...");
			break;
		}
		/* JSON knows no \xNN: there the backslash is a character. */
		if (form == FORM_JSON && !strncmp(str_text(&piece), "\\x", 2))
			str_putc(&r->line, '\\');
		str_add(&r->line, piece.text, piece.len);
	}
	str_done(&piece);
}

static bool
wants_quotes(const char *text)
{
	if (*text == '\0')
		return true;
	for (; *text; text++)
		if ((unsigned char)*text <= ' ' || (unsigned char)*text >= 0x7f ||
		    strchr("\"=\\", *text))
			return true;
	return false;
}

static void
add_value(struct record *r, const char *text)
{
	char *clean = log_redact(text);
	bool quotes = form == FORM_JSON || wants_quotes(clean);

	if (quotes)
		str_putc(&r->line, '"');
	add_escaped(r, clean);
	if (quotes)
		str_putc(&r->line, '"');
	free(clean);
}

static void
add_pair(struct record *r, const char *key, const char *value)
{
	if (!has_room(r, strlen(key) + 8))
		return;
	if (form == FORM_JSON)
		str_printf(&r->line, "%s\"%s\":", r->line.len > 1 ? "," : "", key);
	else
		str_printf(&r->line, "%s%s=", r->line.len > 0 ? " " : "", key);
	add_value(r, value);
}

/* "2026-05-01T09:00:00.123Z" */
static void
format_time(char *buf, size_t size)
{
	struct civil c;

	clock_civil(clock_now(), &c);
	snprintf(buf, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", c.year, c.month,
	    c.day, c.hour, c.minute, c.second, c.micro / 1000);
}

static void
begin_record(struct record *r, enum log_level level, const char *message)
{
	char now[64];

	format_time(now, sizeof now);
	if (form == FORM_HUMAN) {
		char *clean = log_redact(message);

		str_printf(&r->line, "%.8s %-5s ", now + 11, log_level_names[level]);
		add_escaped(r, clean);
		free(clean);
		return;
	}
	if (form == FORM_JSON)
		str_putc(&r->line, '{');
	add_pair(r, "time", now);
	add_pair(r, "level", log_level_names[level]);
	add_pair(r, "pid", log_number(getpid()));
	add_pair(r, "msg", message);
}

static void
end_record(struct record *r)
{
	if (r->cut)
		str_puts(&r->line, form == FORM_JSON ? ",\"cut\":\"true\"" : " cut=true");
	str_puts(&r->line, form == FORM_JSON ? "}\n" : "\n");
}

/* What a reader who had stopped reading has missed is told when he goes on. */
static void
say_lost(void)
{
	struct record r = { STR_INIT, false };
	size_t lost = sink.lost;

	begin_record(&r, LEVEL_WARN, "lines of the log were lost");
	add_pair(&r, "lines", log_number((int64_t)lost));
	end_record(&r);
	sink.lost = 0;
	if (!sink_write(&sink, r.line.text, r.line.len))
		sink.lost = lost;
	str_done(&r.line);
}

/* --- what others call --- */

void
log_setup(enum log_level level, enum log_format format, int fd)
{
	most = level;
	sink_use(&sink, fd);
	form = format == LOG_JSON ? FORM_JSON : format == LOG_LOGFMT ? FORM_LOGFMT :
	    isatty(fd) ? FORM_HUMAN : FORM_LOGFMT;
}

bool
log_wants(enum log_level level)
{
	return level <= most;
}

void
log_write(enum log_level level, const char *const *texts)
{
	struct record r = { STR_INIT, false };
	int saved = errno;

	if (!log_wants(level))
		return;
	if (form == FORM_UNKNOWN)
		log_setup(most, LOG_AUTO, sink.fd);
	begin_record(&r, level, texts[0]);
	for (texts++; *texts; texts += 2)
		if (texts[1])
			add_pair(&r, texts[0], texts[1]);
	end_record(&r);
	if (sink.lost)
		say_lost();
	sink_write(&sink, r.line.text, r.line.len);
	str_done(&r.line);
	errno = saved;
}

const char *
log_format_number(char buf[24], int64_t n)
{
	snprintf(buf, 24, "%" PRId64, n);
	return buf;
}
