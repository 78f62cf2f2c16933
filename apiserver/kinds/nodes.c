/* nodes.c - Node: taints unique by key and effect; pod ranges and provider id
 * are given once and then stay. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/rules.h"
#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#define FEATURE_BYTES_MAX 253u
#define ROLE_PREFIX "node-role.kubernetes.io/"
#define ROLE_LABEL "kubernetes.io/role"

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    struct core_v1_node *n = obj;
    /* podCIDR is the first of podCIDRs; either may be given alone, and counts for more
     * than another first one. */
    if (!str_empty(n->spec.pod_cidr) &&
        (n->spec.pod_cidrs_count == 0 || !str_eq(n->spec.pod_cidr, n->spec.pod_cidrs[0]))) {
        n->spec.pod_cidrs = ARENA_NEW(ctx->arena, struct str);
        n->spec.pod_cidrs[0] = n->spec.pod_cidr;
        n->spec.pod_cidrs_count = 1;
    } else if (str_empty(n->spec.pod_cidr) && n->spec.pod_cidrs_count > 0) {
        n->spec.pod_cidr = n->spec.pod_cidrs[0];
    }
    if (n->status.allocatable_count == 0 && n->status.capacity_count > 0) {
        n->status.allocatable = n->status.capacity;
        n->status.allocatable_count = n->status.capacity_count;
    }
}

static void validate_taints(struct field_errors *errs, const struct core_v1_node *n)
{
    static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute", NULL};
    const struct field_path *taints = PATH(PATH(PATH_ROOT, "metadata"), "taints");
    for (size_t i = 0; i < n->spec.taints_count; i++) {
        const struct core_v1_taint *t = &n->spec.taints[i];
        const struct field_path *path = PATH_INDEX(taints, i);
        validate_qualified_name(errs, PATH(path, "key"), t->key);
        struct api_faults faults = api_check_label_value(t->value);
        if (faults.count != 0)
            field_invalid(errs, PATH(path, "value"), t->value, "%s%s%s", faults.items[0],
                          faults.count > 1 ? ";" : "", faults.count > 1 ? faults.items[1] : "");
        if (str_empty(t->effect))
            field_required(errs, PATH(path, "effect"), NULL);
        else if (!str_eqc(t->effect, effects[0]) && !str_eqc(t->effect, effects[1]) &&
                 !str_eqc(t->effect, effects[2]))
            field_not_supported(errs, PATH(path, "effect"), t->effect, effects);
        for (size_t k = 0; k < i; k++)
            if (str_eq(n->spec.taints[k].key, t->key) &&
                str_eq(n->spec.taints[k].effect, t->effect)) {
                struct str shown = field_value_render(errs->arena, &core_v1_taint_msg, t);
                field_duplicate_raw(errs, path,
                                    arena_printf(errs->arena,
                                                 STR_FMT
                                                 ": taints must be unique by key and effect pair",
                                                 STR_ARG(shown)));
                break;
            }
    }
}

static void validate_pod_cidrs(struct field_errors *errs, const struct core_v1_node *n)
{
    const struct field_path *path = PATH(PATH(PATH_ROOT, "spec"), "podCIDRs");
    bool v4 = false, v6 = false, good = true;
    for (size_t i = 0; i < n->spec.pod_cidrs_count; i++)
        validate_cidr(errs, PATH_INDEX(path, i), n->spec.pod_cidrs[i]);
    if (n->spec.pod_cidrs_count < 2)
        return;
    for (size_t i = 0; i < n->spec.pod_cidrs_count && good; i++) {
        struct ip_text net;
        good = ip_text_parse_cidr(n->spec.pod_cidrs[i], &net);
        if (!good)
            field_internal(errs, path,
                           "invalid PodCIDRs. failed to check with dual stack with error:invalid "
                           "CIDR[%zu]: <nil> (invalid CIDR address: " STR_FMT ")",
                           i, STR_ARG(n->spec.pod_cidrs[i]));
        v4 = v4 || (good && net.v4);
        v6 = v6 || (good && !net.v4);
    }
    if (!good || !v4 || !v6 || n->spec.pod_cidrs_count > 2)
        field_invalid_raw(
            errs, path,
            field_strings_render(errs->arena, n->spec.pod_cidrs, n->spec.pod_cidrs_count),
            "may specify no more than one CIDR for each IP family");
}

