/* alloc.c - see alloc.h. */
#include "apiserver/alloc.h"

#include "api/core_v1.h"
#include "api/networking_v1.h"
#include "apiserver/apiserver.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/validate.h"
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
#define PROBES_MAX 65536u

int service_ranges_parse(struct apiserver *s, struct error *err)
{
    uint8_t ip[16];
    bool v4;
    int min, max, used = 0;
    if (!cidr_parse(str_of(s->config.service_cluster_ip_range), ip, &v4, &s->service_prefix) ||
        !v4 || s->service_prefix < 8 || s->service_prefix > 30)
        return error_set(err, E_INVALID,
                         "--service-cluster-ip-range: %s is no IPv4 range of /8 to /30",
                         s->config.service_cluster_ip_range);
    memcpy(s->service_ip, ip, 4);
    if (sscanf(s->config.service_node_port_range, "%d-%d%n", &min, &max, &used) != 2 ||
        s->config.service_node_port_range[used] != '\0' || min < 1 || max > 65535 || min > max)
        return error_set(err, E_INVALID, "--service-node-port-range: %s is no range of ports",
                         s->config.service_node_port_range);
    s->node_port_min = min;
    s->node_port_max = max;
    return 0;
}

static uint32_t range_base(const struct apiserver *s)
{
    uint32_t ip = (uint32_t)s->service_ip[0] << 24 | (uint32_t)s->service_ip[1] << 16 |
                  (uint32_t)s->service_ip[2] << 8 | s->service_ip[3];
    return ip & ~(uint32_t)((1u << (32 - s->service_prefix)) - 1);
}

static uint32_t range_size(const struct apiserver *s)
{
    return 1u << (32 - s->service_prefix);
}

struct str service_range_ip(struct arena *a, const struct apiserver *s, uint32_t n)
{
    uint32_t ip = range_base(s) + n;
    return arena_printf(a, "%u.%u.%u.%u", ip >> 24, (ip >> 16) & 255, (ip >> 8) & 255, ip & 255);
}

/* --- addresses ---------------------------------------------------------------------------- */
static const struct resource *ip_resource(void)
{
    return registry_storage(STR("networking.k8s.io"), STR("ipaddresses"));
}

static bool ip_taken(const struct kind_ctx *ctx, struct str ip)
{
    return store_view_get(ctx->view, registry_key(ctx->arena, ip_resource(), STR_NULL, ip), 0) !=
           NULL;
}

void service_claim_ip(const struct kind_ctx *ctx, const struct core_v1_service *s, struct str ip,
                      struct txn_build *t)
{
    struct arena *a = ctx->arena;
    AUTO_BUF b = BUF_INIT;
    char uid[37];
    env_uuid(ctx->env, uid);
    struct api_str_entry labels[] = {
        {STR("ipaddress.kubernetes.io/ip-family"), STR("IPv4")},
        {STR("ipaddress.kubernetes.io/managed-by"), STR("ipallocator.k8s.io")}};
    struct networking_v1_parent_reference parent = {
        .resource = STR("services"), .namespace = s->metadata.namespace, .name = s->metadata.name};
    struct networking_v1_ip_address addr = {
        .metadata = {.name = ip,
                     .uid = str_of(uid),
                     .generation = 1,
                     .creation_timestamp = {.seconds = ctx->now_ns / 1000000000},
                     .labels = labels,
                     .labels_count = ARRAY_SIZE(labels)},
        .spec = {.parent_ref = &parent},
    };
    stored_encode(ip_resource(), &addr, &b);
    struct str key = registry_key(a, ip_resource(), STR_NULL, ip);
    txn_build_expect(t, key, 0);
    txn_build_put(t, key, arena_str(a, buf_str(&b)));
}

static void release_ip(const struct kind_ctx *ctx, struct str ip, struct txn_build *t)
{
    txn_build_delete(t, registry_key(ctx->arena, ip_resource(), STR_NULL, ip));
}

/* The lower part of the range is left to those who choose addresses. */
static uint32_t static_part(uint32_t size)
{
    if (size <= 16)
        return 1;
    return MAX_OF(16u, MIN_OF(size / 16, 256u));
}

