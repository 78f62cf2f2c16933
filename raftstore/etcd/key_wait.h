/* key_wait.h - waiting for a change of a key, or of any key with a prefix.
 *
 * One cursor per server thread serves all its waits, by an index of keys; it is
 * there only while somebody waits. To miss nothing: start waiting, then look at
 * a view. What the view shows already may be told again.
 *
 *   key_wait_start() -> store_view() ... on_event(put or delete) ... key_wait_stop() */
#ifndef RAFTSTORE_ETCD_KEY_WAIT_H
#define RAFTSTORE_ETCD_KEY_WAIT_H

#include "lib/base/list.h"
#include "raftstore/kv.h"

struct etcd_thread;
struct key_waits;

struct key_wait {
    struct str key; /* Borrowed while waiting. */
    bool prefix;
    /* event NULL: changes may have been missed, look again. May start and stop any
     * wait, this one too. rev: of the change. */
    void (*on_event)(struct key_wait *w, const struct event *event, int64_t rev);
    /* Of the waits. */
    struct key_waits *waits; /* NULL: not waiting. */
    struct list link, all_link;
};

/* key, prefix and on_event are set. */
void key_wait_start(struct etcd_thread *t, struct key_wait *w);
void key_wait_stop(struct key_wait *w); /* Not waiting: no-op. */

#endif
