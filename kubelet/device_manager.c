/* device_manager.c - see device_manager.h: life, taking pods, amounts for the Node, what a
 * container gets. */
#include "kubelet/device_manager_internal.h"

#include "kubelet/admission.h"
#include "kubelet/env_expand.h"
#include "kubelet/kubelet.h"
#include "kubelet/pinning.h"
#include "kubelet/topology.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/log.h"

#include "api/core_v1.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHECKPOINT_NAME "kubelet_internal_checkpoint"
#define CHECKPOINT_BYTES_MAX (64u << 20)

/* --- life ----------------------------------------------------------------------------------- */

/* Until its plugin registers again each resource that is known has no devices. */
static void mark_all_gone(struct device_manager *d)
{
    size_t pos = 0;
    struct str name;
    void *v;
    while (map_next(&d->state.resources, &pos, &name, &v))
        device_plugins_mark_gone(d, name);
}

static void write_checkpoint(const void *state, struct buf *out)
{
    device_checkpoint_write(state, out);
}

struct device_manager *device_manager_new(struct kubelet *k)
{
    struct device_manager *d = xzalloc(sizeof(*d));
    AUTO_BUF text = BUF_INIT;
    struct error err;
    d->k = k;
    d->folder = xasprintf("%s/device-plugins", k->config.root_dir);
    file_saver_init(&d->file, k->loop, xasprintf("%s/" CHECKPOINT_NAME, d->folder),
                    write_checkpoint, &d->state);
    device_state_init(&d->state);
    map_init(&d->plugins);
    map_init(&d->newcomers);
    map_init(&d->gone);
    map_init(&d->removed);
    int rc = file_read(d->file.path, CHECKPOINT_BYTES_MAX, &text, &err);
    if (rc == 0)
        rc = device_checkpoint_read(&d->state, buf_str(&text), &err);
    if (rc != 0 && rc != E_NOT_FOUND)
        log_warning("%s: %s: who has which device is not known", d->file.path, error_message(&err));
    mark_all_gone(d);
    return d;
}

/* All but folders and the checkpoint: plugins see their sockets go, and register again. */
static void empty_folder(const struct device_manager *d)
{
    DIR *dir = opendir(d->folder);
    struct stat st;
    for (struct dirent *e = dir != NULL ? readdir(dir) : NULL; e != NULL; e = readdir(dir)) {
        AUTO_FREE char *path = xasprintf("%s/%s", d->folder, e->d_name);
        if (strcmp(e->d_name, CHECKPOINT_NAME) != 0 && lstat(path, &st) == 0 &&
            !S_ISDIR(st.st_mode))
            unlink(path);
    }
    if (dir != NULL)
        closedir(dir);
}

int device_manager_start(struct device_manager *d, void (*changed)(struct kubelet *k),
                         struct error *err)
{
    int rc = file_mkdir_p(d->folder, 0750, err);
    if (rc != 0)
        return rc;
    empty_folder(d);
    d->changed = changed;
    return device_plugins_start(d, err);
}

const struct device_state *device_manager_state(const struct device_manager *d)
{
    return &d->state;
}

/* --- taking pods ---------------------------------------------------------------------------- */

static void container_hints(void *arg, const struct core_v1_pod *pod,
                            const struct core_v1_container *c, struct topology_hints *h)
{
    const struct device_manager *d = arg;
    device_hints(&d->state, pod, c, topology_layout(pinning_topology(d->k->pinning))->nodes, h);
}

static void pod_hints(void *arg, const struct core_v1_pod *pod, struct topology_hints *h)
{
    container_hints(arg, pod, NULL, h);
}

static bool allocate(void *arg, struct arena *a, const struct core_v1_pod *pod,
                     const struct core_v1_container *c, const struct topology_hint *hint,
                     struct admission_refusal *ret)
{
    struct device_manager *d = arg;
    /* An earlier agent took it: what it lacks, it gets before it is made anew. */
    if (pod->status.start_time != NULL)
        return true;
    return device_reserve(&d->state, a, pod, c, hint->nodes, &ret->message);
}

static void free_pod(void *arg, struct str pod_uid)
{
    struct device_manager *d = arg;
    if (device_free_pod(&d->state, pod_uid))
        file_saver_save(&d->file);
}

