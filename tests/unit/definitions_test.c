/* definitions_test.c - every folder of tests/definitions is a case.
 *
 * Its *.toml files are read, in the order of their names, and checked.  Of a
 * case in good/ nothing may be wrong, and `expected` holds the bodies and the
 * warnings; of one in bad/ it holds the problems.  With ACCEPT=1 in the
 * environment what comes out is written there instead: read it before you
 * commit it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <dirent.h>
#include <unistd.h>
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "model/model.h"

static int
is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void
print_bodies(const struct model *m, struct str *out)
{
	for (size_t i = 0; i < m->n; i++) {
		char *body = json_canonical(m->at[i]->body);

		str_printf(out, "%s %s %s\n", kind_text(m->at[i]->kind), m->at[i]->name, body);
		free(body);
	}
}

/* In the folder of the case. */
static void
run_case(struct str *out, bool good)
{
	struct model *m = model_new();
	struct str problems = STR_INIT, warnings = STR_INIT;
	struct dirent **entries;
	int n = scandir(".", &entries, is_visible, alphasort), rc = 0;

	for (int i = 0; i < n; i++) {
		if (strstr(entries[i]->d_name, ".toml"))
			rc |= model_read(m, entries[i]->d_name, &problems);
		free(entries[i]);
	}
	free(entries);
	rc |= model_check(m, NULL, NULL, &problems, &warnings);
	if ((rc == 0) != (problems.len == 0))
		str_puts(out, "the problems and the return value disagree\n");
	if (good)
		print_bodies(m, out);
	if (good && warnings.len > 0)
		str_printf(out, "warnings:\n%s", str_text(&warnings));
	if (good == (problems.len > 0))
		str_printf(out, good ? "but nothing should be wrong:\n" :
		    "but something should be wrong\n");
	str_add(out, str_text(&problems), problems.len);
	str_done(&problems);
	str_done(&warnings);
	model_free(m);
}

static void
read_expected(struct str *text)
{
	FILE *f = fopen("expected", "re");
	char buf[4096];
	size_t n;

	if (!f)
		return;
	while ((n = fread(buf, 1, sizeof buf, f)) > 0)
		str_add(text, buf, n);
	fclose(f);
}

static void
accept(const struct str *text)
{
	FILE *f = fopen("expected", "we");

	assert_non_null(f);
	fputs(str_text(text), f);
	fclose(f);
}

static bool
case_passes(const char *name, bool good)
{
	struct str out = STR_INIT, expected = STR_INIT;
	bool same;

	run_case(&out, good);
	if (getenv("ACCEPT"))
		accept(&out);
	read_expected(&expected);
	if (!(same = !strcmp(str_text(&out), str_text(&expected))))
		print_error("%s:\n--- expected\n%s--- found\n%s", name, str_text(&expected),
		    str_text(&out));
	str_done(&out);
	str_done(&expected);
	return same;
}

static void
run_all(const char *folder, bool good, int least)
{
	const char *srcdir = getenv("srcdir");
	char *here = getcwd(NULL, 0), *path = xasprintf("%s/tests/definitions/%s",
	    srcdir ? srcdir : ".", folder);
	struct dirent **entries;
	int n, failed = 0;

	assert_int_equal(chdir(path), 0);
	n = scandir(".", &entries, is_visible, alphasort);
	assert_true(n >= least);
	for (int i = 0; i < n; i++) {
		assert_int_equal(chdir(entries[i]->d_name), 0);
		failed += !case_passes(entries[i]->d_name, good);
		assert_int_equal(chdir(".."), 0);
		free(entries[i]);
	}
	free(entries);
	assert_int_equal(chdir(here), 0);
	free(here);
	free(path);
	assert_int_equal(failed, 0);
}

static void
good_definitions_have_these_bodies(void **state)
{
	run_all("good", true, 8);
}

static void
bad_definitions_have_these_problems_at_these_places(void **state)
{
	run_all("bad", false, 40);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_definitions_have_these_bodies),
		cmocka_unit_test(bad_definitions_have_these_problems_at_these_places),
	};

	return cmocka_run_group_tests_name("definitions", tests, NULL, NULL);
}
