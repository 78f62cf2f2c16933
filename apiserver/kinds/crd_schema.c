/* crd_schema.c - see crd.h. A schema must be structural: every place in it says
 * its type, and combinations (allOf, anyOf, oneOf, not) only narrow down what
 * stands beside them. */
#include "apiserver/kinds/crd.h"

#include "api/apiextensions_v1.h"
#include "apiserver/custom/rules.h"
#include "apiserver/custom/validate.h"
#include "apiserver/field_error.h"
#include "lib/api/json.h"
#include "lib/api/jsonpath.h"
#include "lib/api/structural.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <stdlib.h>

#define props_t struct apiextensions_v1_json_schema_props

#define DEPTH_MAX STRUCTURAL_DEPTH_MAX

enum level { LEVEL_ROOT, LEVEL_FIELD, LEVEL_ITEM };

static bool is_type(const props_t *p, const char *type)
{
    return str_eqc(p->type, type);
}

static const props_t *find(const props_t *p, struct str name)
{
    for (size_t i = 0; i < p->properties_count; i++)
        if (str_eq(p->properties[i].key, name))
            return &p->properties[i].value;
    return NULL;
}

static const props_t *items_of(const props_t *p)
{
    return p->items != NULL ? p->items->schema : NULL;
}

/* --- forms that no schema may have ------------------------------------------------------ */
static void check_forbidden(struct field_errors *errs, const struct field_path *path,
                            const props_t *p)
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
        {p->unique_items, "uniqueItems",
         "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"},
        {p->additional_properties != NULL && p->properties_count != 0 &&
             (p->additional_properties->schema != NULL || !p->additional_properties->allows ||
              p->additional_properties->allows),
         "additionalProperties", "additionalProperties and properties are mutual exclusive"},
        {p->additional_properties != NULL && p->additional_properties->schema == NULL &&
             !p->additional_properties->allows,
         "additionalProperties", "additionalProperties cannot be set to false"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
        if (forms[i].given)
            field_forbidden(errs, PATH(path, forms[i].name), "%s", forms[i].why);
}

static bool is_scalar(const props_t *p)
{
    return is_type(p, "string") || is_type(p, "integer") || is_type(p, "number") ||
           is_type(p, "boolean");
}

static void check_keys(struct field_errors *errs, const struct field_path *path, const props_t *p)
{
    const props_t *items = items_of(p);
    if (p->x_kubernetes_list_map_keys_count == 0)
        field_required(errs, PATH(path, "x-kubernetes-list-map-keys"),
                       "must not be empty if x-kubernetes-list-type is map");
    if (items == NULL) {
        field_required(errs, PATH(path, "items"),
                       "must have a schema if x-kubernetes-list-type is map");
        return;
    }
    const struct field_path *below = PATH(path, "items");
    if (!is_type(items, "object"))
        field_invalid(errs, PATH(below, "type"), items->type,
                      "must be object if parent array's x-kubernetes-list-type is map");
    for (size_t i = 0; i < p->x_kubernetes_list_map_keys_count; i++) {
        struct str key = p->x_kubernetes_list_map_keys[i];
        const props_t *k = find(items, key);
        const struct field_path *at = PATH_KEY(PATH(below, "properties"), key);
        bool required = false;
        if (k == NULL) {
            field_invalid_raw(errs, PATH(path, "x-kubernetes-list-map-keys"),
                              field_strings_render(errs->arena, p->x_kubernetes_list_map_keys,
                                                   p->x_kubernetes_list_map_keys_count),
                              "entries must all be names of item properties");
            continue;
        }
        if (!is_scalar(k))
            field_invalid(errs, PATH(at, "type"), k->type,
                          "must be a scalar type if parent array's x-kubernetes-list-type is map");
        for (size_t j = 0; j < items->required_count; j++)
            required |= str_eq(items->required[j], key);
        if (!required && k->default_ == NULL)
            field_required(errs, PATH(at, "default"),
                           "this property is in x-kubernetes-list-map-keys, so it must have a "
                           "default or be a required property");
    }
}

static void check_extension_type(struct field_errors *errs, const struct field_path *path,
                                 const props_t *p, const char *type, const char *extension)
{
    if (p->type.len == 0)
        field_required(errs, PATH(path, "type"), "must be %s if %s is specified", type, extension);
    else if (!is_type(p, type))
        field_invalid(errs, PATH(path, "type"), p->type, "must be %s if %s is specified", type,
                      extension);
}

