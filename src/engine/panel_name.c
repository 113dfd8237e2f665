/* panel_name.c - the name of a worker among Celery's nodes: "tocsin-4711@host".
 *
 * What is asked of a node comes to the queue of its name, so no two may have the
 * same one; and a program that starts again is a new node, unless its name says
 * otherwise. */
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/conf.h"
#include "base/err.h"
#include "engine/panel_inner.h"

enum { HOST_MAX = 100, QUEUE_SHOWN = 60 };

/* Without what would end a name, or a word. */
static void
add_plain(struct str *s, const char *text, size_t most)
{
	for (size_t i = 0; text[i] && i < most; i++)
		str_putc(s, text[i] == '@' || isspace((unsigned char)text[i]) ? '-' : text[i]);
}

static int
add_part(struct str *s, char letter, const struct conf *conf, int process, struct err *err)
{
	char host[HOST_MAX + 1] = "localhost";
	size_t dot;

	gethostname(host, sizeof host - 1);
	dot = strcspn(host, ".");
	switch (letter) {
	case 'h':
		add_plain(s, host, HOST_MAX);
		return 0;
	case 'n':
		add_plain(s, host, dot);
		return 0;
	case 'd':
		add_plain(s, host[dot] ? host + dot + 1 : "", HOST_MAX);
		return 0;
	case 'q':
		add_plain(s, conf->queue, QUEUE_SHOWN);
		return 0;
	case 'p':
		str_printf(s, "%ld", (long)getpid());
		return 0;
	case 'i':
		str_printf(s, "%d", process);
		return 0;
	case '%':
		str_putc(s, '%');
		return 0;
	default:
		return err_class(err, ERR_CONFIG, "node_name: what follows a '%%' is one of h n d q p "
		    "i %%");
	}
}

static int
expand(struct str *s, const char *text, const char *end, const struct conf *conf, int process,
    struct err *err)
{
	for (; text < end; text++) {
		if (*text != '%')
			str_putc(s, *text);
		else if (add_part(s, *++text, conf, process, err))
			return -1;
	}
	return 0;
}

static bool
is_unique(const char *text, const char *end)
{
	for (; text + 1 < end; text++)
		if (*text == '%') {
			if (text[1] == 'p' || text[1] == 'i')
				return true;
			text++;
		}
	return false;
}

static int
check(const char *name, struct err *err)
{
	const char *at = strchr(name, '@');

	if (strlen(name) > CELERY_NODE_MAX)
		return err_class(err, ERR_CONFIG, "node_name: more than %d bytes", CELERY_NODE_MAX);
	if (!at || at == name || !at[1] || strchr(at + 1, '@'))
		return err_class(err, ERR_CONFIG, "node_name: a name is NAME@HOST, with one '@'");
	if (!str_is_utf8(name, strlen(name)))
		return err_class(err, ERR_CONFIG, "node_name: it is no UTF-8");
	for (const char *c = name; *c; c++)
		if (isspace((unsigned char)*c) || iscntrl((unsigned char)*c))
			return err_class(err, ERR_CONFIG, "node_name: it holds a space");
	return 0;
}

/* One of several processes whose name does not tell it from the others gets its
 * number. */
char *
panel_node_name(const struct conf *conf, int process, struct err *err)
{
	const char *text = conf->node_name, *end = text + strlen(text);
	const char *at = strchr(text, '@');
	struct str s = STR_INIT;

	if (!at)
		at = end;
	if (expand(&s, text, at, conf, process, err))
		goto fail;
	if (process && !is_unique(text, end))
		str_printf(&s, "-%d", process);
	if (expand(&s, at == end ? "@%h" : at, at == end ? "@%h" + 3 : end, conf, process, err) ||
	    check(str_text(&s), err))
		goto fail;
	return str_take(&s);
fail:
	str_done(&s);
	return NULL;
}
