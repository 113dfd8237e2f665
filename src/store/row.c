/* row.c - columns as what they are. */
#include "store/row.h"
#include <stdlib.h>
#include "base/err.h"
#include "base/mem.h"

int64_t
row_number(const PGresult *r, int row, int column)
{
	return strtoll(PQgetvalue(r, row, column), NULL, 10);
}

bool
row_true(const PGresult *r, int row, int column)
{
	return PQgetvalue(r, row, column)[0] == 't';
}

const char *
row_text(const PGresult *r, int row, int column)
{
	return PQgetisnull(r, row, column) ? NULL : PQgetvalue(r, row, column);
}

char *
row_text_dup(const PGresult *r, int row, int column)
{
	return xstrdup(row_text(r, row, column));
}

const char *
row_next_number(const char *at, int *number)
{
	char *end;

	if (!at || !*at || *at == '}' || at[1] == '}')
		return NULL;
	*number = (int)strtol(at + 1, &end, 10);
	return end;
}

instant
row_instant(const PGresult *r, int row, int column)
{
	struct err ignored;
	instant t;

	if (PQgetisnull(r, row, column) ||
	    clock_parse(PQgetvalue(r, row, column), &t, &ignored))
		return INSTANT_NEVER;
	return t;
}

enum truth
row_truth(const PGresult *r, int row, int column)
{
	if (PQgetisnull(r, row, column))
		return TRUTH_UNKNOWN;
	switch (PQgetvalue(r, row, column)[0]) {
	case 't': return TRUTH_TRUE;
	case 'f': return TRUTH_FALSE;
	default: return TRUTH_OPEN;
	}
}
