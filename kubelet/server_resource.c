/* server_resource.c - GET /metrics/resource: what metrics-server reads; names, labels and
 * times are upstream's. */
#include "kubelet/kubelet.h"
#include "kubelet/server.h"
#include "kubelet/usage_view.h"

#include "lib/base/buf.h"
#include "lib/base/metrics.h"
#include "lib/net/bytes.h"
#include "lib/net/http_server.h"

#include <inttypes.h>

static void head(struct buf *b, const char *name, const char *type, const char *help)
{
    buf_printf(b, "# HELP %s [%s] %s\n# TYPE %s %s\n", name,
               strstr(name, "swap") != NULL ? "ALPHA" : "STABLE", help, name, type);
}

static void put_time(struct buf *b, int64_t time_ns)
{
    buf_printf(b, " %" PRId64 "\n", time_ns / 1000000);
}

static void put_seconds(struct buf *b, uint64_t ns)
{
    buf_printf(b, " %" PRIu64 ".%09" PRIu64, ns / 1000000000, ns % 1000000000);
}

/* --- one figure of everybody ----------------------------------------------------------------- */
struct figure {
    const char *name, *type, *help;
    bool seconds;
    bool (*get)(const struct usage *u, uint64_t *ret);
};

static bool get_cpu(const struct usage *u, uint64_t *ret)
{
    *ret = u->cpu_ns;
    return u->has_cpu;
}

static bool get_memory(const struct usage *u, uint64_t *ret)
{
    *ret = u->working_set_bytes;
    return u->has_memory;
}

static bool get_swap(const struct usage *u, uint64_t *ret)
{
    *ret = u->swap_bytes;
    return u->has_swap;
}

static bool get_swap_limit(const struct usage *u, uint64_t *ret)
{
    *ret = u->swap_limit_bytes;
    return u->has_swap && u->swap_limit_bytes != USAGE_UNLIMITED;
}

static void put_value(struct buf *b, const struct figure *f, const struct usage *u, uint64_t v)
{
    if (f->seconds)
        put_seconds(b, v);
    else
        buf_printf(b, " %" PRIu64, v);
    put_time(b, u->time_ns);
}

static void of_containers(struct buf *b, const struct usage_view *v, const struct figure *f)
{
    uint64_t value;
    head(b, f->name, f->type, f->help);
    for (size_t i = 0; i < v->pod_count; i++)
        for (size_t j = 0; j < v->pods[i].container_count; j++) {
            const struct usage_container *c = &v->pods[i].containers[j];
            if (!f->get(&c->u, &value))
                continue;
            buf_printf(b, "%s{container=\"%s\",namespace=\"%s\",pod=\"%s\"}", f->name, c->name,
                       v->pods[i].namespace_name, v->pods[i].name);
            put_value(b, f, &c->u, value);
        }
}

static void of_pods(struct buf *b, const struct usage_view *v, const struct figure *f)
{
    uint64_t value;
    head(b, f->name, f->type, f->help);
    for (size_t i = 0; i < v->pod_count; i++) {
        const struct usage_pod *p = &v->pods[i];
        if (!f->get(&p->u, &value))
            continue;
        buf_printf(b, "%s{namespace=\"%s\",pod=\"%s\"}", f->name, p->namespace_name, p->name);
        put_value(b, f, &p->u, value);
    }
}

static void of_node(struct buf *b, const struct usage_view *v, const struct figure *f)
{
    uint64_t value;
    if (!f->get(&v->node, &value))
        return;
    head(b, f->name, f->type, f->help);
    buf_puts(b, f->name);
    put_value(b, f, &v->node, value);
}

static void start_times(struct buf *b, const struct usage_view *v)
{
    static const char name[] = "container_start_time_seconds";
    head(b, name, "gauge", "When the container was started, in seconds since 1970.");
    for (size_t i = 0; i < v->pod_count; i++)
        for (size_t j = 0; j < v->pods[i].container_count; j++) {
            const struct usage_container *c = &v->pods[i].containers[j];
            if (c->started_ns <= 0)
                continue;
            buf_printf(b, "%s{container=\"%s\",namespace=\"%s\",pod=\"%s\"}", name, c->name,
                       v->pods[i].namespace_name, v->pods[i].name);
            put_seconds(b, (uint64_t)c->started_ns);
            buf_putc(b, '\n');
        }
}

#define COUNTER "counter"
#define GAUGE "gauge"

void resource_metrics_write(const struct usage_view *v, struct buf *b)
{
    static const struct figure containers[] = {
        {"container_cpu_usage_seconds_total", COUNTER, "CPU time used by the container.", true,
         get_cpu},
        {"container_memory_working_set_bytes", GAUGE, "Working set of the container.", false,
         get_memory},
        {"container_swap_limit_bytes", GAUGE, "Swap that the container may use.", false,
         get_swap_limit},
        {"container_swap_usage_bytes", GAUGE, "Swap used by the container.", false, get_swap},
    };
    static const struct figure node[] = {
        {"node_cpu_usage_seconds_total", COUNTER, "CPU time used on the node.", true, get_cpu},
        {"node_memory_working_set_bytes", GAUGE, "Working set of the node.", false, get_memory},
        {"node_swap_usage_bytes", GAUGE, "Swap used on the node.", false, get_swap},
    };
    static const struct figure pods[] = {
        {"pod_cpu_usage_seconds_total", COUNTER, "CPU time used by the pod.", true, get_cpu},
        {"pod_memory_working_set_bytes", GAUGE, "Working set of the pod.", false, get_memory},
        {"pod_swap_usage_bytes", GAUGE, "Swap used by the pod.", false, get_swap},
    };
    of_containers(b, v, &containers[0]);
    of_containers(b, v, &containers[1]);
    start_times(b, v);
    of_containers(b, v, &containers[2]);
    of_containers(b, v, &containers[3]);
    for (size_t i = 0; i < ARRAY_SIZE(node); i++)
        of_node(b, v, &node[i]);
    for (size_t i = 0; i < ARRAY_SIZE(pods); i++)
        of_pods(b, v, &pods[i]);
    head(b, "resource_scrape_error", GAUGE, "1 if the figures of some container are missing.");
    buf_printf(b, "resource_scrape_error %d\n", v->problem != NULL);
}

static void on_view(const struct usage_view *v, void *arg)
{
    struct http_request *r = arg;
    AUTO_BUF b = BUF_INIT;
    resource_metrics_write(v, &b);
    struct net_bytes *bytes = net_bytes_steal(&b);
    http_respond_typed(r, 200, METRICS_CONTENT_TYPE, bytes);
    net_bytes_unref(bytes);
}

void server_metrics_resource(struct kubelet *k, struct http_request *r)
{
    usage_look(k->usage, 0, on_view, r);
}
