/* persistentvolumeclaims.c - PersistentVolumeClaim: a wish for storage. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/pod_warnings.h"
#include "apiserver/kinds/defaults.h"
#include "apiserver/kinds/finalizers.h"
#include "apiserver/kinds/rules.h"
#include "apiserver/kinds/storage_text.h"
#include "apiserver/kinds/value_diff.h"
#include "apiserver/kinds/volume_sources.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "api/resource.h"
#include "lib/api/codec.h"
#include "lib/api/quantity.h"
#include "lib/base/arena.h"

#define CLASS_ANNOTATION "volume.beta.kubernetes.io/storage-class"
#define PROTECTION "kubernetes.io/pvc-protection"

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    UNUSED(ctx);
    struct core_v1_persistent_volume_claim *c = obj;
    default_str(&c->status.phase, STR("Pending"));
    default_opt_str(&c->spec.has_volume_mode, &c->spec.volume_mode, STR("Filesystem"));
}

/* The old and the new name of one field are kept in step. */
static void join_sources(struct arena *a, struct core_v1_persistent_volume_claim_spec *s)
{
    if (s->data_source != NULL && s->data_source_ref == NULL) {
        s->data_source_ref = ARENA_NEW(a, struct core_v1_typed_object_reference);
        s->data_source_ref->has_api_group = s->data_source->has_api_group;
        s->data_source_ref->api_group = s->data_source->api_group;
        s->data_source_ref->kind = s->data_source->kind;
        s->data_source_ref->name = s->data_source->name;
    } else if (s->data_source == NULL && s->data_source_ref != NULL &&
               (!s->data_source_ref->has_namespace || str_empty(s->data_source_ref->namespace))) {
        s->data_source = ARENA_NEW(a, struct core_v1_typed_local_object_reference);
        s->data_source->has_api_group = s->data_source_ref->has_api_group;
        s->data_source->api_group = s->data_source_ref->api_group;
        s->data_source->kind = s->data_source_ref->kind;
        s->data_source->name = s->data_source_ref->name;
    }
}

static bool may_be_source(const struct core_v1_typed_local_object_reference *s)
{
    struct str group = s->has_api_group ? s->api_group : STR_NULL;
    return str_eqc(s->kind, "PersistentVolumeClaim")
               ? str_empty(group)
               : str_eqc(s->kind, "VolumeSnapshot") && str_eqc(group, "snapshot.storage.k8s.io");
}

/* The old name knows two kinds only and passes over others; sources in other
 * namespaces are not served. A claim that has a source keeps it. */
static void settle_sources(struct arena *a, struct core_v1_persistent_volume_claim_spec *s,
                           const struct core_v1_persistent_volume_claim_spec *old)
{
    bool had_ref = old != NULL && old->data_source_ref != NULL;
    bool had = had_ref || (old != NULL && old->data_source != NULL);
    if (!had_ref && s->data_source_ref != NULL && s->data_source_ref->has_namespace &&
        !str_empty(s->data_source_ref->namespace))
        s->data_source_ref = NULL;
    if (!had && s->data_source != NULL && !may_be_source(s->data_source))
        s->data_source = NULL;
    join_sources(a, s);
}

static void prepare_create(const struct kind_ctx *ctx, void *obj)
{
    struct core_v1_persistent_volume_claim *c = obj;
    c->status = (struct core_v1_persistent_volume_claim_status){.phase = STR("Pending")};
    settle_sources(ctx->arena, &c->spec, NULL);
    finalizer_add(ctx->arena, &c->metadata, STR(PROTECTION));
}

static void prepare_update(const struct kind_ctx *ctx, void *obj, const void *old)
{
    struct core_v1_persistent_volume_claim *c = obj;
    settle_sources(ctx->arena, &c->spec,
                   &((const struct core_v1_persistent_volume_claim *)old)->spec);
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    validate_claim_spec(errs, PATH(PATH_ROOT, "spec"),
                        &((const struct core_v1_persistent_volume_claim *)obj)->spec);
}

static const struct api_quantity_entry *storage_of(const struct api_quantity_entry *e, size_t count)
{
    return find_quantity(e, count, STR("storage"));
}

