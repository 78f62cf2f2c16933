/* simulate_pods.c - see simulate_pods.h. */
#include "cli/simulate_pods.h"

#include "api/apps_v1.h"
#include "api/batch_v1.h"
#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

#include <string.h>

static int64_t or_one(bool has, int32_t n)
{
    return has ? n : 1;
}

/* What a Deployment makes: pods spread by its selector. */
static struct api_object *replica_set_of(const struct apps_v1_deployment *d)
{
    struct api_object *o =
        api_object_new(api_kind_by_gvk(STR("apps"), STR("v1"), STR("ReplicaSet")));
    struct apps_v1_replica_set *rs = o->msg;
    rs->metadata.name = arena_str(o->arena, d->metadata.name);
    rs->metadata.namespace = arena_str(o->arena, d->metadata.namespace);
    if (d->spec.selector != NULL)
        rs->spec.selector = api_msg_clone(o->arena, &meta_v1_label_selector_msg, d->spec.selector);
    return o;
}

int workload_of(struct api_object *o, struct workload *ret, struct error *err)
{
    const char *kind = o->kind->kind;
    *ret = (struct workload){.object = o, .replicas = 1};
    if (strcmp(kind, "Deployment") == 0) {
        const struct apps_v1_deployment *d = o->msg;
        ret->replicas = or_one(d->spec.has_replicas, d->spec.replicas);
        ret->pod_template = &d->spec.template;
        ret->owner = replica_set_of(d);
    } else if (strcmp(kind, "ReplicaSet") == 0) {
        const struct apps_v1_replica_set *rs = o->msg;
        ret->replicas = or_one(rs->spec.has_replicas, rs->spec.replicas);
        ret->pod_template = &rs->spec.template;
        ret->owner = api_object_ref(o);
    } else if (strcmp(kind, "StatefulSet") == 0) {
        const struct apps_v1_stateful_set *ss = o->msg;
        ret->replicas = or_one(ss->spec.has_replicas, ss->spec.replicas);
        ret->pod_template = &ss->spec.template;
        ret->owner = api_object_ref(o);
    } else if (strcmp(kind, "ReplicationController") == 0) {
        const struct core_v1_replication_controller *rc = o->msg;
        ret->replicas = or_one(rc->spec.has_replicas, rc->spec.replicas);
        ret->pod_template = rc->spec.template;
        ret->owner = api_object_ref(o);
    } else if (strcmp(kind, "Job") == 0) {
        const struct batch_v1_job *j = o->msg;
        ret->replicas = or_one(j->spec.has_parallelism, j->spec.parallelism);
        ret->pod_template = &j->spec.template;
    } else if (strcmp(kind, "Pod") != 0) {
        return error_set(err, E_INVALID, "no pods are made of kind \"%s\"", kind);
    }
    if (strcmp(kind, "Pod") != 0 && ret->pod_template == NULL) {
        api_object_unref(ret->owner);
        return error_set(err, E_INVALID, "%s without a pod template", kind);
    }
    api_object_ref(o);
    return 0;
}

static void set_owner(struct api_object *pod, const struct api_object *owner)
{
    struct meta_v1_object_meta *m = api_object_meta(pod);
    struct meta_v1_owner_reference *r = ARENA_NEW(pod->arena, struct meta_v1_owner_reference);
    r->api_version = arena_strc(pod->arena, owner->kind->api_version);
    r->kind = arena_strc(pod->arena, owner->kind->kind);
    r->name = arena_str(pod->arena, api_object_meta(owner)->name);
    r->controller = true;
    m->owner_references = r;
    m->owner_references_count = 1;
}

struct api_object *workload_pod(const struct workload *w, int64_t i)
{
    const struct meta_v1_object_meta *from = api_object_meta(w->object);
    if (w->pod_template == NULL) {
        struct api_object *copy = api_object_clone(w->object);
        struct core_v1_pod *pod = copy->msg;
        pod->spec.node_name = STR_NULL; /* Where it runs now is not the question. */
        if (i == 0)
            return copy;
        pod->metadata.name =
            arena_printf(copy->arena, STR_FMT "-%lld", STR_ARG(from->name), (long long)i);
        pod->metadata.uid = STR_NULL;
        return copy;
    }
    struct api_object *o = api_object_new(api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")));
    struct core_v1_pod *pod = o->msg;
    const struct core_v1_pod_spec *spec =
        api_msg_clone(o->arena, &core_v1_pod_spec_msg, &w->pod_template->spec);
    const struct meta_v1_object_meta *meta =
        api_msg_clone(o->arena, &meta_v1_object_meta_msg, &w->pod_template->metadata);
    pod->spec = *spec;
    pod->metadata = *meta;
    pod->metadata.name = arena_printf(o->arena, STR_FMT "-%lld", STR_ARG(from->name), (long long)i);
    pod->metadata.namespace = arena_str(o->arena, from->namespace);
    if (w->owner != NULL)
        set_owner(o, w->owner);
    return o;
}

void workload_done(struct workload *w)
{
    api_object_unref(w->owner);
    api_object_unref(w->object);
}
