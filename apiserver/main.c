/* main.c - trireme-apiserver: flags, the store, the server threads, signals.
 *
 *   store_open -> apiserver_start -> built-in objects -> (SIGTERM) ->
 *   out of the endpoints -> drain -> store_close (hands leadership over) */
#include "apiserver/admission.h"
#include "apiserver/admission/metrics.h"
#include "apiserver/alloc.h"
#include "apiserver/apiserver.h"
#include "apiserver/audit_flags.h"
#include "apiserver/auth_reload.h"
#include "apiserver/authz.h"
#include "apiserver/authz_feed.h"
#include "apiserver/bootstrap.h"
#include "apiserver/etcd_endpoint.h"
#include "apiserver/custom/conversion_metrics.h"
#include "apiserver/encryption.h"
#include "apiserver/flow_control.h"
#include "apiserver/flow_feed.h"
#include "apiserver/json_cache.h"
#include "apiserver/monitor.h"
#include "apiserver/registry.h"
#include "apiserver/features.h"
#include "apiserver/runtime_config.h"
#include "apiserver/server_metrics.h"
#include "apiserver/service_ips.h"
#include "lib/api/zpages.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/flags.h"
#include "lib/base/log.h"
#include "lib/base/program.h"
#include "lib/base/version.h"
#include "lib/net/pki.h"
#include "lib/net/tls.h"
#include "raftstore/store.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <net/if.h>
#include <ifaddrs.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define MEMBERS_MAX 16u
#define JSON_CACHE_BYTES (32 << 20)
#define TLS_RELOAD_MS 60000u
#define MINUTE_NS INT64_C(60000000000)
/* How long answers that a majority must give are waited for at the end. */
#define STOP_WAIT_MS 1500u

struct program {
    struct apiserver server;
    struct audit_flags audit;
    struct store_config store;
    struct etcd_endpoint etcd;
    struct flag_list initial_cluster;
    struct flag_list enabled_plugins, disabled_plugins;
    struct admission_flags admission;
    struct store_member members[MEMBERS_MAX];
    int64_t heartbeat_ms, election_ms, quota_bytes;
    int64_t min_request_timeout_s;
    int64_t verbosity;
    bool unsafe_no_fsync;
    bool version;
    struct flag_set *flags; /* Lists given by flags live in it. */
    uv_loop_t loop;
    struct mailbox mailbox;
    struct bootstrap *bootstrap;
    struct flow_feed *flow_feed;
    struct tls_reloader *reloader;
    struct auth_reload *auth_reload;
    uv_signal_t signals[2];
    uv_timer_t store_timer; /* Looks whether the store can go on. */
    bool stopping;
};

