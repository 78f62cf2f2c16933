/* options.c - see options.h: the flags, their defaults, and where values come from. */
#include "raftstore/options.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "raftstore/command.h"
#include "raftstore/etcd/password.h"

#include <ctype.h>
#include <inttypes.h>

#define ENV_PREFIX "ETCD_"
#define SNAPSHOT_COUNT_DEFAULT 100000
/* What a committed transaction is taken to weigh in the log: etcd counts
 * transactions between snapshots, we count bytes. */
#define SNAPSHOT_ENTRY_BYTES 640
#define SNAPSHOT_BYTES_MIN (4u << 20)
#define SNAPSHOT_BYTES_MAX (UINT64_C(4) << 30)
#define QUOTA_DEFAULT (INT64_C(2) << 30)
#define QUOTA_NONE (INT64_MAX / 16)
#define HISTORY_FOREVER_MS (UINT64_C(1000) * 3600 * 24 * 36500)

static void set_defaults(struct options *o)
{
    static const char *client[] = {"http://localhost:2379"}, *peer[] = {"http://localhost:2380"};
    o->name = "default";
    o->listen_client_urls = o->advertise_client_urls = (struct flag_list){client, 1};
    o->listen_peer_urls = o->initial_advertise_peer_urls = (struct flag_list){peer, 1};
    o->initial_cluster_state = "new";
    o->initial_cluster_token = "etcd-cluster";
    o->snapshot_count = SNAPSHOT_COUNT_DEFAULT;
    o->heartbeat_ms = 100;
    o->election_ms = 1000;
    o->compaction_mode_text = "periodic";
    o->compaction_retention_text = "0";
    o->max_request_bytes = 1536 * 1024;
    o->max_txn_ops = 128;
    o->max_concurrent_streams = UINT32_MAX;
    o->auth_token = "simple";
    o->bcrypt_cost = 10;
    o->auth_token_ttl_s = 300;
    o->metrics = "basic";
    o->log_level_text = "info";
    o->watch_progress_ns = INT64_C(600) * 1000000000;
}

static void add_member_flags(struct flag_set *f, struct options *o)
{
    flag_string(f, &o->name, "name", "Human-readable name of this member.");
    flag_string(f, &o->data_dir, "data-dir", "`Directory` of the data; default: NAME.etcd.");
    flag_strings(f, &o->listen_peer_urls, "listen-peer-urls",
                 "`URLs` to listen on for other members.");
    flag_strings(f, &o->listen_client_urls, "listen-client-urls",
                 "`URLs` to listen on for clients.");
    flag_strings(f, &o->listen_metrics_urls, "listen-metrics-urls",
                 "Further `URLs` that offer metrics and health only.");
    flag_int(f, &o->snapshot_count, "snapshot-count",
             "Transactions between snapshots, taken as 640 bytes of log each.");
    flag_int(f, &o->heartbeat_ms, "heartbeat-interval", "`Milliseconds` between heartbeats.");
    flag_int(f, &o->election_ms, "election-timeout", "`Milliseconds` until an election.");
    flag_int(f, &o->quota_bytes, "quota-backend-bytes",
             "Memory of keys and values beyond which writes are refused; 0: 2 GiB, below 0: none.");
    flag_int(f, &o->max_txn_ops, "max-txn-ops", "Operations in one transaction at most.");
    flag_int(f, &o->max_request_bytes, "max-request-bytes", "Bytes of a client's request at most.");
    flag_int(f, &o->max_concurrent_streams, "max-concurrent-streams",
             "Streams that a client may have open at a time.");
    flag_string(f, &o->compaction_mode_text, "auto-compaction-mode", "periodic or revision.");
    flag_string(f, &o->compaction_retention_text, "auto-compaction-retention",
                "How much history to keep: a duration (without a unit: hours), or a number of "
                "revisions; 0: all.");
    flag_int(f, &o->threads, "threads", "Server threads; 0: one for each CPU, at most eight.");
    flag_bool(f, &o->no_fsync, "unsafe-no-fsync",
              "Do not wait for the disk: tests and benchmarks only.");
}

