/* alloc.c - see alloc.h. */
#include "apiserver/alloc.h"

#include "api/core_v1.h"
#include "apiserver/apiserver.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/service_ips.h"
#include "apiserver/write.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "raftstore/store.h"

#include <inttypes.h>
#include <stdio.h>

#define PORTS_KEY "/registry/ranges/servicenodeports"

int service_ports_parse(struct apiserver *s, struct error *err)
{
    int min, max, used = 0;
    if (sscanf(s->config.service_node_port_range, "%d-%d%n", &min, &max, &used) != 2 ||
        s->config.service_node_port_range[used] != '\0' || min < 1 || max > 65535 || min > max)
        return error_set(err, E_INVALID, "--service-node-port-range: %s is no range of ports",
                         s->config.service_node_port_range);
    s->node_port_min = min;
    s->node_port_max = max;
    return 0;
}

/* --- node ports: a RangeAllocation whose data is a big-endian bitmap ------------------------- */
struct ports {
    const struct kind_ctx *ctx;
    const struct kv *kv;
    uint8_t *bits; /* Little-endian while at work: bit n is port min + n. */
    size_t bytes;
    bool loaded, changed;
};

static void ports_load(struct ports *p)
{
    const struct apiserver *s = p->ctx->server;
    if (p->loaded)
        return;
    p->loaded = true;
    p->bytes = (size_t)(s->node_port_max - s->node_port_min) / 8 + 1;
    p->bits = arena_zalloc(p->ctx->arena, p->bytes);
    p->kv = store_view_get(p->ctx->view, STR(PORTS_KEY), 0);
    struct str raw;
    if (p->kv == NULL || stored_raw(stored_value(p->kv), &raw, NULL) != 0)
        return;
    struct core_v1_range_allocation *ra = ARENA_NEW(p->ctx->arena, struct core_v1_range_allocation);
    if (api_pb_decode(p->ctx->arena, &core_v1_range_allocation_msg, raw, ra, NULL) != 0)
        return;
    for (size_t i = 0; i < ra->data.len && i < p->bytes; i++)
        p->bits[i] = (uint8_t)ra->data.data[ra->data.len - 1 - i];
}

static bool port_in_range(const struct ports *p, int32_t port)
{
    return port >= p->ctx->server->node_port_min && port <= p->ctx->server->node_port_max;
}

static bool port_taken(struct ports *p, int32_t port)
{
    ports_load(p);
    unsigned n = (unsigned)(port - p->ctx->server->node_port_min);
    return (p->bits[n / 8] >> (n % 8)) & 1;
}

static void port_set(struct ports *p, int32_t port, bool taken)
{
    if (!port_in_range(p, port))
        return;
    ports_load(p);
    unsigned n = (unsigned)(port - p->ctx->server->node_port_min);
    uint8_t mask = (uint8_t)(1u << (n % 8));
    p->bits[n / 8] = (uint8_t)(taken ? p->bits[n / 8] | mask : p->bits[n / 8] & ~mask);
    p->changed = true;
}

static void ports_store(struct ports *p, struct txn_build *t)
{
    const struct apiserver *s = p->ctx->server;
    struct arena *a = p->ctx->arena;
    if (!p->changed)
        return;
    size_t n = p->bytes;
    while (n > 0 && p->bits[n - 1] == 0)
        n--;
    char *data = arena_alloc(a, n + 1);
    for (size_t i = 0; i < n; i++)
        data[i] = (char)p->bits[n - 1 - i];
    struct core_v1_range_allocation ra = {
        .range = arena_printf(a, "%" PRId32 "-%" PRId32, s->node_port_min, s->node_port_max),
        .data = str_n(data, n)};
    AUTO_BUF b = BUF_INIT;
    api_envelope_encode(&core_v1_range_allocation_msg, &ra, STR("v1"), STR("RangeAllocation"), &b);
    txn_build_expect(t, STR(PORTS_KEY), p->kv != NULL ? p->kv->mod_rev : 0);
    txn_build_put(t, STR(PORTS_KEY), arena_str(a, buf_str(&b)));
}

static bool wants_node_ports(const struct core_v1_service *s)
{
    if (s == NULL)
        return false;
    if (str_eqc(s->spec.type, "NodePort"))
        return true;
    return str_eqc(s->spec.type, "LoadBalancer") &&
           (!s->spec.has_allocate_load_balancer_node_ports ||
            s->spec.allocate_load_balancer_node_ports);
}

static bool has_port(const struct core_v1_service *s, int32_t port)
{
    for (size_t i = 0; s != NULL && i < s->spec.ports_count; i++)
        if (s->spec.ports[i].node_port == port)
            return true;
    return s != NULL && s->spec.health_check_node_port == port && port != 0;
}

static bool pick_port(struct ports *p, int32_t *ret)
{
    const struct apiserver *s = p->ctx->server;
    uint32_t size = (uint32_t)(s->node_port_max - s->node_port_min + 1);
    uint32_t low = size < 256 ? 0 : MIN_OF(128u, MAX_OF(16u, size / 32));
    uint32_t at = low + (uint32_t)env_random_below(p->ctx->env, size - low);
    for (uint32_t i = 0; i < size; i++, at = (at + 1) % size) {
        *ret = s->node_port_min + (int32_t)at;
        if (!port_taken(p, *ret))
            return true;
    }
    return false;
}

