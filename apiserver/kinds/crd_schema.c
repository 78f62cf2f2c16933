/* crd_schema.c - see crd.h. What is wrong with the structure, then with the
 * words of OpenAPI, then with the rules. */
#include "apiserver/kinds/crd.h"

#include "api/apiextensions_v1.h"
#include "apiserver/custom/rules.h"
#include "apiserver/custom/validate.h"
#include "apiserver/field_error.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/structural.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#define props_t struct apiextensions_v1_json_schema_props

static_assert(CRD_DEPTH_MAX == STRUCTURAL_DEPTH_MAX, "what is allowed can be built");

/* What holds for a place and everything below it. */
struct place {
    bool root, in_meta;     /* in_meta: below metadata, kind or apiVersion of an object. */
    const char *no_default; /* Why there may be no default; NULL: there may. */
    const struct field_path *uncorrelated; /* See struct rule_place. */
    bool has_rules;                        /* Rules here are looked at. */
    bool bounded; /* At most so many values, of all lists and maps around: */
    uint64_t cardinality;
    unsigned depth; /* Left. */
};

struct schema_check {
    struct field_errors *schema, rules;
    struct rule_costs costs;
    bool stored;
};

static bool is_type(const props_t *p, const char *type)
{
    return str_eqc(p->type, type);
}

static const props_t *items_of(const props_t *p)
{
    return p->items != NULL ? p->items->schema : NULL;
}

/* --- forms that no schema may have ------------------------------------------------------ */
static void check_type(struct field_errors *errs, const struct field_path *path, const props_t *p)
{
    static const char *const types[] = {"array",  "boolean", "integer", "number",
                                        "object", "string",  NULL};
    for (size_t i = 0; types[i] != NULL; i++)
        if (is_type(p, types[i]))
            return;
    if (p->type.len != 0)
        field_not_supported(errs, PATH(path, "type"), p->type, types);
}

static void check_forbidden(struct field_errors *errs, const struct field_path *path,
                            const props_t *p, const struct place *at)
{
    const struct {
        bool given;
        const char *name, *why;
    } forms[] = {
        {p->id.len != 0, "id", "id is not supported"},
        {p->additional_items != NULL, "additionalItems", "additionalItems is not supported"},
        {p->pattern_properties_count != 0, "patternProperties",
         "patternProperties is not supported"},
        {p->definitions_count != 0, "definitions", "definitions is not supported"},
        {p->dependencies_count != 0, "dependencies", "dependencies is not supported"},
        {p->has_ref, "$ref", "$ref is not supported"},
        {is_type(p, "null"), "type", "type cannot be set to null, use nullable as an alternative"},
        {p->items != NULL && p->items->json_schemas_count != 0, "items",
         "items must be a schema object and not an array"},
        {at->in_meta && p->x_kubernetes_embedded_resource, "x-kubernetes-embedded-resource",
         "must not be used inside of resource meta"},
        {p->unique_items, "uniqueItems",
         "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"},
        {p->additional_properties != NULL && p->properties_count != 0 &&
             (p->additional_properties->schema != NULL || !p->additional_properties->allows),
         "additionalProperties", "additionalProperties and properties are mutual exclusive"},
    };
    check_type(errs, path, p);
    if (p->default_ != NULL && at->no_default != NULL)
        field_forbidden(errs, PATH(path, "default"), "must not be set %s", at->no_default);
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
        if (forms[i].given)
            field_forbidden(errs, PATH(path, forms[i].name), "%s", forms[i].why);
}

/* --- extensions --------------------------------------------------------------------------- */
static struct str keys_text(struct field_errors *errs, const props_t *p)
{
    return field_strings_render(errs->arena, p->x_kubernetes_list_map_keys,
                                p->x_kubernetes_list_map_keys_count);
}

