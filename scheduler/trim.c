/* trim.c - see trim.h. */
#include "scheduler/trim.h"

#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "api/resource.h"
#include "lib/api/quantity.h"
#include "lib/api/scheme.h"

static void trim_meta(struct meta_v1_object_meta *m)
{
    m->managed_fields_count = 0;
    m->annotations_count = 0;
    m->finalizers_count = 0;
    m->generate_name = STR_NULL;
}

/* Image, host ports, requests and what kind of container it is. */
static void trim_container(struct core_v1_container *c)
{
    struct core_v1_container kept = {
        .name = c->name,
        .image = c->image,
        .ports = c->ports,
        .ports_count = 0,
        .resources = {.requests = c->resources.requests,
                      .requests_count = c->resources.requests_count},
        .restart_policy = c->restart_policy,
        .has_restart_policy = c->has_restart_policy,
    };
    for (size_t i = 0; i < c->ports_count; i++)
        if (c->ports[i].host_port > 0)
            kept.ports[kept.ports_count++] = c->ports[i];
    *c = kept;
}

/* --- pods that are resized ------------------------------------------------------------------ */
static const struct resource_quantity *given(const struct api_quantity_entry *list, size_t count,
                                             struct str key)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(list[i].key, key))
            return &list[i].value;
    return NULL;
}

static const struct resource_quantity *more(const struct resource_quantity *x,
                                            const struct resource_quantity *y)
{
    if (x == NULL || y == NULL)
        return x != NULL ? x : y;
    struct quantity a = quantity_of(x), b = quantity_of(y);
    return quantity_cmp(&a, &b) < 0 ? y : x;
}

/* What the node has given to the container, where that is more than what is asked for. Of a resize
 * that is never to be, only what is given counts. */
static void take_given(struct core_v1_container *c, const struct core_v1_container_status *s,
                       bool never)
{
    const struct core_v1_resource_requirements none = {0},
                                               *has = s->resources != NULL ? s->resources : &none;
    for (size_t i = 0; i < c->resources.requests_count; i++) {
        struct api_quantity_entry *e = &c->resources.requests[i];
        const struct resource_quantity *q =
            more(given(has->requests, has->requests_count, e->key),
                 given(s->allocated_resources, s->allocated_resources_count, e->key));
        if (q != NULL)
            e->value = never ? *q : *more(&e->value, q);
    }
}

static void take_all_given(struct core_v1_pod *p)
{
    const struct core_v1_pod_status *s = &p->status;
    bool never = false;
    for (size_t i = 0; i < s->conditions_count; i++)
        never |= str_eqc(s->conditions[i].type, "PodResizePending") &&
                 str_eqc(s->conditions[i].reason, "Infeasible");
    for (size_t i = 0; i < p->spec.containers_count; i++)
        for (size_t k = 0; k < s->container_statuses_count; k++)
            if (str_eq(s->container_statuses[k].name, p->spec.containers[i].name))
                take_given(&p->spec.containers[i], &s->container_statuses[k], never);
    for (size_t i = 0; i < p->spec.init_containers_count; i++)
        for (size_t k = 0; k < s->init_container_statuses_count; k++)
            if (str_eq(s->init_container_statuses[k].name, p->spec.init_containers[i].name))
                take_given(&p->spec.init_containers[i], &s->init_container_statuses[k], never);
}

/* Volumes of claims alone matter to placement. */
static void trim_volumes(struct core_v1_pod_spec *spec)
{
    size_t kept = 0;
    for (size_t i = 0; i < spec->volumes_count; i++)
        if (spec->volumes[i].volume_source.persistent_volume_claim != NULL ||
            spec->volumes[i].volume_source.ephemeral != NULL)
            spec->volumes[kept++] = spec->volumes[i];
    spec->volumes_count = kept;
}