/* --- status ---------------------------------------------------------------------- */

static void validate_addresses(struct field_errors *errs, const struct core_v1_node *n)
{
    const struct field_path *path = PATH(PATH(PATH_ROOT, "status"), "addresses");
    for (size_t i = 0; i < n->status.addresses_count; i++)
        for (size_t k = 0; k < i; k++)
            if (str_eq(n->status.addresses[k].type, n->status.addresses[i].type) &&
                str_eq(n->status.addresses[k].address, n->status.addresses[i].address)) {
                field_duplicate_raw(errs, PATH_INDEX(path, i),
                                    field_value_render(errs->arena, &core_v1_node_address_msg,
                                                       &n->status.addresses[i]));
                break;
            }
}

static void validate_amounts(struct field_errors *errs, const struct field_path *path,
                             const struct api_quantity_entry *e, size_t count)
{
    for (size_t i = 0; i < count; i++)
        validate_quantity_value(errs, PATH(path, str_c(arena_str(errs->arena, e[i].key))), e[i].key,
                                &e[i].value);
}

static void validate_resources(struct field_errors *errs, const struct core_v1_node_status *s)
{
    const struct field_path *status = PATH(PATH_ROOT, "status");
    validate_amounts(errs, PATH(status, "capacity"), s->capacity, s->capacity_count);
    validate_amounts(errs, PATH(status, "allocatable"), s->allocatable, s->allocatable_count);
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* "MyFeature/mySubFeature" */
static bool is_feature_name(struct str s)
{
    bool starts = true;
    if (str_empty(s) || s.data[0] < 'A' || s.data[0] > 'Z')
        return false;
    for (size_t i = 0; i < s.len; i++) {
        bool slash = s.data[i] == '/';
        if (starts ? !is_letter(s.data[i])
                   : !slash && !is_letter(s.data[i]) && (s.data[i] < '0' || s.data[i] > '9'))
            return false;
        starts = slash;
    }
    return !starts;
}

static void validate_features(struct field_errors *errs, const struct core_v1_node_status *s)
{
    const struct field_path *path = PATH(PATH(PATH_ROOT, "status"), "declaredFeatures");
    for (size_t i = 0; i < s->declared_features_count; i++) {
        struct str f = s->declared_features[i];
        if (f.len > FEATURE_BYTES_MAX)
            field_invalid(errs, PATH_INDEX(path, i), f,
                          "invalid feature name \"" STR_FMT
                          "\": must be no more than %u characters",
                          STR_ARG(f), FEATURE_BYTES_MAX);
        else if (!is_feature_name(f))
            field_invalid(errs, PATH_INDEX(path, i), f,
                          "invalid feature name \"" STR_FMT "\": must start with an UpperCamelCase "
                          "segment, with subsequent segments separated by '/' (e.g., MyFeature or "
                          "MyFeature/mySubFeature), and contain only alphanumeric characters and "
                          "slashes",
                          STR_ARG(f));
        if (i + 1 == s->declared_features_count)
            break;
        struct str next = s->declared_features[i + 1];
        if (str_eq(f, next))
            field_duplicate(errs, PATH_INDEX(path, i + 1), next);
        else if (str_cmp(f, next) > 0)
            field_invalid(errs, PATH_INDEX(path, i + 1), next,
                          "list must be sorted alphabetically");
    }
}

/* --- the kubelet's configuration in a ConfigMap: gone, but what has it keeps it --- */

static void validate_config_source(struct field_errors *errs, const struct field_path *path,
                                   const struct core_v1_node_config_source *s, bool in_spec)
{
    const struct core_v1_config_map_node_config_source *m = s->config_map;
    const struct field_path *at = PATH(path, "configMap");
    if (m == NULL) {
        field_invalid_msg(errs, path, &core_v1_node_config_source_msg, s,
                          "exactly one reference subfield must be non-nil");
        return;
    }
    if (in_spec && !str_empty(m->uid))
        field_forbidden(errs, PATH(at, "uid"), "uid must not be set in spec");
    if (in_spec && !str_empty(m->resource_version))
        field_forbidden(errs, PATH(at, "resourceVersion"),
                        "resourceVersion must not be set in spec");
    if (!in_spec && str_empty(m->uid))
        field_required(errs, PATH(at, "uid"), NULL);
    if (!in_spec && str_empty(m->resource_version))
        field_required(errs, PATH(at, "resourceVersion"), NULL);
    require_form(errs, PATH(at, "namespace"), m->namespace, api_check_dns_label);
    require_form(errs, PATH(at, "name"), m->name, api_check_dns_subdomain);
    require_form(errs, PATH(at, "kubeletConfigKey"), m->kubelet_config_key, api_check_config_key);
}

static void validate_config(struct field_errors *errs, const struct core_v1_node *n)
{
    const struct core_v1_node_config_status *c = n->status.config;
    const struct field_path *path = PATH(PATH(PATH_ROOT, "status"), "config");
    if (n->spec.config_source != NULL)
        validate_config_source(errs, PATH(PATH(PATH_ROOT, "spec"), "configSource"),
                               n->spec.config_source, true);
    if (c != NULL && c->assigned != NULL)
        validate_config_source(errs, PATH(path, "assigned"), c->assigned, false);
    if (c != NULL && c->active != NULL)
        validate_config_source(errs, PATH(path, "active"), c->active, false);
    if (c != NULL && c->last_known_good != NULL)
        validate_config_source(errs, PATH(path, "lastKnownGood"), c->last_known_good, false);
}

/* --- the whole -------------------------------------------------------------------- */

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct core_v1_node *n = obj;
    const struct core_v1_node_swap_status *swap = n->status.node_info.swap;
    validate_taints(errs, n);
    validate_resources(errs, &n->status);
    if (swap != NULL && swap->has_capacity && swap->capacity <= 0) /* The path is upstream's. */
        field_invalid_int(errs,
                          PATH(PATH(PATH(PATH_ROOT, "metadata"), "nodeSwapStatus"), "capacity"),
                          swap->capacity, "must be greater than zero");
    validate_features(errs, &n->status);
    validate_pod_cidrs(errs, n);
}

