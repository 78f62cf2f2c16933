/* server.c - the server threads: start, drain, stop. See apiserver.h.
 *
 *   start: loop, mailbox, watch hub, HTTP server on the shared port
 *   stop:  stop_mail -> watches end, HTTP drains -> hub, mailbox, queue close
 *          -> the loop runs empty -> joined */
#include "apiserver/apiserver.h"

#include "apiserver/admission/policy_set.h"
#include "apiserver/aggregation/clients.h"
#include "apiserver/aggregation/keeper.h"
#include "apiserver/aggregation/set.h"
#include "apiserver/audit.h"
#include "apiserver/authn.h"
#include "apiserver/custom/compiler.h"
#include "apiserver/custom/keeper.h"
#include "apiserver/custom/set.h"
#include "apiserver/deadline.h"
#include "apiserver/discovery.h"
#include "apiserver/figures/board.h"
#include "apiserver/figures/leader.h"
#include "apiserver/figures/scraper.h"
#include "apiserver/flow_control.h"
#include "apiserver/json_cache.h"
#include "apiserver/kubelet_pool.h"
#include "apiserver/proxy.h"
#include "apiserver/registry.h"
#include "apiserver/request.h"
#include "apiserver/server_metrics.h"
#include "apiserver/watch.h"
#include "apiserver/webhook_client.h"
#include "apiserver/token_use.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/log.h"
#include "lib/net/http_server.h"
#include "lib/net/pki.h"
#include "lib/net/stream.h"
#include "lib/net/tls.h"
#include "lib/net/url.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define THREADS_DEFAULT_MAX 4u
#define DRAIN_MS 10000u

/* --- a thread --------------------------------------------------------------------------- */
static void on_request(struct http_request *http, void *arg)
{
    req_begin(http, arg, false);
}

/* Bodies of requests that are passed on are not gathered here first. */
static void on_headers(struct http_request *http, void *arg)
{
    if (!proxy_streams(http) && !(http->has_body && aggregated_set_route(http->path) != NULL))
        return;
    http_request_stream_body(http, &proxy_body, NULL);
    http_request_pause(http);
    req_begin(http, arg, true);
}

/* Errors of the HTTP layer as Status objects. */
static void on_error_body(struct http_request *r, int status, const char *text, struct buf *b,
                          const char **ret_content_type, void *arg)
{
    UNUSED(r), UNUSED(arg);
    const char *reason = status == 413   ? "RequestEntityTooLarge"
                         : status == 503 ? "ServiceUnavailable"
                         : status == 408 ? "Timeout"
                                         : "BadRequest";
    buf_puts(b, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\","
                "\"message\":");
    if (status == 413)
        buf_printf(b, "\"Request entity too large: limit is %u\"", BODY_BYTES_MAX);
    else
        json_write_string(str_of(text), b);
    buf_printf(b, ",\"reason\":\"%s\",\"code\":%d}\n", reason, status);
    *ret_content_type = TYPE_JSON;
}

static void on_mailbox_closed(struct mailbox *mb)
{
    UNUSED(mb);
}

static void on_defer_closed(struct defer_queue *q)
{
    UNUSED(q);
}

static void on_keeper_closed(void *arg)
{
    struct server_thread *t = arg;
    kubelet_pool_close(t->kubelets);
    t->kubelets = NULL;
    webhook_pool_close(t->webhooks);
    t->webhooks = NULL;
    flow_thread_close(t->flow);
    t->flow = NULL;
    deadlines_close(t->deadlines);
    t->deadlines = NULL;
    aggregated_clients_close(t->aggregated);
    t->aggregated = NULL;
    policy_cache_free(t->policies);
    t->policies = NULL;
    defer_queue_close(&t->defer, on_defer_closed);
    mailbox_close(&t->mailbox, on_mailbox_closed);
}

static void on_aggregated_closed(void *arg)
{
    struct server_thread *t = arg;
    struct custom_keeper *k = t->keeper;
    t->keeper = NULL;
    if (k != NULL)
        custom_keeper_close(k, on_keeper_closed, t);
    else
        on_keeper_closed(t);
}

static void on_uses_closed(void *arg)
{
    struct server_thread *t = arg;
    struct aggregated_keeper *k = t->aggregated_keeper;
    t->aggregated_keeper = NULL;
    if (k != NULL)
        aggregated_keeper_close(k, on_aggregated_closed, t);
    else
        on_aggregated_closed(t);
}

static void on_scraper_closed(void *arg)
{
    struct server_thread *t = arg;
    token_uses_close(take(t->token_uses), on_uses_closed, t);
}

