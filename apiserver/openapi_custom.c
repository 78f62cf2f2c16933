/* openapi_custom.c - the definition of a custom kind, from the schema that its
 * CustomResourceDefinition gives (OpenAPI v3, structural).
 *
 * Every kind's own members are put in. v2 knows less than v3: what it cannot
 * say is left out as upstream does, so that kubectl refuses nothing that the
 * server would take. */
#include "apiserver/openapi_defs.h"

#include "api/meta_v1.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

static struct json *text_member(struct arena *a, const char *text)
{
    struct json *o = json_object(a);
    json_setc(a, o, "description", json_string(a, str_of(text)));
    json_setc(a, o, "type", json_string(a, STR("string")));
    return o;
}

static struct json *ref(struct openapi_defs *d, struct str name)
{
    struct json *o = json_object(d->arena);
    json_setc(d->arena, o, "$ref",
              json_stringf(d->arena, "%s" STR_FMT, openapi_ref_prefix(d->version), STR_ARG(name)));
    return o;
}

static struct json *described_ref(struct openapi_defs *d, struct str name, const char *text)
{
    struct arena *a = d->arena;
    struct json *o = ref(d, name);
    if (d->version == OPENAPI_V3) {
        struct json *all = json_array(a);
        json_append(a, all, o);
        o = json_object(a);
        json_setc(a, o, "allOf", all);
    }
    json_setc(a, o, "description", json_string(a, str_of(text)));
    return o;
}

static void simplify(struct arena *a, struct json *schema, unsigned depth);

static void simplify_members(struct arena *a, struct json *schema, unsigned depth)
{
    struct json *properties = json_getc(schema, "properties");
    struct json *required = json_getc(schema, "required");
    if (properties == NULL || properties->type != JSON_OBJECT)
        return;
    for (size_t i = 0; i < properties->object.count; i++) {
        struct json_member *m = &properties->object.members[i];
        bool nullable = json_get_bool(m->value, "nullable", false);
        /* A required member may be null, which v2 would call missing. */
        for (size_t j = 0; nullable && required != NULL && required->type == JSON_ARRAY &&
                           j < required->array.count;
             j++)
            if (required->array.items[j]->type == JSON_STRING &&
                str_eq(required->array.items[j]->string, m->key))
                json_remove_at(required, j--);
        simplify(a, m->value, depth - 1);
    }
    if (required != NULL && required->type == JSON_ARRAY && required->array.count == 0)
        json_remove(schema, STR("required"));
}

/* What v2 and the clients that read it cannot say. */
static void simplify(struct arena *a, struct json *schema, unsigned depth)
{
    static const char *const unknown[] = {"allOf", "anyOf", "oneOf", "not", "default"};
    if (schema->type != JSON_OBJECT || depth == 0)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(unknown); i++)
        json_remove(schema, str_of(unknown[i]));
    bool open = json_get_bool(schema, "x-kubernetes-preserve-unknown-fields", false);
    if (json_get_bool(schema, "nullable", false)) {
        json_remove(schema, STR("type"));
        open = true;
    }
    json_remove(schema, STR("nullable"));
    if (json_get_bool(schema, "x-kubernetes-int-or-string", false))
        json_remove(schema, STR("type"));
    if (open) {
        json_remove(schema, STR("items"));
        json_remove(schema, STR("properties"));
        return;
    }
    simplify_members(a, schema, depth);
    struct json *items = json_getc(schema, "items");
    struct json *additional = json_getc(schema, "additionalProperties");
    if (items != NULL)
        simplify(a, items, depth - 1);
    if (additional != NULL)
        simplify(a, additional, depth - 1);
}

enum { SCHEMA_DEPTH_MAX = 100 };

static void add_own_members(struct openapi_defs *d, struct json *schema)
{
    struct arena *a = d->arena;
    struct json *properties = json_getc(schema, "properties");
    if (properties == NULL || properties->type != JSON_OBJECT) {
        properties = json_object(a);
        json_setc(a, schema, "properties", properties);
    }
    json_setc(a, properties, "apiVersion", text_member(a, OPENAPI_API_VERSION_TEXT));
    json_setc(a, properties, "kind", text_member(a, OPENAPI_KIND_TEXT));
    json_setc(
        a, properties, "metadata",
        described_ref(d, openapi_defs_message(d, &meta_v1_object_meta_msg), OPENAPI_METADATA_TEXT));
}

