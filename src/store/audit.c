/* audit.c - write down who loaded what. */
#include "store/audit.h"
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/err.h"
#include "io/pg.h"
#include "store/array.h"
#include "store/definition.h"

/* What was loaded is the newest version of its name: other loads are kept out. */
static const char write_all[] =
    "insert into tocsin.audit (os_user, host, file, kind, name, change, hash, body)"
    " select $1::text, $2::text, g.file, g.kind, g.name, g.change, v.hash, v.body"
    " from unnest($3::text[], $4::text[], $5::text[], $6::text[]) with ordinality"
    "  g (kind, name, change, file, n)"
    " left join lateral (select v.hash, v.body from tocsin.version v"
    "  where g.change <> 'removed' and v.kind = g.kind and v.name = g.name"
    "  order by v.id desc limit 1) v on true order by g.n";

static const char *const words[] = { [CHANGE_ADD] = "added", [CHANGE_ALTER] = "changed",
	[CHANGE_REMOVE] = "removed" };

/* The user's name, or the number of one who has none. */
static const char *
our_name(char buf[24])
{
	const struct passwd *pw = getpwuid(getuid());

	snprintf(buf, 24, "%u", (unsigned)getuid());
	return pw ? pw->pw_name : buf;
}

int
audit_write(PGconn *conn, const struct changes *changes, struct err *err)
{
	struct array kind = { 0 }, name = { 0 }, what = { 0 }, file = { 0 };
	char user[24], host[256] = "";
	PGresult *r;

	gethostname(host, sizeof host - 1);
	for (size_t i = 0; i < changes->n; i++) {
		const struct change *c = &changes->at[i];

		array_text(&kind, kind_text(c->kind));
		array_text(&name, c->name);
		array_text(&what, words[c->what]);
		array_text(&file, c->to ? c->to->file : NULL);
	}
	r = pg_exec(conn, write_all, 6, (const char *const[]){ our_name(user), host,
	    array_literal(&kind), array_literal(&name), array_literal(&what),
	    array_literal(&file) }, err);
	PQclear(r);
	array_done(&kind);
	array_done(&name);
	array_done(&what);
	array_done(&file);
	return r ? 0 : -1;
}
