/* labels.c - see labels.h. */
#include "lib/client/labels.h"

#include "api/meta_v1.h"
#include "lib/api/schema.h"

static bool is_in(struct str value, const struct str *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(values[i], value))
            return true;
    return false;
}

/* Gt and Lt compare integers; anything else does not match. */
static bool compares(const struct str *value, const struct str *values, size_t count, bool greater)
{
    int64_t x, y;
    if (value == NULL || count != 1 || !str_to_i64(*value, &x) || !str_to_i64(values[0], &y))
        return false;
    return greater ? x > y : x < y;
}

bool label_requirement_matches(struct str operator, const struct str * value,
                               const struct str *values, size_t values_count)
{
    if (str_eqc(operator, "In"))
        return value != NULL && is_in(*value, values, values_count);
    if (str_eqc(operator, "NotIn"))
        return value == NULL || !is_in(*value, values, values_count);
    if (str_eqc(operator, "Exists"))
        return value != NULL;
    if (str_eqc(operator, "DoesNotExist"))
        return value == NULL;
    if (str_eqc(operator, "Gt"))
        return compares(value, values, values_count, true);
    if (str_eqc(operator, "Lt"))
        return compares(value, values, values_count, false);
    return false;
}

bool labels_contain(const struct api_str_entry *labels, size_t count,
                    const struct api_str_entry *want, size_t want_count)
{
    for (size_t i = 0; i < want_count; i++) {
        const struct str *v = api_str_map_get(labels, count, want[i].key);
        if (v == NULL || !str_eq(*v, want[i].value))
            return false;
    }
    return true;
}

bool labels_equal(const struct api_str_entry *x, size_t x_count, const struct api_str_entry *y,
                  size_t y_count)
{
    return x_count == y_count && labels_contain(x, x_count, y, y_count);
}

bool label_selector_matches(const struct meta_v1_label_selector *s,
                            const struct api_str_entry *labels, size_t count)
{
    if (s == NULL || !labels_contain(labels, count, s->match_labels, s->match_labels_count))
        return false;
    for (size_t i = 0; i < s->match_expressions_count; i++) {
        const struct meta_v1_label_selector_requirement *r = &s->match_expressions[i];
        const struct str *value = api_str_map_get(labels, count, r->key);
        if (str_eqc(r->operator, "Gt") || str_eqc(r->operator, "Lt"))
            return false; /* Not of this type of selector. */
        if (!label_requirement_matches(r->operator, value, r->values, r->values_count))
            return false;
    }
    return true;
}

bool label_selector_is_empty(const struct meta_v1_label_selector *s)
{
    return s->match_labels_count == 0 && s->match_expressions_count == 0;
}

const struct str *label_get(const struct meta_v1_object_meta *m, const char *key)
{
    return api_str_map_get(m->labels, m->labels_count, str_of(key));
}

const struct str *annotation_get(const struct meta_v1_object_meta *m, const char *key)
{
    return api_str_map_get(m->annotations, m->annotations_count, str_of(key));
}
