/* load.c - apply definitions, print what changes. */
#include "cli/cmd.h"
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/print.h"
#include "cli/read.h"
#include "store/audit.h"
#include "store/definition.h"
#include "store/store.h"

enum { LINE = 72 };

static bool
known(void *arg, enum kind kind, const char *name)
{
	return definition_find(arg, kind, name) != NULL;
}

/* How much of both to leave out: of long texts people want to see where they
 * begin to differ. */
static size_t
same_beginning(const char *a, const char *b)
{
	size_t same = 0;

	if (strlen(a) <= LINE && strlen(b) <= LINE)
		return 0;
	while (a[same] && a[same] == b[same])
		same++;
	same = same > LINE / 2 ? same - LINE / 4 : 0;
	while (same && ((unsigned char)a[same] & 0xc0) == 0x80)
		same--;
	return same;
}

static void
print_text_from(const char *text, size_t from)
{
	char *piece = xstrdup(text + from);

	cut_text(piece, LINE);
	printf("%s%s", from ? "..." : "", shown_text(piece));
}

static void
print_key(const char *key, const json_t *from, const json_t *to)
{
	char *a = from ? json_canonical(from) : xstrdup("(none)"),
	    *b = to ? json_canonical(to) : xstrdup("(none)");
	size_t same = same_beginning(a, b);

	printf("      %s: ", key);
	print_text_from(a, same);
	fputs(" -> ", stdout);
	print_text_from(b, same);
	putchar('\n');
	free(a);
	free(b);
}

static void
print_keys(const struct change *c)
{
	json_t *from = c->from->body, *to = c->to->body;
	const char *key;
	json_t *value;

	json_object_foreach(to, key, value)
		if (!json_equal(value, json_object_get(from, key)))
			print_key(key, json_object_get(from, key), value);
	json_object_foreach(from, key, value)
		if (!json_object_get(to, key))
			print_key(key, value, NULL);
	if (c->reschedules && c->kind == EVENT)
		puts("      (a new schedule: next_call and hold begin afresh)");
}

static void
print_text(const struct changes *changes, bool dry)
{
	static const char sign[] = { ' ', '+', '~', '-' };
	size_t counts[4] = { 0 };

	for (size_t i = 0; i < changes->n; i++) {
		const struct change *c = &changes->at[i];

		counts[c->what]++;
		printf("  %c %s %s\n", sign[c->what], kind_text(c->kind), c->name);
		if (c->what == CHANGE_ALTER)
			print_keys(c);
	}
	printf("%s%zu added, %zu changed, %zu removed, %zu unchanged\n",
	    dry ? "(dry run) " : "", counts[CHANGE_ADD], counts[CHANGE_ALTER],
	    counts[CHANGE_REMOVE], changes->same);
}

static void
print_json(const struct changes *changes, bool dry)
{
	static const char *const names[] = { "", "added", "changed", "removed" };
	json_t *out = json_object();
	char *text;

	for (int what = CHANGE_ADD; what <= CHANGE_REMOVE; what++)
		json_object_set_new(out, names[what], json_array());
	for (size_t i = 0; i < changes->n; i++)
		json_array_append_new(json_object_get(out, names[changes->at[i].what]),
		    json_pack("{s:s,s:s}", "kind", kind_text(changes->at[i].kind),
		    "name", changes->at[i].name));
	json_object_set_new(out, "unchanged", json_integer((json_int_t)changes->same));
	json_object_set_new(out, "dry_run", json_boolean(dry));
	text = json_canonical(out);
	puts(text);
	free(text);
	json_decref(out);
}

static int
load(struct call *call, PGconn *conn, struct model *model, struct err *err)
{
	struct stored_list stored = { 0 };
	struct changes changes = { 0 };
	struct str warnings = STR_INIT;
	bool prune = opts_has(call, "prune"), dry = opts_has(call, "dry-run");
	int rc = -1;

	if (definition_read_all(conn, &stored, err) ||
	    read_model(model, call, prune ? NULL : known, &stored, &warnings, err) ||
	    definition_compare(model, &stored, prune, &changes, err) ||
	    (changes.n && (definition_apply(conn, &changes, err) ||
	    audit_write(conn, &changes, err))) ||
	    definition_end(conn, !dry, err))
		goto out;
	if (changes.n && !dry)
		definition_analyze(conn);
	if (opts_has(call, "json"))
		print_json(&changes, dry);
	else
		print_text(&changes, dry);
	fputs(str_text(&warnings), stderr);
	rc = 0;
out:
	str_done(&warnings);
	changes_done(&changes);
	stored_list_done(&stored);
	return rc;
}

static int
run(struct call *call, struct err *err)
{
	PGconn *conn = store_open_to_write(call->conf, err);
	struct model *model = model_new();
	int rc = -1;

	if (conn && !definition_begin(conn, err))
		rc = load(call, conn, model, err);
	PQfinish(conn);
	model_free(model);
	return rc;
}

static const struct opt options[] = {
	{ "dry-run", 'n', NULL, "tell what would change, and change nothing" },
	{ "prune", 'p', NULL, "remove what the files do not have" },
	{ "json", 'j', NULL, "print JSON" },
	{ NULL, 0, NULL, NULL },
};

const struct command cmd_load = {
	.name = "load",
	.synopsis = "FILE... [--dry-run] [--prune]",
	.summary = "apply definitions, print what changes",
	.description = "Reads definitions as 'tocsin check' does, compares them with the books, and applies\n"
	    "the difference in one transaction: all of it or nothing. An event whose schedule is\n"
	    "unchanged keeps its next_call, state and hold. Who loaded what is recorded.",
	.least = 1,
	.most = ARGUMENTS_MANY,
	.options = options,
	.run = run,
};
