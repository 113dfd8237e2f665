/* bind.c - arguments and parameters.
 *
 * The complaints are those of Python 3.11, and in its order: names that are not
 * known or given twice, then too many, then those that are missing. */
#include "celery/bind.h"
#include <string.h>
#include "base/str.h"

static bool
may_miss(const struct bind_parameters *p, size_t i)
{
	return p->may_miss && p->may_miss(p->arg, i);
}

static void
put_name(struct str *s, struct raw key)
{
	struct str text = STR_INIT;

	if (raw_string(key, &text))
		str_printf(s, "'%s'", str_text(&text));
	else
		str_add(s, key.text, key.len);
	str_done(&text);
}

static int
take_named(const struct bind_parameters *p, struct raw key, struct raw value, struct raw *values,
    struct str *error)
{
	size_t i = 0;

	while (i < p->n && !raw_is(key, p->names[i]))
		i++;
	if (i < p->n && !values[i].text) {
		values[i] = value;
		return 0;
	}
	str_printf(error, "%s() got %s ", p->function,
	    i == p->n ? "an unexpected keyword argument" : "multiple values for argument");
	put_name(error, key);
	return -1;
}

static int
too_many(const struct bind_parameters *p, size_t given, struct str *error)
{
	size_t least = 0;

	for (size_t i = 0; i < p->n; i++)
		least += !may_miss(p, i);
	str_printf(error, "%s() takes ", p->function);
	if (least < p->n)
		str_printf(error, "from %zu to ", least);
	str_printf(error, "%zu positional argument%s but %zu %s given", p->n,
	    p->n == 1 && least == p->n ? "" : "s", given, given == 1 ? "was" : "were");
	return -1;
}

static int
missing(const struct bind_parameters *p, const struct raw *values, size_t n, struct str *error)
{
	size_t said = 0;

	str_printf(error, "%s() missing %zu required positional argument%s: ", p->function, n,
	    n == 1 ? "" : "s");
	for (size_t i = 0; i < p->n; i++) {
		if (values[i].text || may_miss(p, i))
			continue;
		if (++said > 1)
			str_puts(error, said < n ? ", " : n == 2 ? " and " : ", and ");
		str_printf(error, "'%s'", p->names[i]);
	}
	return -1;
}

int
bind_arguments(const struct bind_parameters *p, struct raw args, struct raw kwargs,
    struct raw *values, struct str *error)
{
	struct raw_walk walk = raw_walk(args);
	struct raw key, value;
	size_t given = 0, lacking = 0;

	memset(values, 0, p->n * sizeof *values);
	for (; raw_next(&walk, &key, &value); given++)
		if (given < p->n)
			values[given] = value;
	walk = raw_walk(kwargs);
	while (raw_next(&walk, &key, &value))
		if (take_named(p, key, value, values, error))
			return -1;
	if (given > p->n)
		return too_many(p, given, error);
	for (size_t i = 0; i < p->n; i++)
		lacking += !values[i].text && !may_miss(p, i);
	return lacking ? missing(p, values, lacking, error) : 0;
}
