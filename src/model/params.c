/* params.c - find the :names of an SQL text.
 *
 * The scanner knows PostgreSQL's lexical rules (chapter 4.1 of its manual,
 * with standard_conforming_strings on, as it has been since 9.1) and nothing
 * of its grammar.  It copies what it passes over to the new text and puts $n
 * in the place of each name. */
#include "model/params.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"

struct params {
	struct str text;
	VEC(char *) names;
	VEC(size_t) places;		/* offsets in the SQL */
	VEC(int) lines;			/* of the names, when parsed */
	VEC(int) columns;
};

struct scanner {
	struct params *params;
	const char *start, *s;
	const char *copied;		/* up to here it is in the new text */
	VEC(char) brackets;		/* that are open: '(' or '[' */
	struct err *err;
};

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* PostgreSQL takes any byte beyond ASCII for a letter. */
static bool
begins_identifier(char c)
{
	return is_letter(c) || (unsigned char)c >= 0x80;
}

static bool
is_space(char c)
{
	return c && strchr(" \t\n\r\f\v", c);
}

static void
place_of(const char *start, const char *at, int *line, int *column)
{
	*line = *column = 1;
	for (; start < at; start++)
		if (*start == '\n') {
			++*line;
			*column = 1;
		} else if ((*start & 0xc0) != 0x80)
			++*column;
}

static int
fail(struct scanner *sc, const char *at, const char *message)
{
	int line, column;

	place_of(sc->start, at, &line, &column);
	return err_at(sc->err, line, column, "%s", message);
}

/* --- what is passed over --- */

/* After the closing quote of an E'' string: another part of it may follow on
 * a later line, with nothing but blanks and -- comments between. */
static const char *
continuation(const char *s)
{
	bool newline = false;

	for (;;) {
		if (is_space(*s))
			newline |= *s == '\n' || *s == '\r', s++;
		else if (s[0] == '-' && s[1] == '-')
			s += strcspn(s, "\r\n");
		else
			return newline && *s == '\'' ? s : NULL;
	}
}

/* At the opening QUOTE; a doubled one inside is one of the text. */
static int
skip_quoted(struct scanner *sc, char quote, bool escapes)
{
	const char *open = sc->s, *more;

	for (sc->s++; *sc->s; sc->s++) {
		if (escapes && *sc->s == '\\' && sc->s[1]) {
			sc->s++;
		} else if (*sc->s == quote && sc->s[1] == quote) {
			sc->s++;
		} else if (*sc->s == quote) {
			sc->s++;
			if (!escapes || !(more = continuation(sc->s)))
				return 0;
			sc->s = more;
		}
	}
	return fail(sc, open, quote == '"' ?
	    "the quoted identifier that begins here does not end" :
	    "the string that begins here does not end");
}

static int
skip_comment(struct scanner *sc)
{
	const char *open = sc->s;
	int depth = 0;

	if (*sc->s == '-') {
		sc->s += strcspn(sc->s, "\r\n");
		return 0;
	}
	while (*sc->s) {
		if (sc->s[0] == '/' && sc->s[1] == '*') {
			depth++;
			sc->s += 2;
		} else if (sc->s[0] == '*' && sc->s[1] == '/') {
			sc->s += 2;
			if (--depth == 0)
				return 0;
		} else
			sc->s++;
	}
	return fail(sc, open, "the comment that begins here does not end");
}

/* At a '$' that is no part of an identifier. */
static int
skip_dollar(struct scanner *sc)
{
	const char *open = sc->s, *tag_end = open + 1, *close;
	char *tag;

	if (is_digit(*tag_end))
		return fail(sc, open, "$1, $2 ... are made by tocsin; "
		    "write a parameter as :name");
	if (begins_identifier(*tag_end))
		while (begins_identifier(*tag_end) || is_digit(*tag_end))
			tag_end++;
	if (*tag_end != '$') {
		sc->s++;
		return 0;
	}
	tag = xstrndup(open, (size_t)(tag_end + 1 - open));
	close = strstr(tag_end + 1, tag);
	if (close)
		sc->s = close + strlen(tag);
	free(tag);
	return close ? 0 : fail(sc, open, "the $-quoted string that begins here does not end");
}

static int
skip_identifier(struct scanner *sc)
{
	const char *start = sc->s;

	while (begins_identifier(*sc->s) || is_digit(*sc->s) || *sc->s == '$')
		sc->s++;
	if (*sc->s == '\'' && sc->s - start == 1 && (*start == 'e' || *start == 'E'))
		return skip_quoted(sc, '\'', true);
	return 0;
}

