/* jobs.c - Job: pods that end. Unless the user insists, its selector and the
 * labels that fit it are made from its uid. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/job_status.h"
#include "apiserver/kinds/defaults.h"
#include "apiserver/kinds/job_spec.h"
#include "apiserver/kinds/pod_spec.h"
#include "apiserver/kinds/pod_warnings.h"
#include "apiserver/kinds/rules.h"
#include "apiserver/kinds/string_map.h"
#include "apiserver/kinds/value_diff.h"
#include "apiserver/kinds/workload.h"
#include "api/batch_v1.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"

#define UID_LABEL "batch.kubernetes.io/controller-uid"
#define NAME_LABEL "batch.kubernetes.io/job-name"
#define OLD_UID_LABEL "controller-uid"
#define OLD_NAME_LABEL "job-name"

static void default_policies(struct batch_v1_job_spec *s)
{
    const struct batch_v1_pod_failure_policy *p = s->pod_failure_policy;
    default_failure_policy(s);
    default_opt_str(&s->has_pod_replacement_policy, &s->pod_replacement_policy,
                    p != NULL ? STR("Failed") : STR("TerminatingOrFailed"));
}

static void labels_from_template(struct batch_v1_job *j)
{
    j->metadata.labels = j->spec.template.metadata.labels;
    j->metadata.labels_count = j->spec.template.metadata.labels_count;
}

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    struct batch_v1_job *j = obj;
    struct batch_v1_job_spec *s = &j->spec;
    pod_template_defaults(ctx->arena, &s->template);
    if (!s->has_completions && !s->has_parallelism)
        default_opt_int(&s->has_completions, &s->completions, 1);
    default_opt_int(&s->has_parallelism, &s->parallelism, 1);
    default_opt_int(&s->has_backoff_limit, &s->backoff_limit,
                    s->has_backoff_limit_per_index ? INT32_MAX : 6);
    if (j->metadata.labels_count == 0)
        labels_from_template(j);
    default_opt_str(&s->has_completion_mode, &s->completion_mode, STR("NonIndexed"));
    s->has_suspend = s->has_manual_selector = true;
    default_policies(s);
}

/* --- the selector -------------------------------------------------------------------------------
 */

/* Another value of the user's stays, for the rules to refuse. */
static void add_label(struct arena *a, struct api_str_entry **labels, size_t *count,
                      const char *key, struct str value)
{
    if (api_str_map_get(*labels, *count, str_of(key)) == NULL)
        string_map_set(a, labels, count, str_of(key), value);
}

static void prepare_create(const struct kind_ctx *ctx, void *obj)
{
    struct batch_v1_job *j = obj;
    struct meta_v1_object_meta *t = &j->spec.template.metadata;
    bool shared = j->metadata.labels == t->labels || j->metadata.labels_count == 0;
    if (j->spec.manual_selector)
        return;
    add_label(ctx->arena, &t->labels, &t->labels_count, OLD_NAME_LABEL, j->metadata.name);
    add_label(ctx->arena, &t->labels, &t->labels_count, NAME_LABEL, j->metadata.name);
    add_label(ctx->arena, &t->labels, &t->labels_count, OLD_UID_LABEL, j->metadata.uid);
    add_label(ctx->arena, &t->labels, &t->labels_count, UID_LABEL, j->metadata.uid);
    if (shared)
        labels_from_template(j);
    if (j->spec.selector == NULL)
        j->spec.selector = ARENA_NEW(ctx->arena, struct meta_v1_label_selector);
    add_label(ctx->arena, &j->spec.selector->match_labels, &j->spec.selector->match_labels_count,
              UID_LABEL, j->metadata.uid);
}

static void require_label(struct field_errors *errs, const struct field_path *labels,
                          const struct meta_v1_object_meta *m, const char *key, struct str want)
{
    const struct str *have = api_str_map_get(m->labels, m->labels_count, str_of(key));
    if (have == NULL)
        field_required(errs, PATH_KEY(labels, str_of(key)), "must be '" STR_FMT "'", STR_ARG(want));
    else if (!str_eq(*have, want))
        field_invalid_raw(errs, PATH_KEY(labels, str_of(key)), labels_shown(errs->arena, m),
                          "must be '" STR_FMT "'", STR_ARG(want));
}

