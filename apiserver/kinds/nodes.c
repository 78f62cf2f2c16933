/* nodes.c - Node: taints unique by key and effect; pod ranges and provider id
 * are given once and then stay. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/ip_text.h"
#include "apiserver/validate.h"
#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#define ROLE_PREFIX "node-role.kubernetes.io/"
#define ROLE_LABEL "kubernetes.io/role"

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    struct core_v1_node *n = obj;
    /* podCIDR is the first of podCIDRs; either may be given alone. */
    if (!str_empty(n->spec.pod_cidr) && n->spec.pod_cidrs_count == 0) {
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
        field_faults(errs, PATH(path, "value"), t->value, faults);
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
    for (size_t i = 0; i < n->spec.pod_cidrs_count; i++) {
        validate_cidr(errs, PATH_INDEX(path, i), n->spec.pod_cidrs[i]);
    }
}

static void validate_addresses(struct field_errors *errs, const struct core_v1_node *n)
{
    const struct field_path *path = PATH(PATH(PATH_ROOT, "status"), "addresses");
    for (size_t i = 0; i < n->status.addresses_count; i++)
        for (size_t k = 0; k < i; k++)
            if (str_eq(n->status.addresses[k].type, n->status.addresses[i].type) &&
                str_eq(n->status.addresses[k].address, n->status.addresses[i].address))
                field_duplicate_raw(errs, PATH_INDEX(path, i),
                                    field_value_render(errs->arena, &core_v1_node_address_msg,
                                                       &n->status.addresses[i]));
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct core_v1_node *n = obj;
    validate_taints(errs, n);
    validate_pod_cidrs(errs, n);
}

static bool same_pod_cidrs(const struct core_v1_node *n, const struct core_v1_node *o)
{
    if (n->spec.pod_cidrs_count != o->spec.pod_cidrs_count)
        return false;
    for (size_t i = 0; i < n->spec.pod_cidrs_count; i++)
        if (!str_eq(n->spec.pod_cidrs[i], o->spec.pod_cidrs[i]))
            return false;
    return true;
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    const struct core_v1_node *n = obj, *o = old;
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    validate_addresses(errs, n);
    if (o->spec.pod_cidrs_count > 0 && !same_pod_cidrs(n, o))
        field_forbidden(errs, PATH(spec, "podCIDRs"),
                        "node updates may not change podCIDR except from \"\" to valid");
    else
        validate_pod_cidrs(errs, n);
    if (!str_empty(o->spec.provider_id) && !str_eq(o->spec.provider_id, n->spec.provider_id))
        field_forbidden(errs, PATH(spec, "providerID"),
                        "node updates may not change providerID except from \"\" to valid");
    validate_taints(errs, n);
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

static void validate_status(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    UNUSED(old);
    validate_addresses(errs, obj);
}

static const struct kind_sub subs[] = {
    {"status", NULL, validate_status},
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

/* A kubelet registers its node together with its status; later the status comes
 * through its own subresource. */
static void prepare_update(const struct kind_ctx *ctx, void *obj, const void *old)
{
    UNUSED(ctx);
    ((struct core_v1_node *)obj)->status = ((const struct core_v1_node *)old)->status;
}

const struct kind_ops kind_nodes = {
    .group = "",
    .version = "v1",
    .resource = "nodes",
    .flags = KIND_CHECKED_AS_NEW,
    .default_ = set_defaults,
    .prepare_update = prepare_update,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .warn = warn,
    .subs = subs,
    .fields = fields,
    .columns = columns,
    .row = row,
};
