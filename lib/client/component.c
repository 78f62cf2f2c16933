/* component.c - see component.h. */
#include "lib/client/component.h"

#include "lib/api/zpages.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/flags.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "lib/base/program.h"
#include "lib/base/version.h"
#include "lib/client/client.h"
#include "lib/client/kubeconfig.h"
#include "lib/client/leader_election.h"
#include "lib/net/bytes.h"
#include "lib/net/http_server.h"
#include "lib/net/pki.h"
#include "lib/net/stream.h"
#include "lib/net/tls.h"
#include "lib/net/range.h"
#include "lib/net/url.h"

#include <signal.h>
#include <stdio.h>
#include <uv.h>

#define NS_PER_MS 1000000
#define SHUTDOWN_MS 500

struct options {
    const char *kubeconfig;
    const char *master;
    const char *context;
    bool leader_elect;
    const char *lease_namespace;
    const char *lease_name;
    int64_t lease_duration_ns, renew_deadline_ns, retry_period_ns;
    const char *bind_address;
    int64_t secure_port;
    const char *tls_cert, *tls_key, *client_ca;
    struct flag_list open_paths;
    double qps;
    int64_t burst;
    int64_t verbosity;
    bool version;
};

struct component {
    const struct component_config *config;
    struct options options;
    uv_loop_t loop;
    struct client *client;
    struct leader_election *election;
    struct http_server *server;
    struct tls_context *tls;
    struct zpages *zpages;
    uv_signal_t signals[2];
    bool working; /* Between start() and stop(). */
    bool shutting_down;
};

/* --- flags ------------------------------------------------------------------------------- */

static void add_flags(struct flag_set *f, struct options *o)
{
    flag_string(f, &o->kubeconfig, "kubeconfig", "Kubeconfig `file` to reach the API server with.");
    flag_string(f, &o->context, "context", "Context of the kubeconfig to use.");
    flag_string(f, &o->master, "master", "URL of the API server; overrides the kubeconfig's.");
    flag_bool(f, &o->leader_elect, "leader-elect",
              "Work only while holding a lease, so that several instances may run.");
    flag_duration(f, &o->lease_duration_ns, "leader-elect-lease-duration",
                  "How long others wait before they take over a lease that is not renewed.");
    flag_duration(f, &o->renew_deadline_ns, "leader-elect-renew-deadline",
                  "How long a leader tries to renew before it stops leading.");
    flag_duration(f, &o->retry_period_ns, "leader-elect-retry-period", "Time between two tries.");
    flag_string(f, &o->lease_namespace, "leader-elect-resource-namespace",
                "Namespace of the lease.");
    flag_string(f, &o->lease_name, "leader-elect-resource-name", "Name of the lease.");
    flag_ignored(f, "leader-elect-resource-lock", true, NULL);
    flag_string(f, &o->bind_address, "bind-address", "Address to serve health and metrics on.");
    flag_int(f, &o->secure_port, "secure-port",
             "Port to serve health and metrics on with HTTPS; 0: do not serve.");
    flag_string(f, &o->tls_cert, "tls-cert-file", "Certificate `file`; default: self-signed.");
    flag_string(f, &o->tls_key, "tls-private-key-file", "Key `file` of the certificate.");
    flag_string(f, &o->client_ca, "client-ca-file",
                "CA `file`; clients with a certificate of it may read metrics.");
    flag_strings(f, &o->open_paths, "authorization-always-allow-paths",
                 "Paths that need no client certificate.");
    flag_ignored(f, "authentication-kubeconfig", true, NULL);
    flag_ignored(f, "authorization-kubeconfig", true, NULL);
    flag_ignored(f, "requestheader-client-ca-file", true, NULL);
    flag_ignored(f, "profiling", false, NULL);
    flag_float(f, &o->qps, "kube-api-qps", "Calls per second to the API server.");
    flag_int(f, &o->burst, "kube-api-burst", "Calls at once above that rate.");
    flag_int(f, &o->verbosity, "v", "Log level; 2 and above: debug.");
    flag_bool(f, &o->version, "version", "Print the version and quit.");
}

