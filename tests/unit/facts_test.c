/* facts_test.c - what is remembered of jobs that are done, and what is forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "base/mem.h"
#include "base/str.h"
#include "engine/facts.h"

static struct job_key
key_of(int64_t run, int id)
{
	return (struct job_key){ run, id };
}

static void
take(struct facts *facts, int64_t run, int id, const char *value)
{
	struct fact f = { .key = key_of(run, id), .kind = VARIABLE, .state = JOB_DONE };

	f.name = xasprintf("v%d", id);
	f.value = xstrdup(value);
	vec_push(&f.upstream, id + 1);
	facts_take(facts, &f);
	assert_null(f.name);		/* all of it is taken */
	assert_null(f.upstream.at);
}

static const char *
value_of(const struct facts *facts, int64_t run, int id)
{
	const struct fact *f = facts_find(facts, key_of(run, id));

	if (f)
		assert_int_equal(f->upstream.at[0], id + 1);
	return f ? f->value : NULL;
}

static void
each_is_found_by_its_run_and_id(void **state)
{
	struct facts *facts = facts_new(1 << 20);

	for (int64_t run = 1; run <= 3; run++)
		for (int id = 1; id <= 500; id++)
			take(facts, run, id, run == 2 ? "2" : "1");
	assert_string_equal(value_of(facts, 1, 7), "1");
	assert_string_equal(value_of(facts, 2, 7), "2");
	assert_null(value_of(facts, 4, 7));
	assert_null(value_of(facts, 2, 501));
	facts_free(facts);
}

/* Who is done is done: it is the same, or it was not committed. */
static void
the_first_word_counts(void **state)
{
	struct facts *facts = facts_new(1 << 20);

	take(facts, 1, 1, "first");
	take(facts, 1, 1, "second");
	assert_string_equal(value_of(facts, 1, 1), "first");
	facts_clear(facts);
	assert_null(value_of(facts, 1, 1));
	take(facts, 1, 1, "third");
	assert_string_equal(value_of(facts, 1, 1), "third");
	facts_free(facts);
}

/* By bytes, not by number: a long value takes the place of many. */
static void
the_oldest_is_forgotten(void **state)
{
	struct facts *facts = facts_new(64 << 10);
	char *large = xasprintf("%060000d", 1);
	int n = 0;

	for (int id = 1; id <= 1000; id++)
		take(facts, 1, id, "1");
	assert_null(value_of(facts, 1, 1));
	assert_non_null(value_of(facts, 1, 1000));
	for (int id = 1; id <= 1000; id++)
		n += value_of(facts, 1, id) != NULL;
	assert_in_range(n, 100, 400);
	for (int id = 1; id <= 1000 - n; id++)
		assert_null(value_of(facts, 1, id));
	take(facts, 1, 1001, large);
	assert_string_equal(value_of(facts, 1, 1001), large);
	assert_null(value_of(facts, 1, 1000 - n / 4));
	free(large);
	take(facts, 1, 1002, "2");
	large = xasprintf("%070000d", 1);
	take(facts, 1, 1003, large);		/* more than all may have */
	assert_null(value_of(facts, 1, 1003));
	take(facts, 1, 1004, "4");
	assert_string_equal(value_of(facts, 1, 1004), "4");
	free(large);
	facts_free(facts);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_is_found_by_its_run_and_id),
		cmocka_unit_test(the_first_word_counts),
		cmocka_unit_test(the_oldest_is_forgotten),
	};

	return cmocka_run_group_tests_name("facts", tests, NULL, NULL);
}