/* The same number may serve two protocols of one service. */
static int32_t sibling_port(const struct core_v1_service *s, size_t at)
{
    const struct core_v1_service_port *p = &s->spec.ports[at];
    for (size_t i = 0; i < s->spec.ports_count; i++)
        if (i != at && s->spec.ports[i].port == p->port &&
            !str_eq(s->spec.ports[i].protocol, p->protocol) && s->spec.ports[i].node_port != 0) {
            bool used = false;
            for (size_t j = 0; j < s->spec.ports_count; j++)
                used =
                    used || (j != i && s->spec.ports[j].node_port == s->spec.ports[i].node_port &&
                             str_eq(s->spec.ports[j].protocol, p->protocol));
            if (!used)
                return s->spec.ports[i].node_port;
        }
    return 0;
}

static void claim_port(struct ports *p, int32_t port, const struct core_v1_service *old, bool again,
                       const struct field_path *path, struct field_errors *errs)
{
    if (has_port(old, port) || again)
        return;
    if (!port_in_range(p, port))
        field_invalid_int(
            errs, path, port,
            "provided port is not in the valid range. The range of valid ports is %" PRId32
            "-%" PRId32,
            p->ctx->server->node_port_min, p->ctx->server->node_port_max);
    else if (port_taken(p, port))
        field_invalid_int(errs, path, port, "provided port is already allocated");
    else
        port_set(p, port, true);
}

static void claim_health_port(struct ports *p, const struct core_v1_service *s,
                              const struct core_v1_service *old, struct field_errors *errs,
                              struct error *err)
{
    int32_t port = s->spec.health_check_node_port,
            had = old != NULL ? old->spec.health_check_node_port : 0;
    struct field_errors refused = {.arena = errs->arena};
    const struct field_path *path = PATH(PATH(PATH_ROOT, "spec"), "healthCheckNodePort");
    if (had != 0 && had != port) {
        field_invalid_int(errs, path, port, "field is immutable");
        return;
    }
    claim_port(p, port, old, false, path, &refused);
    if (refused.count == 0)
        return;
    bool inside = port_in_range(p, port);
    error_set(err, E_INTERNAL, "failed to allocate requested HealthCheck NodePort %" PRId32 ": %s",
              port, inside ? "provided port is already allocated" : "");
    if (!inside)
        error_set(err, E_INTERNAL,
                  "failed to allocate requested HealthCheck NodePort %" PRId32
                  ": provided port is not in the valid range. The range of valid ports is %" PRId32
                  "-%" PRId32,
                  port, p->ctx->server->node_port_min, p->ctx->server->node_port_max);
}

static void allocate_ports(struct ports *p, struct core_v1_service *s,
                           const struct core_v1_service *old, struct field_errors *errs,
                           struct error *err)
{
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    bool wants = wants_node_ports(s);
    for (size_t i = 0; s != NULL && i < s->spec.ports_count; i++) {
        struct core_v1_service_port *sp = &s->spec.ports[i];
        const struct field_path *path = PATH(PATH_INDEX(PATH(spec, "ports"), i), "nodePort");
        bool again = false;
        if (sp->node_port == 0 && wants) {
            sp->node_port = sibling_port(s, i);
            if (sp->node_port != 0)
                continue;
            if (!pick_port(p, &sp->node_port)) {
                field_internal(errs, path, "failed to allocate a nodePort: range is full");
                return;
            }
            port_set(p, sp->node_port, true);
            continue;
        }
        /* One number may serve several protocols of one port. */
        for (size_t j = 0; j < i; j++)
            again = again || (s->spec.ports[j].node_port == sp->node_port &&
                              s->spec.ports[j].port == sp->port);
        if (sp->node_port != 0)
            claim_port(p, sp->node_port, old, again, path, errs);
    }
    bool health = s != NULL && str_eqc(s->spec.type, "LoadBalancer") &&
                  str_eqc(s->spec.external_traffic_policy, "Local");
    if (health && s->spec.health_check_node_port == 0) {
        if (old != NULL && old->spec.health_check_node_port != 0)
            s->spec.health_check_node_port = old->spec.health_check_node_port;
        else if (pick_port(p, &s->spec.health_check_node_port))
            port_set(p, s->spec.health_check_node_port, true);
    } else if (health) {
        claim_health_port(p, s, old, errs, err);
    }
    /* What the old one held and the new one does not. */
    for (size_t i = 0; old != NULL && i < old->spec.ports_count; i++)
        if (old->spec.ports[i].node_port != 0 && !has_port(s, old->spec.ports[i].node_port))
            port_set(p, old->spec.ports[i].node_port, false);
    if (old != NULL && old->spec.health_check_node_port != 0 &&
        !has_port(s, old->spec.health_check_node_port))
        port_set(p, old->spec.health_check_node_port, false);
}

int service_allocate(const struct kind_ctx *ctx, void *obj, const void *old, struct txn_build *t,
                     struct field_errors *errs, struct error *err)
{
    struct core_v1_service *s = obj;
    struct ports p = {.ctx = ctx};
    if (s != NULL)
        service_ips_families(ctx, s, old, errs);
    if (errs->count == 0)
        service_ips_allocate(ctx, s, old, t, errs);
    if (errs->count == 0)
        allocate_ports(&p, s, old, errs, err);
    if (errs->count == 0)
        ports_store(&p, t);
    return err->code;
}
