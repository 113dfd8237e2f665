/* Inside a model: who has which name, and the files that all came from. */
#ifndef MODEL_INDEX_H
#define MODEL_INDEX_H

#include "base/vec.h"
#include "model/model.h"

struct model_index {
	json_t *places[KIND_COUNT];	/* name: place in model->at */
	VEC(struct toml *) files;	/* which definitions lend */
	size_t room;			/* of model->at */
};

/* "variables": the table in TOML that holds the objects of a kind. */
const char *kind_table(enum kind);
/* "a variable", "an evidence". */
const char *kind_with_article(enum kind);

/* Where KEY of a definition stands (PART: an element or member of it); NULL is
 * the object itself.  *LINE and *COLUMN are a place inside that text, or 0. */
void definition_place(const struct definition *, const char *key, const char *part,
    int *line, int *column);

#endif
