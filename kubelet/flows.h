/* flows.h - ends connections that the kernel tracks, by address.
 *
 * What connection tracking knows is let through without being judged again, and
 * it outlives the pod whose it was: a datagram's flow by minutes, a connection
 * whose end nobody saw by days. */
#ifndef KUBELET_FLOWS_H
#define KUBELET_FLOWS_H

#include "lib/base/base.h"

struct error;

/* Forgets all that comes from or goes to one of these addresses, of either family, before or
 * behind a translation. Reads all flows of the machine, and blocks: call from a job. */
int flows_end(const char *const *ips, size_t count, struct error *err);

#endif