static void add_server_flags(struct flag_set *f, struct apiserver_config *c)
{
    flag_string(f, &c->bind_address, "bind-address", "The `address` to serve on.");
    flag_string(f, &c->advertise_address, "advertise-address",
                "The `address` at which others reach this server.");
    flag_int(f, &c->secure_port, "secure-port", "The `port` to serve HTTPS on; 0 picks one.");
    flag_int(f, &c->threads, "threads", "Server threads; 0: one for each CPU, at most four.");
    flag_string(f, &c->tls_cert_file, "tls-cert-file",
                "`File` with the server's certificate and its chain.");
    flag_string(f, &c->tls_key_file, "tls-private-key-file", "`File` with its private key.");
    flag_string(f, &c->client_ca_file, "client-ca-file",
                "`File` with the CAs of client certificates.");
    flag_string(f, &c->token_auth_file, "token-auth-file",
                "CSV `file` of static tokens: token,user,uid,groups.");
    flag_string_array(
        f, &c->service_account_key_files, "service-account-key-file",
        "`File` with public keys that verify service account tokens; may be repeated.");
    flag_string(f, &c->service_account_signing_key_file, "service-account-signing-key-file",
                "`File` with the private key that signs them.");
    flag_string_array(
        f, &c->service_account_issuers, "service-account-issuer",
        "Issuer of service account tokens; repeated: further ones that are accepted.");
    flag_string(f, &c->service_account_jwks_uri, "service-account-jwks-uri",
                "`Address` of the keys that the discovery document names.");
    flag_duration(f, &c->service_account_max_expiration_ns, "service-account-max-token-expiration",
                  "Longest life of a token; 0: any.");
    flag_bool(f, &c->service_account_extend_expiration, "service-account-extend-token-expiration",
              "Let mounted tokens live a year, for clients that do not read them again.");
    flag_bool(f, &c->service_account_lookup, "service-account-lookup",
              "Tokens of secrets are good only while the secret is there.");
    flag_string(f, &c->api_audiences, "api-audiences",
                "Audiences of tokens for this server; default: the issuers.");
    flag_string(
        f, &c->service_cluster_ip_range, "service-cluster-ip-range",
        "`Range` of Services' cluster addresses, or two of them with a comma: one of each family, "
        "the default one first.");
    flag_string(f, &c->service_node_port_range, "service-node-port-range", "Range of node ports.");
    flag_string(f, &c->kubelet_client_certificate, "kubelet-client-certificate",
                "`File` with the client certificate for kubelets.");
    flag_string(f, &c->kubelet_client_key, "kubelet-client-key", "`File` with its key.");
    flag_string(f, &c->kubelet_ca_file, "kubelet-certificate-authority",
                "`File` with the CAs of kubelets.");
    flag_string(f, &c->proxy_client_cert_file, "proxy-client-cert-file",
                "`File` with the certificate shown to aggregated API servers.");
    flag_string(f, &c->proxy_client_key_file, "proxy-client-key-file", "`File` with its key.");
    flag_string(
        f, &c->peer_ca_file, "api-peer-ca-file",
        "`File` with the CAs of other API servers' certificates; default: --client-ca-file.");
    flag_duration(f, &c->metric_resolution_ns, "metric-resolution",
                  "Between two looks at what each node uses, for metrics.k8s.io; 0: not served.");
    flag_string(f, &c->requestheader_client_ca_file, "requestheader-client-ca-file",
                "`File` with the CAs of front proxies.");
    flag_string(f, &c->requestheader_allowed_names, "requestheader-allowed-names",
                "Names of front proxies.");
    flag_string(f, &c->requestheader_username_headers, "requestheader-username-headers",
                "Headers that name the user.");
    flag_string(f, &c->requestheader_uid_headers, "requestheader-uid-headers",
                "`Headers` with the user's uid from a front proxy.");
    flag_string(f, &c->requestheader_group_headers, "requestheader-group-headers",
                "Headers that name groups.");
    flag_string(f, &c->requestheader_extra_headers_prefix, "requestheader-extra-headers-prefix",
                "Prefixes of headers with extra fields.");
    flag_bool(f, &c->enable_bootstrap_token_auth, "enable-bootstrap-token-auth",
              "Accept bootstrap tokens from secrets in kube-system.");
    flag_bool(f, &c->anonymous_auth, "anonymous-auth",
              "Let requests without credentials be anonymous.");
    flag_string(f, &c->authorization_mode, "authorization-mode",
                "Comma `list` of who decides, in order: Node, RBAC, Webhook, AlwaysAllow, "
                "AlwaysDeny.");
    flag_bool(f, &c->priority_and_fairness, "enable-priority-and-fairness",
              "Share what is served at once among priority levels, and queue what has to wait.");
    flag_int(f, &c->max_inflight, "max-requests-inflight",
             "With priority and fairness: the first part of all seats. Else reads served at once; "
             "0: no limit.");
    flag_int(f, &c->max_mutating_inflight, "max-mutating-requests-inflight",
             "With priority and fairness: the second part of all seats. Else writes served at "
             "once; 0: no limit.");
    flag_int(f, &c->json_cache_bytes, "json-cache-bytes",
             "Memory for the JSON of listed objects, given back after a minute without lists.");
    flag_int(f, &c->min_request_timeout_s, "min-request-timeout",
             "Shortest life of a watch in seconds.");
}

