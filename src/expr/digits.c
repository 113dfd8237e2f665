/* digits.c - numbers as text, both ways. */
#include "expr/number.h"
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"

static int
digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'Z')
		return c - 'A' + 10;
	return 99;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

int
number_read_int(const char *text, size_t n, int base, uint64_t *out)
{
	uint64_t value = 0;
	bool after_digit = false;

	for (size_t i = 0; i < n; i++) {
		if (text[i] == '_' && after_digit) {
			after_digit = false;
			continue;
		}
		if (digit_of(text[i]) >= base ||
		    __builtin_mul_overflow(value, (uint64_t)base, &value) ||
		    __builtin_add_overflow(value, (uint64_t)digit_of(text[i]), &value))
			return -1;
		after_digit = true;
	}
	*out = value;
	return after_digit ? 0 : -1;
}

/* [digits][.digits][e[+-]digits], and a digit on each side of an underscore. */
static bool
is_decimal(const char *s)
{
	size_t before, after = 0;

	before = strspn(s, "0123456789");
	s += before;
	if (*s == '.') {
		after = strspn(++s, "0123456789");
		s += after;
	}
	if (!before && !after)
		return false;
	if (*s == 'e' || *s == 'E') {
		s++;
		s += *s == '+' || *s == '-';
		if (!is_digit(*s))
			return false;
		s += strspn(s, "0123456789");
	}
	return !*s;
}

int
number_read_float(const char *text, size_t n, double *out)
{
	char small[64], *buf = n < sizeof small ? small : xmalloc(n + 1);
	size_t len = 0;
	int rc = -1;

	for (size_t i = 0; i < n; i++) {
		if (text[i] != '_')
			buf[len++] = text[i];
		else if (i == 0 || i + 1 == n || !is_digit(text[i - 1]) ||
		    !is_digit(text[i + 1]))
			goto out;
	}
	buf[len] = '\0';
	if (strlen(buf) != len || !is_decimal(buf))
		goto out;
	*out = strtod(buf, NULL);
	rc = isfinite(*out) ? 0 : -1;
out:
	if (buf != small)
		free(buf);
	return rc;
}

/* P digits "d.ddde+xx" that read back as F?  At a power of two the gap below
 * is half the gap above, so the next digit up may do where the nearest does
 * not. */
static bool
reads_back(double f, int p, char *buf)
{
	double up;

	snprintf(buf, NUMBER_TEXT, "%.*e", p - 1, f);
	if (strtod(buf, NULL) == f)
		return true;
	if (p < 2 || buf[p] == '9')
		return false;
	buf[p]++;
	up = strtod(buf, NULL);
	return up == f;
}

static void
shortest(double f, char *buf)
{
	int p = f < DBL_MIN ? 1 : 15;

	while (p < 17 && !reads_back(f, p, buf))
		p++;
	if (p == 17)
		snprintf(buf, NUMBER_TEXT, "%.16e", f);
}

/* Python's format 'r': fixed where the exponent is in -4 .. 15. */
const char *
number_write(double f, char buf[NUMBER_TEXT])
{
	char raw[NUMBER_TEXT], digits[20];
	int n = 0, exponent, at = 0;

	if (!isfinite(f)) {
		strcpy(buf, isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
		return buf;
	}
	if (f == 0) {
		strcpy(buf, signbit(f) ? "-0.0" : "0.0");
		return buf;
	}
	shortest(fabs(f), raw);
	exponent = atoi(strchr(raw, 'e') + 1);
	for (const char *s = raw; *s != 'e'; s++)
		if (is_digit(*s))
			digits[n++] = *s;
	while (n > 1 && digits[n - 1] == '0')
		n--;
	digits[n] = '\0';
	if (f < 0)
		buf[at++] = '-';
	if (exponent < -4 || exponent >= 16)
		snprintf(buf + at, NUMBER_TEXT - (size_t)at, "%c%s%se%c%02d", digits[0],
		    n > 1 ? "." : "", digits + 1, exponent < 0 ? '-' : '+', abs(exponent));
	else if (exponent < 0)
		snprintf(buf + at, NUMBER_TEXT - (size_t)at, "0.%.*s%s", -exponent - 1,
		    "0000", digits);
	else if (n <= exponent + 1)
		snprintf(buf + at, NUMBER_TEXT - (size_t)at, "%s%.*s.0", digits,
		    exponent + 1 - n, "0000000000000000");
	else
		snprintf(buf + at, NUMBER_TEXT - (size_t)at, "%.*s.%s", exponent + 1,
		    digits, digits + exponent + 1);
	return buf;
}
