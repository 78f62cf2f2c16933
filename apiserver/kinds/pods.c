/* pods.c - Pod: defaults, what may change after creation, graceful deletion. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/pod_check.h"
#include "apiserver/kinds/pod_prepare.h"
#include "apiserver/kinds/pod_subs.h"
#include "apiserver/kinds/pod_spec.h"
#include "apiserver/kinds/pod_warnings.h"
#include "apiserver/kinds/pod_table.h"
#include "apiserver/kinds/rules.h"
#include "apiserver/kinds/value_diff.h"
#include "apiserver/kinds/workload.h"
#include "api/core_v1.h"
#include "api/resource.h"
#include "lib/api/codec.h"
#include "lib/api/pod.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <string.h>

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    struct core_v1_pod *p = obj;
    pod_spec_defaults(ctx->arena, &p->spec);
    pod_spec_default_requests(ctx->arena, &p->spec);
    pod_default_own_requests(ctx->arena, p);
}

static bool is_gated(const struct core_v1_pod *p)
{
    return p->spec.scheduling_gates_count > 0;
}

static void prepare_create(const struct kind_ctx *ctx, void *obj)
{
    struct core_v1_pod *p = obj;
    pod_drop_disabled(&p->spec, NULL);
    p->status =
        (struct core_v1_pod_status){.phase = STR("Pending"), .qos_class = pod_qos_class(&p->spec)};
    pod_apply_label_keys(ctx->arena, p);
    pod_apply_app_armor(ctx, p);
    if (!is_gated(p))
        return;
    struct core_v1_pod_condition *c = ARENA_NEW(ctx->arena, struct core_v1_pod_condition);
    *c = (struct core_v1_pod_condition){
        .type = STR("PodScheduled"),
        .status = STR("False"),
        .reason = STR("SchedulingGated"),
        .message = STR("Scheduling is blocked due to non-empty scheduling gates"),
        .last_transition_time = {.seconds = ctx->now_ns / 1000000000}};
    p->status.conditions = c;
    p->status.conditions_count = 1;
}

static void prepare_update(const struct kind_ctx *ctx, void *obj, const void *old)
{
    UNUSED(ctx);
    struct core_v1_pod *p = obj;
    const struct core_v1_pod *o = old;
    p->status = o->status;
    pod_drop_disabled(&p->spec, &o->spec);
    /* Ephemeral containers come through their own subresource only. */
    p->spec.ephemeral_containers = o->spec.ephemeral_containers;
    p->spec.ephemeral_containers_count = o->spec.ephemeral_containers_count;
}

/* The class of a pod never changes, whoever reports it. */
static void prepare_status(const struct kind_ctx *ctx, void *obj, const void *old)
{
    UNUSED(ctx);
    struct core_v1_pod *p = obj;
    const struct core_v1_pod *o = old;
    struct meta_v1_object_meta meta = o->metadata;
    meta.labels = p->metadata.labels;
    meta.labels_count = p->metadata.labels_count;
    meta.annotations = p->metadata.annotations;
    meta.annotations_count = p->metadata.annotations_count;
    meta.finalizers = p->metadata.finalizers;
    meta.finalizers_count = p->metadata.finalizers_count;
    meta.managed_fields = p->metadata.managed_fields;
    meta.managed_fields_count = p->metadata.managed_fields_count;
    meta.resource_version = p->metadata.resource_version;
    p->metadata = meta;
    p->spec = o->spec;
    if (str_empty(p->status.qos_class))
        p->status.qos_class = o->status.qos_class;
    pod_keep_observed(&p->status, &o->status);
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    const struct core_v1_pod *p = obj;
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    check_pod_annotations(errs, PATH(PATH(PATH_ROOT, "metadata"), "annotations"), &p->metadata,
                          &p->spec);
    validate_pod_spec(ctx, errs, spec, &p->spec, POD_SPEC_CREATE);
    validate_pod_images(errs, spec, &p->spec);
    if (p->spec.ephemeral_containers_count != 0)
        field_forbidden(errs, PATH(spec, "ephemeralContainers"), "cannot be set on create");
    if (is_gated(p) && !str_empty(p->spec.node_name))
        field_forbidden(errs, PATH(spec, "nodeName"),
                        "cannot be set until all schedulingGates have been cleared");
    check_pod_profiles(errs, spec, &p->metadata, &p->spec, false);
    check_pod_profiles(errs, spec, &p->metadata, &p->spec, true);
}

