/* server_stats.c - GET /stats/summary: what the node, its pods and their containers use, as
 * upstream's stats/v1alpha1 lays it out. ?only_cpu_and_memory=true leaves out the rest. */
#include "kubelet/kubelet.h"
#include "kubelet/machine.h"
#include "kubelet/server.h"
#include "kubelet/usage_view.h"

#include "lib/api/json.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/net/bytes.h"
#include "lib/net/http_server.h"

#include "api/meta_v1.h"

struct summary {
    struct kubelet *k;
    struct http_request *r;
    struct arena *a; /* Of the request. */
    bool brief;
    struct machine_usage machine;
};

static struct json *time_json(struct arena *a, int64_t ns)
{
    char text[TIME_TEXT_MAX];
    struct meta_v1_time t = time_from_ns(ns);
    size_t n = time_format(&t, text);
    return json_string(a, str_n(text, n));
}

static void put_u64(struct arena *a, struct json *o, const char *key, uint64_t v)
{
    json_setc(a, o, key, json_int(a, (int64_t)MIN_OF(v, (uint64_t)INT64_MAX)));
}

/* --- parts --------------------------------------------------------------------------------- */
static void put_usage(struct arena *a, struct json *o, const struct usage *u,
                      const struct usage_rate *rate, uint64_t available_of)
{
    if (u->has_cpu) {
        struct json *cpu = json_object(a);
        json_setc(a, cpu, "time", time_json(a, u->time_ns));
        if (rate->known)
            put_u64(a, cpu, "usageNanoCores", rate->nano_cores);
        put_u64(a, cpu, "usageCoreNanoSeconds", u->cpu_ns);
        json_setc(a, o, "cpu", cpu);
    }
    if (u->has_memory) {
        struct json *memory = json_object(a);
        json_setc(a, memory, "time", time_json(a, u->time_ns));
        if (available_of != USAGE_UNLIMITED)
            put_u64(a, memory, "availableBytes",
                    available_of > u->working_set_bytes ? available_of - u->working_set_bytes : 0);
        put_u64(a, memory, "usageBytes", u->memory_bytes);
        put_u64(a, memory, "workingSetBytes", u->working_set_bytes);
        put_u64(a, memory, "rssBytes", u->rss_bytes);
        put_u64(a, memory, "pageFaults", u->page_faults);
        put_u64(a, memory, "majorPageFaults", u->major_page_faults);
        json_setc(a, o, "memory", memory);
    }
    if (u->has_swap) {
        struct json *swap = json_object(a);
        json_setc(a, swap, "time", time_json(a, u->time_ns));
        if (u->swap_limit_bytes != USAGE_UNLIMITED)
            put_u64(a, swap, "swapAvailableBytes",
                    u->swap_limit_bytes - MIN_OF(u->swap_limit_bytes, u->swap_bytes));
        put_u64(a, swap, "swapUsageBytes", u->swap_bytes);
        json_setc(a, o, "swap", swap);
    }
}

static struct json *files_json(struct arena *a, const struct usage_files *f)
{
    struct json *o = json_object(a);
    json_setc(a, o, "time", time_json(a, f->time_ns));
    if (f->has_capacity) {
        put_u64(a, o, "availableBytes", f->available_bytes);
        put_u64(a, o, "capacityBytes", f->capacity_bytes);
    }
    put_u64(a, o, "usedBytes", f->used_bytes);
    if (f->has_capacity) {
        put_u64(a, o, "inodesFree", f->inodes_free);
        put_u64(a, o, "inodes", f->inodes);
    }
    put_u64(a, o, "inodesUsed", f->inodes_used);
    return o;
}

/* A folder within a file system shows what is left there. */
static void put_files(struct arena *a, struct json *o, const char *key, const struct usage_files *f,
                      const struct usage_files *within)
{
    if (!f->known)
        return;
    struct usage_files shown = *f;
    if (!f->has_capacity && within->has_capacity) {
        shown = *within;
        shown.time_ns = f->time_ns;
        shown.used_bytes = f->used_bytes;
        shown.inodes_used = f->inodes_used;
    }
    json_setc(a, o, key, files_json(a, &shown));
}

