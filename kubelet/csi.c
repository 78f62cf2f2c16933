/* csi.c - see csi.h: bringing volumes to their places and taking them away.
 *
 *   mount:   folders -> NodeStageVolume -> NodePublishVolume -> NodeExpandVolume
 *   unmount: NodeUnpublishVolume -> folder away -> last user? NodeUnstageVolume -> folder away
 *
 * What concerns one volume happens one after the other, in the order asked. */
#include "kubelet/csi_internal.h"

#include "kubelet/cri.h"
#include "kubelet/job.h"
#include "kubelet/kubelet.h"

#include "lib/api/schema.h"
#include "lib/base/arena.h"
#include "lib/base/log.h"
#include "lib/client/claims.h"

static void mark(struct csi *c, const char *driver, const char *handle, bool used)
{
    AUTO_ARENA *a = arena_new(256);
    struct str name = csi_unique_name(a, str_of(handle), str_of(driver));
    if (used)
        map_set(&c->in_use, name, c);
    else
        map_remove(&c->in_use, name);
}

/* What was mounted before this program started. */
static void find_left(struct csi *c)
{
    AUTO_ARENA *a = arena_new(0);
    struct csi_found *found;
    size_t count;
    struct error err;
    if (csi_find_all(a, c->k->config.root_dir, &found, &count, &err) != 0)
        log_warning("CSI volumes of earlier pods: %s", error_message(&err));
    for (size_t i = 0; i < count; i++)
        if (!found[i].damaged && !found[i].data.ephemeral)
            mark(c, found[i].data.driver, found[i].data.handle, true);
    if (csi_find_stages(a, c->k->config.root_dir, &found, &count, &err) != 0)
        count = 0;
    for (size_t i = 0; i < count; i++) {
        if (found[i].damaged)
            log_warning(
                "%s/vol_data.json is damaged: if no pod has the volume any more, its driver "
                "cannot be asked to unstage it",
                found[i].dir);
        else /* Staged: not to be detached yet. */
            mark(c, found[i].data.driver, found[i].data.handle, true);
    }
}