/* --- updates --------------------------------------------------------------------------- */

/* Everything an update may change is taken from the old spec; what differs
 * then is forbidden. */
static struct core_v1_pod_spec without_mutable_changes(struct arena *a, const struct core_v1_pod *p,
                                                       const struct core_v1_pod *o)
{
    struct core_v1_pod_spec s =
        *(struct core_v1_pod_spec *)api_msg_clone(a, &core_v1_pod_spec_msg, &p->spec);
    const struct core_v1_pod_spec *old = &o->spec;
    if (s.containers_count == old->containers_count)
        for (size_t i = 0; i < s.containers_count; i++)
            s.containers[i].image = old->containers[i].image;
    if (s.init_containers_count == old->init_containers_count)
        for (size_t i = 0; i < s.init_containers_count; i++)
            s.init_containers[i].image = old->init_containers[i].image;
    s.has_active_deadline_seconds = old->has_active_deadline_seconds;
    s.active_deadline_seconds = old->active_deadline_seconds;
    s.tolerations = old->tolerations;
    s.tolerations_count = old->tolerations_count;
    if (s.has_termination_grace_period_seconds && s.termination_grace_period_seconds == 1 &&
        old->termination_grace_period_seconds < 0) {
        s.termination_grace_period_seconds = old->termination_grace_period_seconds;
    }
    s.scheduling_gates = old->scheduling_gates;
    s.scheduling_gates_count = old->scheduling_gates_count;
    if (is_gated(o)) {
        /* Not yet scheduled: placement may be narrowed (validate_gated). */
        s.node_selector = old->node_selector;
        s.node_selector_count = old->node_selector_count;
        const struct core_v1_node_affinity *was =
            old->affinity != NULL ? old->affinity->node_affinity : NULL;
        if (s.affinity == NULL && was != NULL) {
            s.affinity = ARENA_NEW(a, struct core_v1_affinity);
            s.affinity->node_affinity = old->affinity->node_affinity;
        } else if (s.affinity != NULL && old->affinity == NULL &&
                   s.affinity->pod_affinity == NULL && s.affinity->pod_anti_affinity == NULL) {
            s.affinity = NULL;
        } else if (s.affinity != NULL) {
            s.affinity->node_affinity = old->affinity != NULL ? old->affinity->node_affinity : NULL;
        }
    }
    return s;
}

static bool has_toleration(const struct core_v1_pod_spec *s, const struct core_v1_toleration *t)
{
    for (size_t i = 0; i < s->tolerations_count; i++) {
        struct core_v1_toleration have = s->tolerations[i], want = *t;
        /* Seconds may be changed for NoExecute. */
        if (str_eqc(want.effect, "NoExecute")) {
            have.has_toleration_seconds = want.has_toleration_seconds = false;
            have.toleration_seconds = want.toleration_seconds = 0;
        }
        if (api_msg_equal(&core_v1_toleration_msg, &have, &want))
            return true;
    }
    return false;
}

static void validate_deadline(struct field_errors *errs, const struct core_v1_pod_spec *s,
                              const struct core_v1_pod_spec *o)
{
    const struct field_path *path = PATH(PATH(PATH_ROOT, "spec"), "activeDeadlineSeconds");
    if (s->has_active_deadline_seconds) {
        if (s->active_deadline_seconds < 0 || s->active_deadline_seconds > INT32_MAX)
            field_invalid_int(errs, path, s->active_deadline_seconds,
                              "must be between 0 and %d, inclusive", INT32_MAX);
        else if (o->has_active_deadline_seconds &&
                 s->active_deadline_seconds > o->active_deadline_seconds)
            field_invalid_int(errs, path, s->active_deadline_seconds,
                              "must be less than or equal to previous value");
    } else if (o->has_active_deadline_seconds) {
        field_invalid_raw(errs, path, STR("null"),
                          "must not update from a positive integer to nil value");
    }
}

/* --- gated pods: where they may go can be narrowed ---------------------------------------- */

