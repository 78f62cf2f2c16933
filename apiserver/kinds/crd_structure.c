/* crd_structure.c - see crd.h. */
#include "api/apiextensions_v1.h"
#include "apiserver/field_error.h"
#include "apiserver/kinds/crd.h"
#include "lib/api/codec.h"
#include "lib/api/structural.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <stdlib.h>

#define props_t struct apiextensions_v1_json_schema_props

enum level { LEVEL_ROOT, LEVEL_FIELD, LEVEL_ITEM };

static bool is_type(const props_t *p, const char *type)
{
    return str_eqc(p->type, type);
}

static const props_t *items_of(const props_t *p)
{
    return p->items != NULL ? p->items->schema : NULL;
}

static bool is_only_type(const props_t *p, const char *type)
{
    const props_t only = {.type = str_of(type)};
    return api_msg_equal(&apiextensions_v1_json_schema_props_msg, p, &only);
}

/* anyOf an integer and a string, word for word. */
static bool is_either(const props_t *p)
{
    return p->any_of_count == 2 && is_only_type(&p->any_of[0], "integer") &&
           is_only_type(&p->any_of[1], "string");
}

static void check_pattern(struct field_errors *errs, const struct field_path *path,
                          const props_t *p)
{
    struct error err = {0};
    if (p->pattern.len == 0)
        return;
    struct pattern *pattern = pattern_new(p->pattern, &err);
    if (pattern == NULL)
        field_invalid(errs, PATH(path, "pattern"), p->pattern,
                      "must be a valid regular expression, but isn't: %s", error_message(&err));
    pattern_free(pattern);
}

/* --- combinations ------------------------------------------------------------------------ */
static void check_nested(struct field_errors *errs, const struct field_path *path, const props_t *p,
                         bool either);

/* either: the anyOf here, or that of the first of allOf, is that of is_either(). */
static void check_combinations(struct field_errors *errs, const struct field_path *path,
                               const props_t *p, bool either, bool first_either)
{
    for (size_t i = 0; !either && i < p->any_of_count; i++)
        check_nested(errs, PATH_INDEX(PATH(path, "anyOf"), i), &p->any_of[i], false);
    for (size_t i = 0; i < p->all_of_count; i++)
        check_nested(errs, PATH_INDEX(PATH(path, "allOf"), i), &p->all_of[i],
                     first_either && i == 0);
    for (size_t i = 0; i < p->one_of_count; i++)
        check_nested(errs, PATH_INDEX(PATH(path, "oneOf"), i), &p->one_of[i], false);
    if (p->not != NULL)
        check_nested(errs, PATH(path, "not"), p->not, false);
    check_pattern(errs, path, p);
}

/* Inside a combination: nothing but rules for values. */
static void check_nested(struct field_errors *errs, const struct field_path *path, const props_t *p,
                         bool either)
{
    static const char undefined[] = "must be undefined to be structural",
                      empty[] = "must be empty to be structural",
                      off[] = "must be false to be structural";
    const struct {
        bool given;
        const char *name, *why;
    } forms[] = {
        {p->type.len != 0, "type", empty},
        {p->additional_properties != NULL &&
             (p->additional_properties->schema != NULL || p->additional_properties->allows),
         "additionalProperties", undefined},
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
        {p->x_kubernetes_validations_count != 0, "x-kubernetes-validations", empty},
    };
    check_combinations(errs, path, p, either, false);
    if (items_of(p) != NULL)
        check_nested(errs, PATH(path, "items"), items_of(p), false);
    for (size_t i = 0; i < p->properties_count; i++)
        check_nested(errs, PATH_KEY(PATH(path, "properties"), p->properties[i].key),
                     &p->properties[i].value, false);
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
        if (forms[i].given)
            field_forbidden(errs, PATH(path, forms[i].name), "%s", forms[i].why);
    if (crd_property(p, STR("metadata")) != NULL)
        field_forbidden(errs, PATH_KEY(PATH(path, "properties"), STR("metadata")),
                        "must not be specified in a nested context");
}

static void missing(struct field_errors *errs, const struct field_path *path,
                    const struct field_path *from)
{
    AUTO_BUF b = BUF_INIT;
    field_path_write(from, &b);
    struct str text = buf_str(&b);
    field_required(errs, path, "because it is defined in " STR_FMT, STR_ARG(text));
}

/* What a combination speaks of must stand beside it. p is what is declared at
 * path, NULL: nothing; from is where v speaks of it. */
static void check_complete(struct field_errors *errs, const struct field_path *path,
                           const props_t *p, const props_t *v, const struct field_path *from,
                           bool nested)
{
    const struct {
        const char *name;
        const props_t *list;
        size_t count;
    } lists[] = {{"allOf", v->all_of, v->all_of_count},
                 {"anyOf", v->any_of, v->any_of_count},
                 {"oneOf", v->one_of, v->one_of_count}};
    if (p == NULL) {
        missing(errs, path, from);
        return;
    }
    if (v->not != NULL)
        check_complete(errs, path, p, v->not, PATH(from, "not"), true);
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        for (size_t j = 0; j < lists[i].count; j++)
            check_complete(errs, path, p, &lists[i].list[j],
                           PATH_INDEX(PATH(from, lists[i].name), j), true);
    if (!nested)
        return; /* What stands here is what is declared. */
    if (items_of(v) != NULL)
        check_complete(errs, PATH(path, "items"), items_of(p), items_of(v), PATH(from, "items"),
                       true);
    for (size_t i = 0; i < v->properties_count; i++) {
        struct str key = v->properties[i].key;
        check_complete(errs, PATH_KEY(PATH(path, "properties"), key), crd_property(p, key),
                       &v->properties[i].value, PATH_KEY(PATH(from, "properties"), key), true);
    }
}

