/* pod_image.c - has the node the image of a container, and those of its volumes? Else they are
 * pulled. */
#include "kubelet/image_pull.h"
#include "kubelet/image_records.h"
#include "kubelet/image_volume.h"
#include "kubelet/pod_sources.h"
#include "kubelet/pod_start_internal.h"

#include "lib/api/scheme.h"
#include "lib/base/arena.h"

#include "api/core_v1.h"

/* --- 2: pull ---------------------------------------------------------------------------- */

static struct str image_key(struct start *s)
{
    return arena_printf(s->arena, "%s/" STR_FMT, s->w->uid, STR_ARG(s->image));
}

static void check_image(struct start *s, bool pulled);
static void image_done(struct start *s);

static void on_pulled(const struct image_pull_result *r, void *arg)
{
    struct start *s = arg;
    struct pod_worker *w = s->w;
    uint64_t now_ms = kubelet_now_ms(w->k);
    s->pull = NULL;
    start_trace_add(&w->trace, START_PULL, r->took_ns);
    if (r->code == E_CANCELED) {
        start_give_up(s, "ErrImagePull", "pull canceled", 0);
        return;
    }
    if (r->code != 0) {
        struct str key = image_key(s);
        backoff_next(&w->k->image_backoff, key, now_ms);
        uint64_t wait = backoff_delay_ms(&w->k->image_backoff, key);
        worker_event(w, s->c, "Warning", "Failed", "Failed to pull image \"" STR_FMT "\": %s",
                     STR_ARG(s->given), r->message);
        worker_event(w, s->c, "Warning", "Failed", "Error: ErrImagePull");
        struct str text = arena_printf(s->arena, "failed to pull image \"" STR_FMT "\": %s",
                                       STR_ARG(s->given), r->message);
        /* Shown as ErrImagePull until the next try finds itself backed off. */
        start_give_up(s, "ErrImagePull", str_c(text), MIN_OF(wait, (uint64_t)3000));
        return;
    }
    s->pull_took_ms = r->took_ns / 1000000;
    s->pulled_ref = r->image_ref;
    backoff_reset(&w->k->image_backoff, image_key(s));
    check_image(s, true);
}

/* Of the pod's pull secrets, in their order. */
static void find_auths(struct start *s, struct pull_auth_list *ret)
{
    const struct core_v1_pod *pod = s->object->msg;
    for (size_t i = 0; i < pod->spec.image_pull_secrets_count; i++) {
        const void *msg;
        struct str name = pod->spec.image_pull_secrets[i].name;
        if (source_object(s->w->sources, SOURCE_SECRET, name, true, &msg, NULL) != 0 || msg == NULL)
            continue;
        const struct core_v1_secret *secret = msg;
        const struct str *json =
            api_str_map_get(secret->data, secret->data_count, STR(".dockerconfigjson"));
        if (json == NULL)
            json = api_str_map_get(secret->data, secret->data_count, STR(".dockercfg"));
        size_t from = ret->count;
        if (json != NULL)
            pull_auths_add(s->arena, ret, *json, s->image);
        for (; from < ret->count; from++) {
            struct pull_auth *auth = &ret->items[from];
            auth->secret_uid = str_c(arena_str(s->arena, secret->metadata.uid));
            auth->secret_namespace = s->w->namespace_name;
            auth->secret_name = str_c(arena_str(s->arena, name));
            auth->secret_hash = image_credential_hash(s->arena, auth);
        }
    }
}

static void pull(struct start *s)
{
    struct pod_worker *w = s->w;
    struct str key = image_key(s);
    uint64_t now_ms = kubelet_now_ms(w->k);
    struct str text =
        arena_printf(s->arena, "Back-off pulling image \"" STR_FMT "\"", STR_ARG(s->given));
    if (backoff_delay_ms(&w->k->image_backoff, key) > 0 && s->c->wait_reason != NULL &&
        strcmp(s->c->wait_reason, "ErrImagePull") == 0) {
        uint64_t delay = backoff_delay_ms(&w->k->image_backoff, key);
        worker_event(w, s->c, "Normal", "BackOff", "%s", str_c(text));
        worker_event(w, s->c, "Warning", "Failed", "Error: ImagePullBackOff");
        struct str message =
            s->c->wait_message != NULL
                ? arena_printf(s->arena, "%s: ErrImagePull: %s", str_c(text), s->c->wait_message)
                : text;
        start_give_up(s, "ImagePullBackOff", str_c(message), delay);
        return;
    }
    struct image_pull_config config = {.arena = s->arena,
                                       .image = s->image,
                                       .sandbox_config = worker_sandbox_config(w, s->arena, 0),
                                       .done = on_pulled,
                                       .arg = s};
    find_auths(s, &config.auths);
    s->pull_start_ms = now_ms;
    worker_event(w, s->c, "Normal", "Pulling", "Pulling image \"" STR_FMT "\"", STR_ARG(s->given));
    s->pull = image_pull_start(w->k, &config);
}

/* --- 1: image ---------------------------------------------------------------------------- */

static const char *seconds_text(struct arena *a, uint64_t ms)
{
    return ms < 1000 ? str_c(arena_printf(a, "%llums", (unsigned long long)ms))
                     : str_c(arena_printf(a, "%llu.%03llus", (unsigned long long)(ms / 1000),
                                          (unsigned long long)(ms % 1000)));
}

static void set_image(struct start *s, const CRI(ImageStatusResponse) * r)
{
    const CRI(Image) *image = r->image;
    worker_note_image(s->w, image->id);
    if (s->volume != NULL) {
        const char *info = cri_map_get(r->info, r->n_info, "info");
        s->info = info != NULL ? arena_strdup(s->arena, info) : NULL;
        s->volume_refs[s->volume_next - 1] = arena_strdup(s->arena, image->id);
        return;
    }
    s->image_ref = arena_strdup(s->arena, image->id);
    s->image_uid = image->uid != NULL ? image->uid->value : -1;
    s->image_user = arena_strdup(s->arena, image->username != NULL ? image->username : "");
}