static void check_extensions(struct field_errors *errs, const struct field_path *path,
                             const props_t *p)
{
    static const char *const list_types[] = {"atomic", "map", "set", NULL};
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
        if (!str_eqc(list, "atomic") && !str_eqc(list, "set") && !str_eqc(list, "map"))
            field_not_supported(errs, list_path, list, list_types);
    }
    if (p->x_kubernetes_list_map_keys_count != 0) {
        if (!p->has_x_kubernetes_list_type)
            field_required(errs, list_path,
                           "must be map if x-kubernetes-list-map-keys is non-empty");
        else if (!str_eqc(list, "map"))
            field_invalid(errs, list_path, list,
                          "must be map if x-kubernetes-list-map-keys is non-empty");
    }
    if (str_eqc(list, "map"))
        check_keys(errs, path, p);
}

static void check_forms(struct field_errors *errs, const struct field_path *path, const props_t *p,
                        unsigned depth)
{
    if (depth == 0) {
        field_invalid(errs, path, STR(""), "must not be nested deeper than %u schemas", DEPTH_MAX);
        return;
    }
    check_forbidden(errs, path, p);
    if (p->not != NULL)
        check_forms(errs, PATH(path, "not"), p->not, depth - 1);
    for (size_t i = 0; i < p->all_of_count; i++)
        check_forms(errs, PATH_INDEX(PATH(path, "allOf"), i), &p->all_of[i], depth - 1);
    for (size_t i = 0; i < p->one_of_count; i++)
        check_forms(errs, PATH_INDEX(PATH(path, "oneOf"), i), &p->one_of[i], depth - 1);
    for (size_t i = 0; i < p->any_of_count; i++)
        check_forms(errs, PATH_INDEX(PATH(path, "anyOf"), i), &p->any_of[i], depth - 1);
    for (size_t i = 0; i < p->properties_count; i++)
        check_forms(errs, PATH_KEY(PATH(path, "properties"), p->properties[i].key),
                    &p->properties[i].value, depth - 1);
    if (p->additional_properties != NULL && p->additional_properties->schema != NULL)
        check_forms(errs, PATH(path, "additionalProperties"), p->additional_properties->schema,
                    depth - 1);
    if (items_of(p) != NULL)
        check_forms(errs, PATH(path, "items"), items_of(p), depth - 1);
    check_extensions(errs, path, p);
    struct error err = {0};
    struct pattern *pattern = p->pattern.len != 0 ? pattern_new(p->pattern, &err) : NULL;
    if (p->pattern.len != 0 && pattern == NULL)
        field_invalid(errs, PATH(path, "pattern"), p->pattern,
                      "must be a valid regular expression, but isn't: %s", error_message(&err));
    pattern_free(pattern);
    custom_rules_compile(errs, path, p, depth == DEPTH_MAX);
}

