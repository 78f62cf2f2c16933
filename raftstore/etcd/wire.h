/* wire.h - etcd's frequent messages as protobuf bytes, by hand: straight between the
 * socket's bytes and struct txn, struct kv and events. Pure.
 *
 * Decoding follows etcd's own (gogo protobuf): unknown fields are skipped, the last
 * of a repeated scalar or oneof counts, a known field of another wire type is an
 * error. Strings are views into the message. */
#ifndef RAFTSTORE_ETCD_WIRE_H
#define RAFTSTORE_ETCD_WIRE_H

#include "raftstore/etcd/server_internal.h"
#include "raftstore/events.h"
#include "raftstore/txn.h"

struct arena;

/* A message that does not decode, as grpc-go says it. */
extern const struct etcd_fault etcd_err_unmarshal;

/* --- requests; NULL: decoded --- */
const struct etcd_fault *etcd_decode_range(struct str message, struct txn_op *ret,
                                           bool *ret_serializable);
const struct etcd_fault *etcd_decode_put(struct str message, struct txn_op *ret);
const struct etcd_fault *etcd_decode_delete(struct str message, struct txn_op *ret);
/* Arrays in the arena. More than TXN_OPS_MAX operations: too_many_ops. ret_serializable:
 * all ranges are. */
const struct etcd_fault *etcd_decode_txn(struct arena *a, struct str message, struct txn *ret,
                                         bool *ret_serializable);
const struct etcd_fault *etcd_decode_compact(struct str message, int64_t *ret_rev,
                                             bool *ret_physical);
/* Messages of two numbers at most: fields 1 and 2, both varints. Lease's. */
const struct etcd_fault *etcd_decode_pair(struct str message, int64_t *ret_1, int64_t *ret_2);

enum etcd_watch_request_type { WATCH_NOTHING, WATCH_CREATE, WATCH_CANCEL, WATCH_PROGRESS };
struct etcd_watch_request {
    enum etcd_watch_request_type type;
    int64_t watch_id;
    struct str key, range_end;
    int64_t start_rev;
    bool progress_notify, no_put, no_delete, prev_kv, fragment;
};
const struct etcd_fault *etcd_decode_watch(struct str message, struct etcd_watch_request *ret);

/* What etcd's server refuses before anything else (txn_check() comes after). */
const struct etcd_fault *etcd_check_op_shape(const struct txn_op *op);
const struct etcd_fault *etcd_check_txn_shape(const struct txn *t, uint32_t ops_max);

/* --- writing: sizes first, then bytes to memory that is large enough --- */
static inline size_t varint_size(uint64_t v)
{
    return v == 0 ? 1 : (size_t)(70 - __builtin_clzll(v)) / 7;
}
static inline uint8_t *varint_put(uint8_t *p, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        *p++ = (uint8_t)(v | 0x80);
    *p++ = (uint8_t)v;
    return p;
}
/* A field with a one-byte tag; nothing for zero, as proto3 has it. */
static inline size_t number_size(int64_t v)
{
    return v == 0 ? 0 : 1 + varint_size((uint64_t)v);
}
static inline uint8_t *number_put(uint8_t *p, unsigned field, int64_t v)
{
    if (v == 0)
        return p;
    *p++ = (uint8_t)(field << 3);
    return varint_put(p, (uint64_t)v);
}
static inline size_t bytes_size(size_t len)
{
    return 1 + varint_size(len) + len;
}
/* Tag and length of a field of len bytes. */
static inline uint8_t *bytes_head_put(uint8_t *p, unsigned field, size_t len)
{
    *p++ = (uint8_t)(field << 3 | 2);
    return varint_put(p, len);
}
uint8_t *bytes_put(uint8_t *p, unsigned field, struct str s);

/* mvccpb.KeyValue, without tag and length. A tombstone shows key and mod_revision. */
size_t etcd_kv_size(const struct kv *kv, bool keys_only);
uint8_t *etcd_kv_put(uint8_t *p, const struct kv *kv, bool keys_only);
/* A list of them as field `field`, with tags and lengths. */
size_t etcd_kvs_size(const struct kv *const *kvs, size_t count, bool keys_only);
uint8_t *etcd_kvs_put(uint8_t *p, unsigned field, const struct kv *const *kvs, size_t count,
                      bool keys_only);
/* Field 1 of every response, tag and length included. */
#define ETCD_HEADER_BYTES_MAX 48
size_t etcd_header_size(const struct etcd_header *h);
uint8_t *etcd_header_put(uint8_t *p, const struct etcd_header *h);
/* Field 11 of a WatchResponse, tag and length included. */
size_t etcd_event_size(const struct event *e, bool prev);
uint8_t *etcd_event_put(uint8_t *p, const struct event *e, bool prev);

/* --- whole responses; the caller owns the reference --- */
struct net_bytes *etcd_encode_put(const struct etcd_header *h, const struct op_result *r);
struct net_bytes *etcd_encode_delete(const struct etcd_header *h, const struct op_result *r);
/* The size of everything but the kvs, which stand between head and tail. */
struct net_bytes *etcd_encode_range(const struct etcd_header *h, const struct op_result *r,
                                    bool keys_only);
size_t etcd_range_tail_size(bool more, int64_t count);
uint8_t *etcd_range_tail_put(uint8_t *p, bool more, int64_t count);
/* t is what r answers. NULL: larger than a message can be. */
struct net_bytes *etcd_encode_txn(const struct etcd_header *h, const struct txn *t,
                                  const struct txn_result *r);
/* A response with nothing but a header and numbers in fields 2, 3, ... */
struct net_bytes *etcd_encode_numbers(const struct etcd_header *h, const int64_t *numbers,
                                      size_t count);

#endif