static bool pick_ip(const struct kind_ctx *ctx, struct str *ret)
{
    const struct apiserver *s = ctx->server;
    uint32_t size = range_size(s), low = static_part(size),
             high = size - 1; /* Without broadcast. */
    uint32_t at = low + (uint32_t)env_random_below(ctx->env, high - low);
    for (uint32_t i = 0; i < MIN_OF(size, PROBES_MAX); i++) {
        *ret = service_range_ip(ctx->arena, s, at);
        if (at != 0 && !ip_taken(ctx, *ret))
            return true;
        at = at + 1 < high ? at + 1 : 1;
    }
    return false;
}

static bool ip_in_range(const struct apiserver *s, struct str ip)
{
    uint8_t b[16];
    bool v4;
    if (!ip_parse(ip, b, &v4) || !v4)
        return false;
    uint32_t n = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    return n > range_base(s) && n < range_base(s) + range_size(s) - 1;
}

static bool headless_spec(const struct core_v1_service_spec *s)
{
    return str_eqc(s->cluster_ip, "None");
}

static bool headless(const struct core_v1_service *s)
{
    return headless_spec(&s->spec);
}

static bool wants_ip(const struct core_v1_service *s)
{
    return s != NULL && !str_eqc(s->spec.type, "ExternalName") && !headless(s);
}

/* A Service without a selector may name families that the cluster has not. */
static void fill_free_families(const struct kind_ctx *ctx, struct core_v1_service_spec *s)
{
    if (s->ip_families_count >= 2 || str_eqc(s->ip_family_policy, "SingleStack")) {
        if (s->ip_families_count == 0) {
            s->ip_families = ARENA_ARRAY(ctx->arena, struct str, 1);
            s->ip_families[s->ip_families_count++] = STR("IPv4");
        }
        return;
    }
    struct str first = s->ip_families_count == 0 ? STR("IPv4") : s->ip_families[0];
    s->ip_families = ARENA_ARRAY(ctx->arena, struct str, 2);
    s->ip_families[0] = first;
    s->ip_families[1] = str_eqc(first, "IPv4") ? STR("IPv6") : STR("IPv4");
    s->ip_families_count = 2;
}

/* What the policy says about the lists. */
static void check_policy(struct field_errors *errs, const struct core_v1_service_spec *s)
{
    static const char why[] = "must be 'RequireDualStack' or 'PreferDualStack' when multiple %s "
                              "are specified";
    const struct field_path *path = PATH(PATH(PATH_ROOT, "spec"), "ipFamilyPolicy");
    if (!str_eqc(s->ip_family_policy, "SingleStack"))
        return;
    if (s->cluster_ips_count == 2)
        field_invalid(errs, path, s->ip_family_policy, why, "cluster IPs");
    if (s->ip_families_count == 2)
        field_invalid(errs, path, s->ip_family_policy, why, "IP families");
}

/* Families of the addresses that were given; the range is of IPv4. */
static void infer_families(const struct kind_ctx *ctx, struct field_errors *errs,
                           struct core_v1_service_spec *s)
{
    const struct field_path *path = PATH(PATH(PATH_ROOT, "spec"), "clusterIPs");
    for (size_t i = s->ip_families_count; !headless_spec(s) && i < s->cluster_ips_count; i++) {
        if (str_find(s->cluster_ips[i], ':', 0) >= 0) {
            field_invalid_raw(
                errs, PATH_INDEX(path, i),
                field_strings_render(ctx->arena, s->cluster_ips, s->cluster_ips_count),
                "IPv6 is not configured on this cluster");
            continue;
        }
        if (i != 0)
            continue;
        s->ip_families = ARENA_ARRAY(ctx->arena, struct str, 1);
        s->ip_families[s->ip_families_count++] = STR("IPv4");
    }
}

