/* vpa_target.c - see vpa_target.h. */
#include "controllers/vpa_target.h"

#include "api/apps_v1.h"
#include "api/batch_v1.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "lib/api/owner.h"
#include "lib/api/scheme.h"
#include "lib/api/selector.h"
#include "lib/base/arena.h"

#define OWNERS_MAX 5 /* As the admission plugin looks at. */

static const struct {
    const char *group, *kind;
} known[] = {{"", "ReplicationController"}, {"apps", "Deployment"}, {"apps", "ReplicaSet"},
             {"apps", "StatefulSet"},       {"apps", "DaemonSet"},  {"batch", "Job"},
             {"batch", "CronJob"}};

bool vpa_target_knows(struct str kind)
{
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (str_eqc(kind, known[i].kind))
            return true;
    return false;
}

/* Whatever the version: a kind's name is enough, as for the project. */
static bool find(struct controller_run *r, struct str namespace_name, struct str kind,
                 struct str name, struct api_object **ret)
{
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (str_eqc(kind, known[i].kind)) {
            *ret = informer_get(controller_informer(r, known[i].group, known[i].kind),
                                namespace_name, name);
            return true;
        }
    return false;
}

/* --- selectors ---------------------------------------------------------------------------- */
static const struct meta_v1_label_selector *selector_of(struct arena *a, const struct api_object *o)
{
    const char *kind = o->kind->kind;
    struct meta_v1_label_selector *labels = ARENA_NEW(a, struct meta_v1_label_selector);
    if (strcmp(kind, "Deployment") == 0)
        return ((const struct apps_v1_deployment *)o->msg)->spec.selector;
    if (strcmp(kind, "ReplicaSet") == 0)
        return ((const struct apps_v1_replica_set *)o->msg)->spec.selector;
    if (strcmp(kind, "StatefulSet") == 0)
        return ((const struct apps_v1_stateful_set *)o->msg)->spec.selector;
    if (strcmp(kind, "DaemonSet") == 0)
        return ((const struct apps_v1_daemon_set *)o->msg)->spec.selector;
    if (strcmp(kind, "Job") == 0)
        return ((const struct batch_v1_job *)o->msg)->spec.selector;
    if (strcmp(kind, "CronJob") == 0) {
        const struct batch_v1_cron_job *c = o->msg;
        const struct meta_v1_object_meta *m = &c->spec.job_template.spec.template.metadata;
        labels->match_labels = m->labels;
        labels->match_labels_count = m->labels_count;
        return labels;
    }
    const struct core_v1_replication_controller *c = o->msg;
    labels->match_labels = c->spec.selector;
    labels->match_labels_count = c->spec.selector_count;
    return labels;
}

enum vpa_found vpa_target_find(struct controller_run *r, struct arena *a, struct str namespace_name,
                               const struct vpa_object *v, struct api_label_selector *ret,
                               struct api_object **ret_object)
{
    struct api_object *o;
    if (!find(r, namespace_name, v->target_kind, v->target_name, &o))
        return VPA_OTHER_KIND;
    if (o == NULL || api_label_selector_from(a, selector_of(a, o), ret, NULL) != 0)
        return VPA_MISSING;
    ret->nothing |= ret->count == 0; /* A CronJob without labels does not mean all pods. */
    *ret_object = o;
    return VPA_FOUND;
}

/* --- owners ---------------------------------------------------------------------------------- */
bool vpa_target_owns(struct controller_run *r, const struct core_v1_pod *p,
                     const struct vpa_object *v)
{
    const struct meta_v1_object_meta *m = &p->metadata;
    for (int i = 0; i < OWNERS_MAX && m != NULL; i++) {
        const struct meta_v1_owner_reference *o = owner_controller(m);
        struct api_object *next = NULL;
        if (o == NULL)
            return false;
        if (str_eq(o->kind, v->target_kind) && str_eq(o->name, v->target_name))
            return true;
        find(r, p->metadata.namespace, o->kind, o->name, &next);
        m = next != NULL ? api_object_meta(next) : NULL;
    }
    return false;
}

int64_t vpa_target_replicas(struct controller_run *r, const struct core_v1_pod *p)
{
    const struct meta_v1_owner_reference *ref = owner_controller(&p->metadata);
    struct api_object *o;
    if (ref == NULL)
        return 0;
    if (!find(r, p->metadata.namespace, ref->kind, ref->name, &o))
        return -1;
    if (o == NULL)
        return 0;
    const char *kind = o->kind->kind;
    if (strcmp(kind, "ReplicaSet") == 0)
        return ((const struct apps_v1_replica_set *)o->msg)->spec.replicas;
    if (strcmp(kind, "StatefulSet") == 0)
        return ((const struct apps_v1_stateful_set *)o->msg)->spec.replicas;
    if (strcmp(kind, "DaemonSet") == 0)
        return ((const struct apps_v1_daemon_set *)o->msg)->status.number_ready;
    if (strcmp(kind, "ReplicationController") == 0)
        return ((const struct core_v1_replication_controller *)o->msg)->spec.replicas;
    return -1;
}
