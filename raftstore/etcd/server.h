/* server.h - the store served as etcd's v3 API: gRPC, and plain HTTP beside it.
 *
 * Each server thread has a loop, an HTTP server and a mailbox of its own, and
 * listens on the same ports. The store must outlive the server.
 *
 *   store_open() -> etcd_server_start() ... etcd_server_stop() -> store_close() */
#ifndef RAFTSTORE_ETCD_SERVER_H
#define RAFTSTORE_ETCD_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct etcd_server;
struct http_request;
struct metrics;
struct store;

#define ETCD_VERSION "3.6.14" /* The API that is spoken, as /version and Status say it. */
#define ETCD_CLUSTER_VERSION "3.6.0"

#define ETCD_REQUEST_BYTES_MAX_DEFAULT (3u << 19) /* 1.5 MiB */
/* Beyond request_bytes_max for gRPC's and Raft's own fields. */
#define ETCD_REQUEST_OVERHEAD_BYTES (512u << 10)
#define ETCD_TXN_OPS_MAX_DEFAULT 128
#define ETCD_THREADS_MAX 8

/* Zero means the default in brackets. Everything is copied but store and metrics. */
struct etcd_server_config {
    struct store *store;
    /* "http://HOST:PORT", "https://HOST:PORT", "unix://PATH", "unixs://PATH". HOST is a
     * literal address, a name that stands for one, or empty; port 0 picks one. */
    const char *const *listen_urls;
    size_t listen_url_count;
    /* Of the same forms: /metrics and /health only, without gRPC. */
    const char *const *metrics_urls;
    size_t metrics_url_count;

    /* PEM files for https and unixs, read again while running. */
    const char *cert_file, *key_file;
    const char *trusted_ca_file;
    bool client_cert_auth;     /* Clients must show a certificate of trusted_ca_file. */
    uint64_t tls_reload_ms;    /* [60 s] */
    const char *cipher_suites; /* As tls_config's. */
    int tls_version_min;       /* As tls_config's. */
    const char *auth_token;    /* As etcd_tokens_config.spec [simple] */
    uint32_t auth_token_ttl_s; /* As etcd_tokens_config.ttl_s */
    unsigned bcrypt_cost;      /* As etcd_tokens_config.bcrypt_cost */

    unsigned threads;             /* [processors, at most ETCD_THREADS_MAX] */
    uint32_t request_bytes_max;   /* [ETCD_REQUEST_BYTES_MAX_DEFAULT] */
    uint32_t txn_ops_max;         /* [ETCD_TXN_OPS_MAX_DEFAULT] */
    uint32_t streams_max;         /* [8192] Concurrent calls of one connection. */
    uint64_t watch_progress_ms;   /* [10 minutes] Between notifications of idle watchers. */
    uint64_t leader_check_ms;     /* [1 s] Streams that ask for a leader end after three of it. */
    uint64_t shutdown_ms;         /* [2 s] For calls in flight at the end. */
    int64_t lease_ttl_min_s;      /* [2] Shorter leases are granted as long as this. */
    uint64_t pending_bytes_max;   /* [256 MiB] Of writes on their way, all threads together. */
    const char *version;          /* [ETCD_VERSION] */
    struct metrics *metrics;      /* [metrics_default()] */
    bool extensive_metrics;       /* Also how long calls take, by method. */
    const char *listen_peer_urls; /* For displaying only; NULL: none. */
};

/* Listens, starts the threads. Blocks until all of them serve. */
int etcd_server_start(const struct etcd_server_config *config, struct etcd_server **ret,
                      struct error *err);
/* Takes no more connections and calls, ends streams, lets calls in flight end within
 * shutdown_ms, joins the threads. A write that the store has not answered is waited
 * for, longer if need be. NULL is a no-op. */
void etcd_server_stop(struct etcd_server *s);

/* Of the first TCP listener of listen_urls; 0: none. */
int etcd_server_port(const struct etcd_server *s);

struct etcd_server_stats {
    uint64_t calls, watchers, slow_watchers, watch_streams;
};
void etcd_server_get_stats(const struct etcd_server *s, struct etcd_server_stats *ret); /* [any] */

#endif
