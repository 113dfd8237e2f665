/* Leases: ours are renewed in time. */
#ifndef ENGINE_LEASE_H
#define ENGINE_LEASE_H

/* Of the worker's timer, which it starts again, or at once. */
void lease_renew(void *worker);

#endif
