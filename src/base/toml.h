/* TOML 1.0, by toml++, with the place of every key and value.
 *
 * The document is a JSON tree (a date or time becomes its text) with the keys
 * in the order of the file.  NaN and infinities, which JSON has not, are
 * refused, and so is the character \u0000, which neither C nor PostgreSQL has.
 * Bounds: TOML_MAX_TEXT bytes, TOML_MAX_DEPTH levels. */
#ifndef BASE_TOML_H
#define BASE_TOML_H

#include <jansson.h>
#include <stddef.h>

struct err;
struct toml;

#define TOML_MAX_TEXT (8 * 1024 * 1024)
#define TOML_MAX_DEPTH 64

#ifdef __cplusplus
extern "C" {
#endif

/* NULL with ERR (line and column) where TEXT is not TOML. */
struct toml *toml_parse(const char *text, size_t len, struct err *);
struct toml *toml_open(const char *path, struct err *);	/* "-": standard input */
void toml_free(struct toml *);				/* NULL is fine */

const json_t *toml_root(const struct toml *);		/* lends */

/* Where the value at a path of keys stands, as "events", "crisis", "interval";
 * an array's element is "0", "1" ...  KEY_ rather than value: where its key
 * stands.  0, 0 if there is no such thing. */
void toml_place(const struct toml *, const char *const *path, size_t depth,
    int *line, int *column);
void toml_key_place(const struct toml *, const char *const *path, size_t depth,
    int *line, int *column);

/* *LINE and *COLUMN are a place inside the text that stands at a path (from 1,
 * columns in characters); they become that place in the file, whatever quotes,
 * escapes and continued lines lie before it.  If there is no text, or it has
 * no such place, they become the place of the value. */
void toml_place_inside(const struct toml *, const char *const *path, size_t depth,
    int *line, int *column);

#ifdef __cplusplus
}
#endif

#endif