static void fill_families(const struct kind_ctx *ctx, struct core_v1_service *service,
                          struct field_errors *errs)
{
    struct core_v1_service_spec *s = &service->spec;
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    bool free_choice = headless(service) && s->selector_count == 0;
    if (str_eqc(s->type, "ExternalName"))
        return;
    if (!s->has_ip_family_policy) {
        s->has_ip_family_policy = true;
        s->ip_family_policy = free_choice ? STR("RequireDualStack") : STR("SingleStack");
    }
    check_policy(errs, s);
    infer_families(ctx, errs, s);
    if (errs->count != 0)
        return;
    if (free_choice) {
        fill_free_families(ctx, s);
        return;
    }
    if (str_eqc(s->ip_family_policy, "RequireDualStack"))
        field_invalid(errs, PATH(spec, "ipFamilyPolicy"), s->ip_family_policy,
                      "this cluster is not configured for dual-stack services");
    for (size_t i = 0; i < s->ip_families_count; i++)
        if (!str_eqc(s->ip_families[i], "IPv4"))
            field_invalid(errs, PATH_INDEX(PATH(spec, "ipFamilies"), i), s->ip_families[i],
                          "not configured on this cluster");
    if (s->ip_families_count == 0) {
        s->ip_families = ARENA_ARRAY(ctx->arena, struct str, 1);
        s->ip_families[s->ip_families_count++] = STR("IPv4");
    }
}

static void allocate_ip(const struct kind_ctx *ctx, struct core_v1_service *s,
                        const struct core_v1_service *old, struct txn_build *t,
                        struct field_errors *errs)
{
    const struct field_path *path = PATH(PATH(PATH_ROOT, "spec"), "clusterIPs");
    struct str had = wants_ip(old) ? old->spec.cluster_ip : STR_NULL;
    if (!wants_ip(s)) {
        if (had.len != 0)
            release_ip(ctx, had, t);
        if (s != NULL && str_eqc(s->spec.type, "ExternalName")) {
            s->spec.cluster_ip = STR_NULL;
            s->spec.cluster_ips_count = 0;
        }
        return;
    }
    if (had.len != 0 && (s->spec.cluster_ip.len == 0 || str_eq(had, s->spec.cluster_ip))) {
        s->spec.cluster_ip = had;
        s->spec.cluster_ips = old->spec.cluster_ips;
        s->spec.cluster_ips_count = old->spec.cluster_ips_count;
        return;
    }
    if (s->spec.cluster_ip.len == 0) {
        if (!pick_ip(ctx, &s->spec.cluster_ip)) {
            field_internal(errs, path, "failed to allocate a serviceIP: range is full");
            return;
        }
    } else {
        struct str shown =
            arena_printf(ctx->arena, "[\"" STR_FMT "\"]", STR_ARG(s->spec.cluster_ip));
        if (!ip_in_range(ctx->server, s->spec.cluster_ip)) {
            field_invalid_raw(errs, path, shown,
                              "failed to allocate IP " STR_FMT
                              ": the provided network does not match the current range",
                              STR_ARG(s->spec.cluster_ip));
            return;
        }
        if (ip_taken(ctx, s->spec.cluster_ip)) {
            field_invalid_raw(errs, path, shown,
                              "failed to allocate IP " STR_FMT ": provided IP is already allocated",
                              STR_ARG(s->spec.cluster_ip));
            return;
        }
    }
    s->spec.cluster_ips = arena_memdup(ctx->arena, &s->spec.cluster_ip, sizeof(struct str));
    s->spec.cluster_ips_count = 1;
    service_claim_ip(ctx, s, s->spec.cluster_ip, t);
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

/* PreferDualStack is settled when the Service is made, not by later updates. */
static bool same_preference(const struct core_v1_service *s, const struct core_v1_service *old)
{
    return old != NULL && str_eqc(s->spec.ip_family_policy, "PreferDualStack") &&
           str_eqc(old->spec.ip_family_policy, "PreferDualStack") &&
           s->spec.ip_families_count == old->spec.ip_families_count &&
           s->spec.ip_families_count != 0;
}

int service_allocate(const struct kind_ctx *ctx, void *obj, const void *old, struct txn_build *t,
                     struct field_errors *errs, struct error *err)
{
    struct core_v1_service *s = obj;
    struct ports p = {.ctx = ctx};
    if (s != NULL && !same_preference(s, old))
        fill_families(ctx, s, errs);
    if (errs->count == 0)
        allocate_ip(ctx, s, old, t, errs);
    if (errs->count == 0)
        allocate_ports(&p, s, old, errs, err);
    if (errs->count == 0)
        ports_store(&p, t);
    return err->code;
}
