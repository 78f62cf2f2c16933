/* webhook_target.c - see webhook_target.h. */
#include "apiserver/webhook_target.h"

#include "api/core_v1.h"
#include "api/discovery_v1.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/kind.h"
#include "apiserver/registry.h"
#include "apiserver/wire.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/net/url.h"
#include "raftstore/store.h"

#define SHOWN_BYTES_MAX 2048u

static bool is_of(const struct kv *kv, struct str service)
{
    struct api_str_entry labels[WIRE_LABELS_MAX];
    struct str raw;
    if (stored_raw(stored_value(kv), &raw, NULL) != 0)
        return false;
    size_t n = wire_labels(raw, labels, WIRE_LABELS_MAX);
    for (size_t i = 0; i < n; i++)
        if (str_eqc(labels[i].key, "kubernetes.io/service-name"))
            return str_eq(labels[i].value, service);
    return false;
}

struct choice {
    const struct kind_ctx *ctx;
    struct str port; /* Its name. */
    uint64_t seen;   /* Ready endpoints so far: each is as likely. */
    struct str found;
};

static void look_at_slice(struct choice *c, const struct discovery_v1_endpoint_slice *s)
{
    const struct discovery_v1_endpoint_port *port = NULL;
    for (size_t i = 0; i < s->ports_count && port == NULL; i++)
        if (str_eq(s->ports[i].name, c->port) && s->ports[i].has_port)
            port = &s->ports[i];
    for (size_t i = 0; port != NULL && i < s->endpoints_count; i++) {
        const struct discovery_v1_endpoint *e = &s->endpoints[i];
        if (e->addresses_count == 0 || (e->conditions.has_ready && !e->conditions.ready) ||
            env_random_below(c->ctx->env, ++c->seen) != 0)
            continue;
        c->found = url_host_port(c->ctx->arena, e->addresses[0], port->port);
    }
}

/* A ready endpoint of the service's port, so that no node's proxy is needed here. */
static bool choose_in_slices(const struct kind_ctx *ctx, struct str ns, struct str name,
                             struct str port, struct str *ret)
{
    const struct resource *r = registry_storage(STR("discovery.k8s.io"), STR("endpointslices"));
    struct str from = registry_key(ctx->arena, r, ns, STR(""));
    struct str end = arena_printf(ctx->arena, STR_FMT "0", STR_ARG(str_sub(from, 0, from.len - 1)));
    struct choice c = {.ctx = ctx, .port = port};
    struct store_iter it;
    if (store_iter_init(&it, ctx->view, from, end, 0) != 0)
        return false;
    for (const struct kv *kv; (kv = store_iter_next(&it)) != NULL;) {
        void *slice;
        if (is_of(kv, name) &&
            stored_decode(ctx->arena, r, stored_value(kv), kv->mod_rev, &slice, NULL) == 0)
            look_at_slice(&c, slice);
    }
    *ret = c.found;
    return c.found.len != 0;
}

/* The same among Endpoints, where nobody makes slices. */
static bool choose_endpoint(const struct kind_ctx *ctx, struct str ns, struct str name,
                            struct str port, struct str *ret)
{
    const struct core_v1_endpoints *e = kind_lookup(ctx, "", "endpoints", ns, name);
    for (size_t i = 0; e != NULL && i < e->subsets_count; i++) {
        const struct core_v1_endpoint_subset *s = &e->subsets[i];
        for (size_t k = 0; k < s->ports_count && s->addresses_count != 0; k++) {
            if (!str_eq(s->ports[k].name, port))
                continue;
            uint64_t which = env_random_below(ctx->env, s->addresses_count);
            *ret = url_host_port(ctx->arena, s->addresses[which].ip, s->ports[k].port);
            return true;
        }
    }
    return false;
}

static void find_service(const struct kind_ctx *ctx, const struct webhook_address *at,
                         struct webhook_target *ret, struct str *ret_problem)
{
    struct arena *a = ctx->arena;
    const struct core_v1_service *svc = kind_lookup(ctx, "", "services", at->ns, at->name);
    if (svc == NULL) {
        *ret_problem = arena_printf(a, "service \"" STR_FMT "\" not found", STR_ARG(at->name));
        return;
    }
    for (size_t i = 0; i < svc->spec.ports_count; i++) {
        if (svc->spec.ports[i].port != at->port)
            continue;
        if (choose_in_slices(ctx, at->ns, at->name, svc->spec.ports[i].name, &ret->endpoint) ||
            choose_endpoint(ctx, at->ns, at->name, svc->spec.ports[i].name, &ret->endpoint))
            return;
        if (svc->spec.selector_count == 0 && svc->spec.cluster_ip.len != 0 &&
            !str_eqc(svc->spec.cluster_ip, "None"))
            ret->endpoint = url_host_port(a, svc->spec.cluster_ip, at->port);
        else
            *ret_problem = arena_printf(a, "no endpoints available for service \"" STR_FMT "\"",
                                        STR_ARG(at->name));
        return;
    }
    *ret_problem = arena_printf(a, "no service port %d found for service \"" STR_FMT "\"", at->port,
                                STR_ARG(at->name));
}

void webhook_target_find(const struct kind_ctx *ctx, const struct webhook_address *at,
                         struct webhook_target *ret, struct str *ret_url, struct str *ret_problem)
{
    struct arena *a = ctx->arena;
    unsigned timeout_s = (unsigned)(at->timeout_ms / 1000);
    struct error err = {0};
    struct url url;
    *ret = (struct webhook_target){.ca_bundle = at->ca_bundle};
    *ret_url = *ret_problem = STR_NULL;
    if (at->by_service) {
        ret->server_name =
            arena_printf(a, STR_FMT "." STR_FMT ".svc", STR_ARG(at->name), STR_ARG(at->ns));
        ret->path = arena_printf(a, STR_FMT "?timeout=%us",
                                 STR_ARG(at->path.len != 0 ? at->path : STR("/")), timeout_s);
        *ret_url = arena_printf(a, "https://" STR_FMT ":%d" STR_FMT, STR_ARG(ret->server_name),
                                at->port, STR_ARG(ret->path));
        find_service(ctx, at, ret, ret_problem);
        return;
    }
    if (url_parse(at->url, &url, &err) != 0) {
        *ret_problem = arena_strc(a, error_message(&err));
        return;
    }
    ret->endpoint = url_host_port(a, url.host, url.port);
    ret->server_name = url.host;
    ret->path = arena_printf(a, STR_FMT "?timeout=%us", STR_ARG(url.path), timeout_s);
    *ret_url =
        arena_printf(a, "https://" STR_FMT STR_FMT, STR_ARG(url.authority), STR_ARG(ret->path));
}

struct str webhook_call_problem(struct arena *a, const struct webhook_answer *w, struct str url,
                                struct str problem)
{
    if (problem.len != 0 || w->code != 0) {
        struct str why = problem.len != 0       ? problem
                         : w->code == E_TIMEOUT ? STR("context deadline exceeded")
                                                : w->body;
        return arena_printf(a, "Post \"" STR_FMT "\": " STR_FMT, STR_ARG(url), STR_ARG(why));
    }
    if (w->status == 200)
        return STR_NULL;
    if (w->status == 404)
        return STR("the server could not find the requested resource");
    if (w->status >= 500)
        return arena_printf(
            a, "an error on the server (\"" STR_FMT "\") has prevented the request from succeeding",
            STR_ARG(str_sub(str_trim(w->body), 0, SHOWN_BYTES_MAX)));
    return STR("the server rejected our request for an unknown reason");
}
