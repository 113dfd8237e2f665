/* sql.c - a variable computed by a query. */
#include "exec/hand.h"

static void
sql_start(struct exec *exec)
{
	exec_fail(exec, REASON_ERROR, "the sql executor is not built yet");
}

const struct hand exec_sql = { sql_start, sql_start };
