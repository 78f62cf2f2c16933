/* wire.h - etcd's messages for the load generator, by protobuf-c: on purpose
 * not the code that the server under test uses. */
#ifndef TEST_KVLOAD_WIRE_H
#define TEST_KVLOAD_WIRE_H

#include "test/e2e/kvload/history.h"

struct arena;
struct net_bytes;

#define WIRE_KVS_MAX 4096

struct wire_answer {
    uint64_t member;
    uint64_t term;
    int64_t rev;
    bool succeeded;
    int64_t count;
    struct seen_kv *kvs; /* Of the range in it, if there is one. */
    size_t kv_count;
    const char *wrong; /* Not NULL: the answer makes no sense. */
};

struct wire_watch {
    int64_t rev, id;
    bool created, canceled;
    int64_t compact_rev;
    const char *reason;
    struct seen_event *events;
    size_t count;
    const char *wrong;
};

/* The caller owns the bytes. */
struct net_bytes *wire_range(uint32_t first, uint32_t count, bool stale, int64_t rev);
struct net_bytes *wire_put(uint32_t key, uint64_t id, size_t value_bytes);
struct net_bytes *wire_delete_mark(uint32_t key, uint32_t mark, uint64_t id, size_t value_bytes);
struct net_bytes *wire_pair(uint32_t key, uint64_t id, size_t value_bytes);
struct net_bytes *wire_counter(uint32_t key, int64_t expect, uint64_t id, size_t value_bytes);
struct net_bytes *wire_leased(uint32_t key, int64_t lease, uint64_t id, size_t value_bytes);
struct net_bytes *wire_lease_grant(int64_t ttl_s);
struct net_bytes *wire_lease_keepalive(int64_t lease);
struct net_bytes *wire_lease_revoke(int64_t lease);
struct net_bytes *wire_compact(int64_t rev);
struct net_bytes *wire_watch_create(uint32_t first, uint32_t count, int64_t rev, int64_t id);
struct net_bytes *wire_watch_progress(void);

int wire_range_answer(struct arena *a, struct str bytes, struct wire_answer *ret);
int wire_put_answer(struct arena *a, struct str bytes, struct wire_answer *ret);
int wire_txn_answer(struct arena *a, struct str bytes, struct wire_answer *ret);
int wire_lease_grant_answer(struct arena *a, struct str bytes, int64_t *ret_id, int64_t *ret_ttl_s);
int wire_lease_keepalive_answer(struct arena *a, struct str bytes, int64_t *ret_ttl_s);
int wire_watch_answer(struct arena *a, struct str bytes, struct wire_watch *ret);

#endif
