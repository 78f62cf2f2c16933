/* csi_stats.c - see csi.h: how full volumes are, as their drivers say (NodeGetVolumeStats), asked
 * once a minute, as upstream does, and with the gate CSIVolumeHealth whether something is wrong
 * with them: their pods are told each time. Nobody here looks at the mounted file systems: one
 * whose server is gone would hold up whoever looks. */
#include "kubelet/csi_internal.h"

#include "kubelet/kubelet.h"
#include "kubelet/pod_worker.h"
#include "kubelet/volumes.h"

#include "api/core_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/log.h"
#include "lib/client/event_recorder.h"

#include <inttypes.h>

#define ROUND_MS 60000u

struct figure {
    struct csi *csi;
    char *driver, *namespace_name, *claim; /* claim: NULL without. */
    char *uid, *volume;                    /* The pod's, and its name there. */
    struct usage_files files;
    bool busy, seen;
    bool failed; /* Told once. */
};

static void figure_free(struct figure *f)
{
    free(f->driver);
    free(f->namespace_name);
    free(f->claim);
    free(f->uid);
    free(f->volume);
    free(f);
}

static struct str key_of(struct arena *a, struct str uid, struct str volume)
{
    return arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(uid), STR_ARG(volume));
}

static uint64_t amount(int64_t v)
{
    return v > 0 ? (uint64_t)v : 0;
}

static void take_answer(struct figure *f, const Csi__V1__NodeGetVolumeStatsResponse *r)
{
    f->files = (struct usage_files){.known = r->n_usage > 0,
                                    .has_capacity = true,
                                    .time_ns = kubelet_wall_s(f->csi->k) * 1000000000};
    for (size_t i = 0; i < r->n_usage; i++) {
        const Csi__V1__VolumeUsage *u = r->usage[i];
        if (u->unit == CSI__V1__VOLUME_USAGE__UNIT__BYTES) {
            f->files.capacity_bytes = amount(u->total);
            f->files.available_bytes = amount(u->available);
            f->files.used_bytes = amount(u->used);
        } else if (u->unit == CSI__V1__VOLUME_USAGE__UNIT__INODES) {
            f->files.inodes = amount(u->total);
            f->files.inodes_free = amount(u->available);
            f->files.inodes_used = amount(u->used);
        }
    }
}

static void take_condition(struct figure *f, const Csi__V1__NodeGetVolumeStatsResponse *r)
{
    const struct csi_driver *d = csi_driver_find(f->csi, f->driver);
    const Csi__V1__VolumeCondition *c = r->volume_condition;
    if (!f->csi->k->config.gates.csi_volume_health || d == NULL || !d->condition)
        return;
    f->files.has_health = true;
    f->files.abnormal = c != NULL && c->abnormal;
    const struct pod_worker *w = map_get(&f->csi->k->workers, str_of(f->uid));
    if (!f->files.abnormal || w == NULL || pod_worker_pod(w) == NULL)
        return;
    struct event_object about =
        event_object_from(api_kind_by_api_version(STR("v1"), STR("Pod")), pod_worker_pod(w));
    event_record(f->csi->k->events, &about, EVENT_WARNING, "VolumeConditionAbnormal",
                 "Volume %s: %s", f->volume, c->message);
}

static void on_stats(const struct plugin_reply *reply, void *arg)
{
    struct figure *f = arg;
    f->busy = false;
    if (reply->code == 0) {
        take_answer(f, reply->msg);
        take_condition(f, reply->msg);
    } else if (!f->failed) {
        log_warning("CSI driver %s: NodeGetVolumeStats: %s", f->driver, reply->message);
    }
    f->failed = reply->code != 0;
}

static void ask(struct csi *c, const struct volume *v)
{
    const struct csi_mount *m = v->csi;
    const struct csi_driver *d = csi_driver_find(c, m->driver);
    AUTO_ARENA *a = arena_new(256);
    struct str key = key_of(a, m->pod->metadata.uid, str_of(v->name));
    struct figure *f = map_get(&c->figures, key);
    if (f == NULL) {
        f = xzalloc(sizeof(*f));
        f->csi = c;
        f->driver = xstrdup(m->driver);
        f->namespace_name = xasprintf(STR_FMT, STR_ARG(m->pod->metadata.namespace));
        f->claim = m->claim != NULL ? xstrdup(m->claim) : NULL;
        f->uid = xasprintf(STR_FMT, STR_ARG(m->pod->metadata.uid));
        f->volume = xstrdup(v->name);
        map_set(&c->figures, key, f);
    }
    f->seen = true;
    if (f->busy || d == NULL || !d->stats)
        return;
    f->busy = true;
    Csi__V1__NodeGetVolumeStatsRequest r = CSI__V1__NODE_GET_VOLUME_STATS_REQUEST__INIT;
    r.volume_id = (char *)(uintptr_t)m->handle;
    r.volume_path = (char *)(uintptr_t)m->target;
    if (d->stages && !m->ephemeral)
        r.staging_target_path = (char *)(uintptr_t)m->stage;
    plugin_call(d->client, "/csi.v1.Node/NodeGetVolumeStats", &r,
                &csi__v1__node_get_volume_stats_response__descriptor, on_stats, f);
}

