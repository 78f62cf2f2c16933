/* storageclasses.c - StorageClass: how volumes are made for claims. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/node_labels.h"
#include "apiserver/kinds/defaults.h"
#include "apiserver/kinds/rules.h"
#include "apiserver/kinds/volume_sources.h"
#include "api/core_v1.h"
#include "api/storage_v1.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    UNUSED(ctx);
    struct storage_v1_storage_class *c = obj;
    default_opt_str(&c->has_reclaim_policy, &c->reclaim_policy, STR("Delete"));
    default_opt_str(&c->has_volume_binding_mode, &c->volume_binding_mode, STR("Immediate"));
}

static bool same_set(const struct str *x, size_t n, const struct str *y, size_t m)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < m; j++)
            if (str_eq(x[i], y[j])) {
                found++;
                break;
            }
    return n == m && found == n;
}

/* The same keys with the same values, in whatever order. */
static bool same_term(const struct core_v1_topology_selector_term *x,
                      const struct core_v1_topology_selector_term *y)
{
    size_t found = 0;
    for (size_t i = 0; i < x->match_label_expressions_count; i++)
        for (size_t j = 0; j < y->match_label_expressions_count; j++) {
            const struct core_v1_topology_selector_label_requirement
                *p = &x->match_label_expressions[i],
                *q = &y->match_label_expressions[j];
            if (str_eq(p->key, q->key) &&
                same_set(p->values, p->values_count, q->values, q->values_count)) {
                found++;
                break;
            }
        }
    return x->match_label_expressions_count == y->match_label_expressions_count &&
           found == x->match_label_expressions_count;
}

static void check_topologies(struct field_errors *errs, const struct storage_v1_storage_class *c)
{
    for (size_t i = 0; i < c->allowed_topologies_count; i++) {
        const struct core_v1_topology_selector_term *t = &c->allowed_topologies[i];
        const struct field_path *list =
            PATH(PATH_INDEX(PATH(PATH_ROOT, "allowedTopologies"), i), "matchLabelExpressions");
        for (size_t j = 0; j < t->match_label_expressions_count; j++) {
            const struct core_v1_topology_selector_label_requirement *r =
                &t->match_label_expressions[j];
            const struct field_path *at = PATH_INDEX(list, j);
            if (r->values_count == 0)
                field_required(errs, PATH(at, "values"), NULL);
            for (size_t v = 0; v < r->values_count; v++)
                for (size_t w = 0; w < v; w++)
                    if (str_eq(r->values[v], r->values[w]))
                        field_duplicate(errs, PATH_INDEX(PATH(at, "values"), v), r->values[v]);
            validate_qualified_name(errs, PATH(at, "key"), r->key);
            for (size_t k = 0; k < j; k++)
                if (str_eq(t->match_label_expressions[k].key, r->key)) {
                    field_duplicate(errs, PATH(at, "key"), r->key);
                    break;
                }
        }
        for (size_t k = 0; k < i; k++)
            if (same_term(&c->allowed_topologies[k], t))
                field_duplicate(errs, list, STR(""));
    }
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    static const char *const policies[] = {"Delete", "Retain", NULL};
    static const char *const modes[] = {"Immediate", "WaitForFirstConsumer", NULL};
    const struct storage_v1_storage_class *c = obj;
    check_provisioner(errs, PATH(PATH_ROOT, "provisioner"), c->provisioner);
    check_parameters(errs, PATH(PATH_ROOT, "parameters"), c->parameters, c->parameters_count,
                     false);
    if (c->has_reclaim_policy && !str_empty(c->reclaim_policy))
        validate_listed(errs, PATH(PATH_ROOT, "reclaimPolicy"), c->reclaim_policy, policies);
    if (!c->has_volume_binding_mode)
        field_required(errs, PATH(PATH_ROOT, "volumeBindingMode"), NULL);
    else
        validate_listed(errs, PATH(PATH_ROOT, "volumeBindingMode"), c->volume_binding_mode, modes);
    check_topologies(errs, c);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    static const char *const fixed[] = {"parameters", "provisioner", "reclaimPolicy",
                                        "volumeBindingMode", NULL};
    validate_create(ctx, obj, errs);
    validate_immutable_members(errs, PATH_ROOT, &storage_v1_storage_class_msg, obj, old, fixed);
}

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    UNUSED(old);
    const struct storage_v1_storage_class *c = obj;
    for (size_t i = 0; i < c->allowed_topologies_count; i++)
        for (size_t j = 0; j < c->allowed_topologies[i].match_label_expressions_count; j++) {
            const char *why =
                node_label_deprecated(c->allowed_topologies[i].match_label_expressions[j].key);
            const struct field_path *term = PATH_INDEX(PATH(PATH_ROOT, "allowedTopologies"), i);
            if (why != NULL)
                kind_warn_field(ctx,
                                PATH(PATH_INDEX(PATH(term, "matchLabelExpressions"), j), "key"),
                                "%s", why);
        }
}

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Provisioner", "string", "", "Who makes the volumes.", 0},
    {"ReclaimPolicy", "string", "", "What becomes of a volume without its claim.", 0},
    {"VolumeBindingMode", "string", "", "When a volume is made.", 0},
    {"AllowVolumeExpansion", "string", "", "Whether volumes can grow.", 0},
    {"Age", "string", "", "", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct storage_v1_storage_class *c = obj;
    const struct str *beta =
        api_str_map_get(c->metadata.annotations, c->metadata.annotations_count,
                        STR("storageclass.beta.kubernetes.io/is-default-class"));
    const struct str *ga = api_str_map_get(c->metadata.annotations, c->metadata.annotations_count,
                                           STR("storageclass.kubernetes.io/is-default-class"));
    bool usual = (beta != NULL && str_eqc(*beta, "true")) || (ga != NULL && str_eqc(*ga, "true"));
    cell_printf(r, STR_FMT "%s", STR_ARG(c->metadata.name), usual ? " (default)" : "");
    cell_str(r, c->provisioner);
    cell_str(r, c->has_reclaim_policy ? c->reclaim_policy : STR("Delete"));
    cell_str(r, c->has_volume_binding_mode ? c->volume_binding_mode : STR("<unset>"));
    cell_bool(r, c->allow_volume_expansion);
    cell_age(r, &c->metadata.creation_timestamp);
}

const struct kind_ops kind_storageclasses = {
    .group = "storage.k8s.io",
    .version = "v1",
    .resource = "storageclasses",
    .flags = KIND_RETURN_DELETED,
    .default_ = set_defaults,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .warn = warn,
    .columns = columns,
    .row = row,
};
