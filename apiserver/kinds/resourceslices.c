/* resourceslices.c - ResourceSlice: devices that a driver offers. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/device_rules.h"
#include "apiserver/kinds/node_selector.h"
#include "apiserver/kinds/slice_devices.h"
#include "apiserver/kinds/volume_sources.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "api/resource_v1.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#define slice_spec struct resource_v1_resource_slice_spec

static bool is_true(bool has, bool value)
{
    return has && value;
}

/* "{`nodeName`, `allNodes`}" of those that are set. */
static void add_place(struct buf *b, const char *name)
{
    buf_printf(b, "%s`%s`", b->len == 0 ? "" : ", ", name);
}

static void check_node_name(struct field_errors *errs, const struct field_path *path, bool has,
                            struct str name, const char *why, struct buf *places)
{
    if (!has)
        return;
    if (str_empty(name)) {
        field_invalid(errs, path, name, "%s", why);
        return;
    }
    add_place(places, "nodeName");
    validate_form(errs, path, name, api_check_dns_subdomain);
}

static void check_flag(struct field_errors *errs, const struct field_path *at, const char *name,
                       bool has, bool value, struct buf *places)
{
    if (has && value)
        add_place(places, name);
    else if (has)
        field_invalid_bool(errs, PATH(at, name), value, "must be either unset or set to true");
}

static size_t place_count(const struct buf *places)
{
    size_t n = places->len != 0;
    for (size_t i = 0; i < places->len; i++)
        n += places->data[i] == ',';
    return n;
}

/* Where the devices of a slice are: one way of saying it. */
static void check_places(struct field_errors *errs, const struct field_path *spec,
                         const slice_spec *s)
{
    static const char one[] = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, "
                              "`perDeviceNodeSelection` is required";
    AUTO_BUF places = BUF_INIT;
    const struct field_path *selector = PATH(spec, "nodeSelector");
    check_node_name(errs, PATH(spec, "nodeName"), s->has_node_name, s->node_name,
                    "must be either unset or set to a non-empty string", &places);
    if (s->node_selector != NULL) {
        add_place(&places, "nodeSelector");
        validate_node_selector(errs, selector, s->node_selector);
        if (s->node_selector->node_selector_terms_count != 1)
            field_invalid_raw(errs, PATH(selector, "nodeSelectorTerms"),
                              field_member_render(errs->arena, &core_v1_node_selector_msg,
                                                  s->node_selector, "nodeSelectorTerms"),
                              "must have exactly one node selector term");
    }
    check_flag(errs, spec, "allNodes", s->has_all_nodes, s->all_nodes, &places);
    check_flag(errs, spec, "perDeviceNodeSelection", s->has_per_device_node_selection,
               s->per_device_node_selection, &places);
    if (places.len == 0)
        field_required(errs, spec, "%s", one);
    else if (place_count(&places) > 1)
        field_invalid(errs, spec,
                      arena_printf(errs->arena, "{" STR_FMT "}", STR_ARG(buf_str(&places))),
                      "%s, but multiple fields are set", one);
}

/* A taint counts from now on unless it says since when. */
static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    slice_spec *s = &((struct resource_v1_resource_slice *)obj)->spec;
    const struct meta_v1_time now = {.seconds = ctx->now_ns / 1000000000};
    for (size_t i = 0; i < s->devices_count; i++)
        for (size_t k = 0; k < s->devices[i].taints_count; k++)
            if (s->devices[i].taints[k].time_added == NULL)
                s->devices[i].taints[k].time_added = arena_memdup(ctx->arena, &now, sizeof(now));
}

/* What is alpha in 1.36 and off. */
static void drop_alpha(slice_spec *s)
{
    for (size_t i = 0; i < s->devices_count; i++) {
        struct resource_v1_device *d = &s->devices[i];
        d->node_allocatable_resource_mappings = NULL;
        d->node_allocatable_resource_mappings_count = 0;
        for (size_t k = 0; k < d->attributes_count; k++) {
            struct resource_v1_device_attribute *a = &d->attributes[k].value;
            a->ints_count = a->bools_count = a->strings_count = a->versions_count = 0;
        }
    }
}

