/* Definitions in the books: what is current, what loading would change, and
 * the change, in one transaction.
 *
 * Versions are immutable: a change makes a new one and moves the current mark.
 * What is unchanged is not touched at all. */
#ifndef STORE_DEFINITION_H
#define STORE_DEFINITION_H

#include <libpq-fe.h>
#include <stdbool.h>
#include "base/vec.h"
#include "model/model.h"

struct str;

struct stored {			/* a current definition */
	enum kind kind;
	char *name;
	char *hash;
	json_t *body;
};
struct stored_list {
	struct stored *at;	/* sorted by kind and name */
	size_t n, room;
};

enum change_kind { CHANGE_NONE, CHANGE_ADD, CHANGE_ALTER, CHANGE_REMOVE };
struct change {
	enum change_kind what;
	enum kind kind;
	const char *name;			/* lent from one of: */
	const struct definition *to;		/* NULL: removed */
	const struct stored *from;		/* NULL: added */
	bool reschedules;			/* an event whose schedule is new */
};
struct changes {
	struct change *at;
	size_t n, room;
	size_t same;
};

int definition_read_all(PGconn *, struct stored_list *, struct err *);
const struct stored *definition_find(const struct stored_list *, enum kind, const char *name);
void stored_list_done(struct stored_list *);

/* What loading MODEL would do; PRUNE removes what the model has not. */
int definition_compare(const struct model *, const struct stored_list *, bool prune,
    struct changes *, struct err *);
void changes_done(struct changes *);

/* Loading is one transaction: begin (which keeps other loads out), compare,
 * apply, commit; or roll back. */
int definition_begin(PGconn *, struct err *);
int definition_apply(PGconn *, const struct changes *, struct err *);
int definition_end(PGconn *, bool commit, struct err *);
/* After a load, so that the next plan does not take the tables for empty.  A
 * role that may not is no error. */
void definition_analyze(PGconn *);

#endif
