/* pod_admit.c - see pod_admit.h. */
#include "kubelet/pod_admit.h"

#include "kubelet/admission.h"
#include "kubelet/device_manager.h"
#include "kubelet/eviction_manager.h"
#include "kubelet/kubelet.h"
#include "kubelet/pinning.h"
#include "kubelet/pod_worker.h"

#include "lib/api/pod.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/log.h"

#include "api/core_v1.h"

#include <stdlib.h>

enum verdict {
    FITS,
    UNFIT,   /* Whoever else is here. */
    NO_ROOM, /* Others have what it asks for. */
};

static struct api_object **others_of(struct kubelet *k, const struct pod_worker *w, struct arena *a,
                                     size_t *ret_count)
{
    struct api_object **others =
        (struct api_object **)ARENA_ARRAY(a, struct api_object *, k->workers.count + 1);
    size_t count = 0, pos = 0;
    void *value;
    while (map_next(&k->workers, &pos, NULL, &value))
        if (value != w && pod_worker_object(value) != NULL && pod_worker_holds(value))
            others[count++] = pod_worker_object(value);
    *ret_count = count;
    return others;
}

bool kubelet_fits(struct kubelet *k, const struct pod_worker *w, struct api_object *pod,
                  struct arena *a, struct admission_refusal *ret)
{
    size_t count;
    struct api_object **others = others_of(k, w, a, &count);
    return k->node == NULL || admission_fits(a, k->node, pod, others, count, ret);
}

/* Device plugins' resources: the Node's amounts may be older than what is known here. */
static const struct map *plugin_resources(const struct kubelet *k)
{
    return k->devices != NULL ? &device_manager_state(k->devices)->resources : NULL;
}

/* A pod that is new to every agent of this node is taken or refused. One with a start time was
 * taken before this agent started, and static pods answer to whoever wrote their file. */
static enum verdict judge(struct kubelet *k, struct pod_worker *w, struct arena *a,
                          struct admission_refusal *why)
{
    struct api_object *o = pod_worker_object(w);
    const struct core_v1_pod *pod = o->msg;
    if (k->node == NULL || pod->status.start_time != NULL || pod_worker_origin(w) == POD_FROM_FILE)
        return FITS;
    size_t count;
    struct api_object **others = others_of(k, w, a, &count);
    const char *pressure;
    if (shutdown_is_on(k->shutdown)) {
        *why = (struct admission_refusal){SHUTDOWN_REJECT_REASON, SHUTDOWN_REJECT_MESSAGE};
        return UNFIT;
    }
    if (k->eviction != NULL &&
        !eviction_admits(eviction_manager_state(k->eviction), a, pod, &pressure)) {
        *why = (struct admission_refusal){"Evicted", pressure};
        return UNFIT;
    }
    if (!pod_support_check(a, &k->support, pod, why))
        return UNFIT;
    return admission_check(a, k->node, o, others, count, plugin_resources(k), why) ? FITS : NO_ROOM;
}

/* Processors, memory and devices are also given to pods that an earlier agent took, which have them
 * already, and to static pods. */
static enum verdict take_place(struct kubelet *k, struct pod_worker *w, struct arena *a,
                               struct admission_refusal *why)
{
    enum verdict v = judge(k, w, a, why);
    if (v != FITS || pinning_admit(k->pinning, a, pod_worker_pod(w), why))
        return v;
    pinning_pod_gone(k->pinning, pod_worker_uid(w));
    return NO_ROOM;
}

/* Somebody whom the API no longer knows still has what was his. */
static bool any_outstays(const struct kubelet *k)
{
    size_t pos = 0;
    void *value;
    while (map_next(&k->workers, &pos, NULL, &value))
        if (pod_worker_is_gone(value) && pod_worker_holds(value))
            return true;
    return false;
}

/* Static pods do not wait for API servers, which they may be. */
static bool must_wait(const struct kubelet *k, const struct pod_worker *w)
{
    return !k->settled && k->client != NULL && pod_worker_origin(w) == POD_FROM_API &&
           pod_worker_pod(w)->status.start_time == NULL;
}

void pod_admit(struct kubelet *k, struct pod_worker *w)
{
    const struct core_v1_pod *pod = pod_worker_pod(w);
    AUTO_ARENA *a = arena_new(0);
    struct admission_refusal why;
    if (pod->metadata.deletion_timestamp != NULL || pod_phase_is_final(pod->status.phase)) {
        pod_worker_await_admission(w, false);
        return;
    }
    if (must_wait(k, w)) {
        pod_worker_await_admission(w, true);
        return;
    }
    enum verdict v = take_place(k, w, a, &why);
    bool waits = v == NO_ROOM && (!k->settled || any_outstays(k));
    if (waits && !pod_worker_awaits_admission(w))
        log_info("pod " STR_FMT "/" STR_FMT " waits for pods that are ending: %s",
                 STR_ARG(pod->metadata.namespace), STR_ARG(pod->metadata.name), why.message);
    pod_worker_await_admission(w, waits);
    if (v != FITS && !waits)
        pod_worker_reject(w, why.reason, why.message);
}

static int by_age(const void *x, const void *y)
{
    const struct core_v1_pod *a = pod_worker_pod(*(struct pod_worker *const *)x);
    const struct core_v1_pod *b = pod_worker_pod(*(struct pod_worker *const *)y);
    int64_t first = a->metadata.creation_timestamp.seconds;
    int64_t second = b->metadata.creation_timestamp.seconds;
    if (first != second)
        return first < second ? -1 : 1;
    return str_cmp(a->metadata.uid, b->metadata.uid);
}

void pod_admit_waiting(struct kubelet *k)
{
    AUTO_ARENA *a = arena_new(0);
    struct pod_worker **list =
        (struct pod_worker **)ARENA_ARRAY(a, struct pod_worker *, k->workers.count + 1);
    size_t count = 0, pos = 0;
    void *value;
    while (map_next(&k->workers, &pos, NULL, &value))
        if (pod_worker_awaits_admission(value))
            list[count++] = value;
    qsort(list, count, sizeof(struct pod_worker *), by_age);
    for (size_t i = 0; i < count; i++)
        pod_admit(k, list[i]);
}

void pod_admit_settled(struct kubelet *k)
{
    k->settled = true;
    pod_admit_waiting(k);
}
