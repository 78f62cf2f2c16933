/* txn.h - a transaction: compares, then one of two lists of operations.
 *
 * The request is built by the caller, encoded once, replicated, and applied by
 * every member in the same way. Semantics and names follow etcd's KV.Txn. */
#ifndef RAFTSTORE_TXN_H
#define RAFTSTORE_TXN_H

#include "raftstore/kv.h"

#include <stdbool.h>

struct arena;
struct buf;
struct error;

enum cmp_target { CMP_VERSION, CMP_CREATE, CMP_MOD, CMP_VALUE, CMP_LEASE };
enum cmp_result { CMP_EQUAL, CMP_GREATER, CMP_LESS, CMP_NOT_EQUAL };

struct txn_cmp {
    struct str key;
    struct str range_end; /* Empty: the one key. "\0": from key on. */
    enum cmp_target target;
    enum cmp_result result;
    int64_t number;   /* For all targets but CMP_VALUE. */
    struct str value; /* For CMP_VALUE. */
};

enum sort_order { SORT_NONE, SORT_ASCEND, SORT_DESCEND };
enum sort_target { SORT_KEY, SORT_VERSION, SORT_CREATE, SORT_MOD, SORT_VALUE };
enum op_type { OP_RANGE, OP_PUT, OP_DELETE, OP_TXN };

struct txn;

struct txn_op {
    enum op_type type;
    struct str key;
    struct str range_end; /* Range and delete; as in txn_cmp. */
    /* OP_PUT */
    struct str value;
    int64_t lease;
    bool ignore_value;
    bool ignore_lease;
    bool prev_kv; /* Put and delete: return what was there. */
    /* OP_RANGE */
    int64_t rev;   /* 0: newest. */
    int64_t limit; /* 0: none. */
    bool keys_only;
    bool count_only;
    /* 0: no bound. Versions outside do not appear; count and limit count before
     * (count) and after (limit) the filter, as etcd's do. */
    int64_t min_mod_rev, max_mod_rev, min_create_rev, max_create_rev;
    enum sort_target sort_target;
    enum sort_order sort_order; /* SORT_NONE: by rising key, unless the target is another. */
    /* OP_TXN */
    const struct txn *txn;
};

struct txn {
    const struct txn_cmp *cmps;
    uint32_t cmp_count;
    const struct txn_op *success; /* When every compare holds. */
    uint32_t success_count;
    const struct txn_op *failure;
    uint32_t failure_count;
    /* Of the outermost transaction: the revision of the users and roles by which
     * it was allowed; refused when they changed since. 0: not checked. */
    uint64_t auth_rev;
};

struct op_result {
    enum op_type type;
    const struct kv *
        *kvs; /* Range: results. Put/delete with prev_kv: what was there. Counted references. */
    uint32_t kv_count;
    int64_t count; /* Range: all that match. Delete: how many went. */
    bool more;     /* Range: limit cut it short. */
    struct txn_result *txn;
};

/* What E_NOT_FOUND and E_CONFLICT stand for. */
enum txn_refusal {
    TXN_REFUSED_NOT,
    TXN_REFUSED_LEASE, /* E_NOT_FOUND: the lease. */
    TXN_REFUSED_KEY,   /* E_NOT_FOUND: ignore_value or ignore_lease without a key. */
    TXN_REFUSED_AUTH,  /* E_CONFLICT: auth_rev is old. */
};

struct txn_result {
    int code; /* 0, or E_*: refused as a whole (E_NO_SPACE, E_NOT_FOUND lease, ...). */
    enum txn_refusal refusal;
    bool succeeded;
    int64_t rev; /* The store's revision after the transaction. */
    struct op_result *ops;
    uint32_t op_count;
};

#define TXN_OPS_MAX 1024 /* Compares and operations together, nested ones counted. */
#define TXN_DEPTH_MAX 16 /* A transaction without nested ones has depth 1. */

/* What etcd's server refuses before it proposes: empty keys, a value beside
 * ignore_value, a key put twice or put and deleted by branches that may both
 * run, too many operations, nested too deep. E_INVALID with etcd's text. Checked
 * again when applied. */
int txn_check(const struct txn *t, struct error *err);
/* True when a branch holds a put: what a full store refuses. */
bool txn_puts(const struct txn *t);

/* Does the compare hold for one key of its range? kv NULL: the range holds none,
 * which counts as one with all numbers 0 and a value that fits nothing. */
bool txn_cmp_holds(const struct txn_cmp *c, const struct kv *kv);
/* Has the range bounds on revisions, and is kv within them? */
bool txn_op_filters(const struct txn_op *op);
bool txn_op_passes(const struct txn_op *op, const struct kv *kv);

/* Holds what the first command format cannot express: see command.h. */
bool txn_is_extended(const struct txn *t);
/* Without auth_rev, which stands beside it in a command. t must pass txn_check(). */
void txn_encode(const struct txn *t, struct buf *out);
/* Bounded; strings are views into bytes, arrays in the arena. Does not imply
 * txn_check(). E_INVALID. */
int txn_decode(struct arena *a, struct str bytes, struct txn *ret, struct error *err);

/* A result may move to another thread and be freed there. NULL is a no-op. */
struct txn_result *txn_result_new(uint32_t op_count);
void txn_result_free(struct txn_result *r);
void op_result_done(struct op_result *r); /* Drops what it refers to; not the struct itself. */

/* True when key lies in [start, range_end) as etcd reads the pair: range_end
 * empty is the one key, "\0" everything from start on. */
bool range_has(struct str start, struct str range_end, struct str key);

#endif