static int by_name(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

size_t csi_volumes_in_use(const struct csi *c, struct arena *a, const struct str **ret)
{
    struct str *names = ARENA_ARRAY(a, struct str, c->in_use.count + 1), key;
    size_t count = 0, pos = 0;
    while (map_next(&c->in_use, &pos, &key, NULL))
        names[count++] = arena_str(a, key);
    qsort(names, count, sizeof(*names), by_name);
    *ret = names;
    return count;
}

struct csi *csi_new(struct kubelet *k)
{
    struct csi *c = xzalloc(sizeof(*c));
    c->k = k;
    list_init(&c->ops);
    map_init(&c->sockets);
    map_init(&c->in_use);
    map_init(&c->figures);
    find_left(c);
    return c;
}

static struct csi_driver *find(const struct csi *c, const char *name, bool dra)
{
    size_t pos = 0;
    void *v;
    while (map_next(&c->sockets, &pos, NULL, &v)) {
        struct csi_driver *d = v;
        if (d->ready && (d->dra_version != NULL) == dra && strcmp(d->name, name) == 0)
            return d;
    }
    return NULL;
}

struct csi_driver *csi_driver_find(const struct csi *c, const char *name)
{
    return find(c, name, false);
}

struct csi_driver *dra_driver_find(const struct csi *c, const char *name)
{
    return find(c, name, true);
}

/* --- operations --------------------------------------------------------------------------------
 */

static void op_run(struct csi_op *op);

/* An older one on the same volume. */
static bool has_to_wait(const struct csi_op *op)
{
    LIST_FOREACH (it, &op->csi->ops) {
        const struct csi_op *other = LIST_ENTRY(it, struct csi_op, link);
        if (other == op)
            return false;
        if (strcmp(other->driver, op->driver) == 0 && strcmp(other->handle, op->handle) == 0)
            return true;
    }
    return false;
}

void csi_op_start(struct csi_op *op)
{
    list_push_back(&op->csi->ops, &op->link);
    if (!has_to_wait(op))
        op_run(op);
}

/* The oldest on this volume, if it is not under way. */
static void start_next(struct csi *c, const char *driver, const char *handle)
{
    LIST_FOREACH (it, &c->ops) {
        struct csi_op *op = LIST_ENTRY(it, struct csi_op, link);
        if (strcmp(op->driver, driver) != 0 || strcmp(op->handle, handle) != 0)
            continue;
        if (!op->running)
            op_run(op);
        return;
    }
}

static void op_end(struct csi_op *op)
{
    struct csi *c = op->csi;
    char *driver = xstrdup(op->driver), *handle = xstrdup(op->handle);
    list_remove(&op->link);
    op->done(op->code, &op->err, op->arg);
    arena_free(op->arena);
    free(op);
    start_next(c, driver, handle);
    free(driver);
    free(handle);
}

static void op_fail(struct csi_op *op, int code, const char *what, const char *message)
{
    op->code = error_set(&op->err, code, "%s: %s", what, message);
    op_end(op);
}

static struct csi_driver *driver_of(struct csi_op *op)
{
    struct csi_driver *d = csi_driver_find(op->csi, op->driver);
    if (d == NULL) {
        op->code =
            error_set(&op->err, E_UNAVAILABLE,
                      "driver name %s not found in the list of registered CSI drivers", op->driver);
        op_end(op);
    }
    return d;
}

/* --- requests ------------------------------------------------------------------------------------
 */

static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static void add_all(struct arena *a, const ProtobufCMessageDescriptor *entry, void *map,
                    size_t *count, const struct csi_strings *from)
{
    for (size_t i = 0; i < from->count; i++)
        cri_map_add(a, entry, map, count, from->items[i].key, from->items[i].value);
}

/* --- mounting
 * -------------------------------------------------------------------------------------
 */

static void on_expanded(int code, const struct error *err, void *arg)
{
    struct csi_op *op = arg;
    op->code = code;
    if (code != 0)
        op->err = *err;
    op_end(op);
}

static void expand(struct csi_op *op)
{
    struct csi_driver *d = driver_of(op);
    if (d == NULL)
        return;
    if (op->mount->grown == NULL || !d->expands)
        op_end(op);
    else
        csi_expand(op->csi, op->mount, on_expanded, op);
}

static void on_published(const struct plugin_reply *reply, void *arg)
{
    struct csi_op *op = arg;
    if (reply->code != 0)
        op_fail(op, reply->code, "NodePublishVolume", reply->message);
    else
        expand(op);
}

static void publish(struct csi_op *op)
{
    const struct csi_mount *m = op->mount;
    struct csi_driver *d = driver_of(op);
    if (d == NULL)
        return;
    AUTO_ARENA *a = arena_new(0);
    Csi__V1__NodePublishVolumeRequest *r =
        cri_new_message(a, &csi__v1__node_publish_volume_request__descriptor);
    r->volume_id = text(m->handle);
    r->target_path = text(m->target);
    if (d->stages && !m->ephemeral)
        r->staging_target_path = text(m->stage);
    r->volume_capability = csi_capability(a, d, m);
    r->readonly = m->read_only;
    add_all(a, &csi__v1__node_publish_volume_request__publish_context_entry__descriptor,
            &r->publish_context, &r->n_publish_context, &m->publish_context);
    add_all(a, &csi__v1__node_publish_volume_request__secrets_entry__descriptor, &r->secrets,
            &r->n_secrets, &m->publish_secrets);
    add_all(a, &csi__v1__node_publish_volume_request__volume_context_entry__descriptor,
            &r->volume_context, &r->n_volume_context, &m->attributes);
    plugin_call(d->client, "/csi.v1.Node/NodePublishVolume", r,
                &csi__v1__node_publish_volume_response__descriptor, on_published, op);
}

static void on_staged(const struct plugin_reply *reply, void *arg)
{
    struct csi_op *op = arg;
    if (reply->code != 0)
        op_fail(op, reply->code, "MountVolume.MountDevice failed: NodeStageVolume", reply->message);
    else
        publish(op);
}

static void stage(struct csi_op *op)
{
    const struct csi_mount *m = op->mount;
    struct csi_driver *d = driver_of(op);
    if (d == NULL)
        return;
    if (!d->stages) {
        publish(op);
        return;
    }
    AUTO_ARENA *a = arena_new(0);
    Csi__V1__NodeStageVolumeRequest *r =
        cri_new_message(a, &csi__v1__node_stage_volume_request__descriptor);
    r->volume_id = text(m->handle);
    r->staging_target_path = text(m->stage);
    r->volume_capability = csi_capability(a, d, m);
    add_all(a, &csi__v1__node_stage_volume_request__publish_context_entry__descriptor,
            &r->publish_context, &r->n_publish_context, &m->publish_context);
    add_all(a, &csi__v1__node_stage_volume_request__secrets_entry__descriptor, &r->secrets,
            &r->n_secrets, &m->stage_secrets);
    add_all(a, &csi__v1__node_stage_volume_request__volume_context_entry__descriptor,
            &r->volume_context, &r->n_volume_context, &m->stage_attributes);
    plugin_call(d->client, "/csi.v1.Node/NodeStageVolume", r,
                &csi__v1__node_stage_volume_response__descriptor, on_staged, op);
}

static void run_dirs(void *arg)
{
    struct csi_op *op = arg;
    op->code = csi_make_dirs(op->mount, &op->err);
}

static void on_dirs(void *arg)
{
    struct csi_op *op = arg;
    if (op->code != 0) {
        op_end(op);
        return;
    }
    if (op->mount->ephemeral) {
        publish(op);
        return;
    }
    mark(op->csi, op->driver, op->handle, true);
    stage(op);
}

bool csi_mount_is_due(const struct csi_mount *m)
{
    return m->republish || m->grown != NULL;
}

bool csi_gives_to_group(const struct csi *c, const char *driver)
{
    const struct csi_driver *d = csi_driver_find(c, driver);
    return d != NULL && d->mount_group;
}

void csi_mount(struct csi *c, const struct csi_mount *m, bool published,
               void (*done)(int code, const struct error *err, void *arg), void *arg)
{
    struct csi_op *op = xzalloc(sizeof(*op));
    *op = (struct csi_op){.csi = c,
                          .arena = arena_new(256),
                          .driver = m->driver,
                          .handle = m->handle,
                          .mount = m,
                          .published = published,
                          .done = done,
                          .arg = arg};
    csi_op_start(op);
}

/* --- unmounting
 * -----------------------------------------------------------------------------------
 */

static void run_remove_stage(void *arg)
{
    struct csi_op *op = arg;
    op->code = csi_remove_stage(op->stage_root, &op->err);
}

static void on_stage_removed(void *arg)
{
    struct csi_op *op = arg;
    if (op->code == 0)
        mark(op->csi, op->driver, op->handle, false);
    op_end(op);
}

static void on_unstaged(const struct plugin_reply *reply, void *arg)
{
    struct csi_op *op = arg;
    if (reply->code != 0)
        op_fail(op, reply->code, "UnmountDevice failed: NodeUnstageVolume", reply->message);
    else
        job_start(op->csi->k->loop, run_remove_stage, on_stage_removed, op);
}

static void unstage(struct csi_op *op)
{
    struct csi_driver *d = driver_of(op);
    if (d == NULL)
        return;
    if (!d->stages) {
        job_start(op->csi->k->loop, run_remove_stage, on_stage_removed, op);
        return;
    }
    Csi__V1__NodeUnstageVolumeRequest r = CSI__V1__NODE_UNSTAGE_VOLUME_REQUEST__INIT;
    r.volume_id = text(op->handle);
    r.staging_target_path = text(str_c(arena_printf(op->arena, "%s/globalmount", op->stage_root)));
    plugin_call(d->client, "/csi.v1.Node/NodeUnstageVolume", &r,
                &csi__v1__node_unstage_volume_response__descriptor, on_unstaged, op);
}

static void run_remove_volume(void *arg)
{
    struct csi_op *op = arg;
    op->code = op->pod_volume != NULL ? csi_remove_volume(op->pod_volume, &op->err) : 0;
    if (op->code == 0 && !op->ephemeral)
        op->last_user = !csi_is_used(op->csi->k->config.root_dir, op->driver, op->handle);
}

static void on_volume_removed(void *arg)
{
    struct csi_op *op = arg;
    if (op->code != 0 || !op->last_user)
        op_end(op);
    else
        unstage(op);
}

static void on_unpublished(const struct plugin_reply *reply, void *arg)
{
    struct csi_op *op = arg;
    if (reply->code != 0)
        op_fail(op, reply->code, "UnmountVolume.TearDown failed: NodeUnpublishVolume",
                reply->message);
    else
        job_start(op->csi->k->loop, run_remove_volume, on_volume_removed, op);
}

static void unpublish(struct csi_op *op)
{
    struct csi_driver *d = driver_of(op);
    if (d == NULL)
        return;
    Csi__V1__NodeUnpublishVolumeRequest r = CSI__V1__NODE_UNPUBLISH_VOLUME_REQUEST__INIT;
    r.volume_id = text(op->handle);
    r.target_path = text(str_c(arena_printf(op->arena, "%s/mount", op->pod_volume)));
    plugin_call(d->client, "/csi.v1.Node/NodeUnpublishVolume", &r,
                &csi__v1__node_unpublish_volume_response__descriptor, on_unpublished, op);
}

static void op_run(struct csi_op *op)
{
    op->running = true;
    if (op->mount != NULL && op->published && op->mount->republish)
        publish(op);
    else if (op->mount != NULL && op->published)
        expand(op);
    else if (op->mount != NULL)
        job_start(op->csi->k->loop, run_dirs, on_dirs, op);
    else if (op->pod_volume != NULL)
        unpublish(op);
    else
        job_start(op->csi->k->loop, run_remove_volume, on_volume_removed, op);
}
