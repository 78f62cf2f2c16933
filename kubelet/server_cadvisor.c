/* server_cadvisor.c - GET /metrics/cadvisor: the families that dashboards and alerts know, named
 * and labelled as cAdvisor does within upstream's kubelet.
 *
 * A pod's own cgroup has an empty container label, the machine is id="/". */
#include "kubelet/kubelet.h"
#include "kubelet/server.h"
#include "kubelet/usage_view.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/metrics.h"
#include "lib/net/bytes.h"
#include "lib/net/http_server.h"

#include <inttypes.h>

/* Whose figures: one container, one pod (c NULL), or the machine (both NULL). */
struct subject {
    const struct usage_pod *p;
    const struct usage_container *c;
    const struct usage *u;
};

static void each(const struct usage_view *v, void (*f)(const struct subject *s, void *arg),
                 void *arg)
{
    f(&(struct subject){.u = &v->node}, arg);
    for (size_t i = 0; i < v->pod_count; i++) {
        const struct usage_pod *p = &v->pods[i];
        f(&(struct subject){.p = p, .u = &p->u}, arg);
        for (size_t j = 0; j < p->container_count; j++)
            f(&(struct subject){p, &p->containers[j], &p->containers[j].u}, arg);
    }
}

static void put_labels(struct buf *b, const struct subject *s, const char *more)
{
    const struct usage_container *c = s->c;
    const char *group = c != NULL && c->group != NULL         ? c->group
                        : c != NULL                           ? c->id
                        : s->p != NULL && s->p->group != NULL ? s->p->group
                                                              : "/";
    buf_printf(b,
               "{container=\"%s\",%sid=\"%s\",image=\"%s\",name=\"%s\",namespace=\"%s\","
               "pod=\"%s\"}",
               c != NULL ? c->name : "", more, group, c != NULL ? c->image : "",
               c != NULL ? c->id : "", s->p != NULL ? s->p->namespace_name : "",
               s->p != NULL ? s->p->name : "");
}

