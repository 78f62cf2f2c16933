/* csi_repair.c - see csi_internal.h: a pod is to go, and the vol_data.json of one of its volumes
 * cannot be read, so that nobody knows which driver to ask to unpublish it.
 *
 *   a stage that names the volume (csi_folders.c) -> the pod's own volumes -> the PersistentVolume
 *
 * What none of them knows is given up, said once, and left to whoever removes the pod's folder:
 * that unmounts what is mounted there. A pod that can never go would be worse. */
#include "kubelet/csi_internal.h"

#include "kubelet/kubelet.h"

#include "api/core_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/log.h"
#include "lib/client/client.h"

#define CALL_TIMEOUT_MS 10000u

void csi_list_inline(struct arena *a, const struct core_v1_pod *pod, struct csi_found **ret,
                     size_t *ret_count)
{
    size_t count = pod != NULL ? pod->spec.volumes_count : 0;
    *ret = ARENA_ARRAY(a, struct csi_found, count + 1);
    *ret_count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct core_v1_volume *v = &pod->spec.volumes[i];
        if (v->volume_source.csi == NULL)
            continue;
        struct csi_found f = {.name = str_c(arena_str(a, v->name))};
        f.data.pv_name = f.name;
        f.data.driver = str_c(arena_str(a, v->volume_source.csi->driver));
        f.data.handle = csi_inline_handle(a, pod, f.name);
        f.data.ephemeral = true;
        (*ret)[(*ret_count)++] = f;
    }
}

struct question {
    struct arena *arena; /* Of the volume. */
    struct csi_found *f;
    void (*done)(int code, const struct error *err, void *arg);
    void *arg;
};

static void say(const struct csi_found *f, const char *why)
{
    if (f->damaged)
        log_warning(
            "%s/vol_data.json is damaged, and nothing else tells what volume it is (%s): it "
            "is unmounted without its driver being told",
            f->dir, why);
    else
        log_warning("%s/vol_data.json is damaged: it is volume %s of driver %s", f->dir,
                    f->data.handle, f->data.driver);
}

static int fail(const struct csi_found *f, int code, const char *why, struct error *err)
{
    return error_set(err, code,
                     "%s/vol_data.json is damaged, and what volume it is cannot be asked: %s",
                     f->dir, why);
}

static void take_volume(struct question *q, const struct core_v1_persistent_volume *pv)
{
    const struct core_v1_csi_persistent_volume_source *src = pv->spec.persistent_volume_source.csi;
    if (src != NULL) {
        q->f->data = (struct csi_data){.driver = str_c(arena_str(q->arena, src->driver)),
                                       .handle = str_c(arena_str(q->arena, src->volume_handle)),
                                       .pv_name = q->f->name};
        q->f->damaged = false;
    }
    say(q->f, "the PersistentVolume of its name is of no CSI driver");
}

static void on_volume(struct client_request *r, const struct client_result *result, void *arg)
{
    struct question *q = arg;
    struct error err = {0};
    int rc = 0;
    UNUSED(r);
    if (result->code == 0)
        take_volume(q, result->object->msg);
    else if (result->code == E_NOT_FOUND || result->code == E_FORBIDDEN)
        say(q->f, result->message); /* None, or of none of our pods. */
    else
        rc = fail(q->f, result->code, result->message, &err);
    q->done(rc, &err, q->arg);
    free(q);
}

static int ask(struct csi *c, const struct question *as, struct error *err)
{
    struct error why;
    struct question *q = xzalloc(sizeof(*q));
    *q = *as;
    struct client_call call = {.verb = CLIENT_GET,
                               .kind = api_kind_by_api_version(STR("v1"), STR("PersistentVolume")),
                               .name = str_of(q->f->name),
                               .timeout_ms = CALL_TIMEOUT_MS,
                               .done = on_volume,
                               .arg = q};
    int rc = client_start(c->k->client, &call, NULL, &why);
    if (rc == 0)
        return 1;
    free(q);
    return fail(as->f, rc, error_message(&why), err);
}

int csi_repair(struct csi *c, struct arena *a, struct csi_found *f, const struct csi_found *inlines,
               size_t inline_count, void (*done)(int code, const struct error *err, void *arg),
               void *arg, struct error *err)
{
    for (size_t i = 0; i < inline_count && f->damaged; i++) {
        if (strcmp(inlines[i].name, f->name) != 0)
            continue;
        f->data = inlines[i].data;
        f->damaged = false;
    }
    if (f->damaged && c->k->client != NULL)
        return ask(c, &(struct question){.arena = a, .f = f, .done = done, .arg = arg}, err);
    say(f, "there is no API server to ask");
    return 0;
}