static void add_cluster_flags(struct flag_set *f, struct options *o)
{
    flag_strings(f, &o->initial_advertise_peer_urls, "initial-advertise-peer-urls",
                 "`URL` at which other members reach this one.");
    flag_strings(f, &o->initial_cluster, "initial-cluster",
                 "Members of the cluster: `name=URL`,...");
    flag_string(f, &o->initial_cluster_state, "initial-cluster-state",
                "new, or existing to join a running cluster.");
    flag_string(f, &o->initial_cluster_token, "initial-cluster-token",
                "`Word` that tells clusters made from the same list apart.");
    flag_strings(f, &o->advertise_client_urls, "advertise-client-urls",
                 "`URLs` at which clients reach this member.");
    flag_bool(f, &o->force_new_cluster, "force-new-cluster",
              "The majority is lost for good: go on alone with this member's data.");
    flag_bool(f, &o->initial_corrupt_check, "experimental-initial-corrupt-check",
              "Check the data before serving. Always done: the flag changes nothing.");
    flag_duration(f, &o->corrupt_check_ns, "experimental-corrupt-check-time",
                  "How often to compare the members' data; 0: never.");
    flag_duration(f, &o->watch_progress_ns, "experimental-watch-progress-notify-interval",
                  "How often idle watches hear of the revision.");
    flag_duration(f, &o->corrupt_check_ns, "corrupt-check-time", "As etcd 3.6 calls it.");
    flag_duration(f, &o->watch_progress_ns, "watch-progress-notify-interval",
                  "As etcd 3.6 calls it.");
    flag_map(f, &o->feature_gates, "feature-gates",
             "etcd 3.6's switches; InitialCorruptCheck is always on.");
}

static void add_security_flags(struct flag_set *f, struct options *o)
{
    flag_string(f, &o->client.cert_file, "cert-file", "`File` with the certificate for clients.");
    flag_string(f, &o->client.key_file, "key-file", "`File` with its private key.");
    flag_string(f, &o->client.ca_file, "trusted-ca-file",
                "`File` with the CAs of client certificates.");
    flag_bool(f, &o->client.client_auth, "client-cert-auth", "Refuse clients without one.");
    flag_string(f, &o->peer.cert_file, "peer-cert-file",
                "`File` with this member's certificate, good for server and client.");
    flag_string(f, &o->peer.key_file, "peer-key-file", "`File` with its private key.");
    flag_string(f, &o->peer.ca_file, "peer-trusted-ca-file", "`File` with the members' CA.");
    flag_bool(f, &o->peer.client_auth, "peer-client-cert-auth",
              "Members must show a certificate. Always so with TLS.");
    flag_string(f, &o->peer_allowed_cn, "peer-cert-allowed-cn",
                "Common `name` that members' certificates must have.");
    flag_string(f, &o->cipher_suites, "cipher-suites", "TLS 1.2 cipher suites, IANA names.");
    flag_string(f, &o->tls_min_version, "tls-min-version", "TLS1.2 or TLS1.3.");
    flag_string(f, &o->auth_token, "auth-token", "simple, or jwt with its options.");
    flag_int(f, &o->bcrypt_cost, "bcrypt-cost", "Cost of hashing passwords, 4 to 18.");
    flag_int(f, &o->auth_token_ttl_s, "auth-token-ttl", "`Seconds` that a simple token is good.");
    flag_string(f, &o->metrics, "metrics", "basic, or extensive: with histograms of calls.");
    flag_string(f, &o->log_level_text, "log-level", "debug, info, warn, error, panic or fatal.");
}

static struct flag_set *make_flags(struct options *o)
{
    /* As etcd's: given twice, the last counts. */
    static const char *const lists[] = {"listen-peer-urls",    "listen-client-urls",
                                        "listen-metrics-urls", "initial-advertise-peer-urls",
                                        "initial-cluster",     "advertise-client-urls"};
    struct flag_set *f = flag_set_new("trireme-raftstore [flags]");
    flag_string(f, &o->config_file, "config-file",
                "YAML `file` with the same keys; other flags and variables are ignored then.");
    flag_bool(f, &o->version, "version", "Print the version and quit.");
    add_member_flags(f, o);
    add_cluster_flags(f, o);
    add_security_flags(f, o);
    options_add_others(f);
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        flag_replaces(f, lists[i]);
    flag_hide(f, "corrupt-check-time");
    flag_hide(f, "watch-progress-notify-interval");
    return f;
}

