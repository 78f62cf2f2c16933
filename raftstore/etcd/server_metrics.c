/* server_metrics.c - calls and watchers counted under the names that etcd's
 * dashboards use. */
#include "raftstore/etcd/server_private.h"

#include "lib/base/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- calls ------------------------------------------------------------------------------------ */

static struct str type_of(const struct etcd_method *m)
{
    if (m->on_call == NULL)
        return STR("bidi_stream");
    return strstr(m->path, "/Snapshot") != NULL || strstr(m->path, "/Observe") != NULL
               ? STR("server_stream")
               : STR("unary");
}

/* What etcd counts by operation; here by call, so that the operations of a
 * transaction count as one transaction only. */
static struct metric *operations_of(struct metrics *registry, const char *path)
{
    static const struct {
        const char *path, *name, *help;
    } all[] = {
        {"/etcdserverpb.KV/Range", "etcd_mvcc_range_total",
         "Total number of ranges seen by this member."},
        {"/etcdserverpb.KV/Put", "etcd_mvcc_put_total",
         "Total number of puts seen by this member."},
        {"/etcdserverpb.KV/DeleteRange", "etcd_mvcc_delete_total",
         "Total number of deletes seen by this member."},
        {"/etcdserverpb.KV/Txn", "etcd_mvcc_txn_total",
         "Total number of txns seen by this member."},
        {"/etcdserverpb.Lease/LeaseGrant", "etcd_debugging_lease_granted_total",
         "The total number of granted leases."},
        {"/etcdserverpb.Lease/LeaseRevoke", "etcd_debugging_lease_revoked_total",
         "The total number of revoked leases."},
    };
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        if (strcmp(all[i].path, path) == 0)
            return metric_single(metric_counter(registry, all[i].name, all[i].help, NULL));
    return NULL;
}

static struct metric *seconds_of(const struct etcd_rpc_metrics *m, struct metrics *registry)
{
    static const double bounds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
    struct metric_family *f = metric_histogram(
        registry, "grpc_server_handling_seconds",
        "Histogram of response latency (seconds) of gRPC that had been application-level handled "
        "by the server.",
        METRIC_LABELS("grpc_method", "grpc_service", "grpc_type"), bounds, ARRAY_SIZE(bounds));
    return METRIC_OF(f, m->name, m->service, m->type);
}

void etcd_rpc_metrics_init(struct etcd_rpc_metrics *m, const struct etcd_server_config *config,
                           const struct etcd_method *method)
{
    struct metrics *registry = config->metrics;
    struct str path = str_sub(str_of(method->path), 1, SIZE_MAX);
    str_cut(path, '/', &m->service, &m->name);
    m->type = type_of(method);
    struct metric_family *started = metric_counter(
        registry, "grpc_server_started_total", "Total number of RPCs started on the server.",
        METRIC_LABELS("grpc_method", "grpc_service", "grpc_type"));
    m->handled =
        metric_counter(registry, "grpc_server_handled_total",
                       "Total number of RPCs completed on the server, regardless of "
                       "success or failure.",
                       METRIC_LABELS("grpc_code", "grpc_method", "grpc_service", "grpc_type"));
    m->started = METRIC_OF(started, m->name, m->service, m->type);
    m->handled_ok = METRIC_OF(m->handled, STR("OK"), m->name, m->service, m->type);
    m->received =
        METRIC_OF(metric_counter(registry, "grpc_server_msg_received_total",
                                 "Total number of RPC stream messages received on the server.",
                                 METRIC_LABELS("grpc_method", "grpc_service", "grpc_type")),
                  m->name, m->service, m->type);
    m->sent = METRIC_OF(metric_counter(registry, "grpc_server_msg_sent_total",
                                       "Total number of gRPC stream messages sent by the server.",
                                       METRIC_LABELS("grpc_method", "grpc_service", "grpc_type")),
                        m->name, m->service, m->type);
    m->operations = operations_of(registry, method->path);
    m->seconds = config->extensive_metrics ? seconds_of(m, registry) : NULL;
}

uint64_t etcd_binding_started(const struct etcd_binding *b)
{
    metric_inc(b->metrics->started);
    return b->metrics->seconds != NULL ? uv_hrtime() : 0;
}

/* Only the thread writes: no need of an atomic addition. */
static void bump(atomic_uint_fast64_t *n, uint64_t by)
{
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + by,
                          memory_order_relaxed);
}

void etcd_binding_received(struct etcd_binding *b, size_t bytes)
{
    bump(&b->received, 1);
    bump(&b->received_bytes, bytes);
}

void etcd_binding_sent(struct etcd_binding *b, size_t bytes)
{
    bump(&b->sent, 1);
    bump(&b->sent_bytes, bytes);
}

void etcd_binding_count(const struct etcd_binding *b, enum grpc_status status, uint64_t started_ns)
{
    const struct etcd_rpc_metrics *m = b->metrics;
    if (m->seconds != NULL)
        metric_observe(m->seconds, (double)(uv_hrtime() - started_ns) / 1e9);
    if (status != GRPC_OK) {
        metric_inc(
            METRIC_OF(m->handled, str_of(grpc_status_text(status)), m->name, m->service, m->type));
        return;
    }
    metric_inc(m->handled_ok);
    if (m->operations != NULL)
        metric_inc(m->operations);
}