static struct json *interface_json(struct arena *a, struct json *o, const struct usage_interface *i)
{
    json_setc(a, o, "name", json_string(a, str_of(i->name)));
    put_u64(a, o, "rxBytes", i->rx_bytes);
    put_u64(a, o, "rxErrors", i->rx_errors);
    put_u64(a, o, "txBytes", i->tx_bytes);
    put_u64(a, o, "txErrors", i->tx_errors);
    return o;
}

static void put_network(struct arena *a, struct json *o, int64_t time_ns, const char *first,
                        const struct usage_interface *list, size_t count)
{
    if (count == 0)
        return;
    struct json *network = json_object(a), *all = json_array(a);
    json_setc(a, network, "time", time_json(a, time_ns));
    for (size_t i = 0; i < count; i++) {
        if (first != NULL && strcmp(list[i].name, first) == 0)
            (void)interface_json(a, network, &list[i]);
        json_append(a, all, interface_json(a, json_object(a), &list[i]));
    }
    json_setc(a, network, "interfaces", all);
    json_setc(a, o, "network", network);
}

/* --- pods ------------------------------------------------------------------------------------- */
static struct json *container_json(struct arena *a, const struct usage_view *v,
                                   const struct usage_container *c, bool brief)
{
    struct json *o = json_object(a);
    json_setc(a, o, "name", json_string(a, str_of(c->name)));
    json_setc(a, o, "startTime", time_json(a, c->started_ns));
    put_usage(a, o, &c->u, &c->rate, c->u.memory_limit_bytes);
    if (!brief) {
        put_files(a, o, "rootfs", &c->layer, &v->images);
        put_files(a, o, "logs", &c->logs, &v->root);
    }
    return o;
}

static void put_volumes(struct arena *a, struct json *o, const struct usage_view *v,
                        const struct usage_pod *p)
{
    struct json *list = json_array(a);
    struct usage_files own = {.known = true, .time_ns = v->node.time_ns};
    bool any = false;
    for (size_t i = 0; i < p->volume_count; i++) {
        const struct usage_volume *x = &p->volumes[i];
        if (!x->files.known)
            continue;
        struct json *volume = files_json(a, &x->files);
        json_setc(a, volume, "name", json_string(a, str_of(x->name)));
        if (x->claim != NULL) {
            struct json *ref = json_object(a);
            json_setc(a, ref, "name", json_string(a, str_of(x->claim)));
            json_setc(a, ref, "namespace", json_string(a, str_of(p->namespace_name)));
            json_setc(a, volume, "pvcRef", ref);
        }
        if (x->files.has_health) {
            struct json *health = json_object(a);
            json_setc(a, health, "abnormal", json_bool(a, x->files.abnormal));
            json_setc(a, volume, "volumeHealthStats", health);
        }
        if (x->ephemeral) {
            own.used_bytes += x->files.used_bytes;
            own.inodes_used += x->files.inodes_used;
        }
        json_append(a, list, volume);
        any = true;
    }
    if (any)
        json_setc(a, o, "volume", list);
    for (size_t i = 0; i < p->container_count; i++) {
        own.used_bytes += p->containers[i].layer.used_bytes + p->containers[i].logs.used_bytes;
        own.inodes_used += p->containers[i].layer.inodes_used + p->containers[i].logs.inodes_used;
    }
    put_files(a, o, "ephemeral-storage", &own, &v->root);
}