/* Go's flag package takes -name as --name. */
static char **two_dashes(struct arena *a, int argc, char *const *argv)
{
    char **out = ARENA_ARRAY(a, char *, (size_t)argc + 1);
    for (int i = 0; i < argc; i++) {
        out[i] = argv[i];
        if (i > 0 && argv[i][0] == '-' && argv[i][1] != '-' && strlen(argv[i]) > 2)
            out[i] = (char *)(uintptr_t)arena_printf(a, "-%s", argv[i]).data;
    }
    return out;
}

static int read_variable(struct flag_set *f, const char *item, struct error *err)
{
    char name[64];
    const char *eq = strchr(item, '=');
    if (strncmp(item, ENV_PREFIX, strlen(ENV_PREFIX)) != 0 || eq == NULL)
        return 0;
    size_t len = (size_t)(eq - item) - strlen(ENV_PREFIX);
    if (len == 0 || len >= sizeof(name))
        return 0;
    for (size_t i = 0; i < len; i++) {
        char c = item[strlen(ENV_PREFIX) + i];
        name[i] = c == '_' ? '-' : (char)tolower((unsigned char)c);
    }
    name[len] = '\0';
    if (!flag_known(f, name)) {
        log_warning("unrecognized environment variable %.*s", (int)(eq - item), item);
        return 0;
    }
    if (eq[1] == '\0')
        return 0;
    if (flag_changed(f, name)) {
        log_warning("the variable %.*s gives way to the flag --%s", (int)(eq - item), item, name);
        return 0;
    }
    int rc = flag_set_value(f, name, eq + 1, err);
    return rc == 0 ? 0 : error_prefix(err, "variable %.*s", (int)(eq - item), item);
}

static int parse(struct options *o, int argc, char *const *argv, char *const *environ,
                 struct error *err)
{
    size_t rest_count;
    int rc = flag_set_parse(o->flags, argc, two_dashes(o->arena, argc, argv), err);
    if (rc != 0)
        return rc;
    const char *const *rest = flag_set_args(o->flags, &rest_count);
    if (rest_count > 0)
        return error_set(err, E_INVALID, "'%s' is not a valid flag", rest[0]);
    if (o->config_file == NULL)
        for (char *const *e = environ; e != NULL && *e != NULL; e++)
            if (strncmp(*e, ENV_PREFIX "CONFIG_FILE=", strlen(ENV_PREFIX "CONFIG_FILE=")) == 0)
                o->config_file = strchr(*e, '=') + 1;
    if (o->config_file == NULL || *o->config_file == '\0') {
        for (char *const *e = environ; rc == 0 && e != NULL && *e != NULL; e++)
            rc = read_variable(o->flags, *e, err);
        return rc;
    }
    /* The file stands alone: start anew from the defaults. */
    const char *path = o->config_file;
    bool version = o->version;
    struct flag_set *old = o->flags;
    struct arena *arena = o->arena;
    *o = (struct options){.arena = arena};
    arena_hold(arena, old, (void (*)(void *))flag_set_free);
    set_defaults(o);
    o->flags = make_flags(o);
    rc = options_file_read(o->flags, path, err);
    o->config_file = path;
    o->version = version;
    return rc;
}

int options_parse(struct options *o, int argc, char *const *argv, char *const *environ,
                  struct error *err)
{
    *o = (struct options){.arena = arena_new(0)};
    set_defaults(o);
    o->flags = make_flags(o);
    return parse(o, argc, argv, environ, err);
}

void options_done(struct options *o)
{
    flag_set_free(o->flags);
    arena_free(o->arena);
    *o = (struct options){0};
}

/* --- checking ------------------------------------------------------------------------------- */

static bool given(const char *s)
{
    return s != NULL && *s != '\0';
}