/* A claim may get its volume, and a bound one may grow; nothing else changes. */
static void check_change(struct arena *a, const struct core_v1_persistent_volume_claim *c,
                         const struct core_v1_persistent_volume_claim *o, struct field_errors *errs)
{
    struct core_v1_persistent_volume_claim_spec *s =
        api_msg_clone(a, &core_v1_persistent_volume_claim_spec_msg, &c->spec);
    bool bound = str_eqc(c->status.phase, "Bound");
    if (str_empty(o->spec.volume_name))
        s->volume_name = o->spec.volume_name;
    if (bound) {
        s->resources.requests = o->spec.resources.requests;
        s->resources.requests_count = o->spec.resources.requests_count;
    }
    if (bound) {
        s->has_volume_attributes_class_name = o->spec.has_volume_attributes_class_name;
        s->volume_attributes_class_name = o->spec.volume_attributes_class_name;
    }
    /* A class may be set where there was none. */
    if (!o->spec.has_storage_class_name && s->has_storage_class_name) {
        s->has_storage_class_name = false;
        s->storage_class_name = STR_NULL;
    }
    if (!api_msg_equal(&core_v1_persistent_volume_claim_spec_msg, s, &o->spec))
        field_forbidden(
            errs, PATH(PATH_ROOT, "spec"),
            "spec is immutable after creation except resources.requests and "
            "volumeAttributesClassName for "
            "bound claims" STR_FMT,
            STR_ARG(value_diff(a, &core_v1_persistent_volume_claim_spec_msg, &o->spec, s)));
}

static void check_size(const struct core_v1_persistent_volume_claim *c,
                       const struct core_v1_persistent_volume_claim *o, struct field_errors *errs)
{
    const struct api_quantity_entry *now =
        storage_of(c->spec.resources.requests, c->spec.resources.requests_count);
    const struct api_quantity_entry *had =
        storage_of(o->spec.resources.requests, o->spec.resources.requests_count);
    const struct api_quantity_entry *real =
        storage_of(o->status.capacity, o->status.capacity_count);
    if (now == NULL || had == NULL)
        return;
    struct quantity n = quantity_of(&now->value), h = quantity_of(&had->value);
    if (quantity_cmp(&n, &h) >= 0)
        return;
    const struct field_path *path =
        PATH(PATH(PATH(PATH(PATH_ROOT, "spec"), "resources"), "requests"), "storage");
    struct quantity size = real != NULL ? quantity_of(&real->value) : (struct quantity){0};
    if (quantity_cmp(&n, &size) <= 0)
        field_forbidden(errs, path, "field can not be less than status.capacity");
}

/* A class that was applied is not taken back. */
static void check_attributes_class(const struct core_v1_persistent_volume_claim *c,
                                   const struct core_v1_persistent_volume_claim *o,
                                   struct field_errors *errs)
{
    static const char why[] =
        "update to %s is forbidden when status.currentVolumeAttributesClassName is not nil";
    const struct field_path *path = PATH(PATH(PATH_ROOT, "spec"), "volumeAttributesClassName");
    bool has = c->spec.has_volume_attributes_class_name;
    if (!o->status.has_current_volume_attributes_class_name ||
        (has == o->spec.has_volume_attributes_class_name &&
         str_eq(c->spec.volume_attributes_class_name, o->spec.volume_attributes_class_name)))
        return;
    if (!has)
        field_forbidden(errs, path, why, "nil");
    else if (str_empty(c->spec.volume_attributes_class_name))
        field_forbidden(errs, path, why, "empty string");
}

/* The class as it was written once: fixed, unless it moves to where it is written now. */
static void check_class_annotation(const struct core_v1_persistent_volume_claim *c,
                                   const struct core_v1_persistent_volume_claim *o,
                                   struct field_errors *errs)
{
    const struct str *now = api_str_map_get(c->metadata.annotations, c->metadata.annotations_count,
                                            STR(CLASS_ANNOTATION)),
                     *was = api_str_map_get(o->metadata.annotations, o->metadata.annotations_count,
                                            STR(CLASS_ANNOTATION));
    struct str x = now != NULL ? *now : STR_NULL, y = was != NULL ? *was : STR_NULL;
    bool moved = was != NULL && !o->spec.has_storage_class_name && c->spec.has_storage_class_name &&
                 str_eq(c->spec.storage_class_name, y) && (now == NULL || str_eq(x, y));
    if (!moved)
        validate_immutable_str(
            errs, PATH(PATH(PATH(PATH_ROOT, "metadata"), "annotations"), CLASS_ANNOTATION), x, y);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    const struct core_v1_persistent_volume_claim *c = obj, *o = old;
    validate_create(ctx, obj, errs);
    check_class_annotation(c, o, errs);
    check_change(ctx->arena, c, o, errs);
    check_size(c, o, errs);
    validate_immutable_str(errs, PATH(PATH_ROOT, "volumeMode"), c->spec.volume_mode,
                           o->spec.volume_mode);
    check_attributes_class(c, o, errs);
}

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    UNUSED(old);
    const struct core_v1_persistent_volume_claim *c = obj;
    warn_storage_class_annotation(ctx, &c->metadata);
    warn_claim_spec(ctx, PATH(PATH_ROOT, "spec"), &c->spec);
}

