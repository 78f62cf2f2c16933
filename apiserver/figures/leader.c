/* leader.c - see leader.h. */
#include "apiserver/figures/leader.h"

#include "api/coordination_v1.h"
#include "apiserver/aggregation/forward.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/identity.h"
#include "apiserver/proxy.h"
#include "apiserver/request.h"
#include "lib/api/schema.h"
#include "lib/base/arena.h"
#include "lib/net/http_client.h"
#include "lib/net/http_server.h"
#include "lib/net/tls.h"
#include "raftstore/store.h"

#include <inttypes.h>
#include <stdlib.h>

#define SERVER_NAME "kubernetes.default.svc"
#define PASSED_ON "x-trireme-passed-on"
#define TLS_RELOAD_MS 60000u

struct figure_leader {
    struct tls_context *tls;
    struct tls_reloader *reloader;
    char *endpoint;
    struct http_client *http;
};

static int make(struct server_thread *t, struct figure_leader **ret, struct error *err)
{
    const struct apiserver_config *c = &t->server->config;
    const char *ca = c->peer_ca_file != NULL ? c->peer_ca_file : c->client_ca_file;
    struct tls_config tc = {.cert.file = c->proxy_client_cert_file,
                            .key.file = c->proxy_client_key_file,
                            .ca.file = ca,
                            .alpn = TLS_ALPN_H2 | TLS_ALPN_HTTP1};
    if (c->proxy_client_cert_file == NULL || ca == NULL)
        return error_set(err, E_UNAVAILABLE,
                         "another server has the figures, and without "
                         "--proxy-client-cert-file it cannot be asked");
    struct figure_leader *l = xzalloc(sizeof(*l));
    int code = tls_context_new(&tc, &l->tls, err);
    if (code != 0) {
        free(l);
        return code;
    }
    l->reloader = tls_reloader_start(&t->loop, l->tls, TLS_RELOAD_MS);
    *ret = l;
    return 0;
}

void figure_leader_close(struct figure_leader *l)
{
    if (l == NULL)
        return;
    tls_reloader_stop(l->reloader);
    if (l->http != NULL)
        http_client_close(l->http, NULL, NULL);
    tls_context_unref(l->tls);
    free(l->endpoint);
    free(l);
}

static int connect_to(struct figure_leader *l, struct server_thread *t, struct str endpoint,
                      struct error *err)
{
    if (l->http != NULL && str_eqc(endpoint, l->endpoint))
        return 0;
    const char *to = str_c(endpoint);
    struct http_client_config c = {
        .endpoints = &to, .endpoint_count = 1, .tls = l->tls, .server_name = SERVER_NAME};
    struct http_client *http;
    int code = http_client_new(&t->loop, &c, &http, err);
    if (code != 0)
        return code;
    if (l->http != NULL)
        http_client_close(l->http, NULL, NULL);
    l->http = http;
    free(l->endpoint);
    l->endpoint = xstrdup(to);
    return 0;
}

static const struct str *annotation(const struct coordination_v1_lease *l, const char *key)
{
    return api_str_map_get(l->metadata.annotations, l->metadata.annotations_count, str_of(key));
}

/* Where the server of that member of the store listens; empty: not known. */
static struct str address_of(struct req *r, uint64_t member)
{
    const struct resource *leases = registry_storage(STR("coordination.k8s.io"), STR("leases"));
    struct str from = registry_key(r->arena, leases, STR(IDENTITY_NAMESPACE), STR(IDENTITY_PREFIX));
    struct str end = arena_str(r->arena, from);
    struct str id = arena_printf(r->arena, "%016" PRIx64, member), found = STR_NULL;
    struct store_iter it;
    void *msg;
    ((char *)(uintptr_t)end.data)[end.len - 1]++;
    if (store_iter_init(&it, req_view(r), from, end, 0) != 0)
        return STR_NULL;
    for (const struct kv *kv; (kv = store_iter_next(&it)) != NULL;) {
        if (stored_decode(r->arena, leases, stored_value(kv), 0, &msg, NULL) != 0)
            continue;
        const struct str *is = annotation(msg, IDENTITY_MEMBER);
        const struct str *where = annotation(msg, IDENTITY_ADDRESS);
        if (is != NULL && where != NULL && str_eq(*is, id))
            found = *where;
    }
    return found;
}

static void passed_on(void *arg)
{
    UNUSED(arg);
}

static int pass_on(struct req *r, uint64_t member, struct error *err)
{
    struct server_thread *t = r->thread;
    struct str endpoint = address_of(r, member);
    if (endpoint.len == 0)
        return error_set(err, E_UNAVAILABLE, "the server that has the figures is not known yet");
    int code = t->figure_leader == NULL ? make(t, &t->figure_leader, err) : 0;
    if (code == 0)
        code = connect_to(t->figure_leader, t, endpoint, err);
    if (code != 0)
        return code;
    static const struct http_header mark = {{PASSED_ON, sizeof(PASSED_ON) - 1}, {"1", 1}};
    struct proxy_route route = {
        .http = t->figure_leader->http, .done = passed_on, .target = str_c(r->http->target)};
    route.headers = aggregated_headers(r, &mark, &route.header_count);
    proxy_forward(r, &route);
    return 0;
}

bool figure_leader_is_here(struct req *r)
{
    struct store_status st;
    struct error err = {0};
    store_status(r->server->store, &st);
    if (st.is_leader)
        return true;
    if (!st.has_leader || http_request_header(r->http, PASSED_ON).len != 0)
        error_set(&err, E_UNAVAILABLE, "no server has them now");
    else if (pass_on(r, st.leader_id, &err) == 0)
        return false;
    req_status(r,
               status_unavailable(r->arena, "metrics not available yet: %s", error_message(&err)));
    return false;
}
