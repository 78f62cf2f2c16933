/* configmaps.c - ConfigMap: bounded data, keys that can be file names, and an
 * immutable mark that can be set but not taken back. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/validate.h"
#include "api/core_v1.h"

#define CONFIG_MAP_BYTES_MAX (1024 * 1024)

/* data and binaryData share one key space and one size budget. */
static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct core_v1_config_map *c = obj;
    size_t bytes = 0;
    for (size_t i = 0; i < c->data_count; i++) {
        struct str key = c->data[i].key;
        field_faults(errs, PATH_KEY(PATH(PATH_ROOT, "data"), key), key, api_check_config_key(key));
        for (size_t j = 0; j < c->binary_data_count; j++)
            if (str_eq(c->binary_data[j].key, key))
                field_invalid(errs, PATH_KEY(PATH(PATH_ROOT, "data"), key), key,
                              "duplicate of key present in binaryData");
        bytes += c->data[i].value.len;
    }
    for (size_t i = 0; i < c->binary_data_count; i++) {
        struct str key = c->binary_data[i].key;
        field_faults(errs, PATH_KEY(PATH(PATH_ROOT, "binaryData"), key), key,
                     api_check_config_key(key));
        bytes += c->binary_data[i].value.len;
    }
    if (bytes > CONFIG_MAP_BYTES_MAX)
        field_too_long(errs, PATH_KEY(PATH_ROOT, STR_NULL), CONFIG_MAP_BYTES_MAX);
}

static bool same_data(const struct core_v1_config_map *x, const struct core_v1_config_map *y)
{
    if (x->data_count != y->data_count)
        return false;
    for (size_t i = 0; i < x->data_count; i++)
        if (!str_eq(x->data[i].key, y->data[i].key) || !str_eq(x->data[i].value, y->data[i].value))
            return false;
    return true;
}

static bool same_binary_data(const struct core_v1_config_map *x, const struct core_v1_config_map *y)
{
    if (x->binary_data_count != y->binary_data_count)
        return false;
    for (size_t i = 0; i < x->binary_data_count; i++)
        if (!str_eq(x->binary_data[i].key, y->binary_data[i].key) ||
            !str_eq(x->binary_data[i].value, y->binary_data[i].value))
            return false;
    return true;
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    static const char why[] = "field is immutable when `immutable` is set";
    const struct core_v1_config_map *c = obj, *o = old;
    if (o->has_immutable && o->immutable) {
        if (!c->has_immutable || !c->immutable)
            field_forbidden(errs, PATH(PATH_ROOT, "immutable"), "%s", why);
        if (!same_data(c, o))
            field_forbidden(errs, PATH(PATH_ROOT, "data"), "%s", why);
        if (!same_binary_data(c, o))
            field_forbidden(errs, PATH(PATH_ROOT, "binaryData"), "%s", why);
    }
    validate_create(ctx, obj, errs);
}

static const struct table_column columns[] = {
    {"Name", "string", "name", "Name of the object, unique within its namespace.", 0},
    {"Data", "string", "", "Number of entries in data and binaryData.", 0},
    {"Age", "string", "", "Time since the object was created.", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct core_v1_config_map *c = obj;
    cell_str(r, c->metadata.name);
    cell_int(r, (int64_t)(c->data_count + c->binary_data_count));
    cell_age(r, &c->metadata.creation_timestamp);
}

const struct kind_ops kind_configmaps = {
    .group = "",
    .version = "v1",
    .resource = "configmaps",
    .flags = KIND_CHECKED_AS_NEW,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .columns = columns,
    .row = row,
};