#define REQUIRED "requiredDuringSchedulingIgnoredDuringExecution"

static bool only_added(const struct core_v1_node_selector_requirement *now, size_t now_count,
                       const struct core_v1_node_selector_requirement *was, size_t was_count)
{
    for (size_t i = 0; i < was_count; i++)
        if (i >= now_count ||
            !api_msg_equal(&core_v1_node_selector_requirement_msg, &now[i], &was[i]))
            return false;
    return true;
}

static bool is_narrower(const struct core_v1_node_selector_term *now,
                        const struct core_v1_node_selector_term *was)
{
    /* A term without requirements matches nothing: any would widen it. */
    if (was->match_expressions_count + was->match_fields_count == 0)
        return now->match_expressions_count + now->match_fields_count == 0;
    return only_added(now->match_expressions, now->match_expressions_count, was->match_expressions,
                      was->match_expressions_count) &&
           only_added(now->match_fields, now->match_fields_count, was->match_fields,
                      was->match_fields_count);
}

static const struct core_v1_node_selector *required_of(const struct core_v1_pod_spec *s)
{
    const struct core_v1_node_affinity *n = s->affinity != NULL ? s->affinity->node_affinity : NULL;
    return n != NULL ? n->required_during_scheduling_ignored_during_execution : NULL;
}

static struct str terms_shown(struct arena *a, const struct core_v1_node_selector *s)
{
    AUTO_BUF b = BUF_INIT;
    if (s == NULL || s->node_selector_terms_count == 0)
        return STR("null");
    for (size_t i = 0; i < s->node_selector_terms_count; i++) {
        buf_putc(&b, i == 0 ? '[' : ',');
        buf_append_str(
            &b, field_value_render(a, &core_v1_node_selector_term_msg, &s->node_selector_terms[i]));
    }
    buf_putc(&b, ']');
    return arena_str(a, buf_str(&b));
}

static void validate_gated(struct field_errors *errs, const struct field_path *spec,
                           const struct core_v1_pod_spec *s, const struct core_v1_pod_spec *o)
{
    const struct core_v1_node_selector *now = required_of(s), *was = required_of(o);
    const struct field_path *terms =
        PATH(PATH(PATH(PATH(spec, "affinity"), "nodeAffinity"), REQUIRED), "nodeSelectorTerms");
    for (size_t i = 0; i < o->node_selector_count; i++) {
        const struct str *value =
            api_str_map_get(s->node_selector, s->node_selector_count, o->node_selector[i].key);
        struct meta_v1_object_meta shown = {.labels = s->node_selector,
                                            .labels_count = s->node_selector_count};
        if (value != NULL && str_eq(*value, o->node_selector[i].value))
            continue;
        field_invalid_raw(errs, PATH(spec, "nodeSelector"), labels_shown(errs->arena, &shown),
                          "only additions to spec.nodeSelector are allowed (no mutations or "
                          "deletions)");
        break;
    }
    if (was == NULL || was->node_selector_terms_count == 0)
        return;
    if (now == NULL || now->node_selector_terms_count != was->node_selector_terms_count) {
        field_invalid_raw(errs, terms, terms_shown(errs->arena, now),
                          "no additions/deletions to non-empty NodeSelectorTerms list are allowed");
        return;
    }
    for (size_t i = 0; i < was->node_selector_terms_count; i++)
        if (!is_narrower(&now->node_selector_terms[i], &was->node_selector_terms[i]))
            field_invalid_msg(errs, PATH_INDEX(terms, i), &core_v1_node_selector_term_msg,
                              &now->node_selector_terms[i],
                              "only additions are allowed (no mutations or deletions)");
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    const struct core_v1_pod *p = obj, *o = old;
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    const struct field_path *notes = PATH(PATH(PATH_ROOT, "metadata"), "annotations");
    check_pod_annotations(errs, notes, &p->metadata, &p->spec);
    validate_pod_spec(ctx, errs, spec, &p->spec, 0);
    validate_pod_images(errs, spec, &p->spec);
    check_pod_annotation_changes(errs, notes, &p->metadata, &o->metadata);
    check_pod_annotations(errs, notes, &p->metadata, &p->spec);
    if (p->spec.containers_count != o->spec.containers_count) {
        field_forbidden(errs, PATH(spec, "containers"),
                        "pod updates may not add or remove containers");
        return;
    }
    if (p->spec.init_containers_count != o->spec.init_containers_count) {
        field_forbidden(errs, PATH(spec, "initContainers"),
                        "pod updates may not add or remove containers");
        return;
    }
    validate_deadline(errs, &p->spec, &o->spec);
    for (size_t i = 0; i < o->spec.tolerations_count; i++)
        if (!has_toleration(&p->spec, &o->spec.tolerations[i])) {
            field_forbidden(errs, PATH(spec, "tolerations"),
                            "existing toleration can not be modified except its tolerationSeconds");
            break;
        }
    bool new_gates = false;
    for (size_t i = 0; i < p->spec.scheduling_gates_count; i++) {
        bool had = false;
        for (size_t k = 0; k < o->spec.scheduling_gates_count; k++)
            had |= str_eq(o->spec.scheduling_gates[k].name, p->spec.scheduling_gates[i].name);
        new_gates = new_gates || !had;
        if (!had)
            field_forbidden(errs, PATH(PATH_INDEX(PATH(spec, "schedulingGates"), i), "name"),
                            "only deletion is allowed, but found new scheduling gate '" STR_FMT "'",
                            STR_ARG(p->spec.scheduling_gates[i].name));
    }
    if (is_gated(o))
        validate_gated(errs, spec, &p->spec, &o->spec);
    struct core_v1_pod_spec rest = without_mutable_changes(ctx->arena, p, o);
    if (new_gates) { /* Reported by name already. */
        rest.scheduling_gates = o->spec.scheduling_gates;
        rest.scheduling_gates_count = o->spec.scheduling_gates_count;
    }
    if (!api_msg_equal(&core_v1_pod_spec_msg, &rest, &o->spec))
        field_forbidden(
            errs, spec,
            "pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
            "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to "
            "be set "
            "to 1 if it was previously negative)" STR_FMT,
            STR_ARG(pod_spec_diff(ctx->arena, &o->spec, &rest)));
}

