/* controllerrevisions.c - ControllerRevision: a frozen state of a controller. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/validate.h"
#include "api/apps_v1.h"
#include "api/meta_v1.h"
#include "api/runtime.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct apps_v1_controller_revision *c = obj;
    const struct field_path *data = PATH(PATH_ROOT, "data");
    struct json *j;
    struct error err = {0};
    validate_non_negative(errs, PATH(PATH_ROOT, "revision"), c->revision);
    if (str_empty(c->data.raw))
        field_required(errs, data, "data is mandatory");
    else if (json_parse(errs->arena, c->data.raw, &j, &err) != 0)
        field_invalid(errs, data, STR("<value omitted>"), "error parsing data: %s",
                      error_message(&err));
    else if (j->type == JSON_NULL)
        field_required(errs, data, "data is mandatory");
    else if (j->type != JSON_OBJECT)
        field_required(errs, data, "data must be a valid JSON object");
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    const struct apps_v1_controller_revision *c = obj, *o = old;
    validate_non_negative(errs, PATH(PATH_ROOT, "revision"), c->revision);
    if (!api_msg_equal(&runtime_raw_extension_msg, &c->data, &o->data))
        field_invalid_raw(errs, PATH(PATH_ROOT, "data"),
                          str_empty(c->data.raw) ? STR("null") : c->data.raw, "field is immutable");
}

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Controller", "string", "", "Whose state it is.", 0},
    {"Revision", "string", "", "Number of the state.", 0},
    {"Age", "string", "", "", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct apps_v1_controller_revision *c = obj;
    const struct meta_v1_owner_reference *owner = NULL;
    for (size_t i = 0; i < c->metadata.owner_references_count; i++)
        if (c->metadata.owner_references[i].has_controller &&
            c->metadata.owner_references[i].controller)
            owner = &c->metadata.owner_references[i];
    cell_str(r, c->metadata.name);
    if (owner == NULL) {
        cell_strc(r, "<none>");
    } else {
        struct str group = STR_NULL, version;
        char kind[256];
        size_t n = MIN_OF(owner->kind.len, sizeof(kind));
        for (size_t i = 0; i < n; i++)
            kind[i] = (char)(owner->kind.data[i] >= 'A' && owner->kind.data[i] <= 'Z'
                                 ? owner->kind.data[i] + 32
                                 : owner->kind.data[i]);
        if (!str_cut(owner->api_version, '/', &group, &version))
            group = STR_NULL;
        cell_printf(r, "%.*s%s" STR_FMT "/" STR_FMT, (int)n, kind, str_empty(group) ? "" : ".",
                    STR_ARG(group), STR_ARG(owner->name));
    }
    cell_printf(r, "%lld", (long long)c->revision);
    cell_age(r, &c->metadata.creation_timestamp);
}

const struct kind_ops kind_controllerrevisions = {
    .group = "apps",
    .version = "v1",
    .resource = "controllerrevisions",
    .validate_create = validate_create,
    .validate_update = validate_update,
    .columns = columns,
    .row = row,
};
