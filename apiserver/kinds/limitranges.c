/* limitranges.c - LimitRange: least, most and usual resources in a namespace. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/rbac.h"
#include "apiserver/kinds/rules.h"
#include "api/core_v1.h"
#include "api/resource.h"
#include "lib/api/quantity.h"
#include "lib/base/arena.h"

/* Keys of from that to lacks are copied over. */
static void fill(struct arena *a, struct api_quantity_entry **to, size_t *to_count,
                 const struct api_quantity_entry *from, size_t from_count)
{
    struct api_quantity_entry *list =
        ARENA_ARRAY(a, struct api_quantity_entry, *to_count + from_count + 1);
    size_t n = 0, i = 0, k = 0;
    while (i < *to_count || k < from_count) {
        int c = i == *to_count ? 1 : k == from_count ? -1 : str_cmp((*to)[i].key, from[k].key);
        list[n++] = c <= 0 ? (*to)[i] : from[k];
        i += c <= 0;
        k += c >= 0;
    }
    if (n != *to_count) {
        *to = list;
        *to_count = n;
    }
}

/* Of containers: the usual limit is the most, the usual request the limit, or
 * the least where there is no limit. */
static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    struct core_v1_limit_range_spec *s = &((struct core_v1_limit_range *)obj)->spec;
    for (size_t i = 0; i < s->limits_count; i++) {
        struct core_v1_limit_range_item *l = &s->limits[i];
        if (!str_eqc(l->type, "Container"))
            continue;
        fill(ctx->arena, &l->default_, &l->default_count, l->max, l->max_count);
        fill(ctx->arena, &l->default_request, &l->default_request_count, l->default_,
             l->default_count);
        fill(ctx->arena, &l->default_request, &l->default_request_count, l->min, l->min_count);
    }
}

/* --- validation ------------------------------------------------------------------------------ */

struct bounds { /* Of one resource; NULL: not given. */
    const struct api_quantity_entry *min, *max, *usual, *request, *ratio;
};

static bool above(const struct api_quantity_entry *x, const struct api_quantity_entry *y)
{
    if (x == NULL || y == NULL)
        return false;
    struct quantity a = quantity_of(&x->value), b = quantity_of(&y->value);
    return quantity_cmp(&a, &b) > 0;
}

/* "min value 2 is greater than max value 1", at the field upstream has for it. */
static void order(struct field_errors *errs, const struct field_path *path,
                  const struct api_quantity_entry *shown, const char *low_name,
                  const struct api_quantity_entry *low, const char *high_name,
                  const struct api_quantity_entry *high)
{
    if (above(low, high))
        field_invalid(errs, path, quantity_shown(&shown->value),
                      "%s value " STR_FMT " is greater than %s value " STR_FMT, low_name,
                      STR_ARG(quantity_shown(&low->value)), high_name,
                      STR_ARG(quantity_shown(&high->value)));
}

static void check_bounds(struct field_errors *errs, const struct field_path *at, struct str key,
                         const struct bounds *b)
{
    const struct field_path *request = PATH_KEY(PATH(at, "defaultRequest"), key);
    const struct field_path *usual = PATH_KEY(PATH(at, "default"), key);
    order(errs, PATH_KEY(PATH(at, "min"), key), b->min, "min", b->min, "max", b->max);
    order(errs, request, b->request, "min", b->min, "default request", b->request);
    order(errs, request, b->request, "default request", b->request, "max", b->max);
    order(errs, request, b->request, "default request", b->request, "default limit", b->usual);
    order(errs, usual, b->min, "min", b->min, "default", b->usual);
    order(errs, usual, b->max, "default", b->usual, "max", b->max);
    if (b->ratio == NULL)
        return;
    const struct field_path *ratio = PATH_KEY(PATH(at, "maxLimitRequestRatio"), key);
    struct quantity one = quantity_from_int(1, QUANTITY_DECIMAL_SI),
                    q = quantity_of(&b->ratio->value);
    if (quantity_cmp(&q, &one) < 0)
        field_invalid(errs, ratio, quantity_shown(&b->ratio->value),
                      "ratio " STR_FMT " is less than 1",
                      STR_ARG(quantity_shown(&b->ratio->value)));
    if (b->min == NULL || b->max == NULL)
        return;
    struct quantity low = quantity_of(&b->min->value), high = quantity_of(&b->max->value);
    double most = quantity_to_double(&high) / quantity_to_double(&low);
    if (quantity_to_double(&q) > most)
        field_invalid(errs, ratio, quantity_shown(&b->ratio->value),
                      "ratio " STR_FMT " is greater than max/min = %f",
                      STR_ARG(quantity_shown(&b->ratio->value)), most);
}

