/* rows.c - the shape of a result, and the budget for it. */
#include "exec/rows.h"
#include <string.h>
#include "base/json.h"
#include "base/mem.h"
#include "exec/field.h"

#define MOST_COLUMNS 1600

void
rows_init(struct rows *rows, size_t most)
{
	*rows = (struct rows){ .most = most };
}

void
rows_done(struct rows *rows)
{
	str_done(&rows->items);
}

static int
check_columns(const PGresult *r, struct err *err)
{
	int n = PQnfields(r);

	if (n == 0)
		return err_set(err, "the result has no columns");
	if (n > MOST_COLUMNS)
		return err_set(err, "the result has more than %d columns", MOST_COLUMNS);
	for (int i = 1; i < n; i++)
		for (int j = 0; j < i; j++)
			if (!strcmp(PQfname(r, i), PQfname(r, j)))
				return err_set(err, "two columns are named '%.200s': give "
				    "them different names, with 'as'", PQfname(r, i));
	return 0;
}

static int
append_field(struct rows *rows, const PGresult *r, int row, int column)
{
	if (PQgetisnull(r, row, column)) {
		str_puts(&rows->items, "null");
		return 0;
	}
	if (!field_append(&rows->items, PQftype(r, column), PQgetvalue(r, row, column),
	    (size_t)PQgetlength(r, row, column), &rows->err))
		return 0;
	if (PQnfields(r) > 1)
		err_wrap(&rows->err, "column '%.200s'", PQfname(r, column));
	return -1;
}

static int
append_row(struct rows *rows, const PGresult *r, int row)
{
	int n = PQnfields(r);

	if (rows->n++)
		str_putc(&rows->items, ',');
	if (n == 1)
		return append_field(rows, r, row, 0);
	for (int i = 0; i < n; i++) {
		str_putc(&rows->items, i ? ',' : '{');
		json_append_text(&rows->items, PQfname(r, i), strlen(PQfname(r, i)));
		str_putc(&rows->items, ':');
		if (append_field(rows, r, row, i))
			return -1;
		if (rows->items.len > rows->most)
			break;
	}
	str_putc(&rows->items, '}');
	return 0;
}

static int
too_large(struct rows *rows)
{
	return err_set(&rows->err, "value larger than %zu bytes", rows->most);
}

/* As JSON it may become shorter (blanks in a json column), but not much. */
static bool
is_hopeless(const struct rows *rows, const PGresult *r, int row)
{
	size_t bytes = 0;

	for (int i = 0; i < PQnfields(r); i++)
		bytes += (size_t)PQgetlength(r, row, i);
	return bytes > 2 * rows->most;
}

static int
take(struct rows *rows, const PGresult *r)
{
	if (!rows->started && check_columns(r, &rows->err))
		return -1;
	rows->started = true;
	for (int i = 0; i < PQntuples(r); i++) {
		if (is_hopeless(rows, r, i))
			return too_large(rows);
		if (append_row(rows, r, i))
			return -1;
		if (rows->items.len > rows->most)
			return too_large(rows);
	}
	return 0;
}

bool
rows_take(struct rows *rows, const PGresult *r)
{
	if (rows->failed || take(rows, r) == 0)
		return !rows->failed;
	rows->failed = true;
	str_done(&rows->items);
	return false;
}

char *
rows_value(const struct rows *rows)
{
	if (rows->n == 0)
		return xstrdup("null");
	if (rows->n == 1)
		return xstrdup(str_text(&rows->items));
	return xasprintf("[%s]", str_text(&rows->items));
}