static int check_options(const struct options *o, struct error *err)
{
    struct net_range address;
    if (o->secure_port < 0 || o->secure_port > 65535)
        return error_set(err, E_USAGE,
                         "--secure-port: %lld is no port: want 1 to 65535, or 0 not to serve",
                         (long long)o->secure_port);
    if (!net_range_parse_address(str_of(o->bind_address), &address))
        return error_set(err, E_USAGE, "--bind-address: \"%s\" is no IP address", o->bind_address);
    if ((o->tls_cert == NULL) != (o->tls_key == NULL))
        return error_set(err, E_USAGE,
                         "--tls-cert-file and --tls-private-key-file go together: give both");
    if (o->leader_elect && (o->lease_duration_ns < NS_PER_MS || o->renew_deadline_ns < NS_PER_MS ||
                            o->retry_period_ns < NS_PER_MS))
        return error_set(err, E_USAGE,
                         "--leader-elect-lease-duration, --leader-elect-renew-deadline and "
                         "--leader-elect-retry-period must be greater than zero");
    return 0;
}

static int parse(struct component *c, struct flag_set *f, int argc, char **argv)
{
    struct error err = {0};
    int rc = flag_set_parse(f, argc, argv, &err);
    if (rc == E_EOF) {
        flag_set_print_help(f);
        return E_EOF;
    }
    size_t count = 0;
    const char *const *args = rc == 0 ? flag_set_args(f, &count) : NULL;
    if (rc == 0 && count != 0)
        rc = error_set(&err, E_USAGE, "unexpected argument: %s; there are flags only", args[0]);
    if (rc == 0)
        rc = check_options(&c->options, &err);
    if (rc != 0)
        fprintf(stderr, "%s: %s\n", c->config->name, error_message(&err));
    if (rc == 0 && c->options.version) {
        puts(VERSION_LINE);
        return E_EOF;
    }
    return rc;
}

/* --- health and metrics -------------------------------------------------------------------- */

static bool is_open_path(const struct component *c, struct str path)
{
    for (size_t i = 0; i < c->options.open_paths.count; i++) {
        struct str open = str_of(c->options.open_paths.items[i]);
        bool prefix = str_has_suffix(open, STR("*"));
        if (prefix ? str_has_prefix(path, str_sub(open, 0, open.len - 1)) : str_eq(open, path))
            return true;
    }
    return false;
}

static void respond_text(struct http_request *r, int status, struct str text)
{
    http_response_header(r, "Content-Type", "text/plain; charset=utf-8");
    http_respond(r, status, text);
}

static void respond_config(struct http_request *r, const struct component_config *config)
{
    AUTO_BUF b = BUF_INIT;
    buf_append_str(&b, STR("{\"componentconfig\":"));
    config->tell_config(&b);
    buf_putc(&b, '}');
    struct net_bytes *body = net_bytes_steal(&b);
    http_respond_typed(r, 200, "application/json", body);
    net_bytes_unref(body);
}

static void respond_zpage(const struct component *c, struct http_request *r)
{
    AUTO_BUF b = BUF_INIT;
    const char *type;
    int status = zpages_answer(c->zpages, r->path, http_request_header(r, "accept"),
                               env_wall_ns(env_system()), &b, &type);
    struct net_bytes *body = net_bytes_steal(&b);
    http_respond_typed(r, status, type, body);
    net_bytes_unref(body);
}

static void on_request(struct http_request *r, void *arg)
{
    struct component *c = arg;
    if (!is_open_path(c, r->path) && (r->peer == NULL || !r->peer->verified)) {
        respond_text(r, 403,
                     STR("Forbidden: a client certificate of --client-ca-file is needed\n"));
        return;
    }
    if (str_eqc(r->path, "/healthz") || str_eqc(r->path, "/livez") || str_eqc(r->path, "/readyz")) {
        respond_text(r, 200, STR("ok"));
    } else if (str_eqc(r->path, "/metrics")) {
        AUTO_BUF b = BUF_INIT;
        metrics_render(metrics_default(), &b);
        struct net_bytes *body = net_bytes_steal(&b);
        http_respond_typed(r, 200, METRICS_CONTENT_TYPE, body);
        net_bytes_unref(body);
    } else if (zpages_has(r->path)) {
        respond_zpage(c, r);
    } else if (str_eqc(r->path, "/configz") && c->config->tell_config != NULL) {
        respond_config(r, c->config);
    } else {
        respond_text(r, 404, STR("404 page not found\n"));
    }
}