static void head(struct buf *b, const char *name, const char *type, const char *help)
{
    buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* --- figures of a cgroup ------------------------------------------------------------------------
 */
enum unit { COUNT, NANOSECONDS };

struct figure {
    const char *name, *type, *help;
    const char *label; /* Further one, with its comma; NULL: none. */
    enum unit unit;
    size_t value, has; /* Offsets in struct usage. */
};
#define AT(field) offsetof(struct usage, field)

static const struct figure figures[] = {
    {"container_cpu_usage_seconds_total", "counter", "CPU time used.", "cpu=\"total\",",
     NANOSECONDS, AT(cpu_ns), AT(has_cpu)},
    {"container_cpu_user_seconds_total", "counter", "CPU time used in user mode.", NULL,
     NANOSECONDS, AT(cpu_user_ns), AT(has_cpu)},
    {"container_cpu_system_seconds_total", "counter", "CPU time used in the kernel.", NULL,
     NANOSECONDS, AT(cpu_system_ns), AT(has_cpu)},
    {"container_cpu_cfs_periods_total", "counter", "Periods in which the CPU limit was enforced.",
     NULL, COUNT, AT(periods), AT(has_cfs)},
    {"container_cpu_cfs_throttled_periods_total", "counter", "Periods in which it held back.", NULL,
     COUNT, AT(throttled_periods), AT(has_cfs)},
    {"container_cpu_cfs_throttled_seconds_total", "counter", "Time for which it held back.", NULL,
     NANOSECONDS, AT(throttled_ns), AT(has_cfs)},
    {"container_memory_usage_bytes", "gauge", "Memory used, with all caches.", NULL, COUNT,
     AT(memory_bytes), AT(has_memory)},
    {"container_memory_working_set_bytes", "gauge", "Memory used, without inactive caches.", NULL,
     COUNT, AT(working_set_bytes), AT(has_memory)},
    {"container_memory_rss", "gauge", "Anonymous memory.", NULL, COUNT, AT(rss_bytes),
     AT(has_memory)},
    {"container_memory_cache", "gauge", "Memory of the page cache.", NULL, COUNT, AT(cache_bytes),
     AT(has_memory)},
    {"container_memory_mapped_file", "gauge", "Memory of mapped files.", NULL, COUNT,
     AT(mapped_bytes), AT(has_memory)},
    {"container_memory_swap", "gauge", "Swap used.", NULL, COUNT, AT(swap_bytes), AT(has_swap)},
    {"container_memory_failcnt", "counter", "Times that the memory limit was hit.", NULL, COUNT,
     AT(memory_failures), AT(has_memory)},
    {"container_oom_events_total", "counter", "Processes killed for lack of memory.", NULL, COUNT,
     AT(oom_kills), AT(has_memory)},
    {"container_processes", "gauge", "Processes and threads within.", NULL, COUNT, AT(processes),
     AT(has_pids)},
    {"container_fs_reads_bytes_total", "counter", "Bytes read from devices.", "device=\"\",", COUNT,
     AT(read_bytes), AT(has_io)},
    {"container_fs_writes_bytes_total", "counter", "Bytes written to devices.", "device=\"\",",
     COUNT, AT(written_bytes), AT(has_io)},
    {"container_fs_reads_total", "counter", "Reads from devices.", "device=\"\",", COUNT, AT(reads),
     AT(has_io)},
    {"container_fs_writes_total", "counter", "Writes to devices.", "device=\"\",", COUNT,
     AT(writes), AT(has_io)},
};

struct writing {
    struct buf *b;
    const struct figure *f;
};

static void put_number(struct buf *b, enum unit unit, uint64_t v)
{
    if (unit == NANOSECONDS)
        buf_printf(b, " %" PRIu64 ".%09" PRIu64, v / 1000000000, v % 1000000000);
    else
        buf_printf(b, " %" PRIu64, v);
}

static void put_end(struct buf *b, const struct usage *u)
{
    buf_printf(b, " %" PRId64 "\n", u->time_ns / 1000000);
}

static void put_figure(const struct subject *s, void *arg)
{
    const struct writing *w = arg;
    const char *u = (const char *)s->u;
    uint64_t value;
    if (!*(const bool *)(u + w->f->has))
        return;
    memcpy(&value, u + w->f->value, sizeof(value));
    buf_puts(w->b, w->f->name);
    put_labels(w->b, s, w->f->label != NULL ? w->f->label : "");
    put_number(w->b, w->f->unit, value);
    put_end(w->b, s->u);
}

static void put_faults(const struct subject *s, void *arg)
{
    struct buf *b = arg;
    const struct {
        const char *labels;
        uint64_t value;
    } kinds[] = {
        {"failure_type=\"pgfault\",scope=\"hierarchy\",", s->u->page_faults},
        {"failure_type=\"pgmajfault\",scope=\"hierarchy\",", s->u->major_page_faults},
    };
    for (size_t i = 0; s->u->has_memory && i < ARRAY_SIZE(kinds); i++) {
        buf_puts(b, "container_memory_failures_total");
        put_labels(b, s, kinds[i].labels);
        put_number(b, COUNT, kinds[i].value);
        put_end(b, s->u);
    }
}

/* --- what was asked for --------------------------------------------------------------------------
 */
static void put_spec(struct buf *b, const struct usage_view *v, const char *name, const char *help,
                     bool (*get)(const struct usage_container *c, int64_t *ret))
{
    head(b, name, "gauge", help);
    for (size_t i = 0; i < v->pod_count; i++)
        for (size_t j = 0; j < v->pods[i].container_count; j++) {
            const struct usage_container *c = &v->pods[i].containers[j];
            int64_t value;
            if (!get(c, &value))
                continue;
            buf_puts(b, name);
            put_labels(b, &(struct subject){&v->pods[i], c, &c->u}, "");
            buf_printf(b, " %" PRId64 "\n", value);
        }
}

static bool get_shares(const struct usage_container *c, int64_t *ret)
{
    *ret = c->cpu_shares;
    return c->cpu_shares > 0;
}

static bool get_quota(const struct usage_container *c, int64_t *ret)
{
    *ret = c->cpu_quota_us;
    return c->cpu_quota_us > 0;
}

static bool get_period(const struct usage_container *c, int64_t *ret)
{
    *ret = CPU_PERIOD_US;
    return c->cpu_quota_us > 0;
}

static bool get_memory_limit(const struct usage_container *c, int64_t *ret)
{
    *ret = c->u.memory_limit_bytes == USAGE_UNLIMITED ? 0 : (int64_t)c->u.memory_limit_bytes;
    return c->u.has_memory;
}

static bool get_start(const struct usage_container *c, int64_t *ret)
{
    *ret = c->started_ns / 1000000000;
    return c->started_ns > 0;
}

static bool get_seen(const struct usage_container *c, int64_t *ret)
{
    *ret = c->u.time_ns / 1000000000;
    return c->u.time_ns > 0;
}

static bool get_layer(const struct usage_container *c, int64_t *ret)
{
    *ret = (int64_t)c->layer.used_bytes;
    return c->layer.known;
}

static void put_specs(struct buf *b, const struct usage_view *v)
{
    put_spec(b, v, "container_spec_cpu_shares", "CPU shares.", get_shares);
    put_spec(b, v, "container_spec_cpu_period", "Period of the CPU limit in microseconds.",
             get_period);
    put_spec(b, v, "container_spec_cpu_quota", "CPU time in a period, in microseconds.", get_quota);
    put_spec(b, v, "container_spec_memory_limit_bytes", "Memory limit; 0: none.", get_memory_limit);
    put_spec(b, v, "container_start_time_seconds", "When it was started.", get_start);
    put_spec(b, v, "container_last_seen", "When it was last looked at.", get_seen);
    put_spec(b, v, "container_fs_usage_bytes", "Bytes of its writable layer.", get_layer);
}

/* --- network
 * --------------------------------------------------------------------------------------- */
#define NET(field) offsetof(struct usage_interface, field)
static const struct {
    const char *name, *help;
    size_t value;
} net_figures[] = {
    {"container_network_receive_bytes_total", "Bytes received.", NET(rx_bytes)},
    {"container_network_receive_packets_total", "Packets received.", NET(rx_packets)},
    {"container_network_receive_errors_total", "Errors while receiving.", NET(rx_errors)},
    {"container_network_receive_packets_dropped_total", "Packets dropped on receipt.",
     NET(rx_dropped)},
    {"container_network_transmit_bytes_total", "Bytes sent.", NET(tx_bytes)},
    {"container_network_transmit_packets_total", "Packets sent.", NET(tx_packets)},
    {"container_network_transmit_errors_total", "Errors while sending.", NET(tx_errors)},
    {"container_network_transmit_packets_dropped_total", "Packets dropped while sending.",
     NET(tx_dropped)},
};

static void put_interfaces(struct arena *a, struct buf *b, size_t figure, const struct subject *s,
                           const struct usage_interface *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t value;
        memcpy(&value, (const char *)&list[i] + net_figures[figure].value, sizeof(value));
        buf_puts(b, net_figures[figure].name);
        put_labels(b, s, str_c(arena_printf(a, "interface=\"%s\",", list[i].name)));
        put_number(b, COUNT, value);
        put_end(b, s->u);
    }
}