static void check_keys(struct field_errors *errs, const struct field_path *path, const props_t *p)
{
    const props_t *items = items_of(p);
    const struct field_path *below = PATH(path, "items");
    const struct field_path *keys = PATH(path, "x-kubernetes-list-map-keys");
    if (p->x_kubernetes_list_map_keys_count == 0)
        field_required(errs, keys, "must not be empty if x-kubernetes-list-type is map");
    if (p->items == NULL)
        field_required(errs, below, "must have a schema if x-kubernetes-list-type is map");
    if (items == NULL)
        return;
    if (!is_type(items, "object")) {
        field_invalid(errs, PATH(below, "type"), items->type,
                      "must be object if parent array's x-kubernetes-list-type is map");
        return;
    }
    for (size_t i = 0; i < p->x_kubernetes_list_map_keys_count; i++) {
        struct str key = p->x_kubernetes_list_map_keys[i];
        const props_t *k = crd_property(items, key);
        if (k == NULL)
            field_invalid_raw(errs, keys, keys_text(errs, p),
                              "entries must all be names of item properties");
        else if (is_type(k, "array") || is_type(k, "object"))
            field_invalid(errs, PATH(PATH_KEY(PATH(below, "properties"), key), "type"), items->type,
                          "must be a scalar type if parent array's x-kubernetes-list-type is map");
        for (size_t j = 0; j < i; j++)
            if (str_eq(p->x_kubernetes_list_map_keys[j], key)) {
                field_invalid_raw(errs, keys, keys_text(errs, p),
                                  "must not contain duplicate entries");
                break;
            }
    }
}

/* Items and keys that could be missing tell nothing apart. */
static void check_nullable(struct field_errors *errs, const struct field_path *path,
                           const props_t *p)
{
    const props_t *items = items_of(p);
    bool map = str_eqc(p->x_kubernetes_list_type, "map");
    if (items == NULL || (!map && !str_eqc(p->x_kubernetes_list_type, "set")))
        return;
    const struct field_path *below = PATH(path, "items");
    if (items->nullable)
        field_forbidden(errs, PATH(below, "nullable"),
                        "cannot be nullable when x-kubernetes-list-type is " STR_FMT,
                        STR_ARG(p->x_kubernetes_list_type));
    for (size_t i = 0; map && i < p->x_kubernetes_list_map_keys_count; i++) {
        struct str key = p->x_kubernetes_list_map_keys[i];
        const props_t *k = crd_property(items, key);
        const struct field_path *at = PATH_KEY(PATH(below, "properties"), key);
        bool required = false;
        for (size_t j = 0; j < items->required_count; j++)
            required |= str_eq(items->required[j], key);
        if (k != NULL && !required && k->default_ == NULL)
            field_required(errs, PATH(at, "default"),
                           "this property is in x-kubernetes-list-map-keys, so it must have a "
                           "default or be a required property");
        if (k != NULL && k->nullable)
            field_forbidden(errs, PATH(at, "nullable"),
                            "this property is in x-kubernetes-list-map-keys, so it cannot be "
                            "nullable");
    }
}

/* Items of sets are compared as a whole. */
static void check_set(struct field_errors *errs, const struct field_path *path, const props_t *p)
{
    static const char why[] = "must be atomic as item of a list with x-kubernetes-list-type=set";
    const props_t *items = items_of(p);
    const struct field_path *below = PATH(path, "items");
    if (items == NULL || !str_eqc(p->x_kubernetes_list_type, "set"))
        return;
    AUTO_BUF b = BUF_INIT;
    if (items->has_x_kubernetes_list_type)
        json_write_string(items->x_kubernetes_list_type, &b);
    else
        buf_puts(&b, "null");
    if (is_type(items, "array") && items->has_x_kubernetes_list_type &&
        !str_eqc(items->x_kubernetes_list_type, "atomic"))
        field_invalid_raw(errs, PATH(below, "x-kubernetes-list-type"), buf_str(&b), why);
    if (is_type(items, "object") && !str_eqc(items->x_kubernetes_map_type, "atomic"))
        field_invalid_raw(errs, PATH(below, "x-kubernetes-map-type"), buf_str(&b), why);
}

static void check_extension_type(struct field_errors *errs, const struct field_path *path,
                                 const props_t *p, const char *type, const char *extension)
{
    if (p->type.len == 0)
        field_required(errs, PATH(path, "type"), "must be %s if %s is specified", type, extension);
    else
        field_invalid(errs, PATH(path, "type"), p->type, "must be %s if %s is specified", type,
                      extension);
}