/* What cannot be promised twice has one number. */
static void check_committed(struct field_errors *errs, const struct field_path *at, struct str key,
                            const struct bounds *b)
{
    if ((is_native_resource(key) && !is_hugepages(key)) || b->usual == NULL || b->request == NULL)
        return;
    struct quantity x = quantity_of(&b->usual->value), y = quantity_of(&b->request->value);
    if (quantity_cmp(&x, &y) != 0)
        field_invalid(
            errs, PATH_KEY(PATH(at, "defaultRequest"), key), quantity_shown(&b->request->value),
            "default value " STR_FMT " must equal to defaultRequest value " STR_FMT " in " STR_FMT,
            STR_ARG(quantity_shown(&b->usual->value)), STR_ARG(quantity_shown(&b->request->value)),
            STR_ARG(key));
}

static void check_item(struct field_errors *errs, const struct field_path *at,
                       const struct core_v1_limit_range_item *l)
{
    const struct {
        const char *name;
        const struct api_quantity_entry *e;
        size_t count;
    } maps[] = {
        {"max", l->max, l->max_count},
        {"min", l->min, l->min_count},
        {"default", l->default_, l->default_count},
        {"defaultRequest", l->default_request, l->default_request_count},
        {"maxLimitRequestRatio", l->max_limit_request_ratio, l->max_limit_request_ratio_count}};
    bool pod = str_eqc(l->type, "Pod"), claim = str_eqc(l->type, "PersistentVolumeClaim");
    for (size_t m = 0; m < ARRAY_SIZE(maps); m++) {
        if (m == 4 && claim && find_quantity(l->min, l->min_count, STR("storage")) == NULL &&
            find_quantity(l->max, l->max_count, STR("storage")) == NULL)
            field_required(
                errs, PATH(at, "limits"),
                "either minimum or maximum storage value is required, but neither was provided");
        bool usual = m == 2 || m == 3;
        if (pod && usual) {
            if (maps[m].count != 0)
                field_forbidden(errs, PATH(at, maps[m].name),
                                "may not be specified when `type` is 'Pod'");
            continue;
        }
        for (size_t i = 0; i < maps[m].count; i++) {
            const struct field_path *p = PATH_KEY(PATH(at, maps[m].name), maps[m].e[i].key);
            if (str_eqc(l->type, "Container") || pod)
                validate_container_resource_name(errs, p, maps[m].e[i].key);
            else
                validate_resource_name(errs, p, maps[m].e[i].key);
        }
    }
    for (size_t m = 0; m < ARRAY_SIZE(maps); m++)
        for (size_t i = 0; i < maps[m].count; i++) {
            struct str key = maps[m].e[i].key;
            bool seen = false;
            for (size_t k = 0; k < m; k++)
                seen = seen || find_quantity(maps[k].e, maps[k].count, key) != NULL;
            if (seen)
                continue;
            struct bounds b = {
                find_quantity(l->min, l->min_count, key), find_quantity(l->max, l->max_count, key),
                find_quantity(l->default_, l->default_count, key),
                find_quantity(l->default_request, l->default_request_count, key),
                find_quantity(l->max_limit_request_ratio, l->max_limit_request_ratio_count, key)};
            check_bounds(errs, at, key, &b);
            check_committed(errs, at, key, &b);
        }
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    static const char *const types[] = {"Container", "PersistentVolumeClaim", "Pod", NULL};
    const struct core_v1_limit_range_spec *s = &((const struct core_v1_limit_range *)obj)->spec;
    for (size_t i = 0; i < s->limits_count; i++) {
        const struct field_path *at = PATH_INDEX(PATH(PATH(PATH_ROOT, "spec"), "limits"), i);
        struct str type = s->limits[i].type;
        validate_qualified_name(errs, PATH(at, "type"), type);
        if (!str_empty(type) && str_find(type, '/', 0) < 0 && !is_listed(type, types))
            field_invalid(errs, PATH(at, "type"), type,
                          "must be a standard limit type or fully qualified");
        for (size_t j = 0; j < i; j++)
            if (str_eq(s->limits[j].type, type)) {
                field_duplicate(errs, PATH(at, "type"), type);
                break;
            }
        check_item(errs, at, &s->limits[i]);
    }
}

static void row(struct table_row *r, const void *obj)
{
    rbac_role_row(r, &((const struct core_v1_limit_range *)obj)->metadata);
}

const struct kind_ops kind_limitranges = {
    .group = "",
    .version = "v1",
    .resource = "limitranges",
    .flags = KIND_CHECKED_AS_NEW | KIND_CREATE_ON_UPDATE,
    .default_ = set_defaults,
    .validate_create = validate_create,
    .validate_update = kind_validate_as_new,
    .columns = rbac_role_columns,
    .row = row,
};
