/* admin.h - what the services of administration share: Auth, Cluster,
 * Maintenance, Lock and Election. */
#ifndef RAFTSTORE_ETCD_ADMIN_H
#define RAFTSTORE_ETCD_ADMIN_H

#include "raftstore/etcd/server_internal.h"

extern const struct etcd_service etcd_auth_service, etcd_cluster_service, etcd_maintenance_service,
    etcd_lock_service, etcd_election_service, etcd_health_service;

extern const struct etcd_route_list etcd_gateway_routes;

/* An answer that has a header and nothing else. */
void admin_reply_header(struct etcd_call *c);

/* May do what needs the role root; else the call has ended. */
bool admin_allow_root(struct etcd_call *c);

/* Lock and Election are clients of their own server in etcd: what fails there comes out
 * with its text, but under the code Unknown. */
void admin_fail_unknown(struct etcd_call *c, const struct etcd_fault *f);

/* hash.c */
void admin_on_hash(struct etcd_call *c, struct str message);
void admin_on_hash_kv(struct etcd_call *c, struct str message);
void admin_hash_gone(struct etcd_call *c);
/* snapshot_stream.c */
void admin_on_snapshot(struct etcd_call *c, struct str message);
void admin_snapshot_gone(struct etcd_call *c);
/* election.c, election_observe.c */
void election_fill_kv(const struct kv *kv, Mvccpb__KeyValue *ret); /* Borrows. */
void election_on_observe(struct etcd_call *c, struct str message);
void election_observe_gone(struct etcd_call *c);
/* authenticate.c */
void admin_on_authenticate(struct etcd_call *c, struct str message);

/* For responses: into the call's arena. */
static inline ProtobufCBinaryData admin_bytes(struct str s)
{
    return (ProtobufCBinaryData){s.len, (uint8_t *)(uintptr_t)s.data};
}
static inline struct str admin_str(ProtobufCBinaryData b)
{
    return str_n((const char *)b.data, b.len);
}

#endif
