/* reason.c - what decided an event, as its signal tells it.
 *
 *	{"definition": ..., "evidences": [{"name": ..., "variables": [{...}]}]}
 *
 * It is read from the run's own rows: each evidence with its truth, and under it
 * the variables with their values as this run saw them, each once however many
 * events share it.  The text is put together here: a server that builds nested
 * JSON copies it at every level. */
#include "store/reason.h"
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "base/str.h"
#include "io/pg.h"
#include "store/row.h"

enum {
	AT_RUN, AT_ID, AT_KIND, AT_NAME, AT_VERSION, AT_STATE, AT_REASON, AT_TRUTH, AT_VALUE,
	AT_COMPUTED_AT, AT_STALE, AT_AGE, AT_UPSTREAM, AT_DEFINITION, AT_OPERATOR, AT_OPERAND,
	AT_HASH, AT_NOTE
};

#define JOB(alias) \
	alias ".run_id, " alias ".id, " alias ".kind, " alias ".name, " alias ".version, " \
	alias ".state, " alias ".reason, " alias ".truth::text," \
	" case when " LARGE(alias ".value") " then '\"(larger than 8 KiB)\"'" \
	"  else " alias ".value::text end," \
	" to_json(" alias ".computed_at)::text, " alias ".stale::text," \
	" case when " alias ".computed_at is not null then" \
	"  greatest(0, extract(epoch from now() - " alias ".computed_at)) end, " alias ".upstream"
#define BODY(alias, key) alias ".body ->> '" key "'"

static const char read_reasons[] =
    "with x as materialized ("
    " select u.* from unnest($1::bigint[], $2::integer[]) k (run_id, job_id)"
    " cross join lateral (select * from tocsin.job"
    "  where run_id = k.run_id and id = k.job_id offset 0) u"
    "), e as materialized ("
    " select u.* from (select distinct x.run_id, n.id from x"
    "  cross join lateral unnest(x.upstream) n (id)) k"
    " cross join lateral (select * from tocsin.job"
    "  where run_id = k.run_id and id = k.id offset 0) u"
    "), w as ("
    " select distinct e.run_id, n.id from e cross join lateral unnest(e.upstream) n (id)"
    ") select " JOB("x") ", " BODY("v", "definition") ", null, null, v.hash, x.note"
    " from x join tocsin.version v on v.id = x.version"
    " union all select " JOB("e") ", " BODY("v", "definition") ", " BODY("v", "operator") ","
    "  (v.body -> 'operand')::text, null, null"
    " from e join tocsin.version v on v.id = e.version"
    " union all select " JOB("u") ", null, null, null, null, null"
    " from w cross join lateral (select * from tocsin.job"
    "  where run_id = w.run_id and id = w.id offset 0) u";

void
reasons_say(struct pg *pg, const struct moved *moved, size_t n)
{
	static const char *const statements[] = { read_reasons, NULL };
	VEC(struct job_key) keys = { 0 };

	for (size_t i = 0; i < n; i++)
		if (moved[i].after.action != DO_NOTHING)
			vec_push(&keys, moved[i].key);
	settle_say_guard(pg);
	settle_say_keys(pg, statements, keys.at, keys.n);
	vec_done(&keys);
}

/* --- the text --- */

struct node {
	struct job_key key;
	int row;
};

struct nodes {
	const PGresult *r;
	struct node *at;		/* in the order of their keys */
	size_t n;
};

static struct nodes
sort_rows(const PGresult *r)
{
	struct nodes nodes = { r, NULL, (size_t)PQntuples(r) };

	nodes.at = xcalloc(nodes.n + 1, sizeof *nodes.at);
	for (int i = 0; i < PQntuples(r); i++)
		nodes.at[i] = (struct node){
			{ row_number(r, i, AT_RUN), (int)row_number(r, i, AT_ID) }, i };
	qsort(nodes.at, nodes.n, sizeof *nodes.at, job_key_compare);
	return nodes;
}

static int
row_of(const struct nodes *nodes, struct job_key key)
{
	const struct node *node = bsearch(&key, nodes->at, nodes->n, sizeof *nodes->at,
	    job_key_compare);

	return node ? node->row : -1;
}

