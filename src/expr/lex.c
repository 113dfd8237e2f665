/* lex.c - words, numbers, strings and signs.
 *
 * Space, newlines and comments stand anywhere between tokens: definitions are
 * often TOML's multi-line strings.  What Python has and we have not is refused
 * here by name where a single token gives it away. */
#include "expr/lex.h"
#include <stdbool.h>
#include <string.h>
#include "base/arena.h"
#include "base/err.h"
#include "expr/names.h"
#include "expr/number.h"
#include "expr/string.h"

void
lex_init(struct lexer *l, const char *text, size_t n, struct arena *arena, struct err *err)
{
	*l = (struct lexer){ text, text + n, 1, 1, arena, err };
}

static char
peek(const struct lexer *l, size_t i)
{
	return (size_t)(l->end - l->at) > i ? l->at[i] : '\0';
}

/* Columns count characters, not bytes. */
static void
advance(struct lexer *l, size_t n)
{
	for (; n && l->at < l->end; n--, l->at++) {
		if (*l->at == '\n') {
			l->line++;
			l->column = 1;
		} else if (((unsigned char)*l->at & 0xc0) != 0x80)
			l->column++;
	}
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static void
skip_space(struct lexer *l)
{
	for (;;) {
		char c = peek(l, 0);

		if (c == '#')
			while (l->at < l->end && *l->at != '\n')
				advance(l, 1);
		else if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f')
			advance(l, 1);
		else if (c == '\\' && peek(l, 1) == '\n')
			advance(l, 2);
		else
			return;
	}
}

static int
refuse(struct lexer *l, const struct token *t, const char *what)
{
	return err_at(l->err, t->line, t->column,
	    "%s not part of the expression language", what);
}

static int
lex_radix(struct lexer *l, struct token *t, int base)
{
	size_t n = 2;

	while (is_letter(peek(l, n)) || is_digit(peek(l, n)))
		n++;
	/* 0x_ff is fine, too */
	if (number_read_int(l->at + 2 + (peek(l, 2) == '_'), n - 2 - (peek(l, 2) == '_'),
	    base, &t->integer) || t->integer > (uint64_t)1 << 63)
		return err_at(l->err, t->line, t->column,
		    "'%.*s' is not an integer of 64 bits", (int)(n > 80 ? 80 : n), l->at);
	t->kind = TOKEN_INT;
	t->n = n;
	advance(l, n);
	return 0;
}

static size_t
digits_at(const struct lexer *l, size_t i)
{
	size_t n = 0;

	while (is_digit(peek(l, i + n)) || peek(l, i + n) == '_')
		n++;
	return n;
}

/* Where the number ends; *REAL if it is one with a point or an exponent. */
static size_t
number_end(const struct lexer *l, bool *real)
{
	size_t n = digits_at(l, 0), sign;

	*real = false;
	if (peek(l, n) == '.') {
		*real = true;
		n += 1 + digits_at(l, n + 1);
	}
	if (peek(l, n) == 'e' || peek(l, n) == 'E') {
		sign = peek(l, n + 1) == '+' || peek(l, n + 1) == '-';
		if (is_digit(peek(l, n + 1 + sign))) {
			*real = true;
			n += 1 + sign + digits_at(l, n + 1 + sign);
		}
	}
	return n;
}

static int
lex_number(struct lexer *l, struct token *t)
{
	char base = peek(l, 0) == '0' ? peek(l, 1) | 0x20 : 0;
	int shown;
	size_t n;
	bool real;

	if (base == 'x' || base == 'o' || base == 'b')
		return lex_radix(l, t, base == 'x' ? 16 : base == 'o' ? 8 : 2);
	n = number_end(l, &real);
	shown = (int)(n > 80 ? 80 : n);
	if ((peek(l, n) == 'j' || peek(l, n) == 'J') && !is_letter(peek(l, n + 1)))
		return refuse(l, t, "a complex number is");
	if (is_letter(peek(l, n)) || (unsigned char)peek(l, n) >= 0x80)
		return err_at(l->err, t->line, t->column,
		    "'%.*s' runs into the word after it", shown, l->at);
	if (real && number_read_float(l->at, n, &t->real))
		return err_at(l->err, t->line, t->column,
		    "'%.*s' is not a float, or beyond the range of one", shown, l->at);
	if (!real && (number_read_int(l->at, n, 10, &t->integer) ||
	    t->integer > (uint64_t)1 << 63))
		return err_at(l->err, t->line, t->column,
		    "'%.*s' is not an integer of 64 bits", shown, l->at);
	if (!real && *l->at == '0' && t->integer)
		return err_at(l->err, t->line, t->column,
		    "a number does not begin with 0; use 0o for an octal one");
	t->kind = real ? TOKEN_FLOAT : TOKEN_INT;
	t->n = n;
	advance(l, n);
	return 0;
}

/* A quoted string, PREFIX letters (r, u, or what we refuse) before it. */
static int
lex_string(struct lexer *l, struct token *t, size_t prefix)
{
	char quote = peek(l, prefix), letter = prefix ? *l->at | 0x20 : 0;
	size_t open, n;
	bool raw;

	if (prefix > 1 || letter == 'b')
		return refuse(l, t, prefix > 1 ? "such a string is" : "bytes are");
	if (letter == 'f')
		return refuse(l, t, "an f-string is");
	raw = letter == 'r';
	open = peek(l, prefix + 1) == quote && peek(l, prefix + 2) == quote ? 3 : 1;
	advance(l, prefix + open);
	for (n = 0; l->at + n < l->end; n++) {
		if (l->at[n] == '\\')
			n++;
		else if (open == 1 && l->at[n] == '\n')
			break;
		else if (l->at[n] == quote &&
		    (open == 1 || (peek(l, n + 1) == quote && peek(l, n + 2) == quote)))
			goto closed;
	}
	return err_at(l->err, t->line, t->column, "this string is not closed");
closed:
	t->kind = TOKEN_STR;
	if (string_read(l->arena, l->at, n, raw, t, l->err))
		return -1;
	advance(l, n + open);
	return 0;
}

static int
lex_word(struct lexer *l, struct token *t)
{
	size_t n = 0;

	while (is_letter(peek(l, n)) || is_digit(peek(l, n)))
		n++;
	if (n <= 2 && strchr("'\"", peek(l, n)) && peek(l, n) &&
	    strspn(l->at, "rRuUbBfF") >= n)
		return lex_string(l, t, n);
	t->kind = names_keyword(l->at, n);
	t->n = n;
	advance(l, n);
	return 0;
}

static int
lex_sign(struct lexer *l, struct token *t)
{
	static const struct {
		const char *text;
		int kind;		/* 0: refused */
		const char *instead;
	} signs[] = {
		{ "...", 0, "'...' is" }, { "**", TOKEN_POW }, { "//", TOKEN_FLOORDIV },
		{ "==", TOKEN_EQ }, { "!=", TOKEN_NE }, { "<=", TOKEN_LE },
		{ ">=", TOKEN_GE }, { ":=", 0, "an assignment (':=') is" },
		{ "<<", 0, "'<<' is" }, { ">>", 0, "'>>' is" }, { "<>", 0, "'<>' (use '!=') is" },
		{ "&&", 0, "'&&' (use 'and') is" }, { "||", 0, "'||' (use 'or') is" },
		{ "&", 0, "'&' is" }, { "|", 0, "'|' is" }, { "^", 0, "'^' is" },
		{ "~", 0, "'~' is" }, { "@", 0, "'@' is" }, { "!", 0, "'!' (use 'not') is" },
		{ "->", 0, "'->' is" }, { ";", 0, "';' is" }, { "`", 0, "'`' is" },
		{ "?", 0, "'?' is" }, { "$", 0, "'$' is" },
	};
	size_t left = (size_t)(l->end - l->at);

	for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++) {
		size_t n = strlen(signs[i].text);

		if (n > left || memcmp(l->at, signs[i].text, n))
			continue;
		if (!signs[i].kind)
			return refuse(l, t, signs[i].instead);
		t->kind = signs[i].kind;
		t->n = n;
		advance(l, n);
		return 0;
	}
	if (!*l->at || !strchr("+-*/%<>=()[]{},:.", *l->at))
		return err_at(l->err, t->line, t->column, (unsigned char)*l->at < ' ' ||
		    *l->at == '\x7f' ? "an unexpected control character" :
		    (unsigned char)*l->at >= 0x80 ?
		    "names are of ASCII letters, digits and '_'; other characters "
		    "stand in strings only" : "an unexpected character");
	t->kind = *l->at;
	t->n = 1;
	advance(l, 1);
	return 0;
}

int
lex_next(struct lexer *l, struct token *t)
{
	char c;

	skip_space(l);
	*t = (struct token){ .line = l->line, .column = l->column, .text = l->at };
	if (l->at == l->end) {
		t->kind = TOKEN_END;
		return 0;
	}
	c = *l->at;
	if (is_digit(c) || (c == '.' && is_digit(peek(l, 1))))
		return lex_number(l, t);
	if (is_letter(c))
		return lex_word(l, t);
	if (c == '\'' || c == '"')
		return lex_string(l, t, 0);
	return lex_sign(l, t);
}
