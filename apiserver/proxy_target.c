/* proxy_target.c - see proxy_target.h. The rules and texts are upstream's. */
#include "apiserver/proxy_target.h"

#include "api/core_v1.h"
#include "apiserver/kubelet_pool.h"
#include "apiserver/request.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"

#include <arpa/inet.h>
#include <inttypes.h>

bool proxy_target_split(struct str id, struct str *ret_scheme, struct str *ret_name,
                        struct str *ret_port)
{
    struct str part[4] = {0};
    size_t count = 0;
    for (bool more = true; more;) {
        if (count == ARRAY_SIZE(part))
            return false;
        more = str_cut(id, ':', &part[count++], &id);
    }
    if (count > 3)
        return false;
    *ret_scheme = count == 3 ? part[0] : STR_NULL;
    *ret_name = count == 3 ? part[1] : part[0];
    *ret_port = count == 1 ? STR_NULL : part[count - 1];
    return ret_name->len > 0 && (str_empty(*ret_scheme) || str_eqc(*ret_scheme, "http") ||
                                 str_eqc(*ret_scheme, "https"));
}

bool proxy_target_allowed(struct str address)
{
    char text[INET6_ADDRSTRLEN];
    uint8_t b[16];
    if (address.len == 0 || address.len >= sizeof(text))
        return false;
    memcpy(text, address.data, address.len);
    text[address.len] = '\0';
    if (inet_pton(AF_INET6, text, b) == 1) {
        static const uint8_t v4_mapped[12] = {[10] = 0xff, [11] = 0xff};
        static const uint8_t loopback[16] = {[15] = 1};
        if (memcmp(b, v4_mapped, sizeof(v4_mapped)) != 0)
            return memcmp(b, loopback, sizeof(b)) != 0 &&
                   !(b[0] == 0xfe && (b[1] & 0xc0) == 0x80) && /* link-local */
                   !(b[0] == 0xff && ((b[1] & 0x0f) == 1 || (b[1] & 0x0f) == 2));
        memmove(b, b + 12, 4);
    } else if (inet_pton(AF_INET, text, b) != 1) {
        return false;
    }
    return b[0] != 127 && !(b[0] == 169 && b[1] == 254) && !(b[0] == 224 && b[1] == 0 && b[2] == 0);
}

static struct meta_v1_status *check_address(struct req *r, struct str address)
{
    return proxy_target_allowed(address) ? NULL
                                         : status_bad_request(r->arena, "address not allowed");
}

/* host:port; 503 with the words of a failed connection when there is no such port. */
static struct meta_v1_status *set_endpoint(struct req *r, struct str host, struct str port,
                                           struct proxy_target *ret)
{
    int64_t number = ret->https ? 443 : 80;
    if (!str_empty(port) && (!str_to_i64(port, &number) || number < 1 || number > 65535))
        return status_unavailable(r->arena,
                                  "error trying to reach service: dial tcp: lookup tcp/" STR_FMT
                                  ": unknown port",
                                  STR_ARG(port));
    bool v6 = str_find(host, ':', 0) >= 0;
    ret->endpoint = arena_printf(r->arena, v6 ? "[" STR_FMT "]:%" PRId64 : STR_FMT ":%" PRId64,
                                 STR_ARG(host), number);
    return NULL;
}

static struct meta_v1_status *pod_target(struct req *r, const struct kind_ctx *ctx, struct str name,
                                         struct str port, struct proxy_target *ret)
{
    const struct core_v1_pod *pod = kind_lookup(ctx, "", "pods", r->info.ns, name);
    if (pod == NULL)
        return status_not_found(r->arena, r->res->gr, name);
    for (size_t i = 0; str_empty(port) && i < pod->spec.containers_count; i++)
        if (pod->spec.containers[i].ports_count > 0)
            port =
                arena_printf(r->arena, "%" PRId32, pod->spec.containers[i].ports[0].container_port);
    struct str ip = pod->status.pod_ips_count > 0 ? pod->status.pod_ips[0].ip : pod->status.pod_ip;
    struct meta_v1_status *s = check_address(r, ip);
    return s != NULL ? s : set_endpoint(r, ip, port, ret);
}

/* Does the address belong to the pod that it says it does? What is not a pod's
 * is not reached: an Endpoints object must not lead anywhere else. */
