/* The schema and its versions: numbered files of sql/, built into the program.
 *
 * Applied migrations are recorded in tocsin.migration with a hash.  A program
 * refuses books that are newer than itself, and commands other than init
 * refuse books that are older. */
#ifndef STORE_MIGRATE_H
#define STORE_MIGRATE_H

#include <libpq-fe.h>
#include <stdbool.h>

struct err;
struct pg;
struct pg_answer;

struct migration {
	int version;			/* from 1, without gaps */
	const char *name, *sql;
};
extern const struct migration migrations[];
extern const int migrations_count;

/* Create the schema or bring it up to date, one transaction a migration, under
 * a lock: a second init waits, one that was killed is taken up where it stopped.
 * APPLIED is told each migration; may be NULL. */
int migrate(PGconn *, void (*applied)(const struct migration *), struct err *);

/* -1 (ERR_CONFIG) unless the books have exactly this program's version. */
int migrate_check(PGconn *, struct err *);
/* The same of a VERSION that was read elsewhere, 0: no books. */
int migrate_judge(int version, const char *database, struct err *);

/* For those who go on while the books are upgraded: NOT_NEWER(n) is a condition
 * of SQL, its parameter $n is migrate_known(); what is said last in a group is
 * answered with the version. */
#define NOT_NEWER(n) \
	"not exists (select from tocsin.migration where version > $" n "::integer)"
const char *migrate_known(void);
void migrate_say_version(struct pg *);
/* The version if it is newer than this program, else 0. */
int migrate_read_newer(const struct pg_answer *);
int migrate_refuse(int version, struct err *);	/* always -1, ERR_CONFIG */

#endif
