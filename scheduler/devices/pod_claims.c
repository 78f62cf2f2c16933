/* pod_claims.c - see pod_claims.h. Texts are upstream's. */
#include "scheduler/devices/pod_claims.h"

#include "api/core_v1.h"
#include "api/resource_v1.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "scheduler/devices/devices.h"

/* --- names -------------------------------------------------------------------------------------
 */

enum claim_name { NAME_GIVEN, NAME_NONE, NAME_MISSING };

static enum claim_name claim_name(struct arena *a, const struct core_v1_pod *pod,
                                  const struct core_v1_pod_resource_claim *x, struct str *ret,
                                  struct str *ret_why)
{
    if (x->has_resource_claim_name) {
        *ret = x->resource_claim_name;
        return NAME_GIVEN;
    }
    for (size_t i = 0; i < pod->status.resource_claim_statuses_count; i++) {
        const struct core_v1_pod_resource_claim_status *s = &pod->status.resource_claim_statuses[i];
        if (!x->has_resource_claim_template_name || !str_eq(s->name, x->name))
            continue;
        *ret = s->resource_claim_name;
        return s->has_resource_claim_name ? NAME_GIVEN : NAME_NONE;
    }
    if (x->has_resource_claim_template_name)
        *ret_why = arena_printf(a, "pod \"" STR_FMT "/" STR_FMT "\": ResourceClaim not created yet",
                                STR_ARG(pod->metadata.namespace), STR_ARG(pod->metadata.name));
    else
        *ret_why = arena_printf(a,
                                "pod \"" STR_FMT "/" STR_FMT "\", spec.resourceClaim \"" STR_FMT
                                "\": none of the supported fields are set",
                                STR_ARG(pod->metadata.namespace), STR_ARG(pod->metadata.name),
                                STR_ARG(x->name));
    return NAME_MISSING;
}

static bool owned_by(const struct resource_v1_resource_claim *c, const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < c->metadata.owner_references_count; i++)
        if (c->metadata.owner_references[i].controller)
            return str_eq(c->metadata.owner_references[i].uid, pod->metadata.uid);
    return false;
}

bool pod_device_claims(const struct devices *d, struct arena *a, const struct core_v1_pod *pod,
                       struct api_object **ret, size_t *ret_count, struct str *ret_why)
{
    struct str ns = pod->metadata.namespace;
    *ret_count = 0;
    for (size_t i = 0; i < pod->spec.resource_claims_count && i < POD_CLAIMS_MAX; i++) {
        const struct core_v1_pod_resource_claim *x = &pod->spec.resource_claims[i];
        struct str name = STR_NULL;
        enum claim_name kind = claim_name(a, pod, x, &name, ret_why);
        if (kind == NAME_MISSING)
            return false;
        if (kind == NAME_NONE)
            continue;
        struct api_object *o = devices_claim(d, ns, name);
        if (o == NULL) {
            *ret_why =
                arena_printf(a, "could not find v1.ResourceClaim \"" STR_FMT "/" STR_FMT "\"",
                             STR_ARG(ns), STR_ARG(name));
            return false;
        }
        const struct resource_v1_resource_claim *c = o->msg;
        if (c->metadata.deletion_timestamp != NULL) {
            *ret_why =
                arena_printf(a, "resourceclaim \"" STR_FMT "\" is being deleted", STR_ARG(name));
            return false;
        }
        if (!x->has_resource_claim_name && !owned_by(c, pod)) {
            *ret_why =
                arena_printf(a,
                             "ResourceClaim " STR_FMT "/" STR_FMT
                             " was not created for Pod " STR_FMT "/" STR_FMT " (Pod is not owner)",
                             STR_ARG(ns), STR_ARG(name), STR_ARG(ns), STR_ARG(pod->metadata.name));
            return false;
        }
        ret[(*ret_count)++] = o;
    }
    return true;
}

bool claim_reserved_for(const struct resource_v1_resource_claim *c, struct str uid)
{
    for (size_t i = 0; i < c->status.reserved_for_count; i++)
        if (str_eq(c->status.reserved_for[i].uid, uid))
            return true;
    return false;
}

/* --- conditions --------------------------------------------------------------------------------
 */

static const struct resource_v1_allocated_device_status *
status_of(const struct resource_v1_resource_claim *c,
          const struct resource_v1_device_request_allocation_result *r)
{
    for (size_t i = 0; i < c->status.devices_count; i++) {
        const struct resource_v1_allocated_device_status *s = &c->status.devices[i];
        if (str_eq(s->driver, r->driver) && str_eq(s->pool, r->pool) &&
            str_eq(s->device, r->device))
            return s;
    }
    return NULL;
}

static const struct meta_v1_condition *
true_condition(const struct resource_v1_allocated_device_status *s, struct str type)
{
    for (size_t i = 0; i < s->conditions_count; i++)
        if (str_eq(s->conditions[i].type, type))
            return str_eqc(s->conditions[i].status, "True") ? &s->conditions[i] : NULL;
    return NULL;
}

enum claim_binding claim_binding_state(struct arena *a, const struct resource_v1_resource_claim *c,
                                       struct str *ret_why)
{
    const struct resource_v1_allocation_result *x = c->status.allocation;
    if (x == NULL)
        return CLAIM_BINDING_WAITS;
    for (size_t i = 0; i < x->devices.results_count; i++) {
        const struct resource_v1_device_request_allocation_result *r = &x->devices.results[i];
        if (r->binding_conditions_count == 0)
            continue;
        const struct resource_v1_allocated_device_status *s = status_of(c, r);
        if (s == NULL)
            return CLAIM_BINDING_WAITS;
        for (size_t k = 0; k < r->binding_failure_conditions_count; k++) {
            const struct meta_v1_condition *f = true_condition(s, r->binding_failure_conditions[k]);
            if (f == NULL)
                continue;
            *ret_why = arena_printf(
                a, "claim " STR_FMT " binding failed: reason=" STR_FMT ", message=\"" STR_FMT "\"",
                STR_ARG(c->metadata.name), STR_ARG(f->reason), STR_ARG(f->message));
            return CLAIM_BINDING_FAILED;
        }
        for (size_t k = 0; k < r->binding_conditions_count; k++)
            if (true_condition(s, r->binding_conditions[k]) == NULL)
                return CLAIM_BINDING_WAITS;
    }
    return CLAIM_BINDING_READY;
}

bool claim_has_conditions(const struct resource_v1_resource_claim *c)
{
    const struct resource_v1_allocation_result *x = c->status.allocation;
    for (size_t i = 0; x != NULL && i < x->devices.results_count; i++)
        if (x->devices.results[i].binding_conditions_count != 0)
            return true;
    return false;
}

bool claim_binding_timed_out(const struct resource_v1_resource_claim *c, uint64_t now_ns,
                             uint64_t timeout_ms)
{
    const struct resource_v1_allocation_result *x = c->status.allocation;
    if (x == NULL || x->allocation_timestamp == NULL || !claim_has_conditions(c))
        return false;
    int64_t since = time_to_ns(x->allocation_timestamp);
    return since + (int64_t)timeout_ms * 1000000 < (int64_t)now_ns;
}
