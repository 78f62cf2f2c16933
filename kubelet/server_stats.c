/* server_stats.c - GET /stats/summary: what pods and their containers use. */
#include "kubelet/cri.h"
#include "kubelet/kubelet.h"
#include "kubelet/pod_worker.h"
#include "kubelet/runtime_state.h"
#include "kubelet/server.h"

#include "lib/api/json.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/net/bytes.h"
#include "lib/net/http_server.h"

#include "api/core_v1.h"

struct summary {
    struct kubelet *k;
    struct http_request *r;
};

static struct json *time_json(struct arena *a, int64_t ns)
{
    char text[TIME_TEXT_MAX];
    struct meta_v1_time t = time_from_ns(ns);
    size_t n = time_format(&t, text);
    return json_string(a, str_n(text, n));
}

static void put_value(struct arena *a, struct json *o, const char *key, const CRI(UInt64Value) * v)
{
    if (v != NULL)
        json_setc(a, o, key, json_int(a, (int64_t)v->value));
}

static struct json *container_json(struct arena *a, const CRI(ContainerStats) * s)
{
    struct json *o = json_object(a);
    json_setc(a, o, "name", json_string(a, str_of(s->attributes->metadata->name)));
    if (s->cpu != NULL) {
        struct json *cpu = json_object(a);
        json_setc(a, cpu, "time", time_json(a, s->cpu->timestamp));
        put_value(a, cpu, "usageNanoCores", s->cpu->usage_nano_cores);
        put_value(a, cpu, "usageCoreNanoSeconds", s->cpu->usage_core_nano_seconds);
        json_setc(a, o, "cpu", cpu);
    }
    if (s->memory != NULL) {
        struct json *memory = json_object(a);
        json_setc(a, memory, "time", time_json(a, s->memory->timestamp));
        put_value(a, memory, "availableBytes", s->memory->available_bytes);
        put_value(a, memory, "usageBytes", s->memory->usage_bytes);
        put_value(a, memory, "workingSetBytes", s->memory->working_set_bytes);
        put_value(a, memory, "rssBytes", s->memory->rss_bytes);
        put_value(a, memory, "pageFaults", s->memory->page_faults);
        put_value(a, memory, "majorPageFaults", s->memory->major_page_faults);
        json_setc(a, o, "memory", memory);
    }
    if (s->writable_layer != NULL) {
        struct json *rootfs = json_object(a);
        json_setc(a, rootfs, "time", time_json(a, s->writable_layer->timestamp));
        put_value(a, rootfs, "usedBytes", s->writable_layer->used_bytes);
        put_value(a, rootfs, "inodesUsed", s->writable_layer->inodes_used);
        json_setc(a, o, "rootfs", rootfs);
    }
    return o;
}

static struct json *pod_json(struct arena *a, struct pod_worker *w,
                             const CRI(ListContainerStatsResponse) * list)
{
    const struct core_v1_pod *pod = pod_worker_pod(w);
    const struct core_v1_pod_status *status = pod_worker_status(w);
    struct json *o = json_object(a), *ref = json_object(a), *containers = json_array(a);
    json_setc(a, ref, "name", json_string(a, pod->metadata.name));
    json_setc(a, ref, "namespace", json_string(a, pod->metadata.namespace));
    json_setc(a, ref, "uid", json_string(a, pod->metadata.uid));
    json_setc(a, o, "podRef", ref);
    if (status != NULL && status->start_time != NULL)
        json_setc(a, o, "startTime", time_json(a, status->start_time->seconds * 1000000000));
    for (size_t i = 0; i < list->n_stats; i++) {
        const CRI(ContainerStats) *s = list->stats[i];
        const char *uid =
            s->attributes != NULL
                ? cri_map_get(s->attributes->labels, s->attributes->n_labels, LABEL_POD_UID)
                : NULL;
        if (uid != NULL && s->attributes->metadata != NULL && strcmp(uid, pod_worker_uid(w)) == 0)
            json_append(a, containers, container_json(a, s));
    }
    json_setc(a, o, "containers", containers);
    return o;
}

static void on_stats(const struct cri_reply *reply, void *arg)
{
    struct summary *s = arg;
    struct kubelet *k = s->k;
    struct http_request *r = s->r;
    free(s);
    if (reply->code != 0) {
        server_text(r, 500, "%s", reply->message);
        return;
    }
    struct arena *a = r->arena;
    struct json *o = json_object(a), *node = json_object(a), *pods = json_array(a);
    json_setc(a, node, "nodeName", json_string(a, str_of(k->node_name)));
    json_setc(a, o, "node", node);
    size_t pos = 0;
    void *w;
    while (map_next(&k->workers, &pos, NULL, &w)) {
        if (pod_worker_pod(w) != NULL)
            json_append(a, pods, pod_json(a, w, reply->msg));
    }
    json_setc(a, o, "pods", pods);
    AUTO_BUF b = BUF_INIT;
    json_write(o, false, &b);
    struct net_bytes *bytes = net_bytes_steal(&b);
    http_respond_typed(r, 200, "application/json", bytes);
    net_bytes_unref(bytes);
}

void server_stats_summary(struct kubelet *k, struct http_request *r)
{
    struct summary *s = xzalloc(sizeof(*s));
    *s = (struct summary){k, r};
    CRI(ListContainerStatsRequest) q;
    runtime__v1__list_container_stats_request__init(&q);
    cri_call(k->cri, CRI_LIST_CONTAINER_STATS, &q, CRI_TIMEOUT_MS, on_stats, s);
}