static void add_authn_flags(struct flag_set *f, struct apiserver_config *c)
{
    struct oidc_flags *o = &c->oidc;
    flag_string(
        f, &c->authentication_config, "authentication-config",
        "`File` with an AuthenticationConfiguration: issuers of tokens, anonymous requests.");
    flag_string(f, &c->token_webhook_config_file, "authentication-token-webhook-config-file",
                "Kubeconfig `file` of a webhook that is asked about tokens.");
    flag_string(f, &c->token_webhook_version, "authentication-token-webhook-version",
                "Version of the TokenReview that it takes: v1 or v1beta1.");
    flag_duration(f, &c->token_webhook_ttl_ns, "authentication-token-webhook-cache-ttl",
                  "How long its answers count.");
    flag_string(f, &o->issuer_url, "oidc-issuer-url",
                "Issuer of OpenID Connect tokens; an https:// `address`.");
    flag_string(f, &o->client_id, "oidc-client-id", "Audience that these tokens must name.");
    flag_string(f, &o->ca_file, "oidc-ca-file",
                "`File` with the CAs of the issuer; default: the system's.");
    flag_string(f, &o->username_claim, "oidc-username-claim", "Claim that is the user's name.");
    flag_string(f, &o->username_prefix, "oidc-username-prefix",
                "Put before the name; -: nothing. Default: the issuer and #, unless it is a mail "
                "address.");
    flag_string(f, &o->groups_claim, "oidc-groups-claim", "Claim that holds the user's groups.");
    flag_string(f, &o->groups_prefix, "oidc-groups-prefix", "Put before each group.");
    flag_strings(f, &o->signing_algs, "oidc-signing-algs",
                 "Algorithms that are accepted; default: RS256.");
    flag_map(f, &o->required_claims, "oidc-required-claim",
             "A `claim=value` that tokens must have; may be repeated.");
}

static void add_encryption_flags(struct flag_set *f, struct apiserver_config *c)
{
    flag_string(f, &c->encryption_config, "encryption-provider-config",
                "`File` with an EncryptionConfiguration: what is encrypted in the store, and how.");
    flag_bool(f, &c->encryption_reload, "encryption-provider-config-automatic-reload",
              "Read that file anew when it changes.");
}

static void add_authz_flags(struct flag_set *f, struct apiserver_config *c)
{
    flag_string(f, &c->authorization_config, "authorization-config",
                "`File` with an AuthorizationConfiguration: who decides, in order.");
    flag_string(f, &c->authorization_webhook_config_file, "authorization-webhook-config-file",
                "Kubeconfig `file` of the webhook of --authorization-mode=Webhook.");
    flag_string(f, &c->authorization_webhook_version, "authorization-webhook-version",
                "Version of the SubjectAccessReview that it takes: v1 or v1beta1.");
    flag_duration(f, &c->authorization_webhook_authorized_ttl_ns,
                  "authorization-webhook-cache-authorized-ttl", "How long a permission counts.");
    flag_duration(f, &c->authorization_webhook_unauthorized_ttl_ns,
                  "authorization-webhook-cache-unauthorized-ttl", "How long a refusal counts.");
}

/* A file says it all: flags beside it would be ignored silently. */
static int check_auth_flags(struct program *p, struct error *err)
{
    static const char *const others[] = {"authorization-mode", "authorization-webhook-config-file",
                                         "authorization-webhook-version",
                                         "authorization-webhook-cache-authorized-ttl",
                                         "authorization-webhook-cache-unauthorized-ttl"};
    struct apiserver_config *c = &p->server.config;
    c->anonymous_given = flag_changed(p->flags, "anonymous-auth");
    for (size_t i = 0; c->authorization_config != NULL && i < ARRAY_SIZE(others); i++)
        if (flag_changed(p->flags, others[i]))
            return error_set(
                err, E_INVALID,
                "--authorization-config can not be specified when --authorization-mode "
                "or --authorization-webhook-* flags are defined: take --%s away",
                others[i]);
    return 0;
}

static void add_store_flags(struct flag_set *f, struct program *p)
{
    flag_string(f, &p->store.data_dir, "data-dir", "`Directory` of the store.");
    flag_string(f, &p->store.name, "name", "Name of this member.");
    flag_string(f, &p->store.listen_address, "peer-listen-address",
                "`host:port` to listen on for other members.");
    flag_string(f, &p->store.advertise_address, "peer-advertise-address",
                "`host:port` at which they reach this one.");
    flag_strings(f, &p->initial_cluster, "initial-cluster",
                 "Members of a new cluster, `name=host:port`,...");
    flag_string(f, &p->store.cert_file, "peer-cert-file", "`File` with this member's certificate.");
    flag_string(f, &p->store.key_file, "peer-key-file", "`File` with its key.");
    flag_string(f, &p->store.ca_file, "peer-ca-file", "`File` with the members' CA.");
    flag_bool(f, &p->store.join, "join", "Join the running cluster that initial-cluster names.");
    flag_int(f, &p->heartbeat_ms, "heartbeat-interval", "Milliseconds between heartbeats; 0: 100.");
    flag_int(f, &p->election_ms, "election-timeout", "Milliseconds until an election; 0: 600.");
    flag_int(f, &p->quota_bytes, "quota-bytes",
             "Memory of the store beyond which writes are refused; 0: 8 GiB.");
    flag_bool(f, &p->store.force_new_cluster, "force-new-cluster",
              "The majority is lost for good: go on alone with this member's data.");
    flag_bool(f, &p->unsafe_no_fsync, "unsafe-no-fsync",
              "Do not wait for the disk: tests and benchmarks only.");
}

