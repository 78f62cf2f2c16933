/* simulation_devices.c - dynamic resources in a simulation: what a pod is given is written into
 * the claims at once, and taken out again when the pod goes. */
#include "scheduler/simulation_internal.h"

#include "api/core_v1.h"
#include "api/resource_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "scheduler/devices/devices.h"
#include "scheduler/devices/pod_claims.h"
#include "scheduler/plugins/plugins.h"

#define GROUP "resource.k8s.io"

typedef struct resource_v1_resource_claim claim_t;

bool simulation_add_device_object(struct simulation *s, struct api_object *o)
{
    if (strcmp(o->kind->kind, "ResourceClaim") == 0)
        (void)devices_set_claim(s->devices, o);
    else if (strcmp(o->kind->kind, "ResourceSlice") == 0)
        devices_set_slice(s->devices, o);
    else if (strcmp(o->kind->kind, "DeviceClass") == 0)
        devices_set_class(s->devices, o);
    else
        return false;
    return true;
}

static struct api_object *new_claim(void)
{
    return api_object_new(api_kind_by_gvk(STR(GROUP), STR("v1"), STR("ResourceClaim")));
}

/* --- from templates -----------------------------------------------------------------------------
 */

static bool has_status(const struct core_v1_pod *p, struct str in_pod)
{
    for (size_t i = 0; i < p->status.resource_claim_statuses_count; i++)
        if (str_eq(p->status.resource_claim_statuses[i].name, in_pod))
            return true;
    return false;
}

/* As the controller of claims would make it; its name is its own in any state. */
static struct str make_claim(struct simulation *s, const struct core_v1_pod *p, struct str in_pod,
                             const struct resource_v1_resource_claim_template *t)
{
    struct api_object *o = new_claim();
    claim_t *c = o->msg;
    struct meta_v1_owner_reference *owner = ARENA_NEW(o->arena, struct meta_v1_owner_reference);
    const struct resource_v1_resource_claim_spec *spec =
        api_msg_clone(o->arena, &resource_v1_resource_claim_spec_msg, &t->spec.spec);
    *owner = (struct meta_v1_owner_reference){.api_version = STR("v1"),
                                              .kind = STR("Pod"),
                                              .name = arena_str(o->arena, p->metadata.name),
                                              .uid = arena_str(o->arena, p->metadata.uid),
                                              .controller = true};
    c->spec = *spec;
    c->metadata.name = arena_printf(o->arena, STR_FMT "-" STR_FMT "-%u", STR_ARG(p->metadata.name),
                                    STR_ARG(in_pod), ++s->named);
    c->metadata.namespace = arena_str(o->arena, p->metadata.namespace);
    c->metadata.uid = c->metadata.name;
    c->metadata.owner_references = owner;
    c->metadata.owner_references_count = 1;
    struct str name = c->metadata.name;
    (void)devices_set_claim(s->devices, o);
    api_object_unref(o); /* The state has it, and with it the name. */
    return name;
}

void simulation_make_claims(struct simulation *s, struct api_object *pod)
{
    struct core_v1_pod *p = pod->msg;
    size_t n = p->status.resource_claim_statuses_count;
    struct core_v1_pod_resource_claim_status *list =
        ARENA_ARRAY(pod->arena, struct core_v1_pod_resource_claim_status,
                    n + p->spec.resource_claims_count + 1);
    for (size_t i = 0; i < n; i++)
        list[i] = p->status.resource_claim_statuses[i];
    for (size_t i = 0; i < p->spec.resource_claims_count; i++) {
        const struct core_v1_pod_resource_claim *x = &p->spec.resource_claims[i];
        const struct api_object *t =
            x->has_resource_claim_template_name && !has_status(p, x->name)
                ? simulation_find(s, "ResourceClaimTemplate", p->metadata.namespace,
                                  x->resource_claim_template_name)
                : NULL;
        if (t != NULL)
            list[n++] = (struct core_v1_pod_resource_claim_status){
                .name = x->name,
                .has_resource_claim_name = true,
                .resource_claim_name = arena_str(pod->arena, make_claim(s, p, x->name, t->msg))};
    }
    p->status.resource_claim_statuses = list;
    p->status.resource_claim_statuses_count = n;
}

/* --- given and taken back -----------------------------------------------------------------------
 */

static void reserve(struct arena *a, claim_t *c, const struct core_v1_pod *p)
{
    size_t n = c->status.reserved_for_count;
    struct resource_v1_resource_claim_consumer_reference *users =
        ARENA_ARRAY(a, struct resource_v1_resource_claim_consumer_reference, n + 1);
    if (claim_reserved_for(c, p->metadata.uid))
        return;
    for (size_t i = 0; i < n; i++)
        users[i] = c->status.reserved_for[i];
    users[n] = (struct resource_v1_resource_claim_consumer_reference){
        .resource = STR("pods"),
        .name = arena_str(a, p->metadata.name),
        .uid = arena_str(a, p->metadata.uid)};
    c->status.reserved_for = users;
    c->status.reserved_for_count = n + 1;
}

/* The claim for extended resources gets a name. */
static struct api_object *made_for(struct simulation *s, const claim_t *extended)
{
    struct api_object *o = new_claim();
    claim_t *c = api_msg_clone(o->arena, &resource_v1_resource_claim_msg, extended);
    c->metadata.name =
        arena_printf(o->arena, STR_FMT "%u", STR_ARG(c->metadata.generate_name), ++s->named);
    o->msg = c;
    return o;
}

void simulation_take_devices(struct simulation *s, const struct cycle *c, const struct node_info *n,
                             const struct api_object *pod)
{
    struct device_plan plans[POD_CLAIMS_MAX + 1];
    size_t count = dynamic_resources_plan(c, n, plans);
    for (size_t i = 0; i < count; i++) {
        struct api_object *o = plans[i].claim != NULL ? api_object_clone(plans[i].claim)
                                                      : made_for(s, plans[i].extended);
        claim_t *claim = o->msg;
        if (plans[i].allocation != NULL)
            claim->status.allocation =
                api_msg_clone(o->arena, &resource_v1_allocation_result_msg, plans[i].allocation);
        reserve(o->arena, claim, pod->msg);
        (void)devices_set_claim(s->devices, o);
        api_object_unref(o);
    }
}

static void release(struct simulation *s, const struct api_object *claim, struct str uid)
{
    struct api_object *o = api_object_clone(claim);
    claim_t *c = o->msg;
    size_t kept = 0;
    for (size_t i = 0; i < c->status.reserved_for_count; i++)
        if (!str_eq(c->status.reserved_for[i].uid, uid))
            c->status.reserved_for[kept++] = c->status.reserved_for[i];
    c->status.reserved_for_count = kept;
    if (kept == 0)
        c->status.allocation = NULL;
    (void)devices_set_claim(s->devices, o);
    api_object_unref(o);
}

void simulation_give_devices(struct simulation *s, const struct api_object *pod)
{
    const struct core_v1_pod *p = pod->msg;
    AUTO_ARENA *a = arena_new(0);
    struct api_object *claims[POD_CLAIMS_MAX], *extended = devices_extended_claim(s->devices, p);
    size_t count;
    struct str why;
    (void)pod_device_claims(s->devices, a, p, claims, &count, &why);
    for (size_t i = 0; i < count; i++)
        if (claim_reserved_for(claims[i]->msg, p->metadata.uid))
            release(s, claims[i], p->metadata.uid);
    if (extended != NULL)
        (void)devices_remove_claim(s->devices, extended);
}
