/* kubelet.c - pods in, workers kept: see kubelet.h. */
#include "kubelet/kubelet.h"

#include "kubelet/container_env.h"
#include "kubelet/device_manager.h"
#include "kubelet/isolation/isolation.h"
#include "kubelet/leftovers.h"
#include "kubelet/mirror_pods.h"
#include "kubelet/pleg.h"
#include "kubelet/pod_admit.h"
#include "kubelet/pod_worker.h"

#include "lib/api/pod.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/log.h"
#include "lib/client/informer.h"
#include "lib/client/labels.h"

#include "api/core_v1.h"

uint64_t kubelet_now_ms(const struct kubelet *k)
{
    return env_now_ms(k->env);
}

int64_t kubelet_wall_s(const struct kubelet *k)
{
    return env_wall_ns(k->env) / 1000000000;
}

void kubelet_room(struct kubelet *k)
{
    size_t pos = 0;
    void *value;
    while (map_next(&k->workers, &pos, NULL, &value))
        pod_worker_room(value);
    pod_admit_waiting(k);
}

void kubelet_pod_set(struct kubelet *k, struct api_object *o, enum pod_origin origin)
{
    const struct core_v1_pod *pod = o->msg;
    if (origin == POD_FROM_FILE || pod_is_mirror(pod))
        mirror_pods_kick(k->mirrors);
    /* Mirror pods only show static ones; they are not run. */
    if (origin == POD_FROM_API && pod_is_mirror(pod)) {
        const struct str *hash = annotation_get(&pod->metadata, ANNOTATION_MIRROR);
        struct pod_worker *shown = map_get(&k->workers, *hash);
        if (shown != NULL)
            pod_worker_mirror_changed(shown);
        return;
    }
    struct pod_worker *w = map_get(&k->workers, pod->metadata.uid);
    if (w != NULL) {
        pod_worker_set(w, o);
        return;
    }
    pod_admit(k, pod_worker_new(k, o, origin));
}

void kubelet_pod_gone(struct kubelet *k, struct str uid)
{
    struct pod_worker *w = map_get(&k->workers, uid);
    if (w != NULL)
        pod_worker_gone(w);
    mirror_pods_kick(k->mirrors);
}

struct pod_worker *kubelet_find_pod(const struct kubelet *k, struct str namespace_name,
                                    struct str name)
{
    size_t pos = 0;
    void *value;
    while (map_next(&k->workers, &pos, NULL, &value)) {
        const struct core_v1_pod *pod = pod_worker_pod(value);
        if (pod != NULL && str_eq(pod->metadata.namespace, namespace_name) &&
            str_eq(pod->metadata.name, name))
            return value;
    }
    return NULL;
}

void kubelet_sources_ready(struct kubelet *k)
{
    if (k->sources_ready)
        return;
    k->sources_ready = true;
    log_info("all pod sources are known: %zu pods", k->workers.count);
    pleg_poke(k->pleg);
    leftovers_look(k);
    device_manager_reconcile(k->devices);
    mirror_pods_kick(k->mirrors);
}

static void unref_object(void *o)
{
    api_object_unref(o);
}

/* It may be packed, or replaced, before the pod has started. */
static const struct core_v1_service *held_service(struct arena *a, struct api_object *o)
{
    arena_hold(a, api_object_ref(o), unref_object);
    return o->msg;
}

size_t kubelet_services_for(const struct kubelet *k, struct arena *a, const struct core_v1_pod *pod,
                            bool links, const struct core_v1_service *const **ret)
{
    const struct core_v1_service *const *declared = NULL;
    size_t declared_count = 0;
    size_t count = 0, mates = 0;
    bool held = isolation_services(k->isolation, a, pod, &declared, &declared_count);
    struct api_object *const *mine = NULL;
    if (k->services != NULL && links && !held)
        mine = informer_by_index(k->services, "namespace", pod->metadata.namespace, &mates);
    const struct core_v1_service **list =
        ARENA_ARRAY(a, const struct core_v1_service *, mates + declared_count + 1);
    *ret = list;
    if (k->services == NULL)
        return 0;
    /* The API server itself first: a service of the same name takes precedence. */
    struct api_object *master = informer_get(k->services, STR("default"), STR("kubernetes"));
    if (master != NULL)
        list[count++] = held_service(a, master);
    for (size_t i = 0; held && links && i < declared_count; i++)
        list[count++] = declared[i];
    for (size_t i = 0; i < mates; i++)
        if (mine[i] != master)
            list[count++] = held_service(a, mine[i]);
    return count;
}