/* Also of updates of the status alone. */
static void validate_change(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    const struct core_v1_node *n = obj, *o = old;
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    size_t count = o->spec.pod_cidrs_count;
    validate_resources(errs, &n->status);
    validate_features(errs, &n->status);
    validate_addresses(errs, n);
    for (size_t i = 0; i < count; i++) {
        bool resized = n->spec.pod_cidrs_count != count;
        if (resized || !str_eq(n->spec.pod_cidrs[i], o->spec.pod_cidrs[i]))
            field_forbidden(errs, PATH(spec, "podCIDRs"),
                            "node updates may not change podCIDR except from \"\" to valid");
        if (resized)
            break;
    }
    if (!str_empty(o->spec.provider_id) && !str_eq(o->spec.provider_id, n->spec.provider_id))
        field_forbidden(errs, PATH(spec, "providerID"),
                        "node updates may not change providerID except from \"\" to valid");
    validate_config(errs, n);
    validate_taints(errs, n);
    if (!str_eq(n->spec.external_id, o->spec.external_id))
        field_forbidden(errs, PATH(spec, "externalID"), "may not be updated");
}

/* Upstream judges a node as a new one and as a changed one: what is wrong in both
 * ways is told twice. */
static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    validate_create(ctx, obj, errs);
    validate_change(ctx, obj, old, errs);
}

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    UNUSED(old);
    const struct core_v1_node *n = obj;
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    if (n->spec.config_source != NULL)
        kind_warn(ctx, "spec.configSource: the feature is removed");
    if (!str_empty(n->spec.external_id))
        kind_warn(ctx, "spec.externalID: this field is deprecated, and is unused by Kubernetes");
    for (size_t i = 0; i < n->spec.pod_cidrs_count; i++)
        warn_cidr(ctx, PATH_INDEX(PATH(spec, "podCIDRs"), i), n->spec.pod_cidrs[i]);
}

/* A kubelet registers its node together with its status; later the status comes
 * through its own subresource. */
static void prepare_create(const struct kind_ctx *ctx, void *obj)
{
    UNUSED(ctx);
    struct core_v1_node *n = obj;
    n->spec.config_source = NULL;
    n->status.config = NULL;
}

static void prepare_update(const struct kind_ctx *ctx, void *obj, const void *old)
{
    UNUSED(ctx);
    struct core_v1_node *n = obj;
    const struct core_v1_node *o = old;
    n->status = o->status;
    if (o->spec.config_source == NULL)
        n->spec.config_source = NULL;
}

