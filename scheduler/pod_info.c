/* pod_info.c - see pod_info.h. */
#include "scheduler/pod_info.h"

#include "api/core_v1.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/base.h"
#include "lib/client/reclaim.h"
#include "scheduler/pod_record.h"

int32_t pod_priority(const struct core_v1_pod *pod)
{
    return pod->spec.has_priority ? pod->spec.priority : 0;
}

void pod_needs_init(struct pod_needs *n, const struct core_v1_pod *pod)
{
    struct resources nonzero;
    *n = (struct pod_needs){0};
    pod_requests(pod, false, &n->requests);
    pod_requests(pod, true, &nonzero);
    n->nonzero_milli_cpu = nonzero.milli_cpu;
    n->nonzero_memory = nonzero.memory;
    resources_done(&nonzero);
    n->reclaims = pod_reclaims(pod);
    const struct core_v1_affinity *a = pod->spec.affinity;
    if (a == NULL)
        return;
    n->has_affinity = a->pod_affinity != NULL || a->pod_anti_affinity != NULL;
    n->has_required_anti_affinity =
        a->pod_anti_affinity != NULL &&
        a->pod_anti_affinity->required_during_scheduling_ignored_during_execution_count != 0;
}

void pod_needs_done(struct pod_needs *n)
{
    resources_done(&n->requests);
}

static void hold(struct pod_info *p, struct api_object *object, struct pod_record *record)
{
    p->object = object;
    p->record = record;
    if (object == NULL) {
        p->pod = pod_record_shared(record);
        p->needs = pod_record_needs(record);
        return;
    }
    struct pod_needs *own = xmalloc(sizeof(*own));
    p->pod = object->msg;
    pod_needs_init(own, p->pod);
    p->needs = own;
}

static void let_go(struct pod_info *p)
{
    if (p->object != NULL) {
        struct pod_needs *own = (struct pod_needs *)(uintptr_t)p->needs;
        pod_needs_done(own);
        free(own);
    }
    api_object_unref(p->object);
    pod_record_unref(p->record);
}

struct pod_info *pod_info_new(struct api_object *pod)
{
    struct pod_info *p = xzalloc(sizeof(*p));
    hold(p, api_object_ref(pod), NULL);
    return p;
}

struct pod_info *pod_info_of_record(struct pod_record *record)
{
    struct pod_info *p = xzalloc(sizeof(*p));
    hold(p, NULL, record);
    return p;
}

void pod_info_free(struct pod_info *p)
{
    if (p == NULL)
        return;
    ASSERT(p->node == NULL);
    let_go(p);
    free(p->estimate);
    free(p);
}

void pod_info_change(struct pod_info *p, struct api_object *object, struct pod_record *record)
{
    struct pod_info old = *p;
    hold(p, object, record);
    let_go(&old);
}

struct str pod_info_uid(const struct pod_info *p)
{
    return p->record != NULL ? pod_record_uid(p->record) : p->pod->metadata.uid;
}

struct str pod_info_name(const struct pod_info *p)
{
    return p->record != NULL ? pod_record_name(p->record) : p->pod->metadata.name;
}

int64_t pod_info_start_ns(const struct pod_info *p)
{
    const struct meta_v1_time *start =
        p->record != NULL ? pod_record_start(p->record) : p->pod->status.start_time;
    return start != NULL ? time_to_ns(start) : INT64_MAX;
}

static void unref(void *o)
{
    api_object_unref(o);
}

struct api_object *pod_info_object(const struct pod_info *p, struct arena *a)
{
    struct api_object *o =
        p->object != NULL ? api_object_ref(p->object) : pod_record_object(p->record);
    arena_hold(a, o, unref);
    return o;
}