static bool address_is_pods(struct req *r, const struct kind_ctx *ctx,
                            const struct core_v1_endpoint_address *a)
{
    if (a->target_ref == NULL || !str_eq(a->target_ref->namespace, r->info.ns))
        return false;
    const struct core_v1_pod *pod = kind_lookup(ctx, "", "pods", r->info.ns, a->target_ref->name);
    for (size_t i = 0; pod != NULL && i < pod->status.pod_ips_count; i++)
        if (str_eq(pod->status.pod_ips[i].ip, a->ip))
            return true;
    return pod != NULL && str_eq(pod->status.pod_ip, a->ip);
}

/* One address of the subset that may be used, beginning anywhere; NULL: none. */
static const struct core_v1_endpoint_address *
choose_address(struct req *r, const struct kind_ctx *ctx, const struct core_v1_endpoint_subset *ss)
{
    size_t from =
        ss->addresses_count > 0 ? (size_t)env_random_below(r->server->env, ss->addresses_count) : 0;
    for (size_t i = 0; i < ss->addresses_count; i++) {
        const struct core_v1_endpoint_address *a = &ss->addresses[(from + i) % ss->addresses_count];
        if (address_is_pods(r, ctx, a))
            return a;
    }
    return NULL;
}

static struct meta_v1_status *service_target(struct req *r, const struct kind_ctx *ctx,
                                             struct str name, struct str port,
                                             struct proxy_target *ret)
{
    int64_t number;
    if (str_to_i64(port, &number)) {
        const struct core_v1_service *svc = kind_lookup(ctx, "", "services", r->info.ns, name);
        if (svc == NULL)
            return status_not_found(r->arena, r->res->gr, name);
        size_t i = 0;
        while (i < svc->spec.ports_count && svc->spec.ports[i].port != number)
            i++;
        if (i == svc->spec.ports_count)
            return status_unavailable(
                r->arena, "no service port %" PRId64 " found for service \"" STR_FMT "\"", number,
                STR_ARG(name));
        port = svc->spec.ports[i].name;
    }
    struct group_resource endpoints = {STR(""), STR("endpoints")};
    const struct core_v1_endpoints *eps = kind_lookup(ctx, "", "endpoints", r->info.ns, name);
    if (eps == NULL)
        return status_not_found(r->arena, endpoints, name);
    for (size_t i = 0; i < eps->subsets_count; i++) {
        const struct core_v1_endpoint_subset *ss = &eps->subsets[i];
        for (size_t k = 0; k < ss->ports_count; k++) {
            const struct core_v1_endpoint_address *a =
                str_eq(ss->ports[k].name, port) ? choose_address(r, ctx, ss) : NULL;
            if (a != NULL)
                return set_endpoint(r, a->ip, arena_printf(r->arena, "%" PRId32, ss->ports[k].port),
                                    ret);
        }
    }
    return status_unavailable(r->arena, "no endpoints available for service \"" STR_FMT "\"",
                              STR_ARG(name));
}

static struct meta_v1_status *node_target(struct req *r, const struct kind_ctx *ctx,
                                          struct str name, struct str port,
                                          struct proxy_target *ret)
{
    struct str endpoint;
    struct meta_v1_status *s = kubelet_endpoint(r, ctx, name, &endpoint);
    if (s != NULL)
        return s;
    struct str kubelet_port = endpoint;
    while (str_find(kubelet_port, ':', 0) >= 0)
        str_cut(kubelet_port, ':', &(struct str){0}, &kubelet_port);
    if (str_empty(port) || str_eq(port, kubelet_port)) {
        *ret = (struct proxy_target){.endpoint = endpoint, .https = true, .kubelet = true};
        return NULL;
    }
    struct str host = str_sub(endpoint, 0, endpoint.len - kubelet_port.len - 1);
    if (str_has_prefix(host, STR("[")))
        host = str_sub(host, 1, host.len - 2);
    s = check_address(r, host);
    return s != NULL ? s : set_endpoint(r, host, port, ret);
}

struct meta_v1_status *proxy_target_of(struct req *r, const struct kind_ctx *ctx,
                                       struct proxy_target *ret)
{
    struct str scheme, name, port;
    const char *resource = r->res->kind->resource;
    *ret = (struct proxy_target){0};
    if (!proxy_target_split(r->info.name, &scheme, &name, &port))
        return status_bad_request(r->arena, "invalid %.*s request \"" STR_FMT "\"",
                                  (int)strlen(resource) - 1, resource, STR_ARG(r->info.name));
    ret->https = str_eqc(scheme, "https");
    if (strcmp(resource, "pods") == 0)
        return pod_target(r, ctx, name, port, ret);
    if (strcmp(resource, "services") == 0)
        return service_target(r, ctx, name, port, ret);
    return node_target(r, ctx, name, port, ret);
}
