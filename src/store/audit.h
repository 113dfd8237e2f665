/* Who loaded what: tocsin.audit has a row for each change of a definition.
 *
 * When and by which login the database says itself; the user and the host are
 * what this process knows of them. */
#ifndef STORE_AUDIT_H
#define STORE_AUDIT_H

#include <libpq-fe.h>

struct changes;
struct err;

/* In the transaction of the load, behind definition_apply(). */
int audit_write(PGconn *, const struct changes *, struct err *);

#endif
