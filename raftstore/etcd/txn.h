/* txn.h - KV.Txn, and the way of every write: size, permissions, proposal, answer. */
#ifndef RAFTSTORE_ETCD_TXN_H
#define RAFTSTORE_ETCD_TXN_H

#include "raftstore/etcd/server_internal.h"

struct etcd_write;
/* Answers the call, which is open. r is borrowed; it was applied. */
typedef void etcd_write_reply(struct etcd_call *c, const struct etcd_write *w,
                              const struct txn_result *r);

/* A write on its way. Lives, with all that hangs on it, as long as the call is open:
 * in its arena, or until `fail` and on_gone. */
struct etcd_write {
    struct txn txn;
    etcd_write_reply *reply;
    /* Ends the call instead of etcd_call_fail(). May be NULL. */
    void (*fail)(struct etcd_call *c, struct etcd_write *w, const struct etcd_fault *f);
    /* Filled in on the way. */
    unsigned attempts;
    int64_t *leases; /* Whose keys the caller must be allowed to write. */
    size_t lease_count, lease_at;
};

/* Checks, proposes and answers. message_bytes: of the request as it came. The txn has
 * passed the checks of shape. For services that write by themselves, too. */
void etcd_write(struct etcd_call *c, struct etcd_write *w, size_t message_bytes);
/* What a refused or failed transaction is called. r may be NULL. */
const struct etcd_fault *etcd_fault_of_txn(int code, const struct txn_result *r);

void etcd_txn(struct etcd_call *c, struct str message); /* A method's on_call. */

/* The result of a transaction that changes nothing, in a view. 0 or as applying it
 * would. Free with txn_result_free(). */
int etcd_txn_read(const struct store_view *v, const struct txn *t, struct txn_result **ret);

#endif
