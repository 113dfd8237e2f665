/* term.c - colours, and tables in columns. */
#include "base/term.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "base/str.h"
#include "base/vec.h"

static const char *const codes[] = {
	[TERM_PLAIN] = "", [TERM_BOLD] = "\033[1m", [TERM_DIM] = "\033[2m",
	[TERM_RED] = "\033[31m", [TERM_GREEN] = "\033[32m", [TERM_YELLOW] = "\033[33m",
};

bool
term_is_terminal(FILE *f)
{
	return isatty(fileno(f));
}

bool
term_has_colour(FILE *f)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return term_is_terminal(f) && !(no && *no) && !(term && !strcmp(term, "dumb"));
}

int
term_width(FILE *f)
{
	struct winsize size;

	if (!term_is_terminal(f))
		return 0;
	if (ioctl(fileno(f), TIOCGWINSZ, &size) || size.ws_col == 0)
		return 80;
	return size.ws_col;
}

static void
put_styled(FILE *f, bool colour, enum term_style style, const char *text)
{
	if (!colour || style == TERM_PLAIN || *text == '\0')
		fputs(text, f);
	else
		fprintf(f, "%s%s\033[0m", codes[style], text);
}

void
term_put(FILE *f, enum term_style style, const char *text)
{
	struct str s = STR_INIT;

	str_visible(&s, text);
	put_styled(f, term_has_colour(f), style, str_text(&s));
	str_done(&s);
}

/* --- tables --- */

struct cell {
	char *text;		/* visible already */
	size_t width;
	enum term_style style;
};

struct table {
	VEC(struct cell) cells;		/* the heads are the first row */
	size_t columns;
	bool *right;
};

struct table *
table_new(const char *const *heads)
{
	struct table *t = xcalloc(1, sizeof *t);

	for (; heads[t->columns]; t->columns++)
		table_cell(t, TERM_BOLD, heads[t->columns]);
	t->right = xcalloc(t->columns, sizeof *t->right);
	return t;
}

void
table_free(struct table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->cells.n; i++)
		free(t->cells.at[i].text);
	vec_done(&t->cells);
	free(t->right);
	free(t);
}

void
table_right(struct table *t, size_t column)
{
	t->right[column] = true;
}

void
table_cell(struct table *t, enum term_style style, const char *text)
{
	struct str s = STR_INIT;
	struct cell c = { .style = style };

	str_visible(&s, text ? text : "");
	c.width = str_width(str_text(&s));
	c.text = str_take(&s);
	vec_push(&t->cells, c);
}

static size_t
column_width(const struct table *t, size_t column)
{
	size_t width = 0;

	for (size_t i = column; i < t->cells.n; i += t->columns)
		if (t->cells.at[i].width > width)
			width = t->cells.at[i].width;
	return width;
}

/* The last cell of a row: it needs no padding, and ends at the ROOM there is. */
static void
put_last(FILE *f, bool colour, const struct cell *c, size_t room)
{
	struct str s = STR_INIT;

	str_clip(&s, c->text, room);
	put_styled(f, colour, c->style, str_text(&s));
	str_done(&s);
}

void
table_print(const struct table *t, FILE *f)
{
	bool colour = term_has_colour(f);
	size_t limit = (size_t)term_width(f), used = 0, last = t->columns - 1;
	size_t *widths = xcalloc(t->columns, sizeof *widths);

	for (size_t i = 0; i < t->columns; i++) {
		widths[i] = column_width(t, i);
		used += i < last ? widths[i] + 2 : 0;
	}
	for (size_t i = 0; i < t->cells.n; i++) {
		const struct cell *c = &t->cells.at[i];
		size_t column = i % t->columns;
		int pad = (int)(widths[column] - c->width);

		if (t->right[column])
			fprintf(f, "%*s", pad, "");
		if (column == last) {
			put_last(f, colour, c, limit == 0 ? SIZE_MAX :
			    limit > used ? limit - used : 1);
			fputc('\n', f);
			continue;
		}
		put_styled(f, colour, c->style, c->text);
		fprintf(f, "%*s", t->right[column] ? 2 : pad + 2, "");
	}
	free(widths);
}