/* As upstream: without files, a certificate made at start-up. */
static int self_signed(struct buf *cert_pem, struct buf *key_pem, struct error *err)
{
    struct pki_key *key = NULL;
    struct pki_cert *cert = NULL;
    struct str names[] = {STR("localhost")};
    struct str addresses[] = {STR("127.0.0.1"), STR("::1")};
    struct pki_cert_config config = {
        .subject = {.common_name = STR("localhost"),
                    .dns_names = names,
                    .dns_name_count = ARRAY_SIZE(names),
                    .ip_addresses = addresses,
                    .ip_address_count = ARRAY_SIZE(addresses)},
        .usages = PKI_USAGE_SERVER,
    };
    int rc = pki_key_generate(PKI_KEY_P256, &key, err);
    if (rc == 0)
        rc = pki_ca_create(&config, key, &cert, err);
    if (rc == 0) {
        pki_cert_pem(cert, cert_pem);
        pki_key_pem(key, key_pem);
    }
    pki_cert_unref(cert);
    pki_key_unref(key);
    return rc;
}

static int make_tls(struct component *c, struct error *err)
{
    const struct options *o = &c->options;
    AUTO_BUF cert = BUF_INIT, key = BUF_INIT;
    struct tls_config config = {
        .server = true,
        .cert = {.file = o->tls_cert},
        .key = {.file = o->tls_key},
        .ca = {.file = o->client_ca},
        .client_auth = o->client_ca != NULL ? TLS_CLIENT_AUTH_REQUEST : TLS_CLIENT_AUTH_NONE,
        .alpn = TLS_ALPN_H2 | TLS_ALPN_HTTP1,
    };
    if (o->tls_cert == NULL || o->tls_key == NULL) {
        int rc = self_signed(&cert, &key, err);
        if (rc != 0)
            return rc;
        config.cert = (struct tls_source){.pem = buf_str(&cert)};
        config.key = (struct tls_source){.pem = buf_str(&key)};
    }
    return tls_context_new(&config, &c->tls, err);
}

static int serve(struct component *c, struct error *err)
{
    struct http_server_config config = {.name = "health", .on_request = on_request, .arg = c};
    if (c->options.secure_port == 0)
        return 0;
    int rc = make_tls(c, err);
    if (rc == 0)
        rc = http_server_new(&c->loop, &config, &c->server, err);
    if (rc != 0)
        return rc;
    char address[128];
    url_host_port_text(address, sizeof(address), c->options.bind_address,
                       (int)c->options.secure_port);
    struct net_listen_config listen = {.address = address, .tls = c->tls};
    rc = http_server_listen(c->server, &listen, err);
    if (rc == 0)
        log_info("serving health and metrics on https://%s", address);
    return rc;
}

/* --- life ----------------------------------------------------------------------------------- */

static void begin_work(void *arg)
{
    struct component *c = arg;
    c->working = true;
    c->config->start(c->client);
}

static void end_work(void *arg)
{
    struct component *c = arg;
    if (!c->working)
        return;
    c->working = false;
    c->config->stop();
}

static void on_new_leader(const char *identity, void *arg)
{
    UNUSED(arg);
    log_info("new leader: %s", identity);
}

static void on_election_closed(void *arg)
{
    struct component *c = arg;
    client_close(c->client, NULL, NULL);
}

static void shut_down(struct component *c)
{
    if (c->shutting_down)
        return;
    c->shutting_down = true;
    uv_close((uv_handle_t *)&c->signals[0], NULL);
    uv_close((uv_handle_t *)&c->signals[1], NULL);
    if (c->server != NULL)
        http_server_shutdown(c->server, SHUTDOWN_MS, NULL, NULL);
    if (c->election != NULL) {
        leader_election_close(c->election, on_election_closed, c);
    } else {
        end_work(c);
        if (c->client != NULL)
            client_close(c->client, NULL, NULL);
    }
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct component *c = handle->data;
    if (!c->shutting_down)
        log_info("signal %d: shutting down", number);
    shut_down(c);
}