static int check_tls(const struct options_tls *t, const char *prefix, struct error *err)
{
    if (given(t->cert_file) != given(t->key_file))
        return error_set(err, E_INVALID,
                         "--%scert-file and --%skey-file must both be present [key: %s, cert: %s]",
                         prefix, prefix, given(t->key_file) ? t->key_file : "",
                         given(t->cert_file) ? t->cert_file : "");
    return 0;
}

static int check_level(struct options *o, struct error *err)
{
    static const struct {
        const char *name;
        enum log_level level;
    } levels[] = {{"debug", LOG_DEBUG}, {"info", LOG_INFO},   {"warn", LOG_WARNING},
                  {"error", LOG_ERROR}, {"panic", LOG_ERROR}, {"fatal", LOG_ERROR}};
    for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
        if (strcmp(o->log_level_text, levels[i].name) == 0) {
            o->log_level = levels[i].level;
            return 0;
        }
    }
    return error_set(err, E_INVALID, "--log-level: unknown log level \"%s\"", o->log_level_text);
}

static int check_compaction(struct options *o, struct error *err)
{
    const char *text = o->compaction_retention_text;
    int64_t number = 0, ns = 0;
    bool whole = str_to_i64(str_of(text), &number);
    if (strcmp(o->compaction_mode_text, "periodic") == 0) {
        if (whole)
            o->compaction_retention = number > 1000000 ? -1 : number * 3600 * 1000;
        else if (duration_parse(str_of(text), &ns) == 0)
            o->compaction_retention = ns / 1000000;
        else
            return error_set(err, E_INVALID, "error parsing --auto-compaction-retention: %s", text);
        o->compaction = COMPACTION_PERIODIC;
    } else if (strcmp(o->compaction_mode_text, "revision") == 0) {
        if (!whole)
            return error_set(err, E_INVALID, "error parsing --auto-compaction-retention: %s", text);
        o->compaction_retention = number;
        o->compaction = COMPACTION_REVISION;
    } else {
        return error_set(err, E_INVALID, "unknown --auto-compaction-mode \"%s\"",
                         o->compaction_mode_text);
    }
    if (o->compaction_retention < 0)
        return error_set(err, E_INVALID, "--auto-compaction-retention: %s is out of range", text);
    if (o->compaction_retention == 0)
        o->compaction = COMPACTION_OFF;
    return 0;
}

static int check_numbers(const struct options *o, struct error *err)
{
    const struct {
        const char *name;
        int64_t value, min, max;
    } all[] = {
        {"heartbeat-interval", o->heartbeat_ms, 1, 10000},
        {"election-timeout", o->election_ms, 10, INT32_MAX},
        {"snapshot-count", o->snapshot_count, 1, INT64_MAX / SNAPSHOT_ENTRY_BYTES},
        {"max-request-bytes", o->max_request_bytes, 1, COMMAND_BYTES_MAX - 512 * 1024},
        {"max-txn-ops", o->max_txn_ops, 1, TXN_OPS_MAX},
        {"max-concurrent-streams", o->max_concurrent_streams, 1, UINT32_MAX},
        {"bcrypt-cost", o->bcrypt_cost, 4, PASSWORD_COST_MAX},
        {"auth-token-ttl", o->auth_token_ttl_s, 1, INT32_MAX},
        {"threads", o->threads, 0, 64},
    };
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        if (all[i].value < all[i].min || all[i].value > all[i].max)
            return error_set(err, E_INVALID,
                             "--%s=%" PRId64 ": should be between %" PRId64 " and %" PRId64,
                             all[i].name, all[i].value, all[i].min, all[i].max);
    if (5 * o->heartbeat_ms > o->election_ms)
        return error_set(err, E_INVALID,
                         "--election-timeout[%" PRId64 "ms] should be at least as 5 times as "
                         "--heartbeat-interval[%" PRId64 "ms]",
                         o->election_ms, o->heartbeat_ms);
    if (o->election_ms > 50000)
        return error_set(err, E_INVALID,
                         "--election-timeout[%" PRId64 "ms] is too long, and should be set less "
                         "than 50000ms",
                         o->election_ms);
    return 0;
}

