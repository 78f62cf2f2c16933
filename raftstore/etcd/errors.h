/* errors.h - what etcd's clients are told when something fails: gRPC status and
 * exact text, which clients compare. */
#ifndef RAFTSTORE_ETCD_ERRORS_H
#define RAFTSTORE_ETCD_ERRORS_H

#include "lib/net/grpc.h"
#include "raftstore/etcd/token.h"

/* X(name, gRPC status without its prefix, text behind "etcdserver: ") */
#define ETCD_ERRORS(X)                                                                             \
    X(empty_key, INVALID_ARGUMENT, "key is not provided")                                          \
    X(key_not_found, INVALID_ARGUMENT, "key not found")                                            \
    X(value_provided, INVALID_ARGUMENT, "value is provided")                                       \
    X(lease_provided, INVALID_ARGUMENT, "lease is provided")                                       \
    X(too_many_ops, INVALID_ARGUMENT, "too many operations in txn request")                        \
    X(duplicate_key, INVALID_ARGUMENT, "duplicate key given in txn request")                       \
    X(invalid_client_api_version, INVALID_ARGUMENT, "invalid client api version")                  \
    X(invalid_sort_option, INVALID_ARGUMENT, "invalid sort option")                                \
    X(compacted, OUT_OF_RANGE, "mvcc: required revision has been compacted")                       \
    X(future_rev, OUT_OF_RANGE, "mvcc: required revision is a future revision")                    \
    X(no_space, RESOURCE_EXHAUSTED, "mvcc: database space exceeded")                               \
    X(lease_not_found, NOT_FOUND, "requested lease not found")                                     \
    X(lease_exists, FAILED_PRECONDITION, "lease already exists")                                   \
    X(lease_ttl_too_large, OUT_OF_RANGE, "too large lease TTL")                                    \
    X(watch_canceled, CANCELLED, "watch canceled")                                                 \
    X(member_exists, FAILED_PRECONDITION, "member ID already exist")                               \
    X(peer_url_exists, FAILED_PRECONDITION, "Peer URLs already exists")                            \
    X(member_not_enough_started, FAILED_PRECONDITION,                                              \
      "re-configuration failed due to not enough started members")                                 \
    X(member_bad_urls, INVALID_ARGUMENT, "given member URLs are invalid")                          \
    X(member_not_found, NOT_FOUND, "member not found")                                             \
    X(member_not_learner, FAILED_PRECONDITION, "can only promote a learner member")                \
    X(learner_not_ready, FAILED_PRECONDITION,                                                      \
      "can only promote a learner member which is in sync with leader")                            \
    X(too_many_learners, FAILED_PRECONDITION, "too many learner members in cluster")               \
    X(cluster_id_mismatch, FAILED_PRECONDITION, "cluster ID mismatch")                             \
    X(request_too_large, INVALID_ARGUMENT, "request is too large")                                 \
    X(too_many_requests, RESOURCE_EXHAUSTED, "too many requests")                                  \
    X(root_user_missing, FAILED_PRECONDITION, "root user does not exist")                          \
    X(root_role_missing, FAILED_PRECONDITION, "root user does not have root role")                 \
    X(user_exists, FAILED_PRECONDITION, "user name already exists")                                \
    X(user_empty, INVALID_ARGUMENT, "user name is empty")                                          \
    X(user_not_found, FAILED_PRECONDITION, "user name not found")                                  \
    X(role_exists, FAILED_PRECONDITION, "role name already exists")                                \
    X(role_not_found, FAILED_PRECONDITION, "role name not found")                                  \
    X(role_empty, INVALID_ARGUMENT, "role name is empty")                                          \
    X(auth_failed, INVALID_ARGUMENT, "authentication failed, invalid user ID or password")         \
    X(permission_not_given, INVALID_ARGUMENT, "permission not given")                              \
    X(permission_denied, PERMISSION_DENIED, "permission denied")                                   \
    X(role_not_granted, FAILED_PRECONDITION, "role is not granted to the user")                    \
    X(permission_not_granted, FAILED_PRECONDITION, "permission is not granted to the role")        \
    X(auth_not_enabled, FAILED_PRECONDITION, "authentication is not enabled")                      \
    X(invalid_auth_token, UNAUTHENTICATED, "invalid auth token")                                   \
    X(invalid_auth_mgmt, INVALID_ARGUMENT, "invalid auth management")                              \
    X(auth_old_revision, INVALID_ARGUMENT, "revision of auth store is old")                        \
    X(no_leader, UNAVAILABLE, "no leader")                                                         \
    X(not_leader, FAILED_PRECONDITION, "not leader")                                               \
    X(leader_changed, UNAVAILABLE, "leader changed")                                               \
    X(not_capable, FAILED_PRECONDITION, "not capable")                                             \
    X(stopped, UNAVAILABLE, "server stopped")                                                      \
    X(timeout, UNAVAILABLE, "request timed out")                                                   \
    X(timeout_leader_fail, UNAVAILABLE,                                                            \
      "request timed out, possibly due to previous leader failure")                                \
    X(timeout_connection_lost, UNAVAILABLE, "request timed out, possibly due to connection lost")  \
    X(unhealthy, UNAVAILABLE, "unhealthy cluster")                                                 \
    X(corrupt, DATA_LOSS, "corrupt cluster")                                                       \
    X(not_supported_for_learner, UNAVAILABLE, "rpc not supported for learner")                     \
    X(bad_leader_transferee, FAILED_PRECONDITION, "bad leader transferee")                         \
    X(downgrade_version_format, INVALID_ARGUMENT, "wrong downgrade target version format")         \
    X(downgrade_target_version, INVALID_ARGUMENT, "invalid downgrade target version")              \
    X(cluster_version_unavailable, FAILED_PRECONDITION,                                            \
      "cluster version not found during downgrade")                                                \
    X(downgrade_in_process, FAILED_PRECONDITION, "cluster has a downgrade job in progress")        \
    X(no_inflight_downgrade, FAILED_PRECONDITION, "no inflight downgrade job")                     \
    X(canceled, CANCELLED, "request canceled")                                                     \
    X(deadline_exceeded, DEADLINE_EXCEEDED, "context deadline exceeded")

#define X(name, status, text) extern const struct etcd_fault etcd_err_##name;
ETCD_ERRORS(X)
#undef X

/* What stands for an E_* code of the store where the caller knows nothing better:
 * E_EXPIRED is compacted, E_FUTURE_REV future_rev, E_UNAVAILABLE and
 * E_UNKNOWN_OUTCOME timeout, E_TOO_MANY too_many_requests, ... Never NULL. */
const struct etcd_fault *etcd_fault_of_code(int code);

#endif