static void on_hub_closed(void *arg)
{
    struct server_thread *t = arg;
    figure_leader_close(take(t->figure_leader));
    figure_scraper_close(take(t->scraper), on_scraper_closed, t);
}

static void on_audited(struct server_thread *t)
{
    t->audit_left = NULL;
    watch_hub_close(t->hub, on_hub_closed, t);
    t->hub = NULL;
}

static void on_http_closed(struct http_server *s, void *arg)
{
    struct server_thread *t = arg;
    http_server_free(s);
    t->http = NULL;
    if (t->audit_waits == 0) {
        on_audited(t);
        return;
    }
    t->audit_left = on_audited;
}

static void on_customs(struct mail *m)
{
    struct server_thread *t = CONTAINER_OF(m, struct server_thread, customs_mail);
    atomic_store(&t->customs_told, false);
    if (t->hub != NULL)
        watch_hub_customs_changed(t->hub);
    req_unpark(t);
}

static void on_stop(struct mail *m)
{
    struct server_thread *t = CONTAINER_OF(m, struct server_thread, stop_mail);
    watch_hub_stop(t->hub);
    audit_hurry(t->server->audit);
    http_server_shutdown(t->http, DRAIN_MS, on_http_closed, t);
}

static int listen_on(struct server_thread *t, struct error *err)
{
    char address[128];
    struct apiserver *s = t->server;
    const char *bind = s->config.bind_address;
    url_host_port_text(address, sizeof(address), bind, s->port);
    struct net_listen_config c = {.address = address, .tls = s->tls, .reuse_port = true};
    int code = t->index == 0 ? net_listen_check_alone(address, err) : 0;
    if (code == 0)
        code = http_server_listen(t->http, &c, err);
    if (code == 0 && s->port == 0)
        s->port = http_server_port(t->http);
    return code;
}

static int thread_open(struct server_thread *t, struct error *err)
{
    struct http_server_config c = {
        .name = "apiserver",
        .limits = {.body_bytes_max = BODY_BYTES_MAX,
                   .streams_max = (uint32_t)t->server->config.serving.streams_max},
        .on_headers = on_headers,
        .on_request = on_request,
        .on_error_body = on_error_body,
        .arg = t,
    };
    int code = uv_loop_init(&t->loop);
    if (code != 0)
        return loop_error_set(err, code, "loop");
    code = mailbox_init(&t->mailbox, &t->loop);
    if (code != 0)
        return code;
    t->stop_mail.run = on_stop;
    t->customs_mail.run = on_customs;
    list_init(&t->parked);
    defer_queue_init(&t->defer, &t->loop);
    t->webhooks = webhook_pool_new(&t->loop);
    t->policies = policy_cache_new(t);
    map_init(&t->conversions);
    t->flow = flow_thread_new(t);
    t->deadlines = deadlines_new(&t->loop);
    t->aggregated = aggregated_clients_new(&t->loop);
    t->token_uses = token_uses_new(t);
    code = watch_hub_new(t, &t->hub, err);
    if (code == 0 && t->index == 0)
        t->keeper = custom_keeper_new(t);
    if (code == 0 && t->index == 0)
        t->aggregated_keeper = aggregated_keeper_new(t);
    atomic_store(&t->customs_told, false);
    if (code == 0) {
        custom_keeper_sync(t);
        aggregated_sync(t);
    }
    if (code == 0)
        code = kubelet_pool_new(t, &t->kubelets, err);
    if (code == 0 && t->index == 0)
        t->scraper = figure_scraper_new(t);
    if (code == 0)
        code = http_server_new(&t->loop, &c, &t->http, err);
    return code != 0 ? code : listen_on(t, err);
}

static void thread_main(void *arg)
{
    struct server_thread *t = arg;
    t->start_code = thread_open(t, &t->start_error);
    bool good = t->start_code == 0;
    uv_sem_post(&t->start_done);
    if (!good)
        return; /* The program ends. */
    uv_run(&t->loop, UV_RUN_DEFAULT);
    custom_set_leave();
    map_done(&t->conversions);
    aggregated_set_leave();
    uv_loop_close(&t->loop);
}