static void forget(struct csi *c)
{
    struct str key;
    void *v;
    for (size_t pos = 0; map_next(&c->figures, &pos, &key, &v);) {
        struct figure *f = v;
        if (f->seen || f->busy)
            continue;
        map_remove(&c->figures, key);
        figure_free(f);
        pos = 0;
    }
}

static void on_round(uv_timer_t *t)
{
    struct csi *c = t->data;
    size_t pos = 0;
    void *v;
    while (map_next(&c->figures, &pos, NULL, &v))
        ((struct figure *)v)->seen = false;
    pos = 0;
    while (map_next(&c->k->workers, &pos, NULL, &v)) {
        const struct volume_set *s = pod_worker_volumes(v);
        for (size_t i = 0; s != NULL && i < s->count; i++)
            if (s->items[i].kind == VOLUME_CSI)
                ask(c, &s->items[i]);
    }
    forget(c);
}

void csi_stats_start(struct csi *c)
{
    uv_timer_init(c->k->loop, &c->stats_timer);
    c->stats_timer.data = c;
    uv_timer_start(&c->stats_timer, on_round, ROUND_MS / 6, ROUND_MS);
}

bool csi_stats_of(const struct csi *c, const char *uid, const char *volume, struct usage_files *ret)
{
    AUTO_ARENA *a = arena_new(256);
    const struct figure *f =
        c != NULL ? map_get(&c->figures, key_of(a, str_of(uid), str_of(volume))) : NULL;
    if (f != NULL)
        *ret = f->files;
    return f != NULL;
}

/* --- /metrics -------------------------------------------------------------------------------- */

static bool is_first(const struct csi *c, const struct figure *f)
{
    size_t pos = 0;
    void *v;
    while (map_next(&c->figures, &pos, NULL, &v)) {
        const struct figure *other = v;
        if (other == f)
            return true;
        if (other->claim != NULL && other->files.known && strcmp(other->claim, f->claim) == 0 &&
            strcmp(other->namespace_name, f->namespace_name) == 0)
            return false;
    }
    return true;
}

static void write_name(struct buf *b, const char *name, const char *help)
{
    buf_printf(b,
               "# HELP kubelet_volume_stats_%s [ALPHA] %s\n"
               "# TYPE kubelet_volume_stats_%s gauge\n",
               name, help, name);
}

static void write_value(struct buf *b, const char *name, const struct figure *f, uint64_t value)
{
    buf_printf(b,
               "kubelet_volume_stats_%s{namespace=\"%s\",persistentvolumeclaim=\"%s\"} "
               "%" PRIu64 "\n",
               name, f->namespace_name, f->claim, value);
}

/* The next one of a claim; NULL: there are no more. */
static const struct figure *next_claim(const struct csi *c, size_t *pos)
{
    void *v;
    while (map_next(&c->figures, pos, NULL, &v)) {
        const struct figure *f = v;
        if (f->claim != NULL && f->files.known && is_first(c, f))
            return f;
    }
    return NULL;
}

static void write_health(const struct csi *c, struct buf *b)
{
    static const char name[] = "health_status_abnormal";
    const struct figure *f;
    size_t count = 0;
    for (size_t pos = 0; (f = next_claim(c, &pos)) != NULL;) {
        if (!f->files.has_health)
            continue;
        if (count++ == 0)
            write_name(b, name,
                       "Abnormal volume health status. The count is either 1 or 0. 1 indicates the "
                       "volume is unhealthy, 0 indicates volume is healthy");
        write_value(b, name, f, f->files.abnormal);
    }
}

void csi_stats_write(const struct csi *c, struct buf *b)
{
    static const struct {
        const char *name, *help;
        size_t offset;
    } all[] = {
        {"available_bytes", "Number of available bytes in the volume",
         offsetof(struct usage_files, available_bytes)},
        {"capacity_bytes", "Capacity in bytes of the volume",
         offsetof(struct usage_files, capacity_bytes)},
        {"inodes", "Maximum number of inodes in the volume", offsetof(struct usage_files, inodes)},
        {"inodes_free", "Number of free inodes in the volume",
         offsetof(struct usage_files, inodes_free)},
        {"inodes_used", "Number of used inodes in the volume",
         offsetof(struct usage_files, inodes_used)},
        {"used_bytes", "Number of used bytes in the volume",
         offsetof(struct usage_files, used_bytes)},
    };
    for (size_t i = 0; c != NULL && i < ARRAY_SIZE(all); i++) {
        const struct figure *f;
        size_t count = 0;
        for (size_t pos = 0; (f = next_claim(c, &pos)) != NULL;) {
            uint64_t value;
            if (count++ == 0)
                write_name(b, all[i].name, all[i].help);
            memcpy(&value, (const char *)&f->files + all[i].offset, sizeof(value));
            write_value(b, all[i].name, f, value);
        }
    }
    if (c != NULL)
        write_health(c, b);
}
