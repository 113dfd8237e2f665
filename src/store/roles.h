/* The roles that people and programs use the books with: tocsin_owner owns them,
 * tocsin_app works with them, tocsin_read looks, tocsin_measure measures and has
 * no right on them at all.
 *
 * Everything here may be repeated: only what is missing is done. */
#ifndef STORE_ROLES_H
#define STORE_ROLES_H

#include <libpq-fe.h>

struct err;

/* Make the roles, give the books to tocsin_owner, and grant the others what they
 * need, in one transaction.  DONE is told each statement that was committed; LEFT
 * those that only a superuser may.  ERR_TEMPFAIL: our role may not. */
int roles_make(PGconn *, void (*done)(void *, const char *sql),
    void (*left)(void *, const char *sql), void *arg, struct err *);

/* Where the books are tocsin_owner's, grant what a migration has added. */
int roles_renew(PGconn *, void (*done)(void *, const char *sql), void *arg, struct err *);

#endif