/* --- the server ------------------------------------------------------------------------------ */
/* Without files: a certificate of our own making, as upstream does. */
static int own_certificate(struct apiserver *s, struct tls_config *c, struct arena *a,
                           struct error *err)
{
    struct pki_key *key = NULL;
    struct pki_cert *cert = NULL;
    AUTO_BUF pem = BUF_INIT;
    AUTO_BUF key_pem = BUF_INIT;
    struct str names[] = {STR("localhost"), STR("kubernetes"), STR("kubernetes.default"),
                          STR("kubernetes.default.svc"),
                          STR("kubernetes.default.svc.cluster.local")};
    struct str ips[] = {STR("127.0.0.1"), str_of(s->address), STR("::1")};
    struct pki_cert_config cc = {.subject = {.common_name = STR("kube-apiserver"),
                                             .dns_names = names,
                                             .dns_name_count = ARRAY_SIZE(names),
                                             .ip_addresses = ips,
                                             .ip_address_count = ARRAY_SIZE(ips)},
                                 .is_ca = true,
                                 .usages = PKI_USAGE_SERVER,
                                 .key_usages = PKI_KU_DIGITAL_SIGNATURE | PKI_KU_KEY_ENCIPHERMENT |
                                               PKI_KU_CERT_SIGN};
    int code = pki_key_generate(PKI_KEY_P256, &key, err);
    if (code == 0)
        code = pki_ca_create(&cc, key, &cert, err);
    if (code == 0) {
        pki_cert_pem(cert, &pem);
        pki_key_pem(key, &key_pem);
        c->cert.pem = arena_str(a, buf_str(&pem));
        c->key.pem = arena_str(a, buf_str(&key_pem));
        log_info("serving with a self-signed certificate");
    }
    pki_cert_unref(cert);
    pki_key_unref(key);
    return code;
}

static int make_tls(struct apiserver *s, struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    struct tls_config c = {.server = true,
                           .cert.file = s->config.tls_cert_file,
                           .key.file = s->config.tls_key_file,
                           .ca.file = s->config.client_ca_file,
                           .client_auth = TLS_CLIENT_AUTH_REQUEST,
                           .alpn = TLS_ALPN_H2 | TLS_ALPN_HTTP1};
    int code = 0;
    if (c.cert.file == NULL)
        code = own_certificate(s, &c, a, err);
    if (s->config.client_ca_file == NULL && s->config.requestheader_client_ca_file == NULL)
        c.client_auth = TLS_CLIENT_AUTH_NONE;
    if (code == 0)
        code = serving_flags_tls(&s->config.serving, a, &c, err);
    return code != 0 ? code : tls_context_new(&c, &s->tls, err);
}

static unsigned thread_count(const struct apiserver *s)
{
    if (s->config.threads > 0)
        return (unsigned)MIN_OF(s->config.threads, (int64_t)SERVER_THREADS_MAX);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    return cpus < 1 ? 1 : MIN_OF((unsigned)cpus, THREADS_DEFAULT_MAX);
}

int apiserver_start(struct apiserver *s, struct error *err)
{
    char address[128];
    int code = make_tls(s, err);
    if (code == 0)
        code = authn_new(s, &s->authn, err);
    if (code != 0)
        return code;
    s->port = (int)s->config.secure_port;
    s->thread_count = thread_count(s);
    s->json_cache = json_cache_new((size_t)MAX_OF(s->config.json_cache_bytes, 0));
    s->figures = figure_board_new();
    s->threads = xzalloc(s->thread_count * sizeof(*s->threads));
    for (unsigned i = 0; i < s->thread_count; i++)
        atomic_init(&s->threads[i].customs_told,
                    true); /* Nothing to be told before its loop runs. */
    worker_start(&s->worker, "apiserver-work", NULL, NULL);
    custom_compiler_start(s);
    url_host_port_text(address, sizeof(address), s->address, s->port);
    discovery_init(address);
    for (unsigned i = 0; i < s->thread_count; i++) {
        struct server_thread *t = &s->threads[i];
        t->server = s;
        t->index = i;
        uv_sem_init(&t->start_done, 0);
        int rc = uv_thread_create(&t->thread, thread_main, t);
        if (rc != 0)
            return loop_error_set(err, rc, "server thread");
        /* The first one finds the port that the others share. */
        uv_sem_wait(&t->start_done);
        if (t->start_code != 0) {
            uv_thread_join(&t->thread);
            *err = t->start_error;
            return t->start_code;
        }
    }
    return 0;
}

void apiserver_stop(struct apiserver *s)
{
    /* What it was given is done; the loops still hear of it. */
    worker_stop(&s->worker);
    custom_compiler_stop();
    for (unsigned i = 0; i < s->thread_count; i++)
        mailbox_post(&s->threads[i].mailbox, &s->threads[i].stop_mail);
    for (unsigned i = 0; i < s->thread_count; i++)
        uv_thread_join(&s->threads[i].thread);
    free(s->threads);
    s->threads = NULL;
    s->thread_count = 0;
    authn_free(s->authn);
    json_cache_free(s->json_cache);
    figure_board_free(s->figures);
    tls_context_unref(s->tls);
}
