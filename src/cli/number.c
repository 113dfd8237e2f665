/* number.c - numbers on the command line. */
#include "cli/number.h"
#include <errno.h>
#include <stdlib.h>
#include "base/err.h"

int
read_number(const char *text, const char *what, int64_t *n, struct err *err)
{
	char *end;

	errno = 0;
	*n = strtoll(text, &end, 10);
	if (errno || end == text || *end || *n <= 0)
		return err_class(err, ERR_USAGE, "%s should be a number above 0, not '%.60s'",
		    what, text);
	return 0;
}