static int
skip_bracket(struct scanner *sc)
{
	switch (*sc->s) {
	case '(': case '[':
		vec_push(&sc->brackets, *sc->s);
		break;
	default:
		if (sc->brackets.n > 0)
			sc->brackets.n--;
	}
	sc->s++;
	return 0;
}

/* --- parameters --- */

static int
number_of(struct scanner *sc, const char *name, size_t len)
{
	struct params *p = sc->params;

	for (size_t i = 0; i < p->names.n; i++)
		if (strlen(p->names.at[i]) == len && !memcmp(p->names.at[i], name, len))
			return (int)i + 1;
	if (p->names.n == PARAMS_MAX)
		return fail(sc, name - 1, "more than 1000 parameters");
	vec_push(&p->names, xstrndup(name, len));
	vec_push(&p->places, (size_t)(name - 1 - sc->start));
	return (int)p->names.n;
}

static int
take_parameter(struct scanner *sc)
{
	const char *colon = sc->s, *name = colon + 1, *end = name;
	int n;

	while (is_letter(*end) || is_digit(*end))
		end++;
	if (*end == '$' || (unsigned char)*end >= 0x80)
		return fail(sc, colon, "the name of a parameter is made of "
		    "the letters a to z, digits and _");
	if (end - name > PARAMS_MAX_NAME)
		return fail(sc, colon, "the name of a parameter is longer than 63 bytes");
	if ((n = number_of(sc, name, (size_t)(end - name))) < 0)
		return -1;
	str_add(&sc->params->text, sc->copied, (size_t)(colon - sc->copied));
	/* "then:n" would become the identifier then$1. */
	if (colon > sc->start && (begins_identifier(colon[-1]) || is_digit(colon[-1]) ||
	    colon[-1] == '$'))
		str_putc(&sc->params->text, ' ');
	str_printf(&sc->params->text, "$%d", n);
	sc->s = sc->copied = end;
	return 0;
}

static bool
is_slice(const struct scanner *sc)
{
	char left = sc->s > sc->start ? sc->s[-1] : ' ';

	return sc->brackets.n > 0 && sc->brackets.at[sc->brackets.n - 1] == '[' &&
	    (begins_identifier(left) || is_digit(left) || strchr("$)]'\"", left));
}

static int
take_colon(struct scanner *sc)
{
	if (sc->s[1] == ':' || sc->s[1] == '=') {
		sc->s += 2;
		return 0;
	}
	if (!begins_identifier(sc->s[1]) || is_slice(sc)) {
		sc->s++;
		return 0;
	}
	return take_parameter(sc);
}

static int
take_one(struct scanner *sc)
{
	const char *s = sc->s;

	switch (*s) {
	case ':':
		return take_colon(sc);
	case '\'': case '"':
		return skip_quoted(sc, *s, false);
	case '$':
		return skip_dollar(sc);
	case '(': case '[': case ')': case ']':
		return skip_bracket(sc);
	}
	if ((s[0] == '-' && s[1] == '-') || (s[0] == '/' && s[1] == '*'))
		return skip_comment(sc);
	if (begins_identifier(*s))
		return skip_identifier(sc);
	sc->s++;
	return 0;
}

struct params *
params_parse(const char *sql, struct err *err)
{
	struct params *p = xcalloc(1, sizeof *p);
	struct scanner sc = { .params = p, .start = sql, .s = sql, .copied = sql, .err = err };
	int line, column, rc = 0;

	while (rc == 0 && *sc.s)
		rc = take_one(&sc);
	vec_done(&sc.brackets);
	if (rc) {
		params_free(p);
		return NULL;
	}
	str_add(&p->text, sc.copied, (size_t)(sc.s - sc.copied));
	for (size_t i = 0; i < p->names.n; i++) {
		place_of(sql, sql + p->places.at[i], &line, &column);
		vec_push(&p->lines, line);
		vec_push(&p->columns, column);
	}
	return p;
}

void
params_free(struct params *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->names.n; i++)
		free(p->names.at[i]);
	vec_done(&p->names);
	vec_done(&p->places);
	vec_done(&p->lines);
	vec_done(&p->columns);
	str_done(&p->text);
	free(p);
}

const char *
params_text(const struct params *p)
{
	return str_text(&p->text);
}

const char *const *
params_names(const struct params *p, size_t *n)
{
	*n = p->names.n;
	return (const char *const *)p->names.at;
}

void
params_place(const struct params *p, size_t i, int *line, int *column)
{
	*line = p->lines.at[i];
	*column = p->columns.at[i];
}