static void check_extensions(struct field_errors *errs, const struct field_path *path,
                             const props_t *p)
{
    static const char *const list_types[] = {"atomic", "set", "map", NULL};
    static const char *const map_types[] = {"atomic", "granular", NULL};
    struct str list = p->x_kubernetes_list_type, map = p->x_kubernetes_map_type;
    const struct field_path *list_path = PATH(path, "x-kubernetes-list-type");
    if (p->has_x_kubernetes_preserve_unknown_fields && !p->x_kubernetes_preserve_unknown_fields)
        field_invalid_bool(errs, PATH(path, "x-kubernetes-preserve-unknown-fields"), false,
                           "must be true or undefined");
    if (p->has_x_kubernetes_map_type) {
        if (!is_type(p, "object"))
            check_extension_type(errs, path, p, "object", "x-kubernetes-map-type");
        if (!str_eqc(map, "atomic") && !str_eqc(map, "granular"))
            field_not_supported(errs, PATH(path, "x-kubernetes-map-type"), map, map_types);
    }
    if (p->has_x_kubernetes_list_type) {
        if (!is_type(p, "array"))
            check_extension_type(errs, path, p, "array", "x-kubernetes-list-type");
        else
            check_set(errs, path, p);
        if (!str_eqc(list, "atomic") && !str_eqc(list, "set") && !str_eqc(list, "map"))
            field_not_supported(errs, list_path, list, list_types);
    }
    if (p->x_kubernetes_list_map_keys_count != 0) {
        static const char why[] = "must be map if x-kubernetes-list-map-keys is non-empty";
        if (!p->has_x_kubernetes_list_type)
            field_required(errs, list_path, why);
        else if (!str_eqc(list, "map"))
            field_invalid(errs, list_path, list, why);
    }
    if (str_eqc(list, "map"))
        check_keys(errs, path, p);
    check_nullable(errs, path, p);
}

/* --- all places ------------------------------------------------------------------------------ */
/* How many values a place makes of one around it; rules below are counted by it. */
static void multiply(struct place *below, const props_t *p)
{
    bool map = is_type(p, "object") && p->additional_properties != NULL;
    bool limited = map ? p->has_max_properties : p->has_max_items;
    int64_t limit = map ? p->max_properties : p->max_items;
    if (!below->bounded || (!map && !is_type(p, "array")))
        return;
    below->bounded = limited;
    below->cardinality =
        limited ? rule_times(below->cardinality, (uint64_t)MAX_OF(limit, (int64_t)0)) : 0;
}

static void check_openapi(struct schema_check *c, const struct field_path *path, const props_t *p,
                          struct place at);

static void check_properties(struct schema_check *c, const struct field_path *path,
                             const props_t *p, const struct place *at, struct place below)
{
    if (str_eqc(p->x_kubernetes_map_type, "atomic") && below.uncorrelated == NULL)
        below.uncorrelated = path;
    for (size_t i = 0; i < p->properties_count; i++) {
        struct str key = p->properties[i].key;
        struct place own = below;
        if ((at->root || p->x_kubernetes_embedded_resource) && structural_is_meta(key)) {
            own.in_meta = true;
            if (at->root)
                own.no_default =
                    str_c(arena_printf(c->schema->arena, "in top-level " STR_FMT, STR_ARG(key)));
        }
        check_openapi(c, PATH_KEY(PATH(path, "properties"), key), &p->properties[i].value, own);
    }
}

static void check_nested(struct schema_check *c, const struct field_path *path, const props_t *p,
                         struct place below)
{
    below.has_rules = false;
    if (p->not != NULL)
        check_openapi(c, PATH(path, "not"), p->not, below);
    for (size_t i = 0; i < p->all_of_count; i++)
        check_openapi(c, PATH_INDEX(PATH(path, "allOf"), i), &p->all_of[i], below);
    for (size_t i = 0; i < p->one_of_count; i++)
        check_openapi(c, PATH_INDEX(PATH(path, "oneOf"), i), &p->one_of[i], below);
    for (size_t i = 0; i < p->any_of_count; i++)
        check_openapi(c, PATH_INDEX(PATH(path, "anyOf"), i), &p->any_of[i], below);
}