static int check_words(const struct options *o, struct error *err)
{
    if (strcmp(o->metrics, "basic") != 0 && strcmp(o->metrics, "extensive") != 0)
        return error_set(err, E_INVALID, "--metrics: %s is neither basic nor extensive",
                         o->metrics);
    if (strcmp(o->initial_cluster_state, "new") != 0 &&
        strcmp(o->initial_cluster_state, "existing") != 0)
        return error_set(err, E_INVALID, "unexpected clusterState \"%s\"",
                         o->initial_cluster_state);
    if (given(o->tls_min_version) && strcmp(o->tls_min_version, "TLS1.2") != 0 &&
        strcmp(o->tls_min_version, "TLS1.3") != 0)
        return error_set(err, E_INVALID, "--tls-min-version: %s is neither TLS1.2 nor TLS1.3",
                         o->tls_min_version);
    if (*o->name == '\0')
        return error_set(err, E_INVALID, "--name must not be empty");
    for (size_t i = 0; i < o->feature_gates.count; i++)
        if (strncmp(o->feature_gates.items[i], "InitialCorruptCheck=", 20) != 0)
            log_warning("--feature-gates: %s has no effect", o->feature_gates.items[i]);
    return 0;
}

static int parse_urls(struct options *o, const char *flag, const struct flag_list *list,
                      struct options_urls *ret, struct error *err)
{
    struct options_url *items = ARENA_ARRAY(o->arena, struct options_url, list->count + 1);
    for (size_t i = 0; i < list->count; i++) {
        int rc = options_url_parse(o->arena, flag, list->items[i], true, &items[i], err);
        if (rc < 0)
            return rc;
    }
    *ret = (struct options_urls){items, list->count};
    return 0;
}

/* Listening with TLS needs something to show. */
static int check_listen_tls(const char *flag, const struct options_urls *urls,
                            const struct options_tls *t, struct error *err)
{
    for (size_t i = 0; i < urls->count; i++) {
        if (urls->items[i].tls && !given(t->cert_file))
            return error_set(err, E_INVALID,
                             "--%s: %s uses TLS, but no certificate and key were given", flag,
                             urls->items[i].url);
        if (!urls->items[i].tls && given(t->cert_file))
            log_warning("--%s: %s is served without TLS although a certificate was given", flag,
                        urls->items[i].url);
    }
    return 0;
}

static int check_urls(struct options *o, struct error *err)
{
    int rc = parse_urls(o, "listen-client-urls", &o->listen_client_urls, &o->listen_clients, err);
    if (rc == 0)
        rc = parse_urls(o, "listen-metrics-urls", &o->listen_metrics_urls, &o->listen_metrics, err);
    if (rc == 0)
        rc = parse_urls(o, "listen-peer-urls", &o->listen_peer_urls, &o->listen_peers, err);
    if (rc == 0)
        rc = check_listen_tls("listen-client-urls", &o->listen_clients, &o->client, err);
    if (rc == 0)
        rc = check_listen_tls("listen-metrics-urls", &o->listen_metrics, &o->client, err);
    if (rc == 0)
        rc = check_listen_tls("listen-peer-urls", &o->listen_peers, &o->peer, err);
    if (rc < 0)
        return rc;
    if (flag_changed(o->flags, "listen-client-urls") &&
        !flag_changed(o->flags, "advertise-client-urls"))
        return error_set(err, E_INVALID,
                         "--advertise-client-urls is required when --listen-client-urls is set "
                         "explicitly");
    AUTO_BUF all = BUF_INIT;
    for (size_t i = 0; i < o->advertise_client_urls.count; i++) {
        struct options_url u = {.url = ""};
        rc = options_url_parse(o->arena, "advertise-client-urls", o->advertise_client_urls.items[i],
                               false, &u, err);
        if (rc < 0)
            return rc;
        buf_printf(&all, "%s%s", i > 0 ? "," : "", u.url);
    }
    o->client_urls = str_c(arena_str(o->arena, buf_str(&all)));
    return 0;
}