static struct json *pod_json(struct arena *a, const struct usage_view *v, const struct usage_pod *p,
                             bool brief)
{
    struct json *o = json_object(a), *ref = json_object(a), *containers = json_array(a);
    json_setc(a, ref, "name", json_string(a, str_of(p->name)));
    json_setc(a, ref, "namespace", json_string(a, str_of(p->namespace_name)));
    json_setc(a, ref, "uid", json_string(a, str_of(p->uid)));
    json_setc(a, o, "podRef", ref);
    json_setc(a, o, "startTime", time_json(a, p->started_s * 1000000000));
    for (size_t i = 0; i < p->container_count; i++)
        json_append(a, containers, container_json(a, v, &p->containers[i], brief));
    json_setc(a, o, "containers", containers);
    put_usage(a, o, &p->u, &p->rate, p->u.memory_limit_bytes);
    if (brief)
        return o;
    put_network(a, o, p->u.time_ns, "eth0", p->interfaces, p->interface_count);
    put_volumes(a, o, v, p);
    if (p->u.has_pids) {
        struct json *processes = json_object(a);
        put_u64(a, processes, "process_count", p->u.processes);
        json_setc(a, o, "process_stats", processes);
    }
    return o;
}

/* --- node ---------------------------------------------------------------------------------------
 */
static struct json *system_containers(struct arena *a, const struct usage_view *v,
                                      int64_t started_ns)
{
    struct json *list = json_array(a), *pods = json_object(a);
    struct usage_rate none = {0};
    if (!v->pods_total.has_cpu && !v->pods_total.has_memory)
        return NULL;
    json_setc(a, pods, "name", json_string(a, STR("pods")));
    json_setc(a, pods, "startTime", time_json(a, started_ns));
    put_usage(a, pods, &v->pods_total, &none, v->pods_total.memory_limit_bytes);
    json_append(a, list, pods);
    return list;
}

static struct json *node_json(const struct summary *s, const struct usage_view *v)
{
    struct arena *a = s->a;
    struct json *o = json_object(a);
    json_setc(a, o, "nodeName", json_string(a, str_of(s->k->node_name)));
    struct json *system = s->brief ? NULL : system_containers(a, v, s->k->started_ns);
    if (system != NULL)
        json_setc(a, o, "systemContainers", system);
    json_setc(a, o, "startTime", time_json(a, s->k->started_ns));
    put_usage(a, o, &v->node, &v->node_rate, v->node.memory_limit_bytes);
    if (s->brief)
        return o;
    put_network(a, o, v->node.time_ns, v->default_interface, v->interfaces, v->interface_count);
    put_files(a, o, "fs", &v->root, &v->root);
    if (v->images.known) {
        struct json *runtime = json_object(a);
        put_files(a, runtime, "imageFs", &v->images, &v->root);
        put_files(a, runtime, "containerFs", &v->images, &v->root);
        json_setc(a, o, "runtime", runtime);
    }
    struct json *rlimit = json_object(a);
    json_setc(a, rlimit, "time", time_json(a, v->node.time_ns));
    put_u64(a, rlimit, "maxpid", (uint64_t)s->machine.pids_max);
    put_u64(a, rlimit, "curproc", (uint64_t)s->machine.pids_used);
    json_setc(a, o, "rlimit", rlimit);
    return o;
}

static void on_view(const struct usage_view *v, void *arg)
{
    struct summary *s = arg;
    struct arena *a = s->a;
    struct json *o = json_object(a), *pods = json_array(a);
    machine_usage(s->k->config.root_dir, &s->machine);
    json_setc(a, o, "node", node_json(s, v));
    for (size_t i = 0; i < v->pod_count; i++)
        json_append(a, pods, pod_json(a, v, &v->pods[i], s->brief));
    json_setc(a, o, "pods", pods);
    AUTO_BUF b = BUF_INIT;
    json_write(o, false, &b);
    struct net_bytes *bytes = net_bytes_steal(&b);
    http_respond_typed(s->r, 200, "application/json", bytes);
    net_bytes_unref(bytes);
}

void server_stats_summary(struct kubelet *k, struct http_request *r)
{
    struct summary *s = ARENA_NEW(r->arena, struct summary);
    *s = (struct summary){
        .k = k, .r = r, .a = r->arena, .brief = server_flag(r, "only_cpu_and_memory")};
    usage_look(k->usage, s->brief ? 0 : USAGE_ALL | USAGE_DISKS | USAGE_RUNTIME, on_view, s);
}
