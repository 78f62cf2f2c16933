/* lease.h - leases and the keys attached to them.
 *
 * Id, ttl and renewals are replicated state; the deadline is this member's own
 * and only decides when the leader proposes the expiry.
 *
 * Attached keys are not indexed but remembered: a lease keeps the versions put
 * under it and asks the tree which of them are current still. Those that are not
 * are dropped when they outnumber the others. */
#ifndef RAFTSTORE_LEASE_H
#define RAFTSTORE_LEASE_H

#include "lib/base/heap.h"
#include "lib/base/map.h"
#include "raftstore/tree.h"

#define LEASE_TTL_MAX_S INT64_C(9000000000) /* As etcd's. */

struct lease {
    int64_t id;
    int64_t ttl_s;
    uint64_t renewals; /* Rises with each; begins beyond those of earlier leases. */
    uint64_t deadline_ms;
    uint64_t live;       /* Current versions attached. */
    struct kv_list puts; /* Versions put under the lease, each with a reference. */
    struct heap_node by_deadline;
};

struct leases {
    struct map by_id;
    struct heap by_deadline;
};

void leases_init(struct leases *ls);
void leases_done(struct leases *ls);
size_t leases_count(const struct leases *ls);
/* All of them by rising id; free(). */
struct lease **leases_sorted(const struct leases *ls);
struct lease *leases_get(const struct leases *ls, int64_t id); /* NULL: none. */
/* The earliest; NULL: none. */
struct lease *leases_first_due(const struct leases *ls);
/* Those due at now_ms, at most max. */
size_t leases_due(const struct leases *ls, uint64_t now_ms, struct lease **ret, size_t max);

/* id is new. */
struct lease *lease_add(struct leases *ls, int64_t id, int64_t ttl_s, uint64_t now_ms);
void lease_remove(struct leases *ls, struct lease *l);
/* The whole ttl again, from now on: one lease, all leases. */
void lease_extend(struct leases *ls, struct lease *l, uint64_t now_ms);
void leases_extend(struct leases *ls, uint64_t now_ms);
/* kv, now current in root, was put under l. */
void lease_attach(struct lease *l, const struct kv *kv, struct tree_root root);
/* A version put under l is not current any more. */
void lease_detach(struct lease *l);
/* Current versions, sorted by key if asked: drops all others. Borrowed until the
 * next call. */
const struct kv_list *lease_keys(struct lease *l, struct tree_root root, bool sorted);

#endif