static void check_openapi(struct schema_check *c, const struct field_path *path, const props_t *p,
                          struct place at)
{
    struct place below = at;
    size_t before = c->schema->count;
    if (at.depth == 0) {
        field_invalid(c->schema, path, STR(""), "must not be nested deeper than %u schemas",
                      CRD_DEPTH_MAX);
        return;
    }
    below.root = false;
    below.depth--;
    multiply(&below, p);
    check_forbidden(c->schema, path, p, &at);
    if (p->additional_properties != NULL && p->additional_properties->schema != NULL) {
        struct place own = below;
        if (at.in_meta)
            own.no_default = "inside additionalProperties applying to object metadata";
        check_openapi(c, PATH(path, "additionalProperties"), p->additional_properties->schema, own);
    }
    check_properties(c, path, p, &at, below);
    check_nested(c, path, p, below);
    if (items_of(p) != NULL) {
        struct place own = below;
        if (!str_eqc(p->x_kubernetes_list_type, "map") && own.uncorrelated == NULL)
            own.uncorrelated = path;
        check_openapi(c, PATH(path, "items"), items_of(p), own);
    }
    check_extensions(c->schema, path, p);
    if (p->x_kubernetes_validations_count == 0)
        return;
    custom_rules_check_form(c->schema, path, p);
    const struct rule_place place = {.root = at.root,
                                     .uncorrelated = at.uncorrelated,
                                     .bounded = at.bounded,
                                     .cardinality = at.cardinality,
                                     .stored = c->stored};
    /* Of a schema that is wrong, rules say nothing that helps. */
    if (at.has_rules && c->schema->count == before)
        custom_rules_check_code(&c->rules, path, p, &place, &c->costs);
}

/* --- defaults -------------------------------------------------------------------------------- */
static void check_default(struct field_errors *errs, const struct field_path *path,
                          const struct structural *s)
{
    struct arena *a = errs->arena;
    if (s->default_ == NULL)
        return;
    struct json *pruned = json_clone(a, s->default_);
    structural_prune(a, s, pruned, s->embedded, NULL);
    if (!json_equal(pruned, s->default_)) {
        AUTO_BUF b = BUF_INIT;
        json_write(s->default_, true, &b);
        field_invalid_raw(errs, path, buf_str(&b), "must not have unknown fields");
    }
    if (!custom_validate_at(errs, path, s, s->default_))
        return;
    size_t before = errs->count;
    custom_rules_check(errs, path, s, s->default_, s->default_);
    if (errs->count == before) /* Rules may ask whether there was a value before. */
        custom_rules_check(errs, path, s, s->default_, NULL);
}

/* Not below additionalProperties, as upstream. */
static void check_defaults(struct field_errors *errs, const struct field_path *path,
                           const struct structural *s)
{
    if (!s->has_default_below)
        return;
    check_default(errs, PATH(path, "default"), s);
    if (s->items != NULL)
        check_defaults(errs, PATH(path, "items"), s->items);
    for (size_t i = 0; i < s->member_count; i++)
        check_defaults(errs, PATH_KEY(PATH(path, "properties"), s->members[i].name),
                       &s->members[i].schema);
}

/* --- the whole -----------------------------------------------------------------------------------
 */
/* Does bad hold for the schema or one below it? Below depth it does. */
static bool is_any(const props_t *p, unsigned depth, bool (*bad)(const props_t *p))
{
    const props_t *extra =
        p->additional_properties != NULL ? p->additional_properties->schema : NULL;
    const struct {
        const props_t *list;
        size_t count;
    } lists[] = {{p->all_of, p->all_of_count},       {p->any_of, p->any_of_count},
                 {p->one_of, p->one_of_count},       {p->not, p->not != NULL},
                 {items_of(p), items_of(p) != NULL}, {extra, extra != NULL}};
    if (depth == 0 || bad(p))
        return true;
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        for (size_t j = 0; j < lists[i].count; j++)
            if (is_any(&lists[i].list[j], depth - 1, bad))
                return true;
    for (size_t i = 0; i < p->properties_count; i++)
        if (is_any(&p->properties[i].value, depth - 1, bad))
            return true;
    return false;
}