void device_manager_provider(struct device_manager *d, struct topology_provider *ret)
{
    *ret = (struct topology_provider){.name = "devices",
                                      .arg = d,
                                      .container_hints = container_hints,
                                      .pod_hints = pod_hints,
                                      .allocate = allocate,
                                      .free_pod = free_pod};
}

void device_manager_reconcile(struct device_manager *d)
{
    AUTO_ARENA *a = arena_new(0);
    struct str *lost = NULL;
    size_t count = 0, cap = 0;
    LIST_FOREACH (it, &d->state.grants) {
        const struct device_grant *g = LIST_ENTRY(it, struct device_grant, link);
        if (map_has(&d->k->workers, str_of(g->pod_uid)))
            continue;
        lost = arena_grow(a, lost, count, &cap, sizeof(*lost));
        lost[count++] = arena_strc(a, g->pod_uid);
    }
    for (size_t i = 0; i < count; i++)
        free_pod(d, lost[i]);
}

/* --- what a container gets ------------------------------------------------------------------ */

void device_manager_gift(const struct device_manager *d, struct arena *a, struct str pod_uid,
                         struct str container, struct device_gift *ret)
{
    *ret = (struct device_gift){0};
    LIST_FOREACH (it, &d->state.grants) {
        const struct device_grant *g = LIST_ENTRY(it, struct device_grant, link);
        struct error err;
        if (!g->settled || !str_eqc(pod_uid, g->pod_uid) || !str_eqc(container, g->container))
            continue;
        if (device_gift_add(a, str_n(g->answer, g->answer_bytes), ret, &err) != 0)
            log_warning("%s: the answer of plugin %s: %s", d->file.path, g->resource,
                        error_message(&err));
    }
}

size_t device_manager_status(const struct device_manager *d, struct arena *a, struct str pod_uid,
                             struct str container, struct core_v1_resource_status **ret)
{
    size_t count = 0, cap = 0;
    *ret = NULL;
    LIST_FOREACH (it, &d->state.grants) {
        const struct device_grant *g = LIST_ENTRY(it, struct device_grant, link);
        if (!str_eqc(pod_uid, g->pod_uid) || !str_eqc(container, g->container))
            continue;
        const struct device_resource *r = device_resource_find(&d->state, str_of(g->resource));
        *ret = arena_grow(a, *ret, count, &cap, sizeof(**ret));
        struct core_v1_resource_status *s = &(*ret)[count++];
        s->name = arena_strc(a, g->resource);
        s->resources = ARENA_ARRAY(a, struct core_v1_resource_health, g->count + 1);
        for (size_t i = 0; i < g->count; i++) {
            const struct device *x = device_find(r, g->ids[i]);
            s->resources[s->resources_count++] =
                (struct core_v1_resource_health){.resource_id = arena_strc(a, g->ids[i]),
                                                 .health = x == NULL    ? STR("Unknown")
                                                           : x->healthy ? STR("Healthy")
                                                                        : STR("Unhealthy")};
        }
    }
    return count;
}

/* --- the Node ------------------------------------------------------------------------------- */

static int64_t granted(const struct device_manager *d, const char *resource)
{
    struct map ids;
    map_init(&ids);
    LIST_FOREACH (it, &d->state.grants) {
        struct device_grant *g = LIST_ENTRY(it, struct device_grant, link);
        for (size_t i = 0; strcmp(g->resource, resource) == 0 && i < g->count; i++)
            map_set(&ids, str_of(g->ids[i]), g);
    }
    int64_t n = (int64_t)ids.count;
    map_done(&ids);
    return n;
}

size_t device_manager_amounts(const struct device_manager *d, struct arena *a,
                              struct device_amount **ret)
{
    size_t count = 0, pos = 0;
    struct str name;
    void *v;
    *ret = ARENA_ARRAY(a, struct device_amount, d->state.resources.count + d->removed.count + 1);
    while (map_next(&d->state.resources, &pos, &name, &v)) {
        const struct device_resource *r = v;
        (*ret)[count++] = (struct device_amount){arena_str(a, name), .capacity = (int64_t)r->count,
                                                 .allocatable = (int64_t)device_resource_healthy(r),
                                                 .granted = granted(d, r->name)};
    }
    for (pos = 0; map_next(&d->removed, &pos, &name, &v);)
        (*ret)[count++] = (struct device_amount){arena_str(a, name), 0, 0, 0};
    return count;
}
