/* options_other.c - etcd's flags that mean nothing here.
 *
 * Those that ask for something we do not have are refused unless given the value
 * that asks for nothing; those that tune etcd's own machinery are ignored. */
#include "raftstore/options.h"

struct other {
    const char *name;
    const char *off; /* Values that ask for nothing, divided by '|'; NULL: any. */
    const char *why;
    bool is_bool;
};

static const struct other others[] = {
    /* Not here. */
    {"wal-dir", "", "the log lies in the data directory", false},
    {"discovery", "", "name the members with --initial-cluster", false},
    {"discovery-srv", "", "name the members with --initial-cluster", false},
    {"discovery-srv-name", "", "name the members with --initial-cluster", false},
    {"discovery-proxy", "", "name the members with --initial-cluster", false},
    {"discovery-fallback", "exit|proxy", "there is no discovery", false},
    {"discovery-endpoints", "", "name the members with --initial-cluster", false},
    {"discovery-token", "", "name the members with --initial-cluster", false},
    {"enable-v2", "false", "the v2 API is not served", true},
    {"experimental-enable-v2v3", "", "the v2 API is not served", false},
    {"v2-deprecation", NULL, NULL, false},
    {"proxy", "off", "there is no proxy mode", false},
    {"client-crl-file", "", "revocation lists are not read; let certificates live shortly", false},
    {"peer-crl-file", "", "revocation lists are not read; let certificates live shortly", false},
    {"client-cert-allowed-hostname", "", "use auth with certificate names instead", false},
    {"peer-cert-allowed-hostname", "", "use --peer-cert-allowed-cn", false},
    {"auto-tls", "false", "make certificates and give --cert-file and --key-file", true},
    {"peer-auto-tls", "false", "make certificates and give --peer-cert-file and --peer-key-file",
     true},
    {"tls-max-version", "|TLS1.3", "an upper bound on the TLS version is not kept", false},
    {"cors", "*", "cross-origin requests are not answered", false},
    {"host-whitelist", "*", "restrict who can reach the port instead", false},
    {"enable-grpc-gateway", "true", "the JSON gateway is always on", true},
    {"listen-client-http-urls", "", "HTTP and gRPC share --listen-client-urls", false},
    {"enable-pprof", "false", "use perf(1)", true},
    {"experimental-enable-distributed-tracing", "false", "there is no tracing", true},
    {"enable-distributed-tracing", "false", "there is no tracing", true},
    {"pre-vote", "true", "pre-vote is always on", true},
    {"strict-reconfig-check", "true", "changes that cost the quorum are always refused", true},
    {"experimental-memory-mlock", "false", "lock memory with systemd's LimitMEMLOCK", true},
    /* No effect. */
    {"initial-election-tick-advance", NULL, NULL, true},
    {"max-snapshots", NULL, NULL, false},
    {"max-wals", NULL, NULL, false},
    {"backend-batch-interval", NULL, NULL, false},
    {"backend-batch-limit", NULL, NULL, false},
    {"backend-bbolt-freelist-type", NULL, NULL, false},
    {"grpc-keepalive-min-time", NULL, NULL, false},
    {"grpc-keepalive-interval", NULL, NULL, false},
    {"grpc-keepalive-timeout", NULL, NULL, false},
    {"socket-reuse-port", NULL, NULL, true},
    {"socket-reuse-address", NULL, NULL, true},
    {"logger", NULL, NULL, false},
    {"log-outputs", NULL, NULL, false},
    {"log-format", NULL, NULL, false},
    {"log-package-levels", NULL, NULL, false},
    {"enable-log-rotation", NULL, NULL, true},
    {"log-rotation-config-json", NULL, NULL, false},
    {"debug", NULL, NULL, true},
    {"self-signed-cert-validity", NULL, NULL, false},
    {"proxy-failure-wait", NULL, NULL, false},
    {"proxy-refresh-interval", NULL, NULL, false},
    {"proxy-dial-timeout", NULL, NULL, false},
    {"proxy-write-timeout", NULL, NULL, false},
    {"proxy-read-timeout", NULL, NULL, false},
    {"experimental-backend-bbolt-freelist-type", NULL, NULL, false},
    {"experimental-enable-lease-checkpoint", NULL, NULL, true},
    {"experimental-enable-lease-checkpoint-persist", NULL, NULL, true},
    {"experimental-compaction-batch-limit", NULL, NULL, false},
    {"experimental-compaction-sleep-interval", NULL, NULL, false},
    {"experimental-compact-hash-check-enabled", NULL, NULL, true},
    {"experimental-compact-hash-check-time", NULL, NULL, false},
    {"experimental-peer-skip-client-san-verification", NULL, NULL, true},
    {"experimental-warning-apply-duration", NULL, NULL, false},
    {"experimental-warning-unary-request-duration", NULL, NULL, false},
    {"experimental-bootstrap-defrag-threshold-megabytes", NULL, NULL, false},
    {"experimental-txn-mode-write-with-shared-buffer", NULL, NULL, true},
    {"experimental-snapshot-catchup-entries", NULL, NULL, false},
    {"experimental-stop-grpc-service-on-defrag", NULL, NULL, true},
    {"experimental-max-learners", NULL, NULL, false},
    {"experimental-wait-cluster-ready-timeout", NULL, NULL, false},
    {"experimental-downgrade-check-time", NULL, NULL, false},
    {"compaction-batch-limit", NULL, NULL, false},
    {"compaction-sleep-interval", NULL, NULL, false},
    {"compact-hash-check-time", NULL, NULL, false},
    {"peer-skip-client-san-verification", NULL, NULL, true},
    {"warning-apply-duration", NULL, NULL, false},
    {"warning-unary-request-duration", NULL, NULL, false},
    {"bootstrap-defrag-threshold-megabytes", NULL, NULL, false},
    {"snapshot-catchup-entries", NULL, NULL, false},
    {"max-learners", NULL, NULL, false},
    {"downgrade-check-time", NULL, NULL, false},
};

static bool asks_for_nothing(const char *off, const char *value)
{
    struct str word, rest = str_of(off);
    if (*value == '\0')
        return true;
    while (!str_empty(rest)) {
        str_cut(rest, '|', &word, &rest);
        if (str_eqc(word, value))
            return true;
    }
    return false;
}

static int judge(const char *value, void *arg, struct error *err)
{
    const struct other *o = arg;
    if (asks_for_nothing(o->off, value))
        return 0;
    return error_set(err, E_INVALID, "not supported by this store: %s", o->why);
}

void options_add_others(struct flag_set *f)
{
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        const struct other *o = &others[i];
        if (o->off == NULL) {
            flag_ignored(f, o->name, !o->is_bool, NULL);
            continue;
        }
        flag_func(f, o->name, "", judge, (void *)(uintptr_t)o);
        if (o->is_bool)
            flag_no_value(f, o->name, "true");
        flag_hide(f, o->name);
    }
}
