/* resolve.c - see resolve.h. */
#include "apiserver/aggregation/resolve.h"

#include "api/core_v1.h"
#include "api/discovery_v1.h"
#include "apiserver/aggregation/set.h"
#include "apiserver/apiserver.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/kind.h"
#include "apiserver/registry.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/net/url.h"
#include "raftstore/store.h"

#include <inttypes.h>

#define SLICE_SERVICE_LABEL "kubernetes.io/service-name"

/* What the slices of a service offer at one port. */
struct offer {
    const struct kind_ctx *ctx;
    const struct aggregated_service *s;
    struct str port_name;
    size_t slices, seen; /* Slices, and addresses among which one was drawn. */
    struct str host;
    int32_t port;
    bool usable;
    uint64_t state;
};

static void mix(uint64_t *state, int64_t rev)
{
    *state = (*state ^ (uint64_t)rev) * 0x100000001b3u;
}

static const struct discovery_v1_endpoint_port *
find_port(const struct discovery_v1_endpoint_slice *e, struct str name)
{
    for (size_t i = 0; i < e->ports_count; i++)
        if (e->ports[i].has_port && str_eq(e->ports[i].name, name))
            return &e->ports[i];
    return NULL;
}

static void look_at_slice(struct offer *o, const struct discovery_v1_endpoint_slice *e)
{
    const struct str *service =
        api_str_map_get(e->metadata.labels, e->metadata.labels_count, STR(SLICE_SERVICE_LABEL));
    if (service == NULL || !str_eq(*service, o->s->service_name))
        return;
    o->slices++;
    const struct discovery_v1_endpoint_port *port = find_port(e, o->port_name);
    if (port == NULL)
        return;
    for (size_t i = 0; i < e->endpoints_count; i++) {
        const struct discovery_v1_endpoint *x = &e->endpoints[i];
        if ((x->conditions.has_ready && !x->conditions.ready) || x->addresses_count == 0)
            continue;
        o->usable = true;
        if (env_random_below(o->ctx->env, ++o->seen) != 0)
            continue;
        o->host = x->addresses[0];
        o->port = port->port;
    }
}

static void look_at_slices(struct offer *o)
{
    struct arena *a = o->ctx->arena;
    const struct resource *res = registry_storage(STR("discovery.k8s.io"), STR("endpointslices"));
    struct str from = registry_key(a, res, o->s->service_ns, STR(""));
    struct str end = arena_printf(a, STR_FMT "0", STR_ARG(str_sub(from, 0, from.len - 1)));
    struct store_iter it;
    void *msg;
    if (store_iter_init(&it, o->ctx->view, from, end, 0) != 0)
        return;
    for (const struct kv *kv; (kv = store_iter_next(&it)) != NULL;) {
        /* Cheaper than decoding the slices of all other services. */
        if (str_find_str(stored_value(kv), o->s->service_name) < 0)
            continue;
        mix(&o->state, kv->mod_rev);
        if (stored_decode(a, res, stored_value(kv), kv->mod_rev, &msg, NULL) == 0)
            look_at_slice(o, msg);
    }
}

static void fail(struct aggregated_place *ret, const char *reason, struct str message)
{
    ret->problem = (struct apiservice_verdict){"False", reason, message};
}

static const struct core_v1_service_port *service_port(const struct core_v1_service *svc,
                                                       int32_t port)
{
    for (size_t i = 0; i < svc->spec.ports_count; i++)
        if (svc->spec.ports[i].port == port)
            return &svc->spec.ports[i];
    return NULL;
}

static void resolve_service(const struct kind_ctx *ctx, const struct aggregated_service *s,
                            const struct core_v1_service *svc, struct aggregated_place *ret)
{
    struct arena *a = ctx->arena;
    const struct core_v1_service_port *port = service_port(svc, s->service_port);
    bool plain = str_eqc(svc->spec.type, "ClusterIP");
    if (str_eqc(svc->spec.type, "ExternalName")) {
        ret->endpoint = url_host_port(a, svc->spec.external_name, s->service_port);
        return;
    }
    if (port == NULL) {
        if (plain)
            fail(ret, "ServicePortError",
                 arena_printf(
                     a, "service/" STR_FMT " in \"" STR_FMT "\" is not listening on port %" PRId32,
                     STR_ARG(s->service_name), STR_ARG(s->service_ns), s->service_port));
        return;
    }
    struct offer o = {.ctx = ctx, .s = s, .port_name = port->name, .state = ret->state};
    look_at_slices(&o);
    ret->state = o.state;
    ret->choices = o.seen;
    if (plain && o.slices == 0)
        fail(ret, "EndpointsNotFound",
             arena_printf(a,
                          "cannot find endpointslices for service/" STR_FMT " in \"" STR_FMT "\"",
                          STR_ARG(s->service_name), STR_ARG(s->service_ns)));
    else if (plain && !o.usable)
        fail(ret, "MissingEndpoints",
             arena_printf(a,
                          "endpointslices for service/" STR_FMT " in \"" STR_FMT
                          "\" have no addresses with port name \"" STR_FMT "\"",
                          STR_ARG(s->service_name), STR_ARG(s->service_ns), STR_ARG(port->name)));
    if (o.usable)
        ret->endpoint = url_host_port(a, o.host, o.port);
    else if (!str_empty(svc->spec.cluster_ip) && !str_eqc(svc->spec.cluster_ip, "None") && !plain)
        ret->endpoint = url_host_port(a, svc->spec.cluster_ip, s->service_port);
}

void aggregated_resolve(const struct kind_ctx *ctx, const struct aggregated_service *s,
                        struct aggregated_place *ret)
{
    struct arena *a = ctx->arena;
    const struct resource *res = registry_storage(STR(""), STR("services"));
    struct str key = registry_key(a, res, s->service_ns, s->service_name);
    const struct kv *kv = store_view_get(ctx->view, key, 0);
    void *msg;
    *ret = (struct aggregated_place){.state = 0xcbf29ce484222325u};
    mix(&ret->state, (int64_t)s->backend->id);
    mix(&ret->state, s->service_port);
    if (kv == NULL || stored_decode(a, res, stored_value(kv), kv->mod_rev, &msg, NULL) != 0) {
        fail(ret, "ServiceNotFound",
             arena_printf(a, "service/" STR_FMT " in \"" STR_FMT "\" is not present",
                          STR_ARG(s->service_name), STR_ARG(s->service_ns)));
        return;
    }
    mix(&ret->state, kv->mod_rev);
    /* This server itself: not by way of anybody's proxy. */
    if (str_eqc(s->service_ns, "default") && str_eqc(s->service_name, "kubernetes") &&
        s->service_port == 443)
        ret->endpoint = url_host_port(a, str_of(ctx->server->address), ctx->server->port);
    else
        resolve_service(ctx, s, msg, ret);
}