static void prepare_ephemeral(const struct kind_ctx *ctx, void *obj, const void *old)
{
    struct core_v1_pod *p = obj;
    const struct core_v1_pod *o = old;
    struct core_v1_ephemeral_container *list = p->spec.ephemeral_containers;
    size_t count = p->spec.ephemeral_containers_count;
    p->spec = o->spec;
    p->spec.ephemeral_containers = list;
    p->spec.ephemeral_containers_count = count;
    p->status = o->status;
    pod_spec_defaults(ctx->arena, &p->spec);
}

static const struct core_v1_ephemeral_container *find_ephemeral(const struct core_v1_pod *p,
                                                                struct str name)
{
    for (size_t i = 0; i < p->spec.ephemeral_containers_count; i++)
        if (str_eq(p->spec.ephemeral_containers[i].ephemeral_container_common.name, name))
            return &p->spec.ephemeral_containers[i];
    return NULL;
}

/* They can be added, not changed and not taken away. */
static void validate_ephemeral(const struct kind_ctx *ctx, const void *obj, const void *old,
                               struct field_errors *errs)
{
    const struct core_v1_pod *p = obj, *o = old;
    const struct field_path *spec = PATH(PATH_ROOT, "spec"),
                            *list = PATH(spec, "ephemeralContainers");
    if (is_mirror_pod(&o->metadata)) {
        field_forbidden(errs, PATH(PATH_ROOT, ""),
                        "static pods do not support ephemeral containers");
        return;
    }
    validate_pod_spec(ctx, errs, spec, &p->spec, 0);
    for (size_t i = 0; i < o->spec.ephemeral_containers_count; i++) {
        const struct core_v1_ephemeral_container *was = &o->spec.ephemeral_containers[i];
        struct str name = was->ephemeral_container_common.name;
        const struct core_v1_ephemeral_container *is = find_ephemeral(p, name);
        if (is == NULL)
            field_forbidden(errs, list,
                            "existing ephemeral containers \"" STR_FMT "\" may not be removed\n",
                            STR_ARG(name));
        else if (!api_msg_equal(&core_v1_ephemeral_container_msg, is, was))
            field_forbidden(
                errs, list,
                "existing ephemeral containers \"" STR_FMT "\" may not be changed" STR_FMT,
                STR_ARG(name),
                STR_ARG(value_diff(ctx->arena, &core_v1_ephemeral_container_msg, was, is)));
    }
}

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    const struct core_v1_pod *p = obj;
    if (old != NULL)
        return;
    warn_host_name(ctx, p->metadata.name, "the Pod's hostname");
    warn_pod(ctx, PATH_ROOT, &p->spec, &p->metadata);
}