static void add_admission_flags(struct flag_set *f, struct program *p)
{
    p->admission.enable = &p->enabled_plugins;
    p->admission.disable = &p->disabled_plugins;
    flag_strings(f, &p->enabled_plugins, "enable-admission-plugins",
                 "Admission plugins to run beside those that are on by default.");
    flag_strings(f, &p->disabled_plugins, "disable-admission-plugins",
                 "Admission plugins not to run although they are on by default.");
    flag_string(f, &p->admission.config_file, "admission-control-config-file",
                "`File` with an AdmissionConfiguration: settings of admission plugins.");
}

/* Flags of upstream's that need no setting here: docs/compatibility.md says why. */
static void ignore_flags(struct flag_set *f)
{
    static const char *const valued[] = {"cert-dir",
                                         "default-watch-cache-size",
                                         "delete-collection-workers",
                                         "endpoint-reconciler-type",
                                         "etcd-cafile",
                                         "etcd-certfile",
                                         "etcd-compaction-interval",
                                         "etcd-count-metric-poll-period",
                                         "etcd-db-metric-poll-interval",
                                         "etcd-healthcheck-timeout",
                                         "etcd-keyfile",
                                         "etcd-prefix",
                                         "etcd-readycheck-timeout",
                                         "etcd-servers",
                                         "etcd-servers-overrides",
                                         "kubelet-port",
                                         "kubelet-preferred-address-types",
                                         "kubelet-read-only-port",
                                         "kubelet-timeout",
                                         "lease-reuse-duration-seconds",
                                         "log-flush-frequency",
                                         "storage-backend",
                                         "storage-initialization-timeout",
                                         "storage-media-type",
                                         "watch-cache-sizes"};
    static const char *const plain[] = {"aggregator-reject-forwarding-redirect",
                                        "allow-privileged",
                                        "contention-profiling",
                                        "enable-aggregator-routing",
                                        "enable-garbage-collector",
                                        "profiling",
                                        "watch-cache"};
    static const struct {
        const char *name;
        bool valued;
        const char *warning;
    } told[] = {
        {"external-hostname", true, "--external-hostname has no effect"},
        {"logging-format", true, "--logging-format has no effect: the log is text"},
        {"shutdown-send-retry-after", false, "--shutdown-send-retry-after has no effect"},
        {"shutdown-watch-termination-grace-period", true,
         "--shutdown-watch-termination-grace-period has no effect"},
        {"vmodule", true, "--vmodule has no effect"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(valued); i++)
        flag_ignored(f, valued[i], true, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
        flag_ignored(f, plain[i], false, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(told); i++)
        flag_ignored(f, told[i].name, told[i].valued, told[i].warning);
}

static void set_defaults(struct program *p)
{
    struct apiserver_config *c = &p->server.config;
    c->bind_address = "0.0.0.0";
    c->secure_port = 6443;
    static const char *issuer = "https://kubernetes.default.svc.cluster.local";
    c->service_account_issuers = (struct flag_list){&issuer, 1};
    c->service_account_extend_expiration = true;
    c->service_account_lookup = true;
    c->token_webhook_version = "v1beta1";
    c->token_webhook_ttl_ns = 2 * MINUTE_NS;
    c->authorization_webhook_version = "v1beta1";
    c->authorization_webhook_authorized_ttl_ns = 5 * MINUTE_NS;
    c->authorization_webhook_unauthorized_ttl_ns = MINUTE_NS / 2;
    c->oidc.username_claim = "sub";
    c->service_cluster_ip_range = "10.96.0.0/12";
    c->service_node_port_range = "30000-32767";
    c->requestheader_allowed_names = "";
    c->requestheader_username_headers = "X-Remote-User";
    c->requestheader_uid_headers = "";
    c->requestheader_group_headers = "X-Remote-Group";
    c->requestheader_extra_headers_prefix = "X-Remote-Extra-";
    c->anonymous_auth = true;
    c->authorization_mode = "Node,RBAC";
    c->min_request_timeout_s = 1800;
    c->metric_resolution_ns = 15000000000;
    c->priority_and_fairness = true;
    c->max_inflight = 400;
    c->json_cache_bytes = JSON_CACHE_BYTES;
    c->max_mutating_inflight = 200;
    p->store.data_dir = "/var/lib/trireme/store";
    p->store.name = "default";
}

static bool interface_address(const struct ifaddrs *i, bool v4, char *ret, size_t size)
{
    if (i->ifa_addr == NULL || i->ifa_addr->sa_family != (v4 ? AF_INET : AF_INET6) ||
        (i->ifa_flags & IFF_LOOPBACK) != 0)
        return false;
    if (v4) {
        struct sockaddr_in in;
        memcpy(&in, i->ifa_addr, sizeof(in));
        return inet_ntop(AF_INET, &in.sin_addr, ret, (socklen_t)size) != NULL;
    }
    struct sockaddr_in6 in6;
    memcpy(&in6, i->ifa_addr, sizeof(in6));
    return !IN6_IS_ADDR_LINKLOCAL(&in6.sin6_addr) &&
           inet_ntop(AF_INET6, &in6.sin6_addr, ret, (socklen_t)size) != NULL;
}

/* The first address of the Services' family that is not only this machine's. */
static void find_address(struct apiserver *s)
{
    const struct apiserver_config *c = &s->config;
    struct ifaddrs *all = NULL;
    bool v4 = s->service_ranges[0].v4;
    snprintf(s->address, sizeof(s->address), "%s", v4 ? "127.0.0.1" : "::1");
    if (c->advertise_address != NULL) {
        snprintf(s->address, sizeof(s->address), "%s", c->advertise_address);
        return;
    }
    if (strcmp(c->bind_address, "0.0.0.0") != 0 && strcmp(c->bind_address, "::") != 0) {
        snprintf(s->address, sizeof(s->address), "%s", c->bind_address);
        return;
    }
    if (getifaddrs(&all) != 0)
        return;
    for (struct ifaddrs *i = all; i != NULL; i = i->ifa_next)
        if (interface_address(i, v4, s->address, sizeof(s->address)))
            break;
    freeifaddrs(all);
}

/* The built-in Service leads to this address: they are of one family. */
static int check_address(struct apiserver *s, struct error *err)
{
    struct ip_text ip;
    struct str want = service_ips_default_family(s);
    if (!ip_text_parse(str_of(s->address), &ip))
        return error_set(err, E_INVALID, "--advertise-address: %s is no IP address", s->address);
    if (ip.v4 != s->service_ranges[0].v4)
        return error_set(err, E_INVALID,
                         "service IP family \"" STR_FMT
                         "\" must match public address family \"%s\": --advertise-address=%s and "
                         "the first range of --service-cluster-ip-range=%s differ",
                         STR_ARG(want), ip.v4 ? "IPv4" : "IPv6", s->address,
                         s->config.service_cluster_ip_range);
    AUTO_ARENA *a = arena_new(256);
    snprintf(s->address, sizeof(s->address), STR_FMT, STR_ARG(ip_text_write(a, &ip)));
    return 0;
}

/* Every member derives the same ids from the same list. */
static uint64_t member_id(const char *item)
{
    uint8_t sum[32];
    uint64_t id;
    net_sha256(item, strlen(item), sum);
    memcpy(&id, sum, sizeof(id));
    id &= INT64_MAX;
    return id != 0 ? id : 1;
}

static int read_members(struct program *p, struct error *err)
{
    for (size_t i = 0; i < p->initial_cluster.count; i++) {
        const char *item = p->initial_cluster.items[i], *eq = strchr(item, '=');
        if (eq == NULL || eq == item || i >= MEMBERS_MAX)
            return error_set(err, E_INVALID, "--initial-cluster: %s is not name=host:port", item);
        p->members[i] = (struct store_member){
            .id = member_id(item), .name = xstrndup(item, (size_t)(eq - item)), .address = eq + 1};
    }
    p->store.initial_members = p->members;
    p->store.initial_member_count = (uint32_t)p->initial_cluster.count;
    p->store.heartbeat_ms = (uint32_t)p->heartbeat_ms;
    p->store.election_ms = (uint32_t)p->election_ms;
    p->store.quota_bytes = (uint64_t)p->quota_bytes;
    p->store.unsafe_no_fsync = p->unsafe_no_fsync;
    return 0;
}

/* In flight together, all of them seats. */
static int check_seats(const struct apiserver_config *c, struct error *err)
{
    if (c->max_inflight < 0 || c->max_mutating_inflight < 0)
        return error_set(err, E_INVALID,
                         "--max-requests-inflight and --max-mutating-requests-inflight can not be "
                         "negative value");
    if (c->priority_and_fairness && c->max_inflight + c->max_mutating_inflight == 0)
        return error_set(err, E_INVALID,
                         "--max-requests-inflight and --max-mutating-requests-inflight must add up "
                         "to something positive with --enable-priority-and-fairness");
    return 0;
}

/* What is shown to aggregated servers, and whom other servers' certificates are held against: read
 * once here, so that a wrong file is told before anything is served. */
static int check_proxy_client(const struct apiserver_config *c, struct error *err)
{
    struct tls_config files = {.cert.file = c->proxy_client_cert_file,
                               .key.file = c->proxy_client_key_file,
                               .skip_verify = true};
    struct tls_config peers = {.ca.file = c->peer_ca_file};
    struct tls_context *tls;
    if ((files.cert.file == NULL) != (files.key.file == NULL))
        return error_set(
            err, E_INVALID,
            "--proxy-client-cert-file and --proxy-client-key-file go together: give both");
    if (files.cert.file != NULL) {
        if (tls_context_new(&files, &tls, err) != 0)
            return error_prefix(err, "--proxy-client-cert-file");
        tls_context_unref(tls);
    }
    if (peers.ca.file != NULL) {
        if (tls_context_new(&peers, &tls, err) != 0)
            return error_prefix(err, "--api-peer-ca-file");
        tls_context_unref(tls);
    }
    return 0;
}

/* Node agents measure every ten seconds: to ask oftener tells nothing new. metrics-server has the
 * same bound. */
#define METRIC_RESOLUTION_MIN_NS (10 * INT64_C(1000000000))

static int check_metric_resolution(const struct apiserver_config *c, struct error *err)
{
    int64_t ns = c->metric_resolution_ns;
    if (ns != 0 && ns < METRIC_RESOLUTION_MIN_NS)
        return error_set(
            err, E_INVALID,
            "--metric-resolution must be at least 10s, or 0 to serve no metrics.k8s.io");
    return 0;
}

static int check_listen(const struct apiserver_config *c, struct error *err)
{
    struct ip_text ip;
    if (!ip_text_parse(str_of(c->bind_address), &ip))
        return error_set(err, E_INVALID, "--bind-address: \"%s\" is no IP address",
                         c->bind_address);
    if (c->secure_port < 0 || c->secure_port > 65535)
        return error_set(
            err, E_INVALID,
            "--secure-port: %lld is no port: want 1 to 65535, or 0 for one that is free",
            (long long)c->secure_port);
    return 0;
}

static int parse_flags(struct program *p, int argc, char **argv, struct error *err)
{
    struct flag_set *f = p->flags = flag_set_new("trireme-apiserver [flags]");
    size_t count;
    set_defaults(p);
    serving_flags_default(&p->server.config.serving);
    add_server_flags(f, &p->server.config);
    add_authn_flags(f, &p->server.config);
    add_authz_flags(f, &p->server.config);
    add_encryption_flags(f, &p->server.config);
    serving_flags_add(&p->server.config.serving, f);
    add_store_flags(f, p);
    audit_flags_add(&p->audit, f);
    add_admission_flags(f, p);
    etcd_endpoint_flags(&p->etcd, f);
    ignore_flags(f);
    flag_int(f, &p->verbosity, "v", "Log `level`: 0, or 4 and above for debugging.");
    flag_bool(f, &p->version, "version", "Print the version and quit.");
    int code = flag_set_parse(f, argc, argv, err);
    if (code == E_EOF) {
        flag_set_print_help(f);
        exit(0);
    }
    const char *const *rest = flag_set_args(f, &count);
    if (code == 0 && count != 0)
        code = error_set(err, E_INVALID, "unexpected argument: %s; there are flags only", rest[0]);
    if (code == 0)
        code = check_auth_flags(p, err);
    if (code == 0)
        code = check_seats(&p->server.config, err);
    if (code == 0)
        code = check_proxy_client(&p->server.config, err);
    if (code == 0)
        code = check_listen(&p->server.config, err);
    if (code == 0)
        code = check_metric_resolution(&p->server.config, err);
    if (code == 0)
        code = serving_flags_check(&p->server.config.serving, flag_set_arena(f), err);
    if (code == 0)
        code = audit_flags_check(&p->audit, err);
    if (code == 0)
        code = read_members(p, err);
    if (code == 0)
        code = etcd_endpoint_check(&p->etcd, &p->store, err);
    return code;
}

/* --- running --------------------------------------------------------------------------------- */
static void on_mailbox_closed(struct mailbox *mb)
{
    UNUSED(mb);
}

static void on_left(void *arg)
{
    struct program *p = arg;
    tls_reloader_stop(p->reloader);
    auth_reload_stop(p->auth_reload);
    authz_feed_stop(p->server.authz_feed);
    flow_feed_stop(p->flow_feed);
    for (size_t i = 0; i < ARRAY_SIZE(p->signals); i++)
        uv_close((uv_handle_t *)&p->signals[i], NULL);
    uv_close((uv_handle_t *)&p->store_timer, NULL);
    mailbox_close(&p->mailbox, on_mailbox_closed);
}

static void stop(struct program *p)
{
    atomic_store(&p->server.stopping, true);
    store_limit_waits(p->server.store, STOP_WAIT_MS);
    bootstrap_stop(p->bootstrap, on_left, p);
}

/* Load balancers have had the time to see that the server is no more ready. */
static void on_delayed(uv_timer_t *t)
{
    stop(t->data);
}

static void on_signal(uv_signal_t *h, int signum)
{
    struct program *p = h->data;
    if (p->stopping) {
        log_warning("second signal: quitting at once");
        _exit(1);
    }
    p->stopping = true;
    atomic_store(&p->server.leaving, true);
    uint64_t delay_ms = (uint64_t)p->server.config.serving.shutdown_delay_ns / 1000000;
    log_info("signal %d: shutting down", signum);
    if (delay_ms == 0)
        stop(p);
    else
        uv_timer_start(&p->store_timer, on_delayed, delay_ms, 0);
}

/* What is due every few seconds. A store that cannot go on (its disk failed) still reads, but only
 * a restart helps: the supervisor does that. */
static void on_store_timer(uv_timer_t *t)
{
    struct program *p = t->data;
    struct store_status status;
    json_cache_sweep(p->server.json_cache);
    store_status(p->server.store, &status);
    if (!status.failed || p->stopping)
        return;
    log_error("the store cannot go on (see above): ending, to be started again");
    _exit(1);
}

static void on_flow_changed(void *arg)
{
    struct program *p = arg;
    if (p->bootstrap != NULL && !p->stopping)
        bootstrap_flow_changed(p->bootstrap);
}

static int run(struct program *p, struct error *err)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    struct apiserver *s = &p->server;
    uv_loop_init(&p->loop);
    int code = mailbox_init(&p->mailbox, &p->loop);
    if (code == 0)
        code = store_open(&p->store, &s->store, err);
    if (code != 0)
        return code;
    code = auth_load_authz(s, err);
    if (code == 0)
        code = audit_open(&p->audit.config, &s->audit, err);
    if (code == 0)
        code = authz_feed_start(s, &p->mailbox, &s->authz_feed, err);
    if (code == 0 && s->config.priority_and_fairness)
        s->flow = flow_control_new(s);
    if (code == 0)
        code = flow_feed_start(s, &p->loop, &p->mailbox, on_flow_changed, p, &p->flow_feed, err);
    if (code == 0)
        code = apiserver_start(s, err);
    if (code == 0)
        code = etcd_endpoint_start(&p->etcd, s->store, err);
    if (code != 0)
        return code;
    log_info("serving on https://%s:%d", s->config.bind_address, s->port);
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        uv_signal_init(&p->loop, &p->signals[i]);
        p->signals[i].data = p;
        uv_signal_start(&p->signals[i], on_signal, numbers[i]);
    }
    uv_timer_init(&p->loop, &p->store_timer);
    p->store_timer.data = p;
    uv_timer_start(&p->store_timer, on_store_timer, JSON_CACHE_SWEEP_MS, JSON_CACHE_SWEEP_MS);
    if (s->config.tls_cert_file != NULL)
        p->reloader = tls_reloader_start(&p->loop, s->tls, TLS_RELOAD_MS);
    p->auth_reload = auth_reload_start(s, &p->loop);
    p->bootstrap = bootstrap_start(s, &p->loop, &p->mailbox);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    etcd_endpoint_stop(&p->etcd);
    apiserver_stop(s);
    flow_control_free(s->flow);
    authz_feed_free(s->authz_feed);
    authz_free(s->authz);
    audit_close(s->audit);
    admission_setup_free(s->admission);
    store_close(s->store);
    encryption_use(NULL);
    uv_loop_close(&p->loop);
    log_info("stopped");
    return 0;
}

