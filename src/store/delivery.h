/* Deliveries as rows: claimed for a lease, attempted, settled. */
#ifndef STORE_DELIVERY_H
#define STORE_DELIVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/clock.h"

struct pg;
struct pg_answer;

struct due_delivery {
	int64_t id, version;
	int fence, attempts;
	char *event, *signal, *reaction, *cycle, *key;
	char *payload;			/* the whole signal, as JSON */
};
void due_delivery_done(struct due_delivery *);

/* Claim up to N deliveries that are due (or whose lease has run out); without
 * SHELL, none that runs a command: those stay pending, uncharged.  One that was
 * lost with its worker in the last of its MOST attempts is failed. */
void delivery_say_claim(struct pg *, int n, bool shell, const char *worker, span lease,
    int most);
size_t delivery_read_claim(const struct pg_answer *, struct due_delivery **);

/* Another lease for N deliveries that are under way. */
void delivery_say_renew(struct pg *, const struct due_delivery *const *, size_t n,
    span lease);

/* The attempt's end: ERROR is NULL when it was delivered.  After MOST attempts
 * it is failed, before that due again after BACKOFF, doubled each time. */
void delivery_say_end(struct pg *, const struct due_delivery *, const char *error,
    int most, span backoff);

#endif
