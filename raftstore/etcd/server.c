/* server.c - starting and stopping the etcd front; see server.h. The lists of its
 * services and plain HTTP routes stand here. */
#include "raftstore/etcd/server_private.h"

#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "lib/net/http_server.h"
#include "lib/net/stream.h"
#include "lib/net/tls.h"
#include "lib/net/url.h"
#include "raftstore/etcd/admin.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- what is served: one line each --- */

const struct etcd_service *const etcd_services[] = {
    &etcd_kv_service,   &etcd_watch_service,    &etcd_lease_service,
    &etcd_auth_service, &etcd_cluster_service,  &etcd_maintenance_service,
    &etcd_lock_service, &etcd_election_service, &etcd_health_service,
};
const size_t etcd_service_count = ARRAY_SIZE(etcd_services);

const struct etcd_route_list *const etcd_route_lists[] = {
    &etcd_plain_routes,
    &etcd_health_routes,
    &etcd_gateway_routes,
};
const size_t etcd_route_list_count = ARRAY_SIZE(etcd_route_lists);

/* --- configuration --- */

static unsigned default_threads(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return (unsigned)MAX_OF(1, MIN_OF(n, ETCD_THREADS_MAX));
}

static void fill_defaults(struct etcd_server_config *c)
{
#define DEFAULT(field, value)                                                                      \
    if (c->field == 0)                                                                             \
    c->field = (value)
    DEFAULT(tls_reload_ms, 60000);
    DEFAULT(threads, default_threads());
    DEFAULT(request_bytes_max, ETCD_REQUEST_BYTES_MAX_DEFAULT);
    DEFAULT(txn_ops_max, ETCD_TXN_OPS_MAX_DEFAULT);
    DEFAULT(streams_max, 8192);
    DEFAULT(watch_progress_ms, 600000);
    DEFAULT(leader_check_ms, 1000);
    DEFAULT(shutdown_ms, 2000);
    DEFAULT(lease_ttl_min_s, 2);
    DEFAULT(pending_bytes_max, UINT64_C(256) << 20);
#undef DEFAULT
    c->threads = MIN_OF(c->threads, ETCD_THREADS_MAX);
    c->txn_ops_max = MIN_OF(c->txn_ops_max, TXN_OPS_MAX);
    if (c->metrics == NULL)
        c->metrics = metrics_default();
    c->version = xstrdup(c->version != NULL ? c->version : ETCD_VERSION);
}

/* "http://localhost:2379" to what a listener takes. */
static int listen_of(const char *url, bool metrics_only, struct etcd_listen *ret, struct error *err)
{
    struct str s = str_of(url);
    *ret = (struct etcd_listen){.metrics_only = metrics_only};
    struct str rest;
    if (str_has_prefix(s, STR("unix://")) || str_has_prefix(s, STR("unixs://"))) {
        ret->is_unix = true;
        ret->is_tls = s.data[4] == 's';
        rest = str_sub(s, ret->is_tls ? 8 : 7, s.len);
        if (!str_empty(rest))
            ret->address = xasprintf("unix:" STR_FMT, STR_ARG(rest));
    } else if (str_has_prefix(s, STR("http://")) || str_has_prefix(s, STR("https://"))) {
        ret->is_tls = s.data[4] == 's';
        rest = str_sub(s, ret->is_tls ? 8 : 7, s.len);
        if (str_has_suffix(rest, STR("/")))
            rest = str_sub(rest, 0, rest.len - 1);
        if (str_has_prefix(rest, STR("localhost:")))
            ret->address = xasprintf("127.0.0.1" STR_FMT, STR_ARG(str_sub(rest, 9, rest.len)));
        else if (str_find(rest, ':', 0) >= 0)
            ret->address = xasprintf(STR_FMT, STR_ARG(rest));
    }
    if (ret->address == NULL)
        return error_set(err, E_INVALID,
                         "listen URL %s: want http://HOST:PORT, https://HOST:PORT, unix://PATH "
                         "or unixs://PATH",
                         url);
    return 0;
}

static int take_urls(struct etcd_server *s, const char *const *urls, size_t count,
                     bool metrics_only, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        int rc = listen_of(urls[i], metrics_only, &s->listens[s->listen_count], err);
        if (rc != 0)
            return rc;
        s->listen_count++;
    }
    return 0;
}

