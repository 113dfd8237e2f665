/* field.c - the types of PostgreSQL, one table.
 *
 * The numbers are those of pg_type.dat: they are fixed for ever, and libpq
 * gives no names for them. */
#include "exec/field.h"
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"

typedef int append_field(struct str *, const char *, size_t, struct err *);

static int
append_bool(struct str *out, const char *text, size_t len, struct err *err)
{
	str_puts(out, *text == 't' ? "true" : "false");
	return 0;
}

static int
append_integer(struct str *out, const char *text, size_t len, struct err *err)
{
	long long n;

	errno = 0;
	n = strtoll(text, NULL, 10);
	if (errno == ERANGE)
		return err_set(err, "the value is an integer beyond 64 bits: %.60s", text);
	str_printf(out, "%lld", n);
	return 0;
}

static int
append_real(struct str *out, const char *text, size_t len, struct err *err)
{
	char buf[JSON_REAL_TEXT];
	double x = strtod(text, NULL);

	if (isnan(x))
		return err_set(err, "the value is NaN");
	if (isinf(x) && strchr(text, 'I'))
		return err_set(err, "the value is %s", text);
	if (isinf(x))
		return err_set(err, "the value is beyond the largest float: %.60s", text);
	str_puts(out, json_real_for_books(x, buf));
	return 0;
}

/* 12.00 is whole. */
static int
append_numeric(struct str *out, const char *text, size_t len, struct err *err)
{
	const char *point = strchr(text, '.');

	if (strpbrk(text, "NI") || (point && point[1 + strspn(point + 1, "0")]))
		return append_real(out, text, len, err);
	return append_integer(out, text, len, err);
}

static int
append_text(struct str *out, const char *text, size_t len, struct err *err)
{
	if (!str_is_utf8(text, len))
		return err_set(err, "the value is text that is not UTF-8");
	json_append_text(out, text, len);
	return 0;
}

/* "2026-05-01 09:00:00.5+00" is 2026-05-01T09:00:00.5+00:00 in RFC 3339. */
static int
append_instant(struct str *out, const char *text, size_t len, struct err *err)
{
	const char *s = strchr(text, ':');
	struct str iso = STR_INIT;
	size_t before, digits;

	if (!s) {			/* infinity */
		json_append_text(out, text, len);
		return 0;
	}
	before = (size_t)(s - text) + strcspn(s, "+-");
	str_add(&iso, text, before);
	for (size_t i = 0; i < iso.len; i++)
		if (iso.text[i] == ' ') {
			iso.text[i] = 'T';
			break;
		}
	s = text + before;
	digits = *s ? 1 + strspn(s + 1, "0123456789") : 0;
	str_add(&iso, s, digits);
	if (digits == 3 && s[3] != ':')
		str_puts(&iso, ":00");
	str_puts(&iso, s + digits);
	json_append_text(out, str_text(&iso), iso.len);
	str_done(&iso);
	return 0;
}

static int
append_json(struct str *out, const char *text, size_t len, struct err *err)
{
	json_error_t e;
	json_t *v = json_loadb(text, len, JSON_DECODE_ANY, &e);

	if (!v && json_error_code(&e) == json_error_numeric_overflow)
		return err_set(err, "the value is JSON with a number that is too large "
		    "(integers have 64 bits)");
	if (!v)
		return err_set(err, "the value is JSON that cannot be read: %s", e.text);
	json_append(out, v);
	json_decref(v);
	return 0;
}

static const struct {
	Oid type, array;
	append_field *append;
} types[] = {
	{ 16, 1000, append_bool },
	{ 20, 1016, append_integer }, { 21, 1005, append_integer },
	{ 23, 1007, append_integer }, { 26, 1028, append_integer },
	{ 28, 1011, append_integer }, { 29, 1012, append_integer },
	{ 5069, 271, append_integer },			/* xid, cid, xid8 */
	{ 700, 1021, append_real }, { 701, 1022, append_real },
	{ 1700, 1231, append_numeric },
	{ 114, 199, append_json }, { 3802, 3807, append_json },
	{ 1114, 1115, append_instant }, { 1184, 1185, append_instant },
	{ 1266, 1270, append_instant },			/* timetz */
	{ 1082, 1182, append_text }, { 1083, 1183, append_text },
	{ 1186, 1187, append_text },			/* date, time, interval */
	{ 25, 1009, append_text }, { 1043, 1015, append_text },
	{ 1042, 1014, append_text }, { 18, 1002, append_text },
	{ 19, 1003, append_text }, { 17, 1001, append_text },
	{ 2950, 2951, append_text }, { 869, 1041, append_text },
	{ 650, 651, append_text },			/* uuid, inet, cidr */
};

/* One element, from S; returns where it ends. */
static const char *
append_element(struct str *out, append_field *append, const char *s, int *rc,
    struct err *err)
{
	bool quoted = *s == '"';
	struct str text = STR_INIT;

	for (s += quoted; *s && (quoted ? *s != '"' : !strchr(",}", *s)); s++) {
		if (*s == '\\' && s[1])
			s++;
		str_putc(&text, *s);
	}
	if (!quoted && !strcmp(str_text(&text), "NULL"))
		str_puts(out, "null");
	else
		*rc = append(out, str_text(&text), text.len, err);
	str_done(&text);
	return quoted && *s ? s + 1 : s;
}

/* {1,NULL,"a\"b",{...}}; in front may stand bounds, as in [0:2]={...}. */
static int
append_array(struct str *out, append_field *append, const char *s, struct err *err)
{
	int rc = 0;

	if (*s == '[')
		s += strcspn(s, "=") + 1;
	while (*s && rc == 0)
		switch (*s) {
		case '{':
			str_putc(out, '[');
			s++;
			break;
		case '}':
			str_putc(out, ']');
			s++;
			break;
		case ',':
			str_putc(out, ',');
			s++;
			break;
		default:
			s = append_element(out, append, s, &rc, err);
		}
	return rc;
}

int
field_append(struct str *out, Oid type, const char *text, size_t len, struct err *err)
{
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		if (types[i].type == type)
			return types[i].append(out, text, len, err);
		if (types[i].array == type)
			return append_array(out, types[i].append, text, err);
	}
	return append_text(out, text, len, err);
}