/* prefixed: the template must have the newer labels, too. */
static void validate_generated_selector(const struct batch_v1_job *j, bool prefixed,
                                        struct field_errors *errs)
{
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    const struct field_path *labels = PATH(PATH(PATH(spec, "template"), "metadata"), "labels");
    const struct meta_v1_label_selector *s = j->spec.selector;
    if (j->spec.manual_selector || s == NULL)
        return;
    const struct meta_v1_object_meta *t = &j->spec.template.metadata;
    if (str_empty(j->metadata.uid))
        field_required(errs, PATH(PATH(PATH_ROOT, "metadata"), "uid"), NULL);
    require_label(errs, labels, t, OLD_UID_LABEL, j->metadata.uid);
    require_label(errs, labels, t, OLD_NAME_LABEL, j->metadata.name);
    if (prefixed) {
        require_label(errs, labels, t, UID_LABEL, j->metadata.uid);
        require_label(errs, labels, t, NAME_LABEL, j->metadata.name);
    }
    /* It may select by what is generated alone. */
    struct api_str_entry entries[] = {{STR(UID_LABEL), j->metadata.uid},
                                      {STR(NAME_LABEL), j->metadata.name},
                                      {STR(OLD_UID_LABEL), j->metadata.uid},
                                      {STR(OLD_NAME_LABEL), j->metadata.name}};
    size_t skipped = prefixed ? 0 : 2;
    struct meta_v1_object_meta generated = {.labels = entries + skipped,
                                            .labels_count = ARRAY_SIZE(entries) - skipped};
    if (!workload_selects(errs->arena, s, &generated))
        field_invalid_msg(errs, PATH(spec, "selector"), &meta_v1_label_selector_msg, s,
                          "`selector` not auto-generated");
}

/* --- validation
 * ------------------------------------------------------------------------------------ */

static void validate_spec(const struct kind_ctx *ctx, const struct batch_v1_job *j,
                          struct field_errors *errs)
{
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    validate_job_spec(ctx, errs, spec, &j->spec);
    if (j->spec.selector == NULL)
        field_required(errs, PATH(spec, "selector"), NULL);
    validate_label_selector(errs, PATH(spec, "selector"), j->spec.selector);
    validate_template_labels(errs, PATH(spec, "template"), j->spec.selector, &j->spec.template);
}

static void validate_job(const struct kind_ctx *ctx, const struct batch_v1_job *j, bool prefixed,
                         struct field_errors *errs)
{
    validate_generated_selector(j, prefixed, errs);
    validate_spec(ctx, j, errs);
    if (!str_eqc(j->spec.completion_mode, "Indexed") || j->spec.completions <= 0)
        return;
    struct str host =
        arena_printf(ctx->arena, STR_FMT "-%d", STR_ARG(j->metadata.name), j->spec.completions - 1);
    if (api_check_dns_label(host).count != 0)
        field_invalid(errs, PATH(PATH(PATH_ROOT, "metadata"), "name"), j->metadata.name,
                      "will not able to create pod with invalid DNS label: " STR_FMT,
                      STR_ARG(host));
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    validate_job(ctx, obj, true, errs);
}

static void immutable_int(struct field_errors *errs, const char *name, bool has, int32_t value)
{
    const struct field_path *path = PATH(PATH(PATH_ROOT, "spec"), name);
    if (has)
        field_invalid_int(errs, path, value, "field is immutable");
    else
        field_invalid_raw(errs, path, STR("null"), "field is immutable");
}

/* The number may move together with parallelism where every index is a pod. */
static void validate_completions(const struct batch_v1_job_spec *s,
                                 const struct batch_v1_job_spec *o, struct field_errors *errs)
{
    const struct field_path *path = PATH(PATH(PATH_ROOT, "spec"), "completions");
    if (s->has_completions == o->has_completions && s->completions == o->completions)
        return;
    bool indexed = str_eqc(s->completion_mode, "Indexed");
    if (!indexed)
        immutable_int(errs, "completions", s->has_completions, s->completions);
    else if (s->has_completions && s->completions != s->parallelism)
        field_invalid_int(errs, path, s->completions,
                          "can only be modified in tandem with spec.parallelism");
}

/* Suspended, and seen to be: no pod runs. */
static bool is_at_rest(const struct batch_v1_job *j)
{
    bool marked = j->status.start_time == NULL;
    for (size_t i = 0; i < j->status.conditions_count; i++)
        marked |= str_eqc(j->status.conditions[i].type, "Suspended") &&
                  str_eqc(j->status.conditions[i].status, "True");
    return j->spec.has_suspend && j->spec.suspend && j->status.active == 0 && marked;
}

