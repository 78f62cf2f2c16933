/* server_metrics.c - calls counted under the names that etcd's dashboards use. */
#include "raftstore/etcd/server_private.h"

#include "lib/base/metrics.h"

void etcd_rpc_metrics_init(struct etcd_rpc_metrics *m, struct metrics *registry,
                           const struct etcd_method *method)
{
    struct str path = str_sub(str_of(method->path), 1, SIZE_MAX);
    str_cut(path, '/', &m->service, &m->name);
    m->type = method->on_call != NULL ? STR("unary") : STR("bidi_stream");
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
}

void etcd_binding_started(const struct etcd_binding *b)
{
    metric_inc(b->metrics->started);
}

void etcd_binding_count(const struct etcd_binding *b, enum grpc_status status)
{
    const struct etcd_rpc_metrics *m = b->metrics;
    if (status == GRPC_OK)
        metric_inc(m->handled_ok);
    else
        metric_inc(
            METRIC_OF(m->handled, str_of(grpc_status_text(status)), m->name, m->service, m->type));
}
