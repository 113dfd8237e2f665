/* pickle_fuzz.c - any bytes as a pickle, and as a result's document: read or
 * refused, and what is read is JSON that can be written and read again. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "celery/pickle.h"
#include "celery/refusal.h"
#include "celery/result.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void
insist(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "pickle_fuzz: %s\n", what);
	abort();
}

/* What came out of a pickle goes into one, and comes out as it was. */
static void
check_again(const struct str *json)
{
	struct str pickle = STR_INIT, again = STR_INIT;
	struct refusal refusal = { 0 };
	struct raw value;
	struct err err;

	if (raw_check(str_text(json), json->len, &value, &refusal)) {
		/* A dict of Python may have 1 and "1". */
		insist(refusal.reason == REFUSED_DUPLICATE || refusal.reason == REFUSED_COUNT,
		    refusal.err.message);
		return;
	}
	pickle_write(&pickle, value);
	insist(!pickle_read(&again, str_text(&pickle), pickle.len, &err), err.message);
	insist(again.len == json->len && !memcmp(str_text(&again), str_text(json), json->len),
	    "another value");
	str_done(&pickle);
	str_done(&again);
}

static void
read_document(const uint8_t *data, size_t size)
{
	struct celery_result r;
	struct arena arena = { 0 };
	struct str s = STR_INIT;
	struct err err = { 0 };

	if (celery_result_read(&r, (const char *)data, size, &arena, &err)) {
		insist(strlen(err.message) > 0, "an error without a text");
	} else {
		r.id = r.id ? r.id : "";
		celery_result_document(&s, &r, true, 0);
		celery_exception_repr(&s, &r.exception);
	}
	str_done(&s);
	arena_done(&arena);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str json = STR_INIT;
	struct err err = { 0 };

	if (pickle_read(&json, data, size, &err))
		insist(strlen(err.message) > 0 && json.len == 0, "an error without a text");
	else
		check_again(&json);
	str_done(&json);
	read_document(data, size);
	return 0;
}
