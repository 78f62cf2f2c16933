/* trust_bundles.c - see trust_bundles.h. */
#include "kubelet/trust_bundles.h"

#include "kubelet/kubelet.h"
#include "kubelet/pod_worker.h"
#include "kubelet/trust_anchors.h"

#include "api/core_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/client/informer.h"

struct trust_bundles {
    struct kubelet *k;
    struct informer *informer; /* NULL until the first pod wants one. */
    uint8_t seed[TRUST_SEED_BYTES];
};

struct trust_bundles *trust_bundles_new(struct kubelet *k)
{
    struct trust_bundles *t = xzalloc(sizeof(*t));
    t->k = k;
    env_system_random(t->seed, sizeof(t->seed));
    return t;
}

/* bundle NULL: any. */
static bool wants(const struct core_v1_pod *pod, const struct api_object *bundle)
{
    for (size_t i = 0; pod != NULL && i < pod->spec.volumes_count; i++) {
        const struct core_v1_projected_volume_source *v =
            pod->spec.volumes[i].volume_source.projected;
        for (size_t k = 0; v != NULL && k < v->sources_count; k++) {
            const struct core_v1_cluster_trust_bundle_projection *p =
                v->sources[k].cluster_trust_bundle;
            if (p != NULL && (bundle == NULL || trust_bundle_is_for(bundle, p)))
                return true;
        }
    }
    return false;
}

/* Before and after count: labels may have changed. */
static void wake(struct trust_bundles *t, const struct api_object *before,
                 const struct api_object *after)
{
    void *value;
    for (size_t pos = 0; map_next(&t->k->workers, &pos, NULL, &value);) {
        struct pod_worker *w = value;
        const struct api_object *o = pod_worker_object(w);
        const struct core_v1_pod *pod = o != NULL ? o->msg : NULL;
        if ((after != NULL && wants(pod, after)) || (before != NULL && wants(pod, before)) ||
            (before == NULL && after == NULL && wants(pod, NULL)))
            pod_worker_object_changed(w);
    }
}

static void on_add(struct api_object *o, void *arg)
{
    struct trust_bundles *t = arg;
    if (informer_has_synced(t->informer))
        wake(t, NULL, o);
}

static void on_update(struct api_object *old, struct api_object *o, void *arg)
{
    wake(arg, old, o);
}

static void on_delete(struct api_object *o, bool unknown, void *arg)
{
    UNUSED(unknown);
    wake(arg, o, NULL);
}

static void on_synced(void *arg)
{
    wake(arg, NULL, NULL);
}

/* An API that is off or closed to us counts as one without bundles. */
static int start(struct trust_bundles *t, struct error *err)
{
    struct informer_config config = {
        .kind =
            api_kind_by_api_version(STR("certificates.k8s.io/v1beta1"), STR("ClusterTrustBundle")),
        .optional = true,
    };
    struct informer_handler handler = {.on_add = on_add,
                                       .on_update = on_update,
                                       .on_delete = on_delete,
                                       .on_synced = on_synced,
                                       .arg = t};
    if (t->k->client == NULL)
        return error_set(err, E_NOT_IMPLEMENTED,
                         "ClusterTrustBundle projection is not supported in static kubelet mode");
    int rc = informer_new(t->k->client, &config, &t->informer, err);
    if (rc != 0)
        return rc;
    informer_add_handler(t->informer, &handler);
    informer_start(t->informer);
    return 0;
}

int trust_bundles_read(struct trust_bundles *t,
                       const struct core_v1_cluster_trust_bundle_projection *p, struct arena *a,
                       struct str *ret, struct error *err)
{
    AUTO_ARENA *scratch = arena_new(0);
    struct api_object *o;
    size_t n = 0;
    int rc = t->informer == NULL ? start(t, err) : 0;
    if (rc != 0)
        return rc;
    if (!informer_has_synced(t->informer))
        return error_set(err, E_AGAIN, "ClusterTrustBundle informer has not yet synced");
    struct api_object **all =
        ARENA_ARRAY(scratch, struct api_object *, informer_count(t->informer) + 1);
    for (size_t pos = 0; (o = informer_next(t->informer, &pos)) != NULL;)
        all[n++] = o;
    return trust_anchors_merge(a, p, all, n, t->seed, ret, err);
}