static void
put_key(struct str *s, const char *key)
{
	str_puts(s, ", \"");
	str_puts(s, key);
	str_puts(s, "\": ");
}

static void
put_text(struct str *s, const char *key, const char *text)
{
	put_key(s, key);
	if (text)
		json_append_text(s, text, strlen(text));
	else
		str_puts(s, "null");
}

static void
put_raw(struct str *s, const char *key, const char *json)
{
	put_key(s, key);
	str_puts(s, json ? json : "null");
}

static void
put_columns(struct str *s, const PGresult *r, int row)
{
	str_puts(s, "{\"name\": ");
	json_append_text(s, PQgetvalue(r, row, AT_NAME), strlen(PQgetvalue(r, row, AT_NAME)));
	put_raw(s, "version", row_text(r, row, AT_VERSION));
	put_text(s, "state", row_text(r, row, AT_STATE));
	put_raw(s, "value", row_text(r, row, AT_VALUE));
	put_raw(s, "computed_at", row_text(r, row, AT_COMPUTED_AT));
}

static void
put_variable(struct str *s, const struct nodes *nodes, int row)
{
	const PGresult *r = nodes->r;

	put_columns(s, r, row);
	put_text(s, "reason", row_text(r, row, AT_REASON));
	put_raw(s, "stale", row_text(r, row, AT_STALE));
	put_raw(s, "age", row_text(r, row, AT_AGE));
	str_putc(s, '}');
}

/* What stands upstream of ROW, as a list. */
static void
put_upstream(struct str *s, const struct nodes *nodes, int row,
    void (*put)(struct str *, const struct nodes *, int))
{
	int64_t run = row_number(nodes->r, row, AT_RUN);
	const char *at = PQgetvalue(nodes->r, row, AT_UPSTREAM);
	bool any = false;
	int id;

	str_putc(s, '[');
	while ((at = row_next_number(at, &id))) {
		int up = row_of(nodes, (struct job_key){ run, id });

		if (up < 0)
			continue;
		str_puts(s, any ? ", " : "");
		put(s, nodes, up);
		any = true;
	}
	str_putc(s, ']');
}

static void
put_evidence(struct str *s, const struct nodes *nodes, int row)
{
	const PGresult *r = nodes->r;

	put_columns(s, r, row);
	put_text(s, "definition", row_text(r, row, AT_DEFINITION));
	put_text(s, "operator", row_text(r, row, AT_OPERATOR));
	put_raw(s, "operand", row_text(r, row, AT_OPERAND));
	put_raw(s, "truth", row_text(r, row, AT_TRUTH));
	str_puts(s, ", \"variables\": ");
	put_upstream(s, nodes, row, put_variable);
	str_putc(s, '}');
}

static char *
reason_text_of(const struct nodes *nodes, int row, const struct moved *m)
{
	const PGresult *r = nodes->r;
	const char *before = row_text(r, row, AT_NOTE);
	char *note = before && m->note ? xasprintf("%s; %s", before, m->note) : NULL;
	struct str s = STR_INIT;

	str_printf(&s, "{\"hold\": %d", m->after.hold);
	put_text(&s, "definition", row_text(r, row, AT_DEFINITION));
	put_raw(&s, "version", row_text(r, row, AT_VERSION));
	put_text(&s, "hash", row_text(r, row, AT_HASH));
	put_raw(&s, "truth", row_text(r, row, AT_TRUTH));
	put_text(&s, "note", note ? note : before ? before : m->note);
	str_puts(&s, ", \"evidences\": ");
	put_upstream(&s, nodes, row, put_evidence);
	str_putc(&s, '}');
	free(note);
	return str_take(&s);
}

void
reasons_read(const struct pg_answer *answer, struct moved *moved, size_t n)
{
	struct nodes nodes = sort_rows(answer->results[SETTLE_GUARD_STATEMENTS]);

	for (size_t i = 0; i < n; i++) {
		struct moved *m = &moved[i];
		int row = m->after.action != DO_NOTHING ? row_of(&nodes, m->key) : -1;

		if (row >= 0)
			m->decided_by = reason_text_of(&nodes, row, m);
	}
	free(nodes.at);
}