static bool never(const props_t *p)
{
    UNUSED(p);
    return false;
}

/* Beside a status subresource the root may say only what holds for parts too. */
static void check_root(struct field_errors *errs, const struct field_path *path, const props_t *p)
{
    static const char allowed[] =
        "[Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum "
        "MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items "
        "Properties ExternalDocs Example XPreserveUnknownFields XValidations]";
    bool before_type = p->id.len != 0 || p->schema.len != 0 || p->has_ref;
    if (!before_type && p->type.len != 0 && !is_type(p, "object")) {
        field_invalid(errs, PATH(path, "type"), p->type,
                      "only \"object\" is allowed as the type at the root of the schema if the "
                      "status subresource is enabled");
        return;
    }
    if (before_type || p->nullable || p->default_ != NULL || p->enum_count != 0 ||
        p->has_max_properties || p->has_min_properties || p->all_of_count != 0 ||
        p->one_of_count != 0 || p->any_of_count != 0 || p->not != NULL ||
        p->additional_properties != NULL || p->pattern_properties_count != 0 ||
        p->dependencies_count != 0 || p->additional_items != NULL || p->definitions_count != 0 ||
        p->x_kubernetes_embedded_resource || p->x_kubernetes_int_or_string ||
        p->x_kubernetes_list_map_keys_count != 0 || p->has_x_kubernetes_list_type ||
        p->has_x_kubernetes_map_type)
        field_invalid_msg(errs, path, &apiextensions_v1_json_schema_props_msg, p,
                          "only %s fields are allowed at the root of the schema if the status "
                          "subresource is enabled",
                          allowed);
}

/* Of which no structure can be made; what is wrong is said elsewhere. */
static bool is_odd(const props_t *p)
{
    return p->id.len != 0 || p->schema.len != 0 || p->ref.len != 0 ||
           p->pattern_properties_count != 0 || p->dependencies_count != 0 ||
           p->additional_items != NULL || p->definitions_count != 0 ||
           (p->items != NULL && p->items->json_schemas_count != 0) ||
           (p->has_x_kubernetes_preserve_unknown_fields &&
            !p->x_kubernetes_preserve_unknown_fields);
}

/* True: it can be worked with, and so can its rules. */
static bool check_structural(struct field_errors *errs, const struct field_path *path,
                             const props_t *p)
{
    const struct structural *s;
    struct error err = {0};
    size_t before = errs->count;
    if (is_any(p, CRD_DEPTH_MAX, is_odd))
        return false;
    crd_check_structure(errs, path, p);
    if (errs->count != before)
        return false;
    if (structural_build(errs->arena, p, &s, &err) != 0) {
        field_invalid(errs, path, STR(""), "%s", error_message(&err));
        return false;
    }
    if (s->has_default_below) {
        custom_rules_prepare(errs->arena, s,
                             api_json_tree(errs->arena, &apiextensions_v1_json_schema_props_msg, p,
                                           STR_NULL, STR_NULL));
        check_defaults(errs, path, s);
    }
    return errs->count == before;
}

void crd_check_schema(struct field_errors *errs, const struct field_path *path,
                      const struct apiextensions_v1_custom_resource_validation *v, bool status,
                      bool stored)
{
    const props_t *p = v != NULL ? v->open_apiv3_schema : NULL;
    if (p == NULL)
        return;
    if (is_any(p, CRD_DEPTH_MAX, never)) {
        field_invalid(errs, path, STR(""), "must not be nested deeper than %u schemas",
                      CRD_DEPTH_MAX);
        return;
    }
    if (status)
        check_root(errs, path, p);
    if (p->nullable)
        field_forbidden(errs, PATH(path, "nullable"), "nullable cannot be true at the root");
    struct schema_check c = {.schema = errs, .rules = {.arena = errs->arena}, .stored = stored};
    bool structural = check_structural(errs, path, p);
    check_openapi(&c, path, p,
                  (struct place){.root = true,
                                 .has_rules = structural,
                                 .bounded = true,
                                 .cardinality = 1,
                                 .depth = CRD_DEPTH_MAX});
    field_errors_append(errs, &c.rules);
    custom_rules_check_costs(errs, path, &c.costs);
}
