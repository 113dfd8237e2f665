/* Deliveries as rows: claimed for a lease, attempted, settled. */
#ifndef STORE_DELIVERY_H
#define STORE_DELIVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <libpq-fe.h>
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

/* Which delivery a message is about. */
struct delivery_key {
	int64_t run;
	char *event, *reaction;
};
struct delivery_keys {
	struct delivery_key *at;
	size_t n, room;
};
void delivery_keys_done(struct delivery_keys *);
void delivery_read_keys(const PGresult *, struct delivery_keys *);

struct delivery_claim {
	const char *worker;
	span lease;
	bool shell;			/* it may run commands; else those stay pending */
	bool celery;			/* it can send tasks; else those do */
};

/* Claim those of N deliveries that are pending and due, and of their event and
 * reaction the oldest; or up to N of all such ones. */
void delivery_say_claim(struct pg *, const struct delivery_claim *,
    const struct delivery_key *, size_t n);
void delivery_say_claim_due(struct pg *, const struct delivery_claim *, int n);
/* The answer's last result. */
size_t delivery_read_claim(const struct pg_answer *, struct due_delivery **);

/* Another lease for N deliveries that are under way. */
void delivery_say_renew(struct pg *, const struct due_delivery *const *, size_t n,
    span lease);

/* Give them back as if they had never been claimed; the keys come back. */
void delivery_say_hand_back(struct pg *, const struct due_delivery *const *rows, size_t n,
    span lease);

/* The attempt's end: ERROR is NULL when it was delivered.  After MOST attempts
 * it is failed, before that due again after BACKOFF, doubled each time. */
void delivery_say_end(struct pg *, const struct due_delivery *, const char *error,
    int most, span backoff);

/* It could not be begun, which is no attempt: due again after WAIT. */
void delivery_say_postpone(struct pg *, const struct due_delivery *, const char *error,
    span wait);

/* Those whose lease has run out: pending again, or after MOST attempts failed. */
void delivery_say_lost(struct pg *, int most);

/* Those of which a message is to be sent (again): is there one?  Stamp them for
 * a lease and return their keys, but none if they are no more than MESSAGES. */
void delivery_say_wait(struct pg *);
void delivery_say_again(struct pg *, span lease, int64_t messages);

#endif