static void put_network(struct buf *b, const struct usage_view *v)
{
    for (size_t f = 0; f < ARRAY_SIZE(net_figures); f++) {
        head(b, net_figures[f].name, "counter", net_figures[f].help);
        put_interfaces(v->arena, b, f, &(struct subject){.u = &v->node}, v->interfaces,
                       v->interface_count);
        for (size_t i = 0; i < v->pod_count; i++)
            put_interfaces(v->arena, b, f, &(struct subject){.p = &v->pods[i], .u = &v->pods[i].u},
                           v->pods[i].interfaces, v->pods[i].interface_count);
    }
}

void cadvisor_metrics_write(const struct usage_view *v, int64_t cpu_milli, struct buf *b)
{
    for (size_t i = 0; i < ARRAY_SIZE(figures); i++) {
        struct writing w = {b, &figures[i]};
        head(b, figures[i].name, figures[i].type, figures[i].help);
        each(v, put_figure, &w);
    }
    head(b, "container_memory_failures_total", "counter", "Page faults.");
    each(v, put_faults, b);
    put_specs(b, v);
    put_network(b, v);
    head(b, "container_scrape_error", "gauge", "1 if the figures of some container are missing.");
    buf_printf(b, "container_scrape_error %d\n", v->problem != NULL);
    head(b, "machine_cpu_cores", "gauge", "CPUs of the machine.");
    buf_printf(b, "machine_cpu_cores %" PRId64 "\n", cpu_milli / 1000);
    head(b, "machine_memory_bytes", "gauge", "Memory of the machine.");
    buf_printf(b, "machine_memory_bytes %" PRIu64 "\n", v->node.memory_limit_bytes);
    head(b, "machine_swap_bytes", "gauge", "Swap of the machine.");
    buf_printf(b, "machine_swap_bytes %" PRIu64 "\n",
               v->node.has_swap ? v->node.swap_limit_bytes : 0);
}

struct scrape {
    struct kubelet *k;
    struct http_request *r;
};

static void on_view(const struct usage_view *v, void *arg)
{
    struct scrape *s = arg;
    AUTO_BUF b = BUF_INIT;
    cadvisor_metrics_write(v, s->k->cpu_capacity_milli, &b);
    struct net_bytes *bytes = net_bytes_steal(&b);
    http_respond_typed(s->r, 200, METRICS_CONTENT_TYPE, bytes);
    net_bytes_unref(bytes);
}

void server_metrics_cadvisor(struct kubelet *k, struct http_request *r)
{
    struct scrape *s = ARENA_NEW(r->arena, struct scrape);
    *s = (struct scrape){k, r};
    usage_look(k->usage, USAGE_ALL | USAGE_RUNTIME, on_view, s);
}