/* --- places ---------------------------------------------------------------------------------- */
static void check_metadata(struct field_errors *errs, const struct field_path *path,
                           const props_t *p, bool resource, enum level level)
{
    static const char *const texts[] = {"kind", "apiVersion"};
    const struct field_path *properties = PATH(path, "properties");
    for (size_t i = 0; resource && i < ARRAY_SIZE(texts); i++) {
        const props_t *x = crd_property(p, str_of(texts[i]));
        if (x != NULL && !is_type(x, "string"))
            field_invalid(errs, PATH(PATH_KEY(properties, str_of(texts[i])), "type"), x->type,
                          "must be string");
    }
    const props_t *m = crd_property(p, STR("metadata"));
    const struct field_path *at = PATH_KEY(properties, STR("metadata"));
    if (m == NULL)
        return;
    if (resource && !is_type(m, "object"))
        field_invalid(errs, PATH(at, "type"), m->type, "must be object");
    if (level != LEVEL_ROOT)
        return;
    /* Beside these two names and the type, there is nothing to be said. */
    props_t rest = *m;
    const props_t nothing = {0};
    size_t names = (size_t)(crd_property(m, STR("name")) != NULL) +
                   (size_t)(crd_property(m, STR("generateName")) != NULL);
    if (names == m->properties_count)
        rest.properties_count = 0;
    rest.type = STR_NULL;
    rest.default_ = NULL;
    if (!api_msg_equal(&apiextensions_v1_json_schema_props_msg, &rest, &nothing))
        field_forbidden(errs, at,
                        "must not specify anything other than name and generateName, but "
                        "metadata is implicitly specified");
}

static void check_type(struct field_errors *errs, const struct field_path *path, const props_t *p,
                       enum level level)
{
    static const char *const missing_type[] = {"must not be empty at the root",
                                               "must not be empty for specified object fields",
                                               "must not be empty for specified array items"};
    static const char embedded[] = "must be object if x-kubernetes-embedded-resource is true";
    const struct field_path *type = PATH(path, "type");
    if (p->x_kubernetes_embedded_resource && !is_type(p, "object")) {
        if (p->type.len == 0)
            field_required(errs, type, embedded);
        else
            field_invalid(errs, type, p->type, embedded);
    } else if (p->type.len == 0 && !p->x_kubernetes_int_or_string &&
               !p->x_kubernetes_preserve_unknown_fields) {
        field_required(errs, type, "%s", missing_type[level]);
    }
    if (level == LEVEL_ROOT && p->type.len != 0 && !is_type(p, "object"))
        field_invalid(errs, type, p->type, "must be object at the root");
}

static void check_place(struct field_errors *errs, const struct field_path *path, const props_t *p,
                        enum level level)
{
    static const char either[] = "must be false if x-kubernetes-int-or-string is true";
    bool embedded = p->x_kubernetes_embedded_resource, ios = p->x_kubernetes_int_or_string;
    if (is_type(p, "array") && items_of(p) == NULL)
        field_required(errs, PATH(path, "items"), "must be specified");
    if (p->additional_properties != NULL && level == LEVEL_ROOT)
        field_forbidden(errs, PATH(path, "additionalProperties"), "must not be used at the root");
    if (ios && p->x_kubernetes_preserve_unknown_fields)
        field_invalid_bool(errs, PATH(path, "x-kubernetes-preserve-unknown-fields"), true, either);
    if (ios && embedded)
        field_invalid_bool(errs, PATH(path, "x-kubernetes-embedded-resource"), true, either);
    check_combinations(errs, path, p, is_either(p),
                       p->all_of_count != 0 && is_either(&p->all_of[0]));
    check_type(errs, path, p, level);
    if (embedded && p->additional_properties != NULL)
        field_forbidden(errs, PATH(path, "additionalProperties"),
                        "must not be used if x-kubernetes-embedded-resource is set");
    check_metadata(errs, path, p, level == LEVEL_ROOT || embedded, level);
    if (embedded && !p->x_kubernetes_preserve_unknown_fields && p->properties_count == 0)
        field_required(errs, PATH(path, "properties"),
                       "must not be empty if x-kubernetes-embedded-resource is true without "
                       "x-kubernetes-preserve-unknown-fields");
}

/* Recursion follows the schema, whose depth has been checked. */
static void check_places(struct field_errors *errs, const struct field_path *path, const props_t *p,
                         enum level level)
{
    if (items_of(p) != NULL)
        check_places(errs, PATH(path, "items"), items_of(p), LEVEL_ITEM);
    for (size_t i = 0; i < p->properties_count; i++)
        check_places(errs, PATH_KEY(PATH(path, "properties"), p->properties[i].key),
                     &p->properties[i].value, LEVEL_FIELD);
    if (p->additional_properties != NULL && p->additional_properties->schema != NULL)
        check_places(errs, PATH(path, "additionalProperties"), p->additional_properties->schema,
                     LEVEL_FIELD);
    check_place(errs, path, p, level);
}

static int by_text(const void *x, const void *y)
{
    const struct field_error *a = x, *b = y;
    int order = str_cmp(a->path, b->path);
    return order != 0 ? order : str_cmp(a->message, b->message);
}

void crd_check_structure(struct field_errors *errs, const struct field_path *path, const props_t *p)
{
    size_t before = errs->count;
    check_places(errs, path, p, LEVEL_ROOT);
    check_complete(errs, path, p, p, path, false);
    if (errs->count > before + 1)
        qsort(&errs->items[before], errs->count - before, sizeof(*errs->items), by_text);
}