/* The old containers with the resources of the new ones of the same names. */
static struct core_v1_container *with_resources(const struct kind_ctx *ctx,
                                                const struct core_v1_container *old,
                                                const struct core_v1_container *now, size_t count)
{
    struct core_v1_container *ret = ARENA_ARRAY(ctx->arena, struct core_v1_container, count + 1);
    for (size_t i = 0; i < count; i++) {
        ret[i] = old[i];
        if (str_eq(old[i].name, now[i].name))
            ret[i].resources = now[i].resources;
    }
    return ret;
}

/* The old affinity with the new one's for nodes; without it, none at all if nothing is left. */
static struct core_v1_affinity *with_node_affinity(const struct kind_ctx *ctx,
                                                   const struct core_v1_affinity *old,
                                                   const struct core_v1_affinity *now)
{
    struct core_v1_affinity *ret = ARENA_NEW(ctx->arena, struct core_v1_affinity);
    if (old != NULL)
        *ret = *old;
    ret->node_affinity = now != NULL ? now->node_affinity : NULL;
    bool empty = ret->pod_affinity == NULL && ret->pod_anti_affinity == NULL;
    return now == NULL && empty ? NULL : ret;
}

/* While a job is suspended, where its pods run and what they ask for may change. */
static void validate_resting_template(const struct kind_ctx *ctx,
                                      const struct core_v1_pod_spec *now,
                                      const struct core_v1_pod_spec *before,
                                      struct field_errors *errs)
{
    struct core_v1_pod_spec old = *before;
    old.node_selector = now->node_selector;
    old.node_selector_count = now->node_selector_count;
    old.tolerations = now->tolerations;
    old.tolerations_count = now->tolerations_count;
    old.affinity = with_node_affinity(ctx, before->affinity, now->affinity);
    old.scheduling_gates = now->scheduling_gates;
    old.scheduling_gates_count = now->scheduling_gates_count;
    if (old.containers_count == now->containers_count)
        old.containers = with_resources(ctx, old.containers, now->containers, old.containers_count);
    if (old.init_containers_count == now->init_containers_count)
        old.init_containers = with_resources(ctx, old.init_containers, now->init_containers,
                                             old.init_containers_count);
    if (!api_msg_equal(&core_v1_pod_spec_msg, now, &old))
        field_invalid_raw(errs, PATH(PATH(PATH(PATH_ROOT, "spec"), "template"), "spec"),
                          pod_spec_shown(ctx->arena, now), "field is immutable");
}

/* The metadata's members stand beside the spec in the internal form. */
static struct str template_shown(struct arena *a, const struct core_v1_pod_template_spec *t)
{
    struct str meta = field_value_render(a, &meta_v1_object_meta_msg, &t->metadata);
    return arena_printf(a, STR_FMT "%s\"Spec\":" STR_FMT "}",
                        STR_ARG(str_sub(meta, 0, meta.len - 1)), meta.len > 2 ? "," : "",
                        STR_ARG(pod_spec_shown(a, &t->spec)));
}

static void validate_template_change(const struct kind_ctx *ctx, const struct batch_v1_job *j,
                                     const struct batch_v1_job *o, struct field_errors *errs)
{
    const struct core_v1_pod_template_spec *now = &j->spec.template, *old = &o->spec.template;
    if (is_at_rest(o))
        validate_resting_template(ctx, &now->spec, &old->spec, errs);
    else if (!api_msg_equal(&core_v1_pod_template_spec_msg, now, old))
        field_invalid_raw(errs, PATH(PATH(PATH_ROOT, "spec"), "template"),
                          template_shown(ctx->arena, now), "field is immutable");
}