/* What of a claim can grow: its storage, and what others name with a domain. */
static bool check_resource_key(struct field_errors *errs, const struct field_path *path,
                               struct str key)
{
    static const char *const storage[] = {"storage", NULL};
    size_t before = errs->count;
    validate_qualified_name(errs, path, key);
    if (errs->count == before && is_native_resource(key) && !str_eqc(key, "storage"))
        field_not_supported(errs, path, key, storage);
    return errs->count == before;
}

static bool check_basic(struct field_errors *errs, const struct field_path *path,
                        const struct resource_quantity *value)
{
    struct quantity q = quantity_of(value);
    if (quantity_sign(&q) < 0)
        field_invalid_int(errs, path, quantity_value(&q), "must be a valid resource quantity");
    return quantity_sign(&q) >= 0;
}

static void validate_status(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    static const char *const states[] = {"ControllerResizeInProgress", "ControllerResizeInfeasible",
                                         "NodeResizeInProgress",       "NodeResizeInfeasible",
                                         "NodeResizePending",          NULL};
    UNUSED(ctx);
    UNUSED(old);
    const struct core_v1_persistent_volume_claim_status *s =
        &((const struct core_v1_persistent_volume_claim *)obj)->status;
    const struct field_path *status = PATH(PATH_ROOT, "status");
    const struct field_path *capacity = PATH(status, "capacity"),
                            *sizes = PATH(status, "allocatedResources"),
                            *resizes = PATH(status, "allocatedResourceStatuses");
    for (size_t i = 0; i < s->capacity_count; i++)
        check_basic(errs, PATH_KEY(capacity, s->capacity[i].key), &s->capacity[i].value);
    for (size_t i = 0; i < s->allocated_resource_statuses_count; i++) {
        check_resource_key(errs, resizes, s->allocated_resource_statuses[i].key);
        if (!is_listed(s->allocated_resource_statuses[i].value, states))
            field_not_supported(errs, resizes, s->allocated_resource_statuses[i].key, states);
    }
    for (size_t i = 0; i < s->allocated_resources_count; i++) {
        const struct api_quantity_entry *e = &s->allocated_resources[i];
        if (check_resource_key(errs, sizes, e->key) &&
            check_basic(errs, PATH_KEY(sizes, e->key), &e->value))
            validate_quantity_value(errs, PATH_KEY(sizes, e->key), STR("storage"), &e->value);
    }
}

static const struct kind_sub subs[] = {{"status", NULL, validate_status}, {0}};

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Status", "string", "", "", 0},
    {"Volume", "string", "", "What was found for it.", 0},
    {"Capacity", "string", "", "", 0},
    {"Access Modes", "string", "", "", 0},
    {"StorageClass", "string", "", "", 0},
    {"VolumeAttributesClass", "string", "", "", 0},
    {"Age", "string", "", "", 0},
    {"VolumeMode", "string", "", "", 1},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct core_v1_persistent_volume_claim *c = obj;
    bool bound = !str_empty(c->spec.volume_name);
    cell_str(r, c->metadata.name);
    cell_str(r, c->metadata.deletion_timestamp != NULL ? STR("Terminating") : c->status.phase);
    cell_str(r, c->spec.volume_name);
    cell_storage(r, c->status.capacity, bound ? c->status.capacity_count : 0);
    cell_access_modes(r, c->status.access_modes, bound ? c->status.access_modes_count : 0);
    cell_str(r, c->spec.has_storage_class_name ? c->spec.storage_class_name : STR_NULL);
    cell_str(r, c->spec.has_volume_attributes_class_name ? c->spec.volume_attributes_class_name
                                                         : STR("<unset>"));
    cell_age(r, &c->metadata.creation_timestamp);
    cell_str(r, c->spec.has_volume_mode ? c->spec.volume_mode : STR("<unset>"));
}

const struct kind_ops kind_persistentvolumeclaims = {
    .group = "",
    .version = "v1",
    .resource = "persistentvolumeclaims",
    .flags = KIND_STATUS | KIND_RETURN_DELETED | KIND_CHECKED_AS_NEW,
    .default_ = set_defaults,
    .prepare_create = prepare_create,
    .prepare_update = prepare_update,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .warn = warn,
    .subs = subs,
    .columns = columns,
    .row = row,
};