static void on_image_after_pull(const struct cri_reply *reply, void *arg)
{
    struct start *s = arg;
    const CRI(ImageStatusResponse) *r = reply->msg;
    uint64_t took = kubelet_now_ms(s->w->k) - s->pull_start_ms;
    unsigned long long size = 0;
    start_trace_add(&s->w->trace, START_IMAGE, reply->took_ns);
    if (reply->code == 0 && r->image != NULL) {
        set_image(s, r);
        size = r->image->size;
    }
    const char *text = seconds_text(s->arena, took),
               *pulled = seconds_text(s->arena, s->pull_took_ms);
    worker_event(s->w, s->c, "Normal", "Pulled",
                 "Successfully pulled image \"" STR_FMT
                 "\" in %s (%s including waiting). Image size: %llu bytes.",
                 STR_ARG(s->given), pulled, text, size);
    image_done(s);
}

/* Else it is pulled with what the pod has, which shows whether it may. */
static bool may_use(struct start *s, const char *image_id)
{
    struct pull_auth_list auths = {0};
    find_auths(s, &auths);
    return image_records_allow(s->w->k->image_records, s->image, image_id, auths.items, auths.count,
                               kubelet_wall_s(s->w->k));
}

static void on_image(const struct cri_reply *reply, void *arg)
{
    struct start *s = arg;
    const CRI(ImageStatusResponse) *r = reply->msg;
    start_trace_add(&s->w->trace, START_IMAGE, reply->took_ns);
    if (reply->code != 0) {
        struct str text = arena_printf(s->arena, "Failed to inspect image \"" STR_FMT "\": %s",
                                       STR_ARG(s->given), reply->message);
        worker_event(s->w, s->c, "Warning", "InspectFailed", "%s", str_c(text));
        start_fail(s, "ImageInspectError", str_c(text));
        return;
    }
    bool present = r->image != NULL && r->image->id != NULL && r->image->id[0] != '\0';
    bool always = str_eqc(s->pull_policy, "Always") ||
                  (str_empty(s->pull_policy) && image_is_latest(s->image));
    if (present && !always && may_use(s, r->image->id)) {
        set_image(s, r);
        worker_event(s->w, s->c, "Normal", "Pulled",
                     "Container image \"" STR_FMT
                     "\" already present on machine and can be accessed by the pod",
                     STR_ARG(s->given));
        image_done(s);
        return;
    }
    if (str_eqc(s->pull_policy, "Never")) {
        struct str text = arena_printf(
            s->arena, "Container image \"" STR_FMT "\" is not present with pull policy of Never",
            STR_ARG(s->given));
        worker_event(s->w, s->c, "Warning", "ErrImageNeverPull", "%s", str_c(text));
        worker_event(s->w, s->c, "Warning", "Failed", "Error: ErrImageNeverPull");
        start_give_up(s, "ErrImageNeverPull", str_c(text), START_RETRY_MS);
        return;
    }
    pull(s);
}

static void check_image(struct start *s, bool pulled)
{
    CRI(ImageStatusRequest) *r = CRI_NEW(s->arena, ImageStatusRequest, image_status_request);
    r->image = CRI_NEW(s->arena, ImageSpec, image_spec);
    r->image->image = pulled ? arena_strdup(s->arena, s->pulled_ref)
                             : (char *)(uintptr_t)str_c(arena_str(s->arena, s->image));
    r->verbose = s->volume != NULL && !s->images_by_runtime;
    cri_call(s->w->k->cri, CRI_IMAGE_STATUS, r, CRI_TIMEOUT_MS,
             pulled ? on_image_after_pull : on_image, s);
}

void start_check_image(struct start *s)
{
    s->given = s->spec->image;
    s->pull_policy = s->spec->image_pull_policy;
    s->image = image_with_tag(s->arena, s->given);
    s->images_by_runtime =
        image_volumes_by_runtime(s->w->k->runtime_name, s->w->k->runtime_version);
    s->volume_refs = ARENA_ARRAY(s->arena, const char *, s->spec->volume_mounts_count + 1);
    check_image(s, false);
}

/* --- 0: images of volumes -------------------------------------------------------------------- */

static void next_volume(struct start *s)
{
    while (s->volume_next < s->spec->volume_mounts_count) {
        struct str name = s->spec->volume_mounts[s->volume_next++].name;
        const struct volume *v = volume_set_find(s->w->volumes, name);
        if (v == NULL || v->kind != VOLUME_IMAGE)
            continue;
        s->volume = v;
        s->given = v->image;
        s->pull_policy = v->image_policy;
        s->image = image_with_tag(s->arena, s->given);
        check_image(s, false);
        return;
    }
    start_make_mounts(s);
}

static void on_volume_mounted(const struct error *err, void *arg)
{
    struct start *s = arg;
    if (err->code != 0) {
        worker_event(s->w, NULL, "Warning", "FailedMount", "%s", error_message(err));
        start_give_up(s, "CreateContainerError", error_message(err), START_RETRY_MS);
        return;
    }
    next_volume(s);
}

static void image_done(struct start *s)
{
    if (s->volume == NULL || s->images_by_runtime) {
        next_volume(s);
        return;
    }
    struct image_volume_config config = {.uid = s->w->uid,
                                         .name = s->volume->name,
                                         .path = s->volume->path,
                                         .info = s->info,
                                         .done = on_volume_mounted,
                                         .arg = s};
    image_volume_mount(s->w->k, &config);
}
