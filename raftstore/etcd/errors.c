/* errors.c - see errors.h. */
#include "raftstore/etcd/errors.h"

#include "lib/base/error.h"

#define X(name, status, text)                                                                      \
    const struct etcd_fault etcd_err_##name = {GRPC_##status, "etcdserver: " text};
ETCD_ERRORS(X)
#undef X

static const struct etcd_fault INTERNAL_FAULT = {GRPC_UNKNOWN, "etcdserver: internal error"};

const struct etcd_fault *etcd_fault_of_code(int code)
{
    switch (code) {
    case E_EXPIRED:
        return &etcd_err_compacted;
    case E_FUTURE_REV:
        return &etcd_err_future_rev;
    case E_NO_SPACE:
        return &etcd_err_no_space;
    case E_TOO_LARGE:
        return &etcd_err_request_too_large;
    case E_TOO_MANY:
    case E_NO_MEMORY:
        return &etcd_err_too_many_requests;
    case E_CORRUPT:
        return &etcd_err_corrupt;
    case E_CLOSED:
        return &etcd_err_stopped;
    case E_NOT_LEADER:
        return &etcd_err_not_leader;
    case E_UNAVAILABLE:
    case E_UNKNOWN_OUTCOME:
    case E_TIMEOUT:
    case E_AGAIN:
        return &etcd_err_timeout;
    case E_CANCELED:
        return &etcd_err_canceled;
    default:
        return &INTERNAL_FAULT;
    }
}
