/* Python's numbers, with ints of 64 bits and floats that are finite.
 *
 * The program never leaves the locale "C", so strtod() reads a point. */
#ifndef EXPR_NUMBER_H
#define EXPR_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "expr/op.h"

struct value;
struct work;

#define NUMBER_TEXT 40

int number_operate(struct work *, enum op, const struct value *, const struct value *,
    struct value *out);

/* The nearest float to A / B, ties to even; B is not 0. */
double number_ratio(int64_t a, int64_t b);

/* A // B and A % B as Python has them; B is neither 0 nor (with INT64_MIN) -1. */
int64_t number_floordiv(int64_t a, int64_t b);
int64_t number_mod(int64_t a, int64_t b);

/* The nearest integer to A / B, ties to even; B > 0. */
__int128 number_nearest(__int128 a, __int128 b);

/* F is finite and its whole part fits: *I.  Else an error. */
int number_to_int(struct work *, double f, int64_t *i);

int number_round(struct work *, const struct value *, const int64_t *digits,
    struct value *out);

/* Digits with single underscores between them, as int() and float() and the
 * lexer read them.  0, or -1 (not a number, or beyond what fits): no error is
 * filled in.  TEXT need not end in NUL. */
int number_read_int(const char *text, size_t n, int base, uint64_t *);
int number_read_float(const char *text, size_t n, double *);

/* repr(F): the shortest text that reads back as F.  Returns BUF. */
const char *number_write(double f, char buf[NUMBER_TEXT]);

#endif