static void warn_status(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    UNUSED(old);
    const struct core_v1_pod_status *s = &((const struct core_v1_pod *)obj)->status;
    const struct field_path *status = PATH(PATH_ROOT, "status");
    for (size_t i = 0; i < s->pod_ips_count; i++)
        warn_ip(ctx, PATH(PATH_INDEX(PATH(status, "podIPs"), i), "ip"), s->pod_ips[i].ip);
    for (size_t i = 0; i < s->host_ips_count; i++)
        warn_ip(ctx, PATH(PATH_INDEX(PATH(status, "hostIPs"), i), "ip"), s->host_ips[i].ip);
}

static const struct kind_sub subs[] = {
    {"status", prepare_status, pod_validate_status, warn_status},
    {"ephemeralcontainers", prepare_ephemeral, validate_ephemeral, NULL},
    {"resize", pod_prepare_resize, pod_validate_resize, NULL},
    {0},
};

/* --- deletion ------------------------------------------------------------------------------ */

/* A pod that no node has, or that has ended, has nobody to end it gracefully. */
static int64_t graceful(const struct kind_ctx *ctx, void *obj, int64_t asked_s)
{
    UNUSED(ctx);
    struct core_v1_pod *p = obj;
    int64_t grace = asked_s;
    if (grace < 0)
        grace = p->spec.has_termination_grace_period_seconds
                    ? p->spec.termination_grace_period_seconds
                    : 30;
    if (grace < 0)
        grace = 1; /* A negative period in an old object counts as the shortest. */
    if (str_empty(p->spec.node_name) || str_eqc(p->status.phase, "Failed") ||
        str_eqc(p->status.phase, "Succeeded"))
        return 0;
    return grace;
}

/* --- selectors ------------------------------------------------------------------------------- */

#define GETTER(name, expression)                                                                   \
    static struct str get_##name(struct arena *a, const void *obj)                                 \
    {                                                                                              \
        UNUSED(a);                                                                                 \
        const struct core_v1_pod *p = obj;                                                         \
        return expression;                                                                         \
    }
GETTER(node_name, p->spec.node_name)
GETTER(restart_policy, p->spec.restart_policy)
GETTER(scheduler_name, p->spec.scheduler_name)
GETTER(service_account, p->spec.service_account_name)
GETTER(host_network, p->spec.host_network ? STR("true") : STR("false"))
GETTER(phase, p->status.phase)
GETTER(pod_ip, p->status.pod_ips_count > 0 ? p->status.pod_ips[0].ip : p->status.pod_ip)
GETTER(nominated, p->status.nominated_node_name)

static const struct kind_field fields[] = {
    {"spec.nodeName", get_node_name, .wire = {2, 10}},
    {"spec.restartPolicy", get_restart_policy},
    {"spec.schedulerName", get_scheduler_name, .wire = {2, 19}},
    {"spec.serviceAccountName", get_service_account},
    {"spec.hostNetwork", get_host_network},
    {"status.phase", get_phase, .wire = {3, 1}},
    {"status.podIP", get_pod_ip},
    {"status.nominatedNodeName", get_nominated, .wire = {3, 11}},
    {0},
};

const struct kind_ops kind_pods = {
    .group = "",
    .version = "v1",
    .resource = "pods",
    .flags =
        KIND_STATUS | KIND_GENERATION | KIND_GRACEFUL | KIND_RETURN_DELETED | KIND_CHECKED_AS_NEW,
    .default_ = set_defaults,
    .prepare_create = prepare_create,
    .prepare_update = prepare_update,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .warn = warn,
    .subs = subs,
    .fields = fields,
    .graceful = graceful,
    .columns = pod_columns,
    .row = pod_row,
};
