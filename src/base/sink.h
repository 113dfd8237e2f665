/* Lines to a descriptor whose reader may have stopped reading.
 *
 * Nobody waits for him: for a moment (SINK_MOMENT) the first time, then not at
 * all until he reads again.  A line is written whole or not at all: what was left
 * of one that went out in part goes before the next.  The flags of the
 * descriptor stay as they are, for others have it too. */
#ifndef BASE_SINK_H
#define BASE_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include "base/clock.h"
#include "base/str.h"

#define SINK_MOMENT (SECOND / 20)

struct sink {
	int fd;
	int own;			/* the same file, opened anew; or -1 */
	bool is_socket;
	bool stuck;			/* its reader does not read */
	struct str rest;		/* of a line that went out in part */
	size_t lost;			/* lines, since the caller has set it to 0 */
};
#define SINK_INIT(fd) { (fd), -1, false, false, STR_INIT, 0 }

/* Write to FD from now on, which stays the caller's. */
void sink_use(struct sink *, int fd);
/* False: the line is lost, and counted. */
bool sink_write(struct sink *, const char *line, size_t len);

#endif