static void immutable_msg(struct field_errors *errs, const char *name, const struct api_msg *m,
                          const void *x, const void *y)
{
    const struct field_path *path = PATH(PATH(PATH_ROOT, "spec"), name);
    if (x != y && (x == NULL || y == NULL || !api_msg_equal(m, x, y)))
        field_invalid_msg(errs, path, m, x, "field is immutable");
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    const struct batch_v1_job *j = obj, *o = old;
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    const struct meta_v1_object_meta *had = &o->spec.template.metadata;
    bool prefixed = api_str_map_get(had->labels, had->labels_count, STR(NAME_LABEL)) != NULL &&
                    api_str_map_get(had->labels, had->labels_count, STR(UID_LABEL)) != NULL;
    validate_job(ctx, j, prefixed, errs);
    validate_spec(ctx, j, errs); /* Upstream reports the spec's faults twice. */
    validate_completions(&j->spec, &o->spec, errs);
    validate_immutable_selector(errs, j->spec.selector, o->spec.selector);
    validate_template_change(ctx, j, o, errs);
    validate_immutable_str(errs, PATH(spec, "completionMode"), j->spec.completion_mode,
                           o->spec.completion_mode);
    immutable_msg(errs, "podFailurePolicy", &batch_v1_pod_failure_policy_msg,
                  j->spec.pod_failure_policy, o->spec.pod_failure_policy);
    if (j->spec.has_backoff_limit_per_index != o->spec.has_backoff_limit_per_index ||
        j->spec.backoff_limit_per_index != o->spec.backoff_limit_per_index)
        immutable_int(errs, "backoffLimitPerIndex", j->spec.has_backoff_limit_per_index,
                      j->spec.backoff_limit_per_index);
    if (o->spec.has_managed_by && !j->spec.has_managed_by)
        field_invalid_raw(errs, PATH(spec, "managedBy"), STR("null"), "field is immutable");
    else
        validate_immutable_str(errs, PATH(spec, "managedBy"), j->spec.managed_by,
                               o->spec.managed_by);
    immutable_msg(errs, "successPolicy", &batch_v1_success_policy_msg, j->spec.success_policy,
                  o->spec.success_policy);
}

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    const struct batch_v1_job *j = obj;
    if (old == NULL)
        warn_host_name(ctx, j->metadata.name, "Pod names and hostnames");
    else if (((const struct batch_v1_job *)old)->metadata.generation == j->metadata.generation)
        return;
    warn_job_spec(ctx, PATH(PATH_ROOT, "spec"), &j->spec);
}

static void validate_status(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    job_status_check(obj, old, errs);
}

static const struct kind_sub subs[] = {{"status", NULL, validate_status}, {0}};

static struct str get_successful(struct arena *a, const void *obj)
{
    return arena_printf(a, "%d", ((const struct batch_v1_job *)obj)->status.succeeded);
}

static const struct kind_field fields[] = {{"status.successful", get_successful}, {0}};

/* --- table
 * ---------------------------------------------------------------------------------------------- */

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Status", "string", "", "How far it is.", 0},
    {"Completions", "string", "", "Pods that have succeeded, of those that must.", 0},
    {"Duration", "string", "", "How long it took, or has been running.", 0},
    {"Age", "string", "", "", 0},
    {"Containers", "string", "", "", 1},
    {"Images", "string", "", "", 1},
    {"Selector", "string", "", "", 1},
    {0},
};

static bool has_condition(const struct batch_v1_job *j, const char *type)
{
    for (size_t i = 0; i < j->status.conditions_count; i++)
        if (str_eqc(j->status.conditions[i].type, type) &&
            str_eqc(j->status.conditions[i].status, "True"))
            return true;
    return false;
}

static const char *status_text(const struct batch_v1_job *j)
{
    if (has_condition(j, "Complete"))
        return "Complete";
    if (has_condition(j, "Failed"))
        return "Failed";
    if (j->metadata.deletion_timestamp != NULL)
        return "Terminating";
    if (has_condition(j, "Suspended"))
        return "Suspended";
    if (has_condition(j, "FailureTarget"))
        return "FailureTarget";
    return has_condition(j, "SuccessCriteriaMet") ? "SuccessCriteriaMet" : "Running";
}

static void row(struct table_row *r, const void *obj)
{
    const struct batch_v1_job *j = obj;
    const struct core_v1_pod_spec *p = &j->spec.template.spec;
    cell_str(r, j->metadata.name);
    cell_strc(r, status_text(j));
    if (j->spec.has_completions)
        cell_printf(r, "%d/%d", j->status.succeeded, j->spec.completions);
    else if (j->spec.parallelism > 1)
        cell_printf(r, "%d/1 of %d", j->status.succeeded, j->spec.parallelism);
    else
        cell_printf(r, "%d/1", j->status.succeeded);
    if (j->status.start_time == NULL)
        cell_strc(r, "");
    else if (j->status.completion_time == NULL)
        cell_duration(r, row_now_ns(r) / 1000000000 - j->status.start_time->seconds);
    else
        cell_duration(r, j->status.completion_time->seconds - j->status.start_time->seconds);
    cell_age(r, &j->metadata.creation_timestamp);
    cell_containers(r, p->containers, p->containers_count);
    cell_images(r, p->containers, p->containers_count);
    cell_selector(r, j->spec.selector);
}

const struct kind_ops kind_jobs = {
    .group = "batch",
    .version = "v1",
    .resource = "jobs",
    .flags = KIND_STATUS | KIND_GENERATION | KIND_ORPHAN_DEPENDENTS | KIND_CHECKED_AS_NEW,
    .default_ = set_defaults,
    .prepare_create = prepare_create,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .warn = warn,
    .subs = subs,
    .fields = fields,
    .columns = columns,
    .row = row,
};
