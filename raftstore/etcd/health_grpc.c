/* health_grpc.c - grpc.health.v1: what balancers and orchestrators ask. The server as a
 * whole is the service ""; no other has a state of its own. */
#include "lib/net/bytes.h"
#include "raftstore/etcd/admin.h"
#include "raftstore/wire.h"

enum serving { UNKNOWN = 0, SERVING = 1, NOT_SERVING = 2, SERVICE_UNKNOWN = 3 };

/* HealthCheckRequest: field 1 is the service's name. False: malformed. */
static bool read_service(struct str message, struct str *ret)
{
    struct wire r = wire_of(message);
    *ret = STR_NULL;
    while (wire_left(&r) > 0 && !r.bad) {
        uint64_t tag = wire_varint(&r);
        if ((tag & 7) == 2) {
            struct str s = wire_str(&r, message.len);
            *ret = tag >> 3 == 1 ? s : *ret;
        } else if ((tag & 7) == 0) {
            wire_varint(&r);
        } else {
            return false;
        }
    }
    return !r.bad;
}

static enum serving state_of(struct etcd_call *c, struct str service)
{
    struct store_status status;
    if (!str_empty(service))
        return SERVICE_UNKNOWN;
    store_status(etcd_thread_store(c->thread), &status);
    return status.failed || status.removed ? NOT_SERVING : SERVING;
}

/* HealthCheckResponse: field 1, a varint. */
static struct net_bytes *encode(enum serving s)
{
    const uint8_t bytes[] = {0x08, (uint8_t)s};
    return net_bytes_copy(bytes, sizeof(bytes));
}

static void on_check(struct etcd_call *c, struct str message)
{
    struct str service;
    if (!read_service(message, &service)) {
        etcd_call_fail_text(c, GRPC_INTERNAL, "grpc: error unmarshalling request");
        return;
    }
    enum serving s = state_of(c, service);
    if (s == SERVICE_UNKNOWN)
        etcd_call_fail_text(c, GRPC_NOT_FOUND, "unknown service");
    else
        etcd_call_reply(c, encode(s));
}

/* Tells the state now. It changes only on the way to the program's end, which ends
 * the stream, too. */
static void on_watch(struct etcd_call *c, struct str message)
{
    struct str service;
    if (read_service(message, &service))
        etcd_call_send(c, encode(state_of(c, service)));
    else
        etcd_call_fail_text(c, GRPC_INTERNAL, "grpc: error unmarshalling request");
}

static const struct etcd_method methods[] = {
    {.path = "/grpc.health.v1.Health/Check",
     .flags = ETCD_LEARNER | ETCD_NO_AUTH,
     .on_call = on_check},
    {.path = "/grpc.health.v1.Health/Watch",
     .flags = ETCD_LEARNER | ETCD_NO_AUTH | ETCD_WAITS,
     .on_call = on_watch},
};
const struct etcd_service etcd_health_service = {methods, ARRAY_SIZE(methods)};
