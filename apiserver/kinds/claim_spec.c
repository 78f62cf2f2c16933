/* claim_spec.c - the spec of a claim for storage, of its own or made for a pod. Pure. */
#include "apiserver/kinds/volume_sources.h"

#include "api/core_v1.h"
#include "api/resource.h"
#include "lib/base/arena.h"

static const char *const access_modes[] = {"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce",
                                           "ReadWriteOncePod", NULL};
static const char *const volume_modes[] = {"Block", "Filesystem", NULL};

static bool has_mode(const struct core_v1_persistent_volume_claim_spec *s, const char *mode)
{
    for (size_t i = 0; i < s->access_modes_count; i++)
        if (str_eqc(s->access_modes[i], mode))
            return true;
    return false;
}

static void check_source(struct field_errors *errs, const struct field_path *path, struct str name,
                         struct str kind, bool has_group, struct str group)
{
    check_given(errs, PATH(path, "name"), name);
    check_given(errs, PATH(path, "kind"), kind);
    if (!has_group || str_empty(group)) {
        if (!str_eqc(kind, "PersistentVolumeClaim"))
            field_invalid(errs, path, kind,
                          "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
    } else {
        validate_form(errs, PATH(path, "apiGroup"), group, api_check_dns_subdomain);
    }
}

/* Both names of the source speak of the same. Upstream shows no value. */
static void check_sources(struct field_errors *errs, const struct field_path *path,
                          const struct core_v1_typed_local_object_reference *s,
                          const struct core_v1_typed_object_reference *ref)
{
    if (s == NULL || ref == NULL)
        return;
    if (ref->has_namespace && !str_empty(ref->namespace))
        field_invalid_raw(errs, path, STR("{}"),
                          "may not be specified when dataSourceRef.namespace is specified");
    else if (!str_eq(s->name, ref->name) || !str_eq(s->kind, ref->kind) ||
             !str_eq(s->has_api_group ? s->api_group : STR_NULL,
                     ref->has_api_group ? ref->api_group : STR_NULL))
        field_invalid_raw(errs, path, STR("{}"), "must match dataSourceRef");
}

void validate_claim_spec(struct field_errors *errs, const struct field_path *path,
                         const struct core_v1_persistent_volume_claim_spec *s)
{
    const struct field_path *modes = PATH(path, "accessModes");
    const struct field_path *storage = PATH_KEY(PATH(path, "resources"), STR("storage"));
    if (s->access_modes_count == 0)
        field_required(errs, modes, "at least 1 access mode is required");
    validate_label_selector(errs, PATH(path, "selector"), s->selector);
    for (size_t i = 0; i < s->access_modes_count; i++)
        validate_listed(errs, modes, s->access_modes[i], access_modes);
    if (has_mode(s, "ReadWriteOncePod") &&
        (has_mode(s, "ReadWriteOnce") || has_mode(s, "ReadWriteMany") ||
         has_mode(s, "ReadOnlyMany")))
        field_forbidden(errs, modes, "may not use ReadWriteOncePod with other access modes");
    const struct api_quantity_entry *request =
        find_quantity(s->resources.requests, s->resources.requests_count, STR("storage"));
    if (request == NULL) {
        field_required(errs, storage, NULL);
    } else {
        size_t before = errs->count;
        validate_positive_quantity(errs, storage, &request->value);
        if (errs->count == before)
            validate_quantity_value(errs, storage, STR("storage"), &request->value);
    }
    if (s->has_storage_class_name && !str_empty(s->storage_class_name))
        validate_form(errs, PATH(path, "storageClassName"), s->storage_class_name,
                      api_check_dns_subdomain);
    if (s->has_volume_mode)
        validate_listed(errs, PATH(path, "volumeMode"), s->volume_mode, volume_modes);
    if (s->data_source != NULL)
        check_source(errs, PATH(path, "dataSource"), s->data_source->name, s->data_source->kind,
                     s->data_source->has_api_group, s->data_source->api_group);
    if (s->data_source_ref != NULL)
        check_source(errs, PATH(path, "dataSourceRef"), s->data_source_ref->name,
                     s->data_source_ref->kind, s->data_source_ref->has_api_group,
                     s->data_source_ref->api_group);
    check_sources(errs, path, s->data_source, s->data_source_ref);
    if (s->has_volume_attributes_class_name && !str_empty(s->volume_attributes_class_name))
        validate_form(errs, PATH(path, "volumeAttributesClassName"),
                      s->volume_attributes_class_name, api_check_dns_subdomain);
}
