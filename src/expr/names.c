/* names.c - keywords, and what a variable or an evidence may be called. */
#include "expr/names.h"
#include <string.h>
#include "base/err.h"
#include "expr/expr.h"
#include "expr/func.h"
#include "expr/lex.h"

static const struct {
	const char *text;
	int kind;
} keywords[] = {
	{ "and", TOKEN_AND }, { "or", TOKEN_OR }, { "not", TOKEN_NOT },
	{ "in", TOKEN_IN }, { "is", TOKEN_IS }, { "if", TOKEN_IF },
	{ "else", TOKEN_ELSE }, { "True", TOKEN_TRUE }, { "False", TOKEN_FALSE },
	{ "None", TOKEN_NONE },
	{ "as", TOKEN_KEYWORD }, { "assert", TOKEN_KEYWORD }, { "async", TOKEN_KEYWORD },
	{ "await", TOKEN_KEYWORD }, { "break", TOKEN_KEYWORD }, { "class", TOKEN_KEYWORD },
	{ "continue", TOKEN_KEYWORD }, { "def", TOKEN_KEYWORD }, { "del", TOKEN_KEYWORD },
	{ "elif", TOKEN_KEYWORD }, { "except", TOKEN_KEYWORD }, { "finally", TOKEN_KEYWORD },
	{ "for", TOKEN_KEYWORD }, { "from", TOKEN_KEYWORD }, { "global", TOKEN_KEYWORD },
	{ "import", TOKEN_KEYWORD }, { "lambda", TOKEN_KEYWORD },
	{ "nonlocal", TOKEN_KEYWORD }, { "pass", TOKEN_KEYWORD }, { "raise", TOKEN_KEYWORD },
	{ "return", TOKEN_KEYWORD }, { "try", TOKEN_KEYWORD }, { "while", TOKEN_KEYWORD },
	{ "with", TOKEN_KEYWORD }, { "yield", TOKEN_KEYWORD },
};

int
names_keyword(const char *text, size_t n)
{
	for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++)
		if (*keywords[i].text == *text && strlen(keywords[i].text) == n &&
		    !memcmp(keywords[i].text, text, n))
			return keywords[i].kind;
	return TOKEN_NAME;
}

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
#define LONGEST_NAME 63

int
expr_check_name(const char *name, struct err *err)
{
	size_t n = strlen(name);

	if (!n)
		return err_set(err, "a name is missing");
	if (!strchr(LETTERS, *name) || strspn(name, LETTERS "0123456789") != n)
		return err_set(err, "'%.80s' is not a name: ASCII letters, digits and '_', "
		    "not beginning with a digit", name);
	if (n > LONGEST_NAME)
		return err_set(err, "'%.80s...' is longer than %d characters", name,
		    LONGEST_NAME);
	if (names_keyword(name, n) != TOKEN_NAME)
		return err_set(err, "'%s' is a keyword of the expression language", name);
	if (func_find(name, n))
		return err_set(err, "'%s' is a function of the expression language", name);
	if (!strcmp(name, "now"))
		return err_set(err, "'now' is the time of the cycle in the expression language");
	return 0;
}
