/* structural.c - from a definition's schema to a structural one; see structural.h. */
#include "lib/api/structural.h"

#include "api/apiextensions_v1.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

#include <stdlib.h>

struct build {
    struct arena *arena;
    struct error *err;
};

static int build(struct build *b, const struct apiextensions_v1_json_schema_props *p,
                 unsigned depth, struct structural *ret);

bool structural_is_meta(struct str name)
{
    return str_eqc(name, "apiVersion") || str_eqc(name, "kind") || str_eqc(name, "metadata");
}

static enum structural_type type_of(struct str name)
{
    static const char *const names[] = {"",        "object", "array",  "string",
                                        "integer", "number", "boolean"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (str_eqc(name, names[i]))
            return (enum structural_type)i;
    return STRUCTURAL_ANY;
}

static int by_name(const void *x, const void *y)
{
    return str_cmp(((const struct structural_member *)x)->name,
                   ((const struct structural_member *)y)->name);
}

const struct structural *structural_member(const struct structural *s, struct str name)
{
    const struct structural_member key = {.name = name};
    if (s == NULL || s->member_count == 0)
        return NULL;
    const struct structural_member *m =
        bsearch(&key, s->members, s->member_count, sizeof(*s->members), by_name);
    return m != NULL ? &m->schema : NULL;
}

/* What is below shows above: walks that look for defaults or rules skip the rest. */
static void inherit(struct structural *s, const struct structural *below)
{
    s->has_default_below |= below->has_default_below;
    s->has_rules_below |= below->has_rules_below;
}

static int build_one(struct build *b, const struct apiextensions_v1_json_schema_props *p,
                     unsigned depth, struct structural *up, const struct structural **ret)
{
    struct structural *s = ARENA_NEW(b->arena, struct structural);
    int code = build(b, p, depth, s);
    if (code != 0)
        return code;
    inherit(up, s);
    *ret = s;
    return 0;
}

static int build_list(struct build *b, const struct apiextensions_v1_json_schema_props *p,
                      size_t count, unsigned depth, const struct structural **ret,
                      size_t *ret_count)
{
    struct structural *list = ARENA_ARRAY(b->arena, struct structural, count + 1);
    for (size_t i = 0; i < count; i++) {
        int code = build(b, &p[i], depth, &list[i]);
        if (code != 0)
            return code;
    }
    *ret = list;
    *ret_count = count;
    return 0;
}

static int build_members(struct build *b, const struct apiextensions_v1_json_schema_props *p,
                         unsigned depth, struct structural *s)
{
    struct structural_member *m =
        ARENA_ARRAY(b->arena, struct structural_member, p->properties_count + 1);
    for (size_t i = 0; i < p->properties_count; i++) {
        m[i].name = arena_str(b->arena, p->properties[i].key);
        int code = build(b, &p->properties[i].value, depth, &m[i].schema);
        if (code != 0)
            return code;
        inherit(s, &m[i].schema);
    }
    qsort(m, p->properties_count, sizeof(*m), by_name);
    s->members = m;
    s->member_count = p->properties_count;
    return 0;
}

static int build_values(struct build *b, const struct apiextensions_v1_json_schema_props *p,
                        struct structural *s)
{
    struct json *j;
    if (p->default_ != NULL && p->default_->raw.len != 0) {
        int code = json_parse(b->arena, p->default_->raw, &j, b->err);
        if (code != 0)
            return code;
        s->default_ = j;
        s->has_default_below = true;
    }
    const struct json **values = ARENA_ARRAY(b->arena, const struct json *, p->enum_count + 1);
    for (size_t i = 0; i < p->enum_count; i++) {
        int code = json_parse(b->arena, p->enum_[i].raw, &j, b->err);
        if (code != 0)
            return code;
        values[i] = j;
    }
    s->enum_ = values;
    s->enum_count = p->enum_count;
    return 0;
}

static void release_pattern(void *p)
{
    pattern_free(p);
}

static int build_pattern(struct build *b, const struct apiextensions_v1_json_schema_props *p,
                         struct structural *s)
{
    if (p->pattern.len == 0)
        return 0;
    struct pattern *pattern = pattern_new(p->pattern, b->err);
    if (pattern == NULL)
        return E_INVALID;
    arena_hold(b->arena, pattern, release_pattern);
    s->pattern = pattern;
    s->pattern_text = arena_str(b->arena, p->pattern);
    return 0;
}

static const struct str *copy_strings(struct arena *a, const struct str *list, size_t count)
{
    struct str *out = ARENA_ARRAY(a, struct str, count + 1);
    for (size_t i = 0; i < count; i++)
        out[i] = arena_str(a, list[i]);
    return out;
}

static void build_plain(struct build *b, const struct apiextensions_v1_json_schema_props *p,
                        struct structural *s)
{
    struct arena *a = b->arena;
    s->type = type_of(p->type);
    s->type_name = arena_str(a, p->type);
    s->nullable = p->nullable;
    s->preserve_unknown = p->x_kubernetes_preserve_unknown_fields;
    s->embedded = p->x_kubernetes_embedded_resource;
    s->int_or_string = p->x_kubernetes_int_or_string;
    s->map_atomic = str_eqc(p->x_kubernetes_map_type, "atomic");
    s->list = str_eqc(p->x_kubernetes_list_type, "set")   ? LIST_SET
              : str_eqc(p->x_kubernetes_list_type, "map") ? LIST_MAP
                                                          : LIST_ATOMIC;
    s->keys = copy_strings(a, p->x_kubernetes_list_map_keys, p->x_kubernetes_list_map_keys_count);
    s->key_count = p->x_kubernetes_list_map_keys_count;
    s->format = arena_str(a, p->format);
    s->has_maximum = p->has_maximum;
    s->has_minimum = p->has_minimum;
    s->exclusive_maximum = p->exclusive_maximum;
    s->exclusive_minimum = p->exclusive_minimum;
    s->has_multiple_of = p->has_multiple_of;
    s->maximum = p->maximum;
    s->minimum = p->minimum;
    s->multiple_of = p->multiple_of;
    s->max_length = p->has_max_length ? p->max_length : -1;
    s->min_length = p->has_min_length ? p->min_length : -1;
    s->max_items = p->has_max_items ? p->max_items : -1;
    s->min_items = p->has_min_items ? p->min_items : -1;
    s->max_members = p->has_max_properties ? p->max_properties : -1;
    s->min_members = p->has_min_properties ? p->min_properties : -1;
    s->unique_items = p->unique_items;
    s->required = copy_strings(a, p->required, p->required_count);
    s->required_count = p->required_count;
    s->rules = p->x_kubernetes_validations;
    s->rule_count = p->x_kubernetes_validations_count;
    s->has_rules_below = s->rule_count != 0;
}

static int build_below(struct build *b, const struct apiextensions_v1_json_schema_props *p,
                       unsigned depth, struct structural *s)
{
    int code = build_members(b, p, depth, s);
    if (code == 0 && p->additional_properties != NULL) {
        s->has_additional = true;
        s->forbids_additional =
            p->additional_properties->schema == NULL && !p->additional_properties->allows;
        if (p->additional_properties->schema != NULL)
            code = build_one(b, p->additional_properties->schema, depth, s, &s->additional);
    }
    if (code == 0 && p->items != NULL && p->items->schema != NULL)
        code = build_one(b, p->items->schema, depth, s, &s->items);
    if (code == 0)
        code = build_list(b, p->all_of, p->all_of_count, depth, &s->all_of, &s->all_of_count);
    if (code == 0)
        code = build_list(b, p->any_of, p->any_of_count, depth, &s->any_of, &s->any_of_count);
    if (code == 0)
        code = build_list(b, p->one_of, p->one_of_count, depth, &s->one_of, &s->one_of_count);
    if (code == 0 && p->not != NULL) {
        struct structural ignored = {0};
        code = build_one(b, p->not, depth, &ignored, &s->not_);
    }
    return code;
}

static int build(struct build *b, const struct apiextensions_v1_json_schema_props *p,
                 unsigned depth, struct structural *s)
{
    if (depth == 0)
        return error_set(b->err, E_INVALID, "the schema is too deep");
    build_plain(b, p, s);
    int code = build_values(b, p, s);
    if (code == 0)
        code = build_pattern(b, p, s);
    return code != 0 ? code : build_below(b, p, depth - 1, s);
}

int structural_build(struct arena *a, const struct apiextensions_v1_json_schema_props *props,
                     const struct structural **ret, struct error *err)
{
    struct build b = {.arena = a, .err = err};
    struct structural *s = ARENA_NEW(a, struct structural);
    int code = build(&b, props, STRUCTURAL_DEPTH_MAX, s);
    if (code == 0)
        *ret = s;
    return code;
}
