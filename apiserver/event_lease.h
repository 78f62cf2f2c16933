/* event_lease.h - the store leases under which Events live: --event-ttl.
 *
 * One lease serves all events of a minute or of a twentieth of their time, so that few leases
 * exist. One instance per server thread; loop-confined. */
#ifndef APISERVER_EVENT_LEASE_H
#define APISERVER_EVENT_LEASE_H

#include "lib/base/base.h"

struct server_thread;

/* Or a twentieth of the time, as upstream. */
#define EVENT_LEASE_SHARED_S 60
#define EVENT_LEASE_SHARED_PARTS 20

struct event_lease {
    int64_t id; /* 0: none yet. */
    uint64_t made_ms;
};

/* Calls cb on the loop, later or at once, with a lease to put an event under;
 * code is not 0 when the store gave none. */
void event_lease_get(struct server_thread *t, void (*cb)(int code, int64_t id, void *arg),
                     void *arg);

#endif
