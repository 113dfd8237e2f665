/* progress.c - "what [#####.....] 12/24 note", again and again.
 *
 * Drawing costs more than the work it reports on, so a terminal sees at most
 * ten lines a second, and a log file hardly more than ten in all. */
#include "base/term.h"
#include <stdint.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#define BAR 24

struct progress {
	FILE *out;
	char *what;
	bool terminal;
	span drawn_at;
	size_t done, total, tenth;	/* as it was drawn last */
	struct str line;		/* as it is */
	bool stale;			/* the line has not been drawn yet */
};

struct progress *
progress_new(FILE *out, const char *what)
{
	struct progress *p = xcalloc(1, sizeof *p);
	struct str s = STR_INIT;

	str_visible(&s, what);
	p->what = str_take(&s);
	p->out = out;
	p->terminal = term_is_terminal(out);
	p->drawn_at = INT64_MIN / 2;
	return p;
}

static void
compose(struct progress *p, size_t done, size_t total, const char *note)
{
	size_t full = total > 0 ? done * BAR / total : 0;

	str_clear(&p->line);
	str_puts(&p->line, p->what);
	if (p->terminal) {
		str_puts(&p->line, " [");
		for (size_t i = 0; i < BAR; i++)
			str_putc(&p->line, i < full ? '#' : '.');
		str_putc(&p->line, ']');
	}
	str_printf(&p->line, " %zu/%zu", done, total);
	if (note && *note) {
		str_putc(&p->line, ' ');
		str_visible(&p->line, note);
	}
}

static void
draw(struct progress *p)
{
	struct str cut = STR_INIT;

	if (p->terminal) {
		/* One column stays free: a full line would wrap. */
		str_clip(&cut, str_text(&p->line), (size_t)term_width(p->out) - 1);
		fprintf(p->out, "\r%s\033[K", str_text(&cut));
	} else
		fprintf(p->out, "%s\n", str_text(&p->line));
	fflush(p->out);
	p->drawn_at = clock_monotonic();
	p->stale = false;
	str_done(&cut);
}

void
progress_update(struct progress *p, size_t done, size_t total, const char *note)
{
	span since = clock_monotonic() - p->drawn_at;
	bool moved = done != p->done || total != p->total;
	size_t tenth;

	done = done > total ? total : done;
	tenth = total > 0 ? done * 10 / total : 0;
	compose(p, done, total, note);
	p->stale = true;
	if (p->terminal ? since >= SECOND / 10 || (moved && done == total) :
	    since >= 10 * SECOND || tenth != p->tenth) {
		draw(p);
		p->tenth = tenth;
	}
	p->done = done;
	p->total = total;
}

void
progress_end(struct progress *p)
{
	if (!p)
		return;
	if (p->stale)
		draw(p);
	if (p->terminal && p->line.len > 0)
		fputc('\n', p->out);
	fflush(p->out);
	str_done(&p->line);
	free(p->what);
	free(p);
}