static void prepare_create(const struct kind_ctx *ctx, void *obj)
{
    UNUSED(ctx);
    drop_alpha(&((struct resource_v1_resource_slice *)obj)->spec);
}

static void prepare_update(const struct kind_ctx *ctx, void *obj, const void *old)
{
    UNUSED(old);
    prepare_create(ctx, obj);
}

static void validate_spec(const slice_spec *s, const slice_spec *old, struct field_errors *errs)
{
    static const char *const names[] = {"name", NULL}, *const drivers[] = {"driver", NULL},
                             *const nodes[] = {"nodeName", NULL};
    const struct field_path *spec = PATH(PATH_ROOT, "spec"), *pool = PATH(spec, "pool");
    check_csi_driver_name(errs, PATH(spec, "driver"), s->driver);
    check_pool_name(errs, PATH(pool, "name"), s->pool.name);
    if (s->pool.resource_slice_count <= 0)
        field_invalid_int(errs, PATH(pool, "resourceSliceCount"), s->pool.resource_slice_count,
                          "must be greater than zero");
    if (s->pool.generation < 0)
        field_invalid_int(errs, PATH(pool, "generation"), s->pool.generation,
                          "must be greater than or equal to zero");
    if (old != NULL) {
        validate_immutable_members(errs, pool, &resource_v1_resource_pool_msg, &s->pool, &old->pool,
                                   names);
        validate_immutable_members(errs, spec, &resource_v1_resource_slice_spec_msg, s, old,
                                   drivers);
        validate_immutable_members(errs, spec, &resource_v1_resource_slice_spec_msg, s, old, nodes);
    }
    check_places(errs, spec, s);
    if (s->shared_counters_count != 0 && s->devices_count != 0)
        field_invalid(errs, spec, STR(""), "only one of `sharedCounters` or `devices` is allowed");
    validate_slice_devices(errs, PATH(spec, "devices"), s, old,
                           is_true(s->has_per_device_node_selection, s->per_device_node_selection));
    validate_slice_counters(errs, PATH(spec, "sharedCounters"), s);
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    validate_spec(&((const struct resource_v1_resource_slice *)obj)->spec, NULL, errs);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    validate_spec(&((const struct resource_v1_resource_slice *)obj)->spec,
                  &((const struct resource_v1_resource_slice *)old)->spec, errs);
}

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    UNUSED(old);
    struct str driver = ((const struct resource_v1_resource_slice *)obj)->spec.driver;
    if (!str_eq(driver, str_lowered(ctx->arena, driver)))
        kind_warn(ctx,
                  "spec.driver: driver names should be lowercase; \"" STR_FMT
                  "\" contains uppercase characters",
                  STR_ARG(driver));
}

static struct str get_node(struct arena *a, const void *obj)
{
    UNUSED(a);
    return ((const struct resource_v1_resource_slice *)obj)->spec.node_name;
}

static struct str get_driver(struct arena *a, const void *obj)
{
    UNUSED(a);
    return ((const struct resource_v1_resource_slice *)obj)->spec.driver;
}

static const struct kind_field fields[] = {
    {"spec.nodeName", get_node}, {"spec.driver", get_driver}, {0}};

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0}, {"Node", "string", "", "Where the devices are.", 0},
    {"Driver", "string", "", "", 0},   {"Pool", "string", "", "", 0},
    {"Age", "string", "", "", 0},      {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct resource_v1_resource_slice *s = obj;
    cell_str(r, s->metadata.name);
    cell_str(r, s->spec.has_node_name ? s->spec.node_name : STR("<unset>"));
    cell_str(r, s->spec.driver);
    cell_str(r, s->spec.pool.name);
    cell_age(r, &s->metadata.creation_timestamp);
}

const struct kind_ops kind_resourceslices = {
    .group = "resource.k8s.io",
    .version = "v1",
    .resource = "resourceslices",
    .flags = KIND_GENERATION | KIND_RETURN_DELETED,
    .default_ = set_defaults,
    .prepare_create = prepare_create,
    .prepare_update = prepare_update,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .warn = warn,
    .fields = fields,
    .columns = columns,
    .row = row,
};