/* --- structure ------------------------------------------------------------------------------ */
/* Inside a combination: nothing but rules for values. */
static void check_nested(struct field_errors *errs, const struct field_path *path, const props_t *p,
                         bool int_or_string)
{
    static const char undefined[] = "must be undefined to be structural",
                      empty[] = "must be empty to be structural",
                      off[] = "must be false to be structural";
    const struct {
        bool given;
        const char *name, *why;
    } forms[] = {
        {p->type.len != 0 && !int_or_string, "type", empty},
        {p->additional_properties != NULL, "additionalProperties", undefined},
        {p->default_ != NULL, "default", undefined},
        {p->title.len != 0, "title", empty},
        {p->description.len != 0, "description", empty},
        {p->nullable, "nullable", off},
        {p->x_kubernetes_preserve_unknown_fields, "x-kubernetes-preserve-unknown-fields", off},
        {p->x_kubernetes_embedded_resource, "x-kubernetes-embedded-resource", off},
        {p->x_kubernetes_int_or_string, "x-kubernetes-int-or-string", off},
        {p->x_kubernetes_list_map_keys_count != 0, "x-kubernetes-list-map-keys", empty},
        {p->has_x_kubernetes_list_type, "x-kubernetes-list-type", undefined},
        {p->has_x_kubernetes_map_type, "x-kubernetes-map-type", undefined},
        {find(p, STR("metadata")) != NULL, "properties[metadata]",
         "must not be specified in a nested context"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
        if (forms[i].given)
            field_forbidden(errs, PATH(path, forms[i].name), "%s", forms[i].why);
    for (size_t i = 0; i < p->properties_count; i++)
        check_nested(errs, PATH_KEY(PATH(path, "properties"), p->properties[i].key),
                     &p->properties[i].value, false);
    if (items_of(p) != NULL)
        check_nested(errs, PATH(path, "items"), items_of(p), false);
    for (size_t i = 0; i < p->all_of_count; i++)
        check_nested(errs, PATH_INDEX(PATH(path, "allOf"), i), &p->all_of[i], int_or_string);
    for (size_t i = 0; i < p->any_of_count; i++)
        check_nested(errs, PATH_INDEX(PATH(path, "anyOf"), i), &p->any_of[i], int_or_string);
    for (size_t i = 0; i < p->one_of_count; i++)
        check_nested(errs, PATH_INDEX(PATH(path, "oneOf"), i), &p->one_of[i], false);
    if (p->not != NULL)
        check_nested(errs, PATH(path, "not"), p->not, false);
}

/* What a combination speaks of must stand beside it. */
static void check_complete(struct field_errors *errs, const struct field_path *path,
                           const props_t *p, const props_t *nested, const struct field_path *from)
{
    const props_t *lists[] = {nested->all_of, nested->any_of, nested->one_of, nested->not };
    const size_t counts[] = {nested->all_of_count, nested->any_of_count, nested->one_of_count,
                             nested->not != NULL};
    for (size_t i = 0; i < nested->properties_count; i++) {
        struct str key = nested->properties[i].key;
        const props_t *own = find(p, key);
        const struct field_path *at = PATH_KEY(PATH(path, "properties"), key);
        const struct field_path *there = PATH_KEY(PATH(from, "properties"), key);
        if (own != NULL) {
            check_complete(errs, at, own, &nested->properties[i].value, there);
        } else if (p->additional_properties == NULL || p->additional_properties->schema == NULL) {
            AUTO_BUF b = BUF_INIT;
            field_path_write(there, &b);
            struct str text = buf_str(&b);
            if (p->additional_properties == NULL)
                field_required(errs, at, "because it is defined in " STR_FMT, STR_ARG(text));
        }
    }
    if (items_of(nested) != NULL) {
        if (items_of(p) != NULL) {
            check_complete(errs, PATH(path, "items"), items_of(p), items_of(nested),
                           PATH(from, "items"));
        } else {
            AUTO_BUF b = BUF_INIT;
            field_path_write(PATH(from, "items"), &b);
            struct str text = buf_str(&b);
            field_required(errs, PATH(path, "items"), "because it is defined in " STR_FMT,
                           STR_ARG(text));
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        for (size_t j = 0; j < counts[i]; j++)
            check_complete(errs, path, p, &lists[i][j], from);
}

static void check_combinations(struct field_errors *errs, const struct field_path *path,
                               const props_t *p)
{
    bool ios = p->x_kubernetes_int_or_string;
    const struct {
        const char *name;
        const props_t *list;
        size_t count;
        bool int_or_string;
    } groups[] = {
        {"allOf", p->all_of, p->all_of_count, ios},
        {"anyOf", p->any_of, p->any_of_count, ios},
        {"oneOf", p->one_of, p->one_of_count, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
        for (size_t j = 0; j < groups[i].count; j++) {
            const struct field_path *at = PATH_INDEX(PATH(path, groups[i].name), j);
            check_nested(errs, at, &groups[i].list[j], groups[i].int_or_string);
            check_complete(errs, path, p, &groups[i].list[j], at);
        }
    if (p->not != NULL) {
        check_nested(errs, PATH(path, "not"), p->not, false);
        check_complete(errs, path, p, p->not, PATH(path, "not"));
    }
}

static void check_metadata(struct field_errors *errs, const struct field_path *path,
                           const props_t *p)
{
    static const char *const texts[] = {"apiVersion", "kind"};
    const struct field_path *properties = PATH(path, "properties");
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        const props_t *x = find(p, str_of(texts[i]));
        if (x != NULL && !is_type(x, "string"))
            field_invalid(errs, PATH(PATH_KEY(properties, str_of(texts[i])), "type"), x->type,
                          "must be string");
    }
    const props_t *m = find(p, STR("metadata"));
    const struct field_path *at = PATH_KEY(properties, STR("metadata"));
    if (m == NULL)
        return;
    if (!is_type(m, "object"))
        field_invalid(errs, PATH(at, "type"), m->type, "must be object");
    for (size_t i = 0; i < m->properties_count; i++)
        if (!str_eqc(m->properties[i].key, "name") &&
            !str_eqc(m->properties[i].key, "generateName")) {
            field_forbidden(errs, at,
                            "must not specify anything other than name and generateName, but "
                            "metadata is implicitly specified");
            return;
        }
}

static void check_place(struct field_errors *errs, const struct field_path *path, const props_t *p,
                        enum level level)
{
    static const char *const missing[] = {"must not be empty at the root",
                                          "must not be empty for specified object fields",
                                          "must not be empty for specified array items"};
    const struct field_path *type = PATH(path, "type");
    bool embedded = p->x_kubernetes_embedded_resource;
    if (level == LEVEL_ROOT && p->additional_properties != NULL)
        field_forbidden(errs, PATH(path, "additionalProperties"), "must not be used at the root");
    if (p->x_kubernetes_int_or_string && p->type.len != 0)
        field_invalid(errs, type, p->type, "must be empty if x-kubernetes-int-or-string is true");
    if (embedded && !is_type(p, "object")) {
        if (p->type.len == 0)
            field_required(errs, type, "must be object if x-kubernetes-embedded-resource is true");
        else
            field_invalid(errs, type, p->type,
                          "must be object if x-kubernetes-embedded-resource is true");
    } else if (p->type.len == 0 && !p->x_kubernetes_int_or_string &&
               !p->x_kubernetes_preserve_unknown_fields) {
        field_required(errs, type, "%s", missing[level]);
    }
    if (embedded && p->additional_properties != NULL)
        field_forbidden(errs, PATH(path, "additionalProperties"),
                        "must not be used if x-kubernetes-embedded-resource is set");
    if (level == LEVEL_ROOT && p->type.len != 0 && !is_type(p, "object"))
        field_invalid(errs, type, p->type, "must be object at the root");
    if (embedded && !p->x_kubernetes_preserve_unknown_fields && p->properties_count == 0)
        field_required(errs, PATH(path, "properties"),
                       "must not be empty if x-kubernetes-embedded-resource is true without "
                       "x-kubernetes-preserve-unknown-fields");
    if (level == LEVEL_ROOT || embedded)
        check_metadata(errs, path, p);
}

static void check_structure(struct field_errors *errs, const struct field_path *path,
                            const props_t *p, enum level level)
{
    if (items_of(p) != NULL)
        check_structure(errs, PATH(path, "items"), items_of(p), LEVEL_ITEM);
    for (size_t i = 0; i < p->properties_count; i++)
        check_structure(errs, PATH_KEY(PATH(path, "properties"), p->properties[i].key),
                        &p->properties[i].value, LEVEL_FIELD);
    if (p->additional_properties != NULL && p->additional_properties->schema != NULL)
        check_structure(errs, PATH(path, "additionalProperties"), p->additional_properties->schema,
                        LEVEL_FIELD);
    check_place(errs, path, p, level);
    check_combinations(errs, path, p);
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
    (void)custom_validate_at(errs, path, s, s->default_);
}

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
    if (s->additional != NULL)
        check_defaults(errs, PATH(path, "additionalProperties"), s->additional);
}

/* --- the whole -----------------------------------------------------------------------------------
 */
static int by_text(const void *x, const void *y)
{
    const struct field_error *a = x, *b = y;
    int order = str_cmp(a->path, b->path);
    return order != 0 ? order : str_cmp(a->message, b->message);
}

void crd_check_schema(struct field_errors *errs, const struct field_path *path,
                      const struct apiextensions_v1_custom_resource_validation *v, bool status)
{
    const props_t *p = v != NULL ? v->open_apiv3_schema : NULL;
    struct error err = {0};
    if (p == NULL)
        return;
    if (status && p->type.len != 0 && !is_type(p, "object"))
        field_invalid(errs, PATH(path, "type"), p->type,
                      "only \"object\" is allowed as \"type\" at the root of the schema if the "
                      "status subresource is enabled");
    if (p->nullable)
        field_forbidden(errs, PATH(path, "nullable"), "nullable cannot be true at the root");
    size_t before = errs->count;
    check_forms(errs, path, p, DEPTH_MAX);
    if (errs->count != before)
        return;
    check_structure(errs, path, p, LEVEL_ROOT);
    if (errs->count != before) {
        qsort(&errs->items[before], errs->count - before, sizeof(*errs->items), by_text);
        return;
    }
    const struct structural *s;
    if (structural_build(errs->arena, p, &s, &err) != 0)
        field_invalid(errs, path, STR(""), "%s", error_message(&err));
    else
        check_defaults(errs, path, s);
}

void crd_check_selectable(struct field_errors *errs, const struct field_path *path,
                          const struct apiextensions_v1_custom_resource_validation *v,
                          struct str json_path)
{
    struct str names[STRUCTURAL_DEPTH_MAX];
    const struct jsonpath *parsed;
    const props_t *p = v != NULL ? v->open_apiv3_schema : NULL;
    if (p == NULL || jsonpath_parse(errs->arena, json_path, &parsed, NULL) != 0)
        return;
    if (!jsonpath_is_simple(parsed)) {
        field_invalid(errs, path, json_path, "is an invalid path: only plain fields are allowed");
        return;
    }
    size_t n = jsonpath_names(parsed, names, ARRAY_SIZE(names));
    if (n > 0 && str_eqc(names[0], "metadata")) {
        field_invalid(errs, path, json_path, "must not point to fields in metadata");
        return;
    }
    for (size_t i = 0; p != NULL && i < n; i++)
        p = find(p, names[i]);
    if (p == NULL)
        field_invalid(errs, path, json_path, "is an invalid path: does not refer to a valid field");
    else if (!is_type(p, "string") && !is_type(p, "integer") && !is_type(p, "boolean"))
        field_invalid(errs, path, json_path,
                      "must point to a field of type string, boolean or integer. Enum string "
                      "fields and strings with formats are allowed.");
}