static void prepare_status(const struct kind_ctx *ctx, void *obj, const void *old)
{
    UNUSED(ctx);
    struct core_v1_node *n = obj;
    const struct core_v1_node *o = old;
    n->spec = o->spec;
    if (o->status.config == NULL)
        n->status.config = NULL;
}

static const struct kind_sub subs[] = {
    {"status", prepare_status, validate_change},
    {0},
};

static struct str get_unschedulable(struct arena *a, const void *obj)
{
    UNUSED(a);
    return ((const struct core_v1_node *)obj)->spec.unschedulable ? STR("true") : STR("false");
}

static const struct kind_field fields[] = {{"spec.unschedulable", get_unschedulable}, {0}};

/* --- table ---------------------------------------------------------------------- */

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Status", "string", "", "The status of the node.", 0},
    {"Roles", "string", "", "The roles of the node.", 0},
    {"Age", "string", "", "", 0},
    {"Version", "string", "", "Version of the kubelet.", 0},
    {"Internal-IP", "string", "", "", 1},
    {"External-IP", "string", "", "", 1},
    {"OS-Image", "string", "", "", 1},
    {"Kernel-Version", "string", "", "", 1},
    {"Container-Runtime", "string", "", "", 1},
    {0},
};

static void cell_status(struct table_row *r, const struct core_v1_node *n)
{
    const char *ready = "Unknown";
    for (size_t i = 0; i < n->status.conditions_count; i++)
        if (str_eqc(n->status.conditions[i].type, "Ready"))
            ready = str_eqc(n->status.conditions[i].status, "True") ? "Ready" : "NotReady";
    cell_printf(r, "%s%s", ready, n->spec.unschedulable ? ",SchedulingDisabled" : "");
}

static void cell_roles(struct table_row *r, const struct core_v1_node *n)
{
    struct str *roles = ARENA_ARRAY(row_arena(r), struct str, n->metadata.labels_count);
    size_t count = 0;
    for (size_t i = 0; i < n->metadata.labels_count; i++) {
        struct str key = n->metadata.labels[i].key, role = STR_NULL;
        if (str_has_prefix(key, STR(ROLE_PREFIX)))
            role = str_sub(key, strlen(ROLE_PREFIX), key.len);
        else if (str_eqc(key, ROLE_LABEL))
            role = n->metadata.labels[i].value;
        if (str_empty(role))
            continue;
        size_t at = count++;
        for (; at > 0 && str_cmp(roles[at - 1], role) > 0; at--)
            roles[at] = roles[at - 1];
        roles[at] = role;
    }
    cell_join(r, roles, count);
}

static void cell_address(struct table_row *r, const struct core_v1_node *n, const char *type)
{
    for (size_t i = 0; i < n->status.addresses_count; i++)
        if (str_eqc(n->status.addresses[i].type, type)) {
            cell_str(r, n->status.addresses[i].address);
            return;
        }
    cell_strc(r, "<none>");
}

static void cell_known(struct table_row *r, struct str s)
{
    cell_str(r, str_empty(s) ? STR("<unknown>") : s);
}

static void row(struct table_row *r, const void *obj)
{
    const struct core_v1_node *n = obj;
    cell_str(r, n->metadata.name);
    cell_status(r, n);
    cell_roles(r, n);
    cell_age(r, &n->metadata.creation_timestamp);
    cell_str(r, n->status.node_info.kubelet_version);
    cell_address(r, n, "InternalIP");
    cell_address(r, n, "ExternalIP");
    cell_known(r, n->status.node_info.os_image);
    if (str_empty(n->status.node_info.kernel_version))
        cell_strc(r, "<unknown>");
    else if (str_empty(n->status.node_info.architecture))
        cell_str(r, n->status.node_info.kernel_version);
    else
        cell_printf(r, STR_FMT " (" STR_FMT ")", STR_ARG(n->status.node_info.kernel_version),
                    STR_ARG(n->status.node_info.architecture));
    cell_known(r, n->status.node_info.container_runtime_version);
}

const struct kind_ops kind_nodes = {
    .group = "",
    .version = "v1",
    .resource = "nodes",
    .flags = KIND_CHECKED_AS_NEW,
    .default_ = set_defaults,
    .prepare_create = prepare_create,
    .prepare_update = prepare_update,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .warn = warn,
    .subs = subs,
    .fields = fields,
    .columns = columns,
    .row = row,
};