/* The store may listen in several places, but is known by one address. */
static int check_peers(struct options *o, struct error *err)
{
    if (o->listen_peers.count == 0)
        return error_set(err, E_INVALID, "--listen-peer-urls: a URL is wanted");
    if (o->initial_advertise_peer_urls.count != 1)
        return error_set(err, E_INVALID,
                         "--initial-advertise-peer-urls: one URL is wanted, %zu were given",
                         o->initial_advertise_peer_urls.count);
    int rc =
        options_url_parse(o->arena, "initial-advertise-peer-urls",
                          o->initial_advertise_peer_urls.items[0], false, &o->advertise_peer, err);
    if (rc < 0)
        return rc;
    bool tls = o->listen_peers.items[0].tls;
    AUTO_BUF listen = BUF_INIT;
    for (size_t i = 0; i < o->listen_peers.count; i++) {
        buf_printf(&listen, "%s%s", i > 0 ? "," : "", o->listen_peers.items[i].address);
        if (o->listen_peers.items[i].tls != tls)
            return error_set(err, E_INVALID,
                             "--listen-peer-urls: members must all use http or all https");
    }
    o->listen_peer_addresses = str_c(arena_str(o->arena, buf_str(&listen)));
    if (tls && !given(o->peer.ca_file))
        return error_set(err, E_INVALID,
                         "--listen-peer-urls uses TLS: members check each other's certificates "
                         "and need --peer-trusted-ca-file");
    if (o->advertise_peer.tls != tls)
        return error_set(err, E_INVALID,
                         "--listen-peer-urls and --initial-advertise-peer-urls must both be http "
                         "or both https");
    return 0;
}

int options_check(struct options *o, struct error *err)
{
    int rc = check_level(o, err);
    if (rc == 0)
        rc = check_words(o, err);
    if (rc == 0)
        rc = check_numbers(o, err);
    if (rc == 0)
        rc = check_compaction(o, err);
    if (rc == 0)
        rc = check_tls(&o->client, "", err);
    if (rc == 0)
        rc = check_tls(&o->peer, "peer-", err);
    if (rc == 0 && o->client.client_auth && !given(o->client.ca_file))
        rc = error_set(err, E_INVALID, "--client-cert-auth needs --trusted-ca-file");
    if (rc == 0)
        rc = check_urls(o, err);
    if (rc == 0)
        rc = check_peers(o, err);
    if (rc == 0)
        rc = options_members(o, err);
    if (rc == 0 && !given(o->data_dir))
        o->data_dir = arena_printf(o->arena, "%s.etcd", o->name).data;
    return rc;
}

void options_store_config(const struct options *o, struct store_config *ret)
{
    bool tls = o->listen_peers.items[0].tls;
    uint64_t snapshot_bytes = (uint64_t)o->snapshot_count * SNAPSHOT_ENTRY_BYTES;
    *ret = (struct store_config){
        .data_dir = o->data_dir,
        .name = o->name,
        .listen_address = o->listen_peer_addresses,
        .advertise_address = o->advertise_peer.address,
        .client_urls = o->client_urls,
        .initial_members = o->members,
        .initial_member_count = o->member_count,
        .join = o->join,
        .cert_file = tls ? o->peer.cert_file : NULL,
        .key_file = tls ? o->peer.key_file : NULL,
        .ca_file = tls ? o->peer.ca_file : NULL,
        .peers_any_organization = true,
        .peers_common_name = given(o->peer_allowed_cn) ? o->peer_allowed_cn : NULL,
        .peers_plain = !tls,
        .heartbeat_ms = (uint32_t)o->heartbeat_ms,
        .election_ms = (uint32_t)o->election_ms,
        /* Compaction is the program's: by its flags, or a client's wish. */
        .history_ms = HISTORY_FOREVER_MS,
        .quota_bytes = o->quota_bytes < 0    ? QUOTA_NONE
                       : o->quota_bytes == 0 ? (uint64_t)QUOTA_DEFAULT
                                             : (uint64_t)o->quota_bytes,
        .snapshot_log_bytes =
            o->snapshot_count == SNAPSHOT_COUNT_DEFAULT
                ? 0
                : MIN_OF(MAX_OF(snapshot_bytes, (uint64_t)SNAPSHOT_BYTES_MIN), SNAPSHOT_BYTES_MAX),
        .verify_ms = (uint64_t)(o->corrupt_check_ns / 1000000),
        .unsafe_no_fsync = o->no_fsync,
        .force_new_cluster = o->force_new_cluster,
    };
}
