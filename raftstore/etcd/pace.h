/* pace.h - long answers give way: while the member takes writes, a list or a
 * snapshot uses only a part of each millisecond, so that what it costs the
 * processors and the network does not add up to a delay of writes.
 *
 * Without writes there is no limit. Of the call's thread. */
#ifndef RAFTSTORE_ETCD_PACE_H
#define RAFTSTORE_ETCD_PACE_H

#include <stdbool.h>
#include <stddef.h>

struct deferred;
struct etcd_pace;
struct etcd_thread;

/* step is posted to the thread after a rest. */
struct etcd_pace *etcd_pace_new(struct etcd_thread *t, struct deferred *step);
void etcd_pace_free(struct etcd_pace *p); /* Cancels nothing but the rest. NULL is a no-op. */
/* So many bytes, or work worth as much, were done since the last call. True: the
 * job is to return now; step comes. Again while it rests: true. */
bool etcd_pace_rests(struct etcd_pace *p, size_t bytes);

#endif