static void trim_spec(struct core_v1_pod_spec *s)
{
    for (size_t i = 0; i < s->containers_count; i++)
        trim_container(&s->containers[i]);
    for (size_t i = 0; i < s->init_containers_count; i++)
        trim_container(&s->init_containers[i]);
    trim_volumes(s);
    s->ephemeral_containers_count = 0;
    s->security_context = NULL;
    s->image_pull_secrets_count = 0;
    s->host_aliases_count = 0;
    s->dns_config = NULL;
    s->readiness_gates_count = 0;
    s->service_account = s->service_account_name = STR_NULL;
}

/* Of a pod that has a node: what only its own placement asked for, and differs between pods of
 * one template. */
static void trim_decided(struct core_v1_pod_spec *spec, struct core_v1_pod_status *status)
{
    spec->hostname = STR_NULL;
    if (spec->affinity != NULL)
        spec->affinity->node_affinity = NULL; /* DaemonSets name the node in it. */
    status->conditions_count = 0;
}

void trim_pod(struct api_object *o)
{
    struct core_v1_pod *pod = o->msg;
    take_all_given(pod);
    struct core_v1_pod_status kept = {
        .phase = pod->status.phase,
        .conditions = pod->status.conditions,
        .nominated_node_name = pod->status.nominated_node_name,
        .start_time = pod->status.start_time,
        .resource_claim_statuses = pod->status.resource_claim_statuses,
        .resource_claim_statuses_count = pod->status.resource_claim_statuses_count,
    };
    for (size_t i = 0; i < pod->status.conditions_count; i++)
        if (str_eqc(pod->status.conditions[i].type, "PodScheduled"))
            kept.conditions[kept.conditions_count++] = pod->status.conditions[i];
    trim_meta(&pod->metadata);
    trim_spec(&pod->spec);
    if (!str_empty(pod->spec.node_name))
        trim_decided(&pod->spec, &kept);
    pod->status = kept;
}

void trim_pod_placed(struct api_object *o)
{
    struct core_v1_pod *pod = o->msg;
    if (!str_empty(pod->spec.node_name))
        trim_pod(o);
    pod->metadata.managed_fields_count = 0;
}

void trim_node(struct api_object *o)
{
    struct core_v1_node *node = o->msg;
    struct core_v1_node_status kept = {
        .allocatable = node->status.allocatable,
        .allocatable_count = node->status.allocatable_count,
        .images = node->status.images,
        .images_count = node->status.images_count,
    };
    trim_meta(&node->metadata);
    node->status = kept;
}

static void trim_owner(struct meta_v1_object_meta *m)
{
    trim_meta(m);
    m->labels_count = 0;
    m->owner_references_count = 0;
}

void trim_service(struct api_object *o)
{
    struct core_v1_service *s = o->msg;
    trim_owner(&s->metadata);
    s->spec = (struct core_v1_service_spec){.selector = s->spec.selector,
                                            .selector_count = s->spec.selector_count};
    s->status = (struct core_v1_service_status){0};
}

void trim_replication_controller(struct api_object *o)
{
    struct core_v1_replication_controller *rc = o->msg;
    trim_owner(&rc->metadata);
    rc->spec = (struct core_v1_replication_controller_spec){
        .selector = rc->spec.selector, .selector_count = rc->spec.selector_count};
    rc->status = (struct core_v1_replication_controller_status){0};
}

void trim_replica_set(struct api_object *o)
{
    struct apps_v1_replica_set *rs = o->msg;
    trim_owner(&rs->metadata);
    rs->spec = (struct apps_v1_replica_set_spec){.selector = rs->spec.selector};
    rs->status = (struct apps_v1_replica_set_status){0};
}

void trim_stateful_set(struct api_object *o)
{
    struct apps_v1_stateful_set *ss = o->msg;
    trim_owner(&ss->metadata);
    ss->spec = (struct apps_v1_stateful_set_spec){.selector = ss->spec.selector};
    ss->status = (struct apps_v1_stateful_set_status){0};
}