/* Whole objects inside of the object. */
static void add_embedded(struct openapi_defs *d, struct json *schema, unsigned depth)
{
    static const char *const below[] = {"items", "additionalProperties"};
    if (schema->type != JSON_OBJECT || depth == 0)
        return;
    struct json *properties = json_getc(schema, "properties");
    for (size_t i = 0;
         properties != NULL && properties->type == JSON_OBJECT && i < properties->object.count; i++)
        add_embedded(d, properties->object.members[i].value, depth - 1);
    for (size_t i = 0; i < ARRAY_SIZE(below); i++)
        if (json_getc(schema, below[i]) != NULL)
            add_embedded(d, json_getc(schema, below[i]), depth - 1);
    if (json_get_bool(schema, "x-kubernetes-embedded-resource", false))
        add_own_members(d, schema);
}

/* A kind that may hold anything has no members at all: clients would take any
 * other for a mistake. */
static struct json *kind_schema(struct openapi_defs *d, const struct openapi_resource *r)
{
    struct arena *a = d->arena;
    bool given = r->schema != NULL && r->schema->type == JSON_OBJECT;
    bool open = d->version == OPENAPI_V2 &&
                json_get_bool(r->schema, "x-kubernetes-preserve-unknown-fields", false);
    struct json *o = given && !open ? json_clone(a, r->schema) : json_object(a);
    if (d->version == OPENAPI_V2)
        simplify(a, o, SCHEMA_DEPTH_MAX);
    if (json_getc(o, "type") == NULL)
        json_setc(a, o, "type", json_string(a, STR("object")));
    if (given && !open) {
        add_embedded(d, o, SCHEMA_DEPTH_MAX);
        add_own_members(d, o);
    }
    return o;
}

static struct json *list_schema(struct openapi_defs *d, const struct openapi_resource *r)
{
    struct arena *a = d->arena;
    struct json *o = json_object(a), *properties = json_object(a), *items = json_object(a),
                *required = json_array(a);
    json_setc(a, items, "description", json_string(a, STR("The objects.")));
    json_setc(a, items, "items", ref(d, openapi_defs_kind(d, r)));
    json_setc(a, items, "type", json_string(a, STR("array")));
    json_setc(a, properties, "apiVersion", text_member(a, OPENAPI_API_VERSION_TEXT));
    json_setc(a, properties, "items", items);
    json_setc(a, properties, "kind", text_member(a, OPENAPI_KIND_TEXT));
    json_setc(a, properties, "metadata",
              described_ref(d, openapi_defs_message(d, &meta_v1_list_meta_msg),
                            OPENAPI_LIST_METADATA_TEXT));
    json_append(a, required, json_string(a, STR("items")));
    json_setc(a, o, "description", json_stringf(a, "A list of %s objects.", r->kind->kind));
    json_setc(a, o, "properties", properties);
    json_setc(a, o, "required", required);
    json_setc(a, o, "type", json_string(a, STR("object")));
    return o;
}

void openapi_schema_custom(struct openapi_defs *d, const struct openapi_resource *r, bool list,
                           struct buf *out)
{
    struct arena *a = d->arena;
    struct json *o = list ? list_schema(d, r) : kind_schema(d, r);
    struct json *gvk = json_object(a), *gvks = json_array(a);
    json_setc(a, gvk, "group", json_string(a, str_of(r->kind->group)));
    json_setc(a, gvk, "kind", json_string(a, str_of(list ? r->kind->list_kind : r->kind->kind)));
    json_setc(a, gvk, "version", json_string(a, str_of(r->kind->version)));
    json_append(a, gvks, gvk);
    json_setc(a, o, "x-kubernetes-group-version-kind", gvks);
    json_write(o, true, out);
}