/* What a kind needs beside its version being on. */
static enum feature gate_of(struct str group, struct str version, struct str resource)
{
    if (!str_eqc(group, "certificates.k8s.io") || !str_eqc(version, "v1beta1"))
        return FEATURE_ALWAYS;
    return str_eqc(resource, "clustertrustbundles") ? FEATURE_CLUSTER_TRUST_BUNDLE
                                                    : FEATURE_POD_CERTIFICATE_REQUEST;
}

/* metrics.k8s.io where node agents can be asked for it. */
static bool serves(struct str group, struct str version, struct str resource, const void *arg)
{
    const struct apiserver_config *c = arg;
    if (str_eqc(group, "metrics.k8s.io") &&
        (c->kubelet_client_certificate == NULL || c->metric_resolution_ns <= 0))
        return false;
    if (!runtime_config_serves(&c->serving.runtime_config, group, version, resource))
        return false;
    enum feature gate = gate_of(group, version, resource);
    if (!feature_on(gate))
        log_warning("--runtime-config: " STR_FMT "/" STR_FMT "/" STR_FMT
                    " is not served without --feature-gates=%s=true",
                    STR_ARG(group), STR_ARG(version), STR_ARG(resource), feature_gate_name(gate));
    return feature_on(gate);
}

/* First path elements, as upstream shows them there. */
static void make_zpages(struct program *p)
{
    static const char *const paths[] = {"/flagz",  "/healthz", "/livez",   "/metrics",
                                        "/readyz", "/statusz", "/version", NULL};
    p->server.zpages = zpages_new("kube-apiserver", p->flags, paths, env_wall_ns(p->server.env));
}

