/* flows.h - ends connections that the kernel tracks.
 *
 * What connection tracking knows is let through without being judged again, and
 * it outlives the pod whose it was: a datagram's flow by minutes, a connection
 * whose end nobody saw by days. Reads all flows of the machine, and blocks: call from a job. */
#ifndef KUBELET_FLOWS_H
#define KUBELET_FLOWS_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct error;

/* One direction of a flow. */
struct flow_tuple {
    struct str source, destination; /* Addresses: 4 or 16 bytes. */
    uint8_t protocol;
    uint16_t source_port, destination_port; /* As on the wire; 0: it has none. */
};

/* Ends the flows of a family (AF_INET, AF_INET6) for which is_over() says so: original is what was
 * sent first, reply what comes back, behind a translation. */
int flows_end_if(uint8_t family,
                 bool (*is_over)(const struct flow_tuple *original, const struct flow_tuple *reply,
                                 void *arg),
                 void *arg, struct error *err);
/* All that comes from or goes to one of these addresses, of either family, before or behind a
 * translation. */
int flows_end(const char *const *ips, size_t count, struct error *err);

#endif
