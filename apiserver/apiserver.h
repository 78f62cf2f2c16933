/* apiserver.h - the server as a whole: its configuration, threads and shared
 * parts.
 *
 * N server threads, each with a loop, a mailbox, an HTTP server on the shared
 * port and a watch hub. Shared between them: the store, immutable tables and
 * parts that lock for themselves (authn, JSON cache). */
#ifndef APISERVER_APISERVER_H
#define APISERVER_APISERVER_H

#include "apiserver/authn_config.h"
#include "apiserver/event_lease.h"
#include "apiserver/ip_text.h"
#include "apiserver/serving_flags.h"
#include "lib/base/base.h"
#include "lib/base/error.h"
#include "lib/base/loop.h"
#include "lib/base/mailbox.h"
#include "lib/base/map.h"
#include "raftstore/worker.h"

#include <stdatomic.h>

struct admission_setup;
struct aggregated_clients;
struct aggregated_keeper;
struct audit;
struct authn;
struct authz;
struct authz_feed;
struct custom_keeper;
struct deadlines;
struct env;
struct figure_board;
struct figure_leader;
struct figure_scraper;
struct flow_control;
struct flow_thread;
struct http_server;
struct json_cache;
struct kubelet_pool;
struct metric;
struct policy_cache;
struct store;
struct token_uses;
struct tls_context;
struct watch_hub;
struct webhook_pool;
struct zpages;

#define BODY_BYTES_MAX (3u << 20)
#define SERVER_THREADS_MAX 64u

/* Flags; strings are borrowed for the life of the program. */
struct apiserver_config {
    const char *bind_address;
    const char *advertise_address; /* NULL: found from the routes, or the bind address. */
    int64_t secure_port;
    int64_t threads; /* 0: one for each CPU, at most four. */
    const char *tls_cert_file, *tls_key_file, *client_ca_file;
    const char *token_auth_file;
    struct flag_list
        service_account_key_files; /* Public keys that verify; none: the signing key. */
    const char *service_account_signing_key_file; /* NULL: no TokenRequest. */
    struct flag_list service_account_issuers;     /* The first one signs; all are accepted. */
    const char *service_account_jwks_uri;         /* NULL: this server's. */
    int64_t service_account_max_expiration_ns;    /* 0: no bound. */
    bool service_account_extend_expiration, service_account_lookup;
    const char *api_audiences; /* Comma list; NULL: the issuers. */
    const char *authentication_config;
    struct oidc_flags oidc;
    const char *token_webhook_config_file, *token_webhook_version;
    int64_t token_webhook_ttl_ns;
    const char *service_cluster_ip_range;
    const char *service_node_port_range;
    const char *kubelet_client_certificate, *kubelet_client_key, *kubelet_ca_file;
    const char *proxy_client_cert_file, *proxy_client_key_file;
    const char *peer_ca_file;     /* Of other API servers; NULL: client_ca_file. */
    int64_t metric_resolution_ns; /* Between two looks at a node's figures; 0: never. */
    const char *requestheader_client_ca_file;
    const char *requestheader_allowed_names, *requestheader_username_headers,
        *requestheader_uid_headers, *requestheader_group_headers,
        *requestheader_extra_headers_prefix;
    bool enable_bootstrap_token_auth;
    bool anonymous_auth, anonymous_given; /* given: by the flag. */
    const char *authorization_mode;       /* Comma list, see authz.h. */
    const char *authorization_config;
    const char *encryption_config; /* File; NULL: nothing is encrypted in the store. */
    bool encryption_reload;
    struct serving_flags serving;
    const char *authorization_webhook_config_file, *authorization_webhook_version;
    int64_t authorization_webhook_authorized_ttl_ns, authorization_webhook_unauthorized_ttl_ns;
    int64_t min_request_timeout_s;
    int64_t max_inflight, max_mutating_inflight; /* 0: no limit. */
    bool priority_and_fairness; /* The sum of the two is shared out, see flow_control.h. */
    int64_t json_cache_bytes;   /* 0: lists write the JSON of each object anew. */
};

struct server_thread {
    struct apiserver *server;
    unsigned index;
    uv_thread_t thread;
    uv_loop_t loop;
    struct mailbox mailbox;
    struct mail stop_mail;
    struct defer_queue defer;
    struct http_server *http;
    struct watch_hub *hub;
    struct kubelet_pool *kubelets;
    struct webhook_pool *webhooks;
    struct policy_cache *policies;
    struct map conversions; /* What conversion webhooks are asked now: custom/conversion.c. */
    struct deadlines *deadlines;
    unsigned audit_waits; /* Events of this thread's requests on their way to be stored. */
    void (*audit_left)(struct server_thread *t); /* Once there are none; NULL: nobody asks. */
    struct flow_thread *flow;                    /* NULL without priority and fairness. */
    struct custom_keeper *keeper;                /* On the first thread; else NULL. */
    struct aggregated_clients *aggregated;
    struct aggregated_keeper *aggregated_keeper; /* As keeper. */
    struct mail customs_mail;                    /* Definitions have become ready; */
    atomic_bool customs_told;                    /* it is under way. */
    struct list parked;                          /* Requests that wait for them. */
    struct figure_scraper *scraper;              /* As keeper, where it has something to do. */
    struct figure_leader *figure_leader;         /* NULL until it is needed. */
    struct event_lease event_lease;
    struct token_uses *token_uses;
    int start_code; /* Outcome of starting, read after start_done. */
    struct error start_error;
    uv_sem_t start_done;
};

struct apiserver {
    struct apiserver_config config;
    struct env *env;
    struct store *store;
    struct admission_setup *admission;
    struct zpages *zpages; /* /statusz and /flagz */
    struct audit *audit;   /* NULL: nothing is recorded. */
    struct authn *authn;
    struct authz *authz;
    struct authz_feed *authz_feed;
    struct flow_control *flow; /* NULL without priority and fairness. */
    struct tls_context *tls;
    struct json_cache *json_cache;
    struct figure_board *figures; /* What the nodes use: metrics.k8s.io. */
    struct worker worker;         /* For what would take a loop too long. */
    struct server_thread *threads;
    unsigned thread_count;
    int port;           /* The real one. */
    char address[64];   /* Advertised, without port. */
    char identity[128]; /* Of this server in a cluster of several. */
    struct ip_text
        service_ranges[2]; /* Networks of --service-cluster-ip-range, each of a family. */
    unsigned service_range_count;
    int32_t node_port_min, node_port_max;
    atomic_int inflight[2]; /* Requests being served: reads, writes. */
    atomic_bool ready;      /* Built-in objects exist. */
    atomic_bool registered; /* So do the APIServices of what is served here. */
    atomic_bool stopping;
    atomic_bool leaving; /* Still answering, but about to stop: --shutdown-delay-duration. */
    uint64_t started_ms;
};

/* Starts the threads; the server answers when this returns 0. */
int apiserver_start(struct apiserver *s, struct error *err);
/* Drains connections for a bounded time, joins the threads. */
void apiserver_stop(struct apiserver *s);

#endif
