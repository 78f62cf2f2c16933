/* server_private.h - what server.c, thread.c and call.c share, and services need not know. */
#ifndef RAFTSTORE_ETCD_SERVER_PRIVATE_H
#define RAFTSTORE_ETCD_SERVER_PRIVATE_H

#include "raftstore/etcd/server_internal.h"

struct metric;
struct metric_family;

/* A method on a thread: gRPC's argument. */
struct etcd_binding {
    struct etcd_thread *thread;
    const struct etcd_method *method;
    struct etcd_rpc_metrics *metrics;
    /* Messages and their bytes; written by the thread, read by who renders metrics. */
    atomic_uint_fast64_t received, received_bytes, sent, sent_bytes;
};

/* Of one method, shared by the threads. */
struct etcd_rpc_metrics {
    struct metric *started, *handled_ok;
    struct metric_family *handled;
    struct metric *received, *sent; /* Messages; brought up to date when metrics are asked for. */
    struct metric *operations;      /* etcd_mvcc_put_total and such; NULL: counts as none. */
    struct metric *seconds;         /* NULL: not measured. */
    struct str service, name, type;
    uint64_t received_told, sent_told;
};

struct etcd_listen {
    char *address; /* As net_listen_config.address; the real port once it is known. */
    bool is_tls, is_unix;
    bool metrics_only;
};

struct etcd_server {
    uint64_t received_bytes_told, sent_bytes_told; /* In metrics; under the gauges' lock. */
    struct etcd_server_config config; /* With the defaults filled in; strings are owned. */
    struct etcd_listen *listens;
    size_t listen_count;
    struct tls_context *tls;
    struct etcd_tokens *tokens;
    struct etcd_rpc_metrics *rpc_metrics; /* In the order of the services' methods. */
    size_t method_count;
    struct etcd_thread *threads;
    unsigned thread_count;
    int port;
    atomic_uint_fast64_t pending_bytes;
    struct tls_reloader *reloader; /* On thread 0's loop. */
};

/* server.c: every service and every route. */
extern const struct etcd_service *const etcd_services[];
extern const size_t etcd_service_count;
extern const struct etcd_route_list *const etcd_route_lists[];
extern const size_t etcd_route_list_count;

/* thread.c */
int etcd_thread_init(struct etcd_thread *t, struct etcd_server *s, unsigned index,
                     struct error *err);
int etcd_thread_start(struct etcd_thread *t, struct error *err);
/* [starting thread] Ends it: of one that was not started too. */
void etcd_thread_stop(struct etcd_thread *t);
void etcd_thread_join(struct etcd_thread *t);
void etcd_thread_check_stopped(struct etcd_thread *t);
/* What the timer waits for may have changed. */
void etcd_thread_arm(struct etcd_thread *t);

/* call.c */
void etcd_on_unary(struct grpc_stream *s, struct str message, void *arg);
void etcd_on_open(struct grpc_stream *s, void *arg);
void etcd_on_message(struct grpc_stream *s, struct str message, void *arg);
void etcd_on_half_close(struct grpc_stream *s, void *arg);
void etcd_call_end_from_outside(struct etcd_call *c, const struct etcd_fault *f);

/* server_metrics.c */
void etcd_rpc_metrics_init(struct etcd_rpc_metrics *m, const struct etcd_server_config *config,
                           const struct etcd_method *method);
/* When the call began, where that is measured, else 0. */
uint64_t etcd_binding_started(const struct etcd_binding *b);
void etcd_binding_received(struct etcd_binding *b, size_t bytes);
void etcd_binding_sent(struct etcd_binding *b, size_t bytes);
void etcd_binding_count(const struct etcd_binding *b, enum grpc_status status, uint64_t started_ns);
/* Gauges that are set when metrics are asked for. One server at a time has them. */
void etcd_gauges_start(struct etcd_server *s);
void etcd_gauges_stop(struct etcd_server *s);

/* health.c */
void etcd_health_count(struct metrics *m, bool ok, unsigned n);

/* reads.c */
struct etcd_reads *etcd_reads_new(struct etcd_thread *t);
void etcd_reads_free(struct etcd_reads *r);

/* watch_hub.c */
struct watch_hub *etcd_watch_hub_new(struct etcd_thread *t);
/* Cursors and timers go; every stream has ended. */
void etcd_watch_hub_stop(struct watch_hub *h);
void etcd_watch_hub_free(struct watch_hub *h);
uint64_t etcd_watch_hub_deadline(const struct watch_hub *h); /* UINT64_MAX: none. */
void etcd_watch_hub_tick(struct watch_hub *h, uint64_t now_ms);

#endif
