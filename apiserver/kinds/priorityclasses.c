/* priorityclasses.c - PriorityClass: a name for how much a pod matters. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/defaults.h"
#include "apiserver/kinds/rules.h"
#include "api/meta_v1.h"
#include "api/scheduling_v1.h"

#define USER_VALUE_MAX 1000000000

static const struct {
    const char *name;
    int32_t value;
} system_classes[] = {{"system-cluster-critical", 2000000000},
                      {"system-node-critical", 2000001000}};

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    UNUSED(ctx);
    struct scheduling_v1_priority_class *c = obj;
    default_opt_str(&c->has_preemption_policy, &c->preemption_policy, STR("PreemptLowerPriority"));
}

/* Names that the system reserves may only be its own classes, unchanged. */
static void check_system(const struct scheduling_v1_priority_class *c, struct field_errors *errs)
{
    static const char prefix[] =
        "priority class names with 'system-' prefix are reserved for system use only. error: ";
    const struct field_path *path = PATH(PATH(PATH_ROOT, "metadata"), "name");
    for (size_t i = 0; i < ARRAY_SIZE(system_classes); i++) {
        if (!str_eqc(c->metadata.name, system_classes[i].name))
            continue;
        if (c->value != system_classes[i].value)
            field_forbidden(errs, path, "%svalue of " STR_FMT " PriorityClass must be %d", prefix,
                            STR_ARG(c->metadata.name), system_classes[i].value);
        else if (c->global_default)
            field_forbidden(errs, path,
                            "%sglobalDefault of " STR_FMT " PriorityClass must be false", prefix,
                            STR_ARG(c->metadata.name));
        return;
    }
    field_forbidden(errs, path, "%s" STR_FMT " is not a known system priority class", prefix,
                    STR_ARG(c->metadata.name));
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    static const char *const policies[] = {"PreemptLowerPriority", "Never", NULL};
    const struct scheduling_v1_priority_class *c = obj;
    if (str_has_prefix(c->metadata.name, STR("system-")))
        check_system(c, errs);
    else if (c->value > USER_VALUE_MAX)
        field_forbidden(errs, PATH(PATH_ROOT, "value"),
                        "maximum allowed value of a user defined priority is %d", USER_VALUE_MAX);
    if (c->has_preemption_policy)
        require_listed(errs, PATH(PATH_ROOT, "preemptionPolicy"), c->preemption_policy, policies);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    const struct scheduling_v1_priority_class *c = obj, *o = old;
    if (c->value != o->value)
        field_forbidden(errs, PATH(PATH_ROOT, "value"), "may not be changed in an update.");
    validate_immutable_str(errs, PATH(PATH_ROOT, "preemptionPolicy"), c->preemption_policy,
                           o->preemption_policy);
}

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Value", "integer", "", "The higher, the sooner.", 0},
    {"Global-Default", "boolean", "", "Whether pods without a class get it.", 0},
    {"Age", "string", "", "", 0},
    {"PreemptionPolicy", "string", "", "", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct scheduling_v1_priority_class *c = obj;
    cell_str(r, c->metadata.name);
    cell_int(r, c->value);
    cell_bool(r, c->global_default);
    cell_age(r, &c->metadata.creation_timestamp);
    cell_str(r, c->preemption_policy);
}

const struct kind_ops kind_priorityclasses = {
    .group = "scheduling.k8s.io",
    .version = "v1",
    .resource = "priorityclasses",
    .flags = KIND_GENERATION,
    .default_ = set_defaults,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .columns = columns,
    .row = row,
};