static int take_tls(struct etcd_server *s, const struct etcd_server_config *c, struct error *err)
{
    bool wanted = false;
    for (size_t i = 0; i < s->listen_count; i++)
        wanted |= s->listens[i].is_tls;
    if (!wanted)
        return 0;
    if (c->cert_file == NULL || c->key_file == NULL)
        return error_set(err, E_INVALID, "an https listen URL needs a certificate and a key file");
    /* As etcd: a CA for clients means that they must show a certificate. */
    bool ask = c->client_cert_auth || c->trusted_ca_file != NULL;
    const struct tls_config tls = {
        .server = true,
        .cert.file = c->cert_file,
        .key.file = c->key_file,
        .ca.file = c->trusted_ca_file,
        .client_auth = ask ? TLS_CLIENT_AUTH_REQUIRE : TLS_CLIENT_AUTH_NONE,
        .alpn = TLS_ALPN_H2 | TLS_ALPN_HTTP1,
        .version_min = c->tls_version_min,
        .cipher_suites = c->cipher_suites,
    };
    return tls_context_new(&tls, &s->tls, err);
}

static void count_methods(struct etcd_server *s)
{
    for (size_t i = 0; i < etcd_service_count; i++)
        s->method_count += etcd_services[i]->method_count;
    s->rpc_metrics = xzalloc((s->method_count + 1) * sizeof(*s->rpc_metrics));
    struct etcd_rpc_metrics *m = s->rpc_metrics;
    for (size_t i = 0; i < etcd_service_count; i++)
        for (size_t j = 0; j < etcd_services[i]->method_count; j++)
            etcd_rpc_metrics_init(m++, &s->config, &etcd_services[i]->methods[j]);
}

/* --- life --- */

static void server_free(struct etcd_server *s)
{
    for (size_t i = 0; i < s->listen_count; i++)
        free(s->listens[i].address);
    free(s->listens);
    tls_context_unref(s->tls);
    etcd_tokens_free(s->tokens);
    free(s->rpc_metrics);
    free(s->threads);
    free((char *)(uintptr_t)s->config.version);
    free(s);
}

/* The threads that were made, in order; each may take its shutdown_ms, all at once. */
static void stop_threads(struct etcd_server *s)
{
    for (unsigned i = 0; i < s->thread_count; i++)
        etcd_thread_stop(&s->threads[i]);
    for (unsigned i = 0; i < s->thread_count; i++)
        etcd_thread_join(&s->threads[i]);
}

static int start_threads(struct etcd_server *s, struct error *err)
{
    s->threads = xzalloc(s->config.threads * sizeof(*s->threads));
    for (unsigned i = 0; i < s->config.threads; i++) {
        int rc = etcd_thread_init(&s->threads[i], s, i, err);
        if (rc != 0)
            return rc;
        s->thread_count++;
    }
    for (unsigned i = 0; i < s->thread_count; i++) {
        int rc = etcd_thread_start(&s->threads[i], err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int etcd_server_start(const struct etcd_server_config *config, struct etcd_server **ret,
                      struct error *err)
{
    ASSERT(config->store != NULL);
    struct etcd_server *s = xzalloc(sizeof(*s));
    s->config = *config;
    fill_defaults(&s->config);
    s->listens =
        xzalloc((config->listen_url_count + config->metrics_url_count + 1) * sizeof(*s->listens));
    const struct etcd_tokens_config tokens = {.spec = config->auth_token,
                                              .ttl_s = config->auth_token_ttl_s,
                                              .bcrypt_cost = config->bcrypt_cost};
    int rc = take_urls(s, config->listen_urls, config->listen_url_count, false, err);
    if (rc == 0)
        rc = take_urls(s, config->metrics_urls, config->metrics_url_count, true, err);
    if (rc == 0)
        rc = take_tls(s, config, err);
    if (rc == 0)
        rc = etcd_tokens_new(&tokens, &s->tokens, err);
    if (rc == 0) {
        count_methods(s);
        rc = start_threads(s, err);
    }
    /* Of the caller's strings nothing is used from here on. */
    s->config.listen_urls = s->config.metrics_urls = NULL;
    s->config.cert_file = s->config.key_file = s->config.trusted_ca_file = NULL;
    s->config.cipher_suites = s->config.auth_token = NULL;
    if (rc != 0) {
        stop_threads(s);
        server_free(s);
        return rc;
    }
    etcd_gauges_start(s);
    *ret = s;
    return 0;
}

void etcd_server_stop(struct etcd_server *s)
{
    if (s == NULL)
        return;
    etcd_gauges_stop(s); /* They look at the threads. */
    stop_threads(s);
    server_free(s);
}

int etcd_server_port(const struct etcd_server *s)
{
    return s->port;
}

void etcd_server_get_stats(const struct etcd_server *s, struct etcd_server_stats *ret)
{
    *ret = (struct etcd_server_stats){0};
    for (unsigned i = 0; i < s->thread_count; i++) {
        const struct etcd_thread *t = &s->threads[i];
        ret->calls += atomic_load(&t->stat_calls);
        ret->watchers += atomic_load(&t->stat_watchers);
        ret->slow_watchers += atomic_load(&t->stat_slow);
        ret->watch_streams += atomic_load(&t->stat_watch_streams);
    }
}