int main(int argc, char **argv)
{
    program_begin();
    program_open_files_max();
    static struct program p;
    struct error err = {0};
    p.server.env = env_system();
    p.server.started_ms = env_now_ms(p.server.env);
    int code = parse_flags(&p, argc, argv, &err);
    if (code == 0 && p.version) {
        puts(VERSION_LINE);
        return 0;
    }
    if (code != 0) {
        fprintf(stderr, "trireme-apiserver: %s\n", error_message(&err));
        return EXIT_USAGE;
    }
    log_setup("apiserver", p.verbosity >= 4 ? LOG_DEBUG : LOG_INFO);
    if (code == 0)
        code = service_ips_parse(&p.server, &err);
    if (code == 0)
        code = service_ports_parse(&p.server, &err);
    if (code == 0)
        code = auth_load_encryption(&p.server.config, &err);
    if (code == 0) {
        make_zpages(&p);
        registry_init();
        registry_restrict(serves, &p.server.config);
        server_metrics_init();
        monitor_init(&p.server);
        conversion_metrics_init();
        admission_metrics_init();
        find_address(&p.server);
        code = check_address(&p.server, &err);
    }
    if (code == 0)
        code = admission_setup_new(&p.admission, &p.server.admission, &err);
    if (code == 0)
        code = run(&p, &err);
    if (code != 0) {
        fprintf(stderr, "trireme-apiserver: %s\n", error_message(&err));
        /* Threads that started run on: nothing that exit() takes down may go before them. */
        _exit(1);
    }
    for (uint32_t i = 0; i < p.store.initial_member_count; i++)
        free((char *)(uintptr_t)p.members[i].name);
    zpages_free(p.server.zpages);
    flag_set_free(p.flags);
    return 0;
}
