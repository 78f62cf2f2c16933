/* csi_unmount.c - see csi.h: what pods leave. A pod's own volumes are found in its folder. One that
 * is staged and has no pod - NodeUnstageVolume failed, or we were killed before it - is found in
 * the plugins' folder, and tried again each minute until it is gone. */
#include "kubelet/csi_internal.h"

#include "kubelet/job.h"
#include "kubelet/kubelet.h"

#include "lib/base/arena.h"
#include "lib/base/log.h"

#define SWEEP_SOON_MS 1000u
#define SWEEP_MS 60000u

/* --- all volumes of a pod ----------------------------------------------------------------------
 */

struct unmounting {
    struct csi *csi;
    struct arena *arena;
    const char *pod_dir;
    struct csi_found *found, *inlines;
    size_t count, inline_count;
    size_t asked; /* Damaged ones, from the front, of which it is known what they are. */
    size_t open;
    int code;
    struct error err;
    void (*done)(int code, const struct error *err, void *arg);
    void *arg;
};

static void unmounting_end(struct unmounting *u)
{
    if (--u->open > 0)
        return;
    u->done(u->code, &u->err, u->arg);
    arena_free(u->arena);
    free(u);
}

static void on_unmounted(int code, const struct error *err, void *arg)
{
    struct unmounting *u = arg;
    if (code != 0 && u->code == 0) {
        u->code = code;
        u->err = *err;
    }
    unmounting_end(u);
}

static void run_find(void *arg)
{
    struct unmounting *u = arg;
    u->code = csi_find_volumes(u->arena, u->pod_dir, &u->found, &u->count, &u->err);
    for (size_t i = 0; u->code == 0 && i < u->count; i++)
        if (u->found[i].damaged)
            csi_find_lost(u->arena, u->csi->k->config.root_dir, &u->found[i]);
}

static void unmount(struct unmounting *u, const struct csi_found *f)
{
    struct csi_op *op = xzalloc(sizeof(*op));
    *op = (struct csi_op){.csi = u->csi, .arena = arena_new(512), .done = on_unmounted, .arg = u};
    op->driver = arena_strdup(op->arena, f->data.driver);
    op->handle = arena_strdup(op->arena, f->data.handle);
    op->pod_volume = arena_strdup(op->arena, f->dir);
    op->ephemeral = f->data.ephemeral;
    op->stage_root = csi_stage_root(op->arena, u->csi->k->config.root_dir, op->driver, op->handle);
    u->open++;
    csi_op_start(op);
}

static void repair_next(struct unmounting *u);

static void on_repaired(int code, const struct error *err, void *arg)
{
    struct unmounting *u = arg;
    if (code != 0) {
        u->code = code;
        u->err = *err;
    }
    u->asked++;
    repair_next(u);
}

/* One after the other; then all are taken away whose drivers are known. */
static void repair_next(struct unmounting *u)
{
    for (; u->asked < u->count; u->asked++) {
        struct csi_found *f = &u->found[u->asked];
        int rc = f->damaged ? csi_repair(u->csi, u->arena, f, u->inlines, u->inline_count,
                                         on_repaired, u, &u->err)
                            : 0;
        if (rc > 0)
            return;
        u->code = rc < 0 ? rc : u->code;
    }
    u->open = 1;
    for (size_t i = 0; i < u->count; i++)
        if (!u->found[i].damaged)
            unmount(u, &u->found[i]);
    unmounting_end(u);
}

static void on_found(void *arg)
{
    struct unmounting *u = arg;
    if (u->code != 0)
        u->count = 0;
    repair_next(u);
}

void csi_unmount_pod(struct csi *c, const struct core_v1_pod *pod, const char *pod_dir,
                     void (*done)(int code, const struct error *err, void *arg), void *arg)
{
    struct unmounting *u = xzalloc(sizeof(*u));
    u->csi = c;
    u->arena = arena_new(0);
    u->pod_dir = arena_strdup(u->arena, pod_dir);
    csi_list_inline(u->arena, pod, &u->inlines, &u->inline_count);
    u->done = done;
    u->arg = arg;
    job_start(c->k->loop, run_find, on_found, u);
}

/* --- volumes that have no pod any more ----------------------------------------------------------
 */

struct sweep {
    struct csi *csi;
    struct arena *arena;
    struct csi_found *found;
    size_t count;
    int code;
    struct error err;
};

static void run_sweep(void *arg)
{
    struct sweep *s = arg;
    s->code =
        csi_find_unused_stages(s->arena, s->csi->k->config.root_dir, &s->found, &s->count, &s->err);
}

static void on_swept_one(int code, const struct error *err, void *arg)
{
    UNUSED(arg);
    if (code != 0)
        log_warning("CSI volume without a pod: %s", error_message(err));
}

static bool is_worked_on(const struct csi *c, const struct csi_data *d)
{
    LIST_FOREACH (it, &c->ops) {
        const struct csi_op *op = LIST_ENTRY(it, struct csi_op, link);
        if (strcmp(op->driver, d->driver) == 0 && strcmp(op->handle, d->handle) == 0)
            return true;
    }
    return false;
}

static void on_sweep_timer(uv_timer_t *t);

static void on_sweep(void *arg)
{
    struct sweep *s = arg;
    struct csi *c = s->csi;
    if (s->code != 0)
        log_warning("CSI volumes without pods: %s", error_message(&s->err));
    for (size_t i = 0; i < s->count; i++) {
        if (csi_driver_find(c, s->found[i].data.driver) == NULL ||
            is_worked_on(c, &s->found[i].data))
            continue; /* It is looked for again when it registers. */
        struct csi_op *op = xzalloc(sizeof(*op));
        *op = (struct csi_op){.csi = c, .arena = arena_new(512), .done = on_swept_one};
        op->driver = arena_strdup(op->arena, s->found[i].data.driver);
        op->handle = arena_strdup(op->arena, s->found[i].data.handle);
        op->stage_root = arena_strdup(op->arena, s->found[i].dir);
        csi_op_start(op);
    }
    arena_free(s->arena);
    free(s);
    c->sweeping = false;
    uv_timer_start(&c->sweep_timer, on_sweep_timer, SWEEP_MS, 0);
}

static void on_sweep_timer(uv_timer_t *t)
{
    struct csi *c = t->data;
    if (c->sweeping)
        return;
    struct sweep *s = xzalloc(sizeof(*s));
    s->csi = c;
    s->arena = arena_new(0);
    c->sweeping = true;
    job_start(c->k->loop, run_sweep, on_sweep, s);
}

void csi_sweep_soon(struct csi *c)
{
    if (!c->sweeping)
        uv_timer_start(&c->sweep_timer, on_sweep_timer, SWEEP_SOON_MS, 0);
}
