/* authz_review.c - see authz_review.h. */
#include "apiserver/authz_review.h"

#include "apiserver/authz.h"
#include "apiserver/user.h"
#include "lib/api/json.h"
#include "lib/api/selector.h"
#include "lib/base/arena.h"

/* --- types ---------------------------------------------------------------------------------- */
static const struct cel_field requirement_fields[] = {CEL_FIELD("key", &cel_string),
                                                      CEL_FIELD("operator", &cel_string),
                                                      CEL_FIELD("values", &cel_list_string)};
static CEL_OBJECT_TYPE(requirement_type, "kubernetes.SelectorRequirement", requirement_fields);
static const struct cel_type list_requirements = {.kind = CEL_LIST, .elem = &requirement_type};
static const struct cel_field selector_fields[] = {CEL_FIELD("rawSelector", &cel_string),
                                                   CEL_FIELD("requirements", &list_requirements)};
static CEL_OBJECT_TYPE(selector_type, "kubernetes.SelectorAttributes", selector_fields);
static const struct cel_field resource_fields[] = {
    CEL_FIELD("fieldSelector", &selector_type), CEL_FIELD("group", &cel_string),
    CEL_FIELD("labelSelector", &selector_type), CEL_FIELD("name", &cel_string),
    CEL_FIELD("namespace", &cel_string),        CEL_FIELD("resource", &cel_string),
    CEL_FIELD("subresource", &cel_string),      CEL_FIELD("verb", &cel_string),
    CEL_FIELD("version", &cel_string)};
static const struct cel_field path_fields[] = {CEL_FIELD("path", &cel_string),
                                               CEL_FIELD("verb", &cel_string)};
static CEL_OBJECT_TYPE(path_type, "kubernetes.NonResourceAttributes", path_fields);
static CEL_OBJECT_TYPE(resource_type, "kubernetes.ResourceAttributes", resource_fields);
static const struct cel_field spec_fields[] = {CEL_FIELD("extra", &cel_map_lists),
                                               CEL_FIELD("groups", &cel_list_string),
                                               CEL_FIELD("nonResourceAttributes", &path_type),
                                               CEL_FIELD("resourceAttributes", &resource_type),
                                               CEL_FIELD("uid", &cel_string),
                                               CEL_FIELD("user", &cel_string)};
CEL_OBJECT_TYPE(authz_review_type, "kubernetes.SubjectAccessReviewSpec", spec_fields);

/* --- values ----------------------------------------------------------------------------------- */
struct writer {
    struct arena *a;
    bool full;
};

static void put(const struct writer *w, struct json *j, const char *key, struct str s)
{
    if (w->full || s.len != 0)
        json_setc(w->a, j, key, json_string(w->a, s));
}

static struct json *strings(struct arena *a, const struct str *items, size_t count)
{
    struct json *j = json_array(a);
    for (size_t i = 0; i < count; i++)
        json_append(a, j, json_string(a, items[i]));
    return j;
}

static void add_requirement(struct arena *a, struct json *list, struct str key, const char *op,
                            const struct str *values, size_t count)
{
    struct json *j = json_object(a);
    json_setc(a, j, "key", json_string(a, key));
    json_setc(a, j, "operator", json_string(a, str_of(op)));
    if (count != 0)
        json_setc(a, j, "values", strings(a, values, count));
    json_append(a, list, j);
}

static void set_requirements(struct arena *a, struct json *to, const char *key, struct json *list)
{
    if (list->array.count == 0)
        return;
    struct json *s = json_object(a);
    json_setc(a, s, "requirements", list);
    json_setc(a, to, key, s);
}

/* What cannot be read is left out: the question is then a wider one. */
static void put_selectors(struct arena *a, struct json *j, const struct authz_attributes *at)
{
    static const char *const ops[] = {[API_SEL_IN] = "In",
                                      [API_SEL_NOT_IN] = "NotIn",
                                      [API_SEL_EXISTS] = "Exists",
                                      [API_SEL_NOT_EXISTS] = "DoesNotExist"};
    struct api_field_selector fields;
    struct api_label_selector labels;
    struct json *f = json_array(a), *l = json_array(a);
    if (at->field_selector.len != 0 &&
        api_field_selector_parse(a, at->field_selector, &fields, NULL) == 0)
        for (size_t i = 0; i < fields.count; i++)
            add_requirement(a, f, fields.items[i].field, fields.items[i].negated ? "NotIn" : "In",
                            &fields.items[i].value, 1);
    if (at->label_selector.len != 0 &&
        api_label_selector_parse(a, at->label_selector, &labels, NULL) == 0)
        for (size_t i = 0; i < labels.count; i++)
            if (labels.items[i].op <= API_SEL_NOT_EXISTS)
                add_requirement(a, l, labels.items[i].key, ops[labels.items[i].op],
                                labels.items[i].values, labels.items[i].count);
    set_requirements(a, j, "fieldSelector", f);
    set_requirements(a, j, "labelSelector", l);
}

struct json *authz_review_spec(struct arena *a, const struct authz_attributes *at, bool full,
                               bool v1beta1)
{
    struct writer w = {a, full};
    struct json *spec = json_object(a), *j = json_object(a);
    const struct user *u = at->user;
    if (at->resource_request) {
        put(&w, j, "namespace", at->ns);
        put(&w, j, "verb", str_of(at->verb));
        put(&w, j, "group", at->group);
        put(&w, j, "version", at->version);
        put(&w, j, "resource", at->resource);
        put(&w, j, "subresource", at->subresource);
        put(&w, j, "name", at->name);
        put_selectors(a, j, at);
    } else {
        put(&w, j, "path", at->path);
        put(&w, j, "verb", str_of(at->verb));
    }
    json_setc(a, spec, at->resource_request ? "resourceAttributes" : "nonResourceAttributes", j);
    put(&w, spec, "user", u->name);
    if (full || u->group_count != 0)
        json_setc(a, spec, v1beta1 ? "group" : "groups", strings(a, u->groups, u->group_count));
    if (u->extra_count != 0) {
        struct json *extra = json_object(a);
        for (size_t i = 0; i < u->extra_count; i++)
            json_set(a, extra, u->extra[i].key, strings(a, u->extra[i].values, u->extra[i].count));
        json_setc(a, spec, "extra", extra);
    }
    put(&w, spec, "uid", u->uid);
    return spec;
}
