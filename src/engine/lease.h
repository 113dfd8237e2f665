/* Leases: ours are renewed in time, and those that ran out are swept up. */
#ifndef ENGINE_LEASE_H
#define ENGINE_LEASE_H

/* Callbacks of timers; ARG is the worker.  Each starts its timer again. */
void lease_renew(void *arg);
void lease_sweep(void *arg);

#endif