/* --- gauges ----------------------------------------------------------------------------------- */

/* Renderers cannot be taken back, so there is one for the whole process, which asks
 * the server that has the gauges. */
static struct {
    pthread_mutex_t lock;
    struct etcd_server *server; /* NULL: none. */
    bool registered;
} gauges = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void set_labelled(struct metrics *m, const char *name, const char *help, const char *label,
                         const char *value)
{
    const char *const labels[] = {label, NULL};
    const struct str values[] = {str_of(value)};
    metric_set(metric_of(metric_gauge(m, name, help, labels), values), 1);
}

static void set_plain(struct metrics *m, const char *name, const char *help, double value)
{
    metric_set(metric_single(metric_gauge(m, name, help, NULL)), value);
}

/* Counters that the threads keep for themselves: adds what is new since the last time. */
static void set_traffic(struct etcd_server *s)
{
    struct metrics *m = s->config.metrics;
    uint64_t received_bytes = 0, sent_bytes = 0;
    for (size_t i = 0; i < s->method_count; i++) {
        struct etcd_rpc_metrics *x = &s->rpc_metrics[i];
        uint64_t received = 0, sent = 0;
        for (unsigned k = 0; k < s->thread_count; k++) {
            const struct etcd_binding *b = &s->threads[k].bindings[i];
            received += atomic_load_explicit(&b->received, memory_order_relaxed);
            sent += atomic_load_explicit(&b->sent, memory_order_relaxed);
            received_bytes += atomic_load_explicit(&b->received_bytes, memory_order_relaxed);
            sent_bytes += atomic_load_explicit(&b->sent_bytes, memory_order_relaxed);
        }
        metric_add(x->received, (double)(received - x->received_told));
        metric_add(x->sent, (double)(sent - x->sent_told));
        x->received_told = received;
        x->sent_told = sent;
    }
    metric_add(metric_single(metric_counter(m, "etcd_network_client_grpc_received_bytes_total",
                                            "The total number of bytes received from grpc clients.",
                                            NULL)),
               (double)(received_bytes - s->received_bytes_told));
    metric_add(
        metric_single(metric_counter(m, "etcd_network_client_grpc_sent_bytes_total",
                                     "The total number of bytes sent to grpc clients.", NULL)),
        (double)(sent_bytes - s->sent_bytes_told));
    s->received_bytes_told = received_bytes;
    s->sent_bytes_told = sent_bytes;
}

static void set_all(struct etcd_server *s)
{
    struct metrics *m = s->config.metrics;
    struct etcd_server_stats stats;
    struct store_status status;
    char id[20];
    set_traffic(s);
    etcd_server_get_stats(s, &stats);
    store_status(s->config.store, &status);
    snprintf(id, sizeof(id), "%" PRIx64, status.id);
    static const char *const label = "server_id";
    if (status.id != 0)
        set_labelled(m, "etcd_server_id",
                     "Server or member ID in hexadecimal format. 1 for member "
                     "ID.",
                     label, id);
    set_plain(m, "etcd_server_is_learner", "Whether or not this member is a learner.",
              status.id != 0 && !status.is_voter);
    set_plain(m, "etcd_debugging_mvcc_watcher_total", "Total number of watchers.",
              (double)stats.watchers);
    set_plain(m, "etcd_debugging_mvcc_watch_stream_total", "Total number of watch streams.",
              (double)stats.watch_streams);
    set_plain(m, "etcd_debugging_mvcc_db_total_size_in_bytes",
              "Memory of keys and values; etcd_mvcc_db_total_size_in_bytes by its older name.",
              (double)status.bytes);
    set_plain(m, "etcd_debugging_mvcc_slow_watcher_total",
              "Total number of unsynced slow watchers.", (double)stats.slow_watchers);
}

static void on_render(void *arg)
{
    UNUSED(arg);
    pthread_mutex_lock(&gauges.lock);
    if (gauges.server != NULL)
        set_all(gauges.server);
    pthread_mutex_unlock(&gauges.lock);
}

void etcd_gauges_start(struct etcd_server *s)
{
    struct metrics *m = s->config.metrics;
    set_labelled(m, "etcd_server_version",
                 "Which version is running. 1 for 'server_version' label "
                 "with current version.",
                 "server_version", s->config.version);
    set_labelled(m, "etcd_cluster_version",
                 "Which version is running. 1 for 'cluster_version' "
                 "label with current cluster version",
                 "cluster_version", "3.6");
    etcd_health_count(m, true, 0);
    etcd_health_count(m, false, 0);
    pthread_mutex_lock(&gauges.lock);
    if (gauges.server == NULL)
        gauges.server = s;
    bool first = !gauges.registered && m == metrics_default();
    gauges.registered |= first;
    pthread_mutex_unlock(&gauges.lock);
    if (first)
        metrics_on_render(m, on_render, NULL);
}

void etcd_gauges_stop(struct etcd_server *s)
{
    pthread_mutex_lock(&gauges.lock);
    if (gauges.server == s)
        gauges.server = NULL;
    pthread_mutex_unlock(&gauges.lock);
}