static int connect_client(struct component *c, struct error *err)
{
    struct kubeconfig *k = NULL;
    const struct options *o = &c->options;
    int rc = 0;
    if (o->kubeconfig == NULL && o->master != NULL)
        k = kubeconfig_for_server(o->master);
    else
        rc = kubeconfig_load(o->kubeconfig, o->context, &k, err);
    if (rc != 0)
        return rc;
    if (o->kubeconfig != NULL && o->master != NULL) {
        k->servers[0] = o->master;
        k->server_count = 1;
    }
    struct client_options options = {
        .user_agent = c->config->name, .qps = o->qps, .burst = (unsigned)MAX_OF(o->burst, 1)};
    return client_new(&c->loop, k, &options, &c->client, err);
}

static int contend(struct component *c, struct error *err)
{
    const struct options *o = &c->options;
    if (!o->leader_elect) {
        begin_work(c);
        return 0;
    }
    struct leader_election_config config = {
        .client = c->client,
        .namespace_name = o->lease_namespace,
        .name = o->lease_name,
        .lease_duration_ms = (uint32_t)(o->lease_duration_ns / NS_PER_MS),
        .renew_deadline_ms = (uint32_t)(o->renew_deadline_ns / NS_PER_MS),
        .retry_period_ms = (uint32_t)(o->retry_period_ns / NS_PER_MS),
        .on_started = begin_work,
        .on_stopped = end_work,
        .on_new_leader = on_new_leader,
        .arg = c,
    };
    int rc = leader_election_new(&config, &c->election, err);
    if (rc == 0)
        leader_election_start(c->election);
    return rc;
}

static int bring_up(struct component *c, struct error *err)
{
    int rc = c->config->prepare != NULL ? c->config->prepare(err) : 0;
    if (rc == 0)
        rc = connect_client(c, err);
    if (rc == 0)
        rc = serve(c, err);
    return rc == 0 ? contend(c, err) : rc;
}

static void watch_signals(struct component *c)
{
    static const int numbers[] = {SIGINT, SIGTERM};
    for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++) {
        uv_signal_init(&c->loop, &c->signals[i]);
        c->signals[i].data = c;
        uv_signal_start(&c->signals[i], on_signal, numbers[i]);
    }
}

static int run(struct component *c)
{
    struct error err = {0};
    uv_loop_init(&c->loop);
    watch_signals(c);
    int rc = bring_up(c, &err);
    if (rc != 0) {
        log_error("%s", error_message(&err));
        shut_down(c);
    }
    uv_run(&c->loop, UV_RUN_DEFAULT);
    http_server_free(c->server);
    tls_context_unref(c->tls);
    uv_loop_close(&c->loop);
    return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int component_main(const struct component_config *config, int argc, char **argv)
{
    program_begin();
    program_open_files_max();
    static const char *open_paths[] = {"/healthz", "/readyz", "/livez"};
    static const char *const all_paths[] = {"/configz", "/flagz",  "/healthz", "/livez",
                                            "/metrics", "/readyz", "/statusz", NULL};
    struct component *c = xzalloc(sizeof(*c));
    c->config = config;
    c->options = (struct options){
        .leader_elect = true,
        .lease_namespace = "kube-system",
        .lease_name = config->lease_name,
        .lease_duration_ns = 15000ll * NS_PER_MS,
        .renew_deadline_ns = 10000ll * NS_PER_MS,
        .retry_period_ns = 2000ll * NS_PER_MS,
        .bind_address = "0.0.0.0",
        .secure_port = config->secure_port,
        .open_paths = {open_paths, ARRAY_SIZE(open_paths)},
        .qps = config->qps,
        .burst = config->burst,
    };
    AUTO_FREE char *usage = xasprintf("%s [flags]", config->name);
    struct flag_set *f = flag_set_new(usage);
    add_flags(f, &c->options);
    if (config->add_flags != NULL)
        config->add_flags(f);
    if (!flag_known(f, "feature-gates"))
        flag_ignored(f, "feature-gates", true, NULL);
    int rc = parse(c, f, argc, argv);
    int status = rc == E_EOF ? EXIT_SUCCESS : EXIT_USAGE;
    if (rc == 0) {
        log_setup(config->name, c->options.verbosity >= 2 ? LOG_DEBUG : LOG_INFO);
        metrics_add_process(metrics_default());
        c->zpages = zpages_new(config->component, f,
                               config->tell_config != NULL ? all_paths : all_paths + 1,
                               env_wall_ns(env_system()));
        status = run(c);
        zpages_free(c->zpages);
    }
    flag_set_free(f);
    free(c);
    return status;
}
