/* pod_resources.c - limits and requests of containers and pods. Pure. */
#include "apiserver/kinds/pod_check.h"
#include "apiserver/kinds/pod_prepare.h"

#include "api/core_v1.h"
#include "api/resource.h"
#include "lib/api/quantity.h"
#include "lib/base/arena.h"

static bool may_overcommit(struct str name)
{
    return is_native_resource(name) && !is_hugepages(name);
}

static void check_hugepages_value(struct field_errors *errs, const struct field_path *path,
                                  const struct api_quantity_entry *e)
{
    struct quantity size, q = quantity_of(&e->value);
    struct str text = str_sub(e->key, sizeof("hugepages-") - 1, e->key.len);
    if (quantity_is_zero(&q) || quantity_parse(text, &size, NULL) != 0 || quantity_sign(&size) <= 0)
        return;
    if (quantity_value(&q) % quantity_value(&size) != 0)
        field_invalid(errs, path, quantity_shown(&e->value),
                      "must be a positive integer multiple of the page size");
}

static void check_quantities(struct field_errors *errs, const struct field_path *path,
                             const struct api_quantity_entry *e, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct field_path *at = PATH_KEY(path, e[i].key);
        validate_container_resource_name(errs, at, e[i].key);
        validate_quantity_value(errs, at, e[i].key, &e[i].value);
        if (is_hugepages(e[i].key))
            check_hugepages_value(errs, at, &e[i]);
    }
}

static void check_request(struct field_errors *errs, const struct field_path *path,
                          const struct core_v1_resource_requirements *r,
                          const struct api_quantity_entry *request)
{
    const struct api_quantity_entry *limit =
        find_quantity(r->limits, r->limits_count, request->key);
    if (limit == NULL) {
        if (!may_overcommit(request->key))
            field_required(errs, PATH(path, "limits"),
                           "Limit must be set for non overcommitable resources");
        return;
    }
    struct quantity q = quantity_of(&request->value), l = quantity_of(&limit->value);
    const char *relation = NULL;
    if (!may_overcommit(request->key) && quantity_cmp(&q, &l) != 0)
        relation = "must be equal to";
    else if (quantity_cmp(&q, &l) > 0)
        relation = "must be less than or equal to";
    if (relation != NULL)
        field_invalid(errs, PATH(path, "requests"), quantity_shown(&request->value),
                      "%s " STR_FMT " limit of " STR_FMT, relation, STR_ARG(request->key),
                      STR_ARG(quantity_shown(&limit->value)));
}

static bool claim_exists(const struct core_v1_pod_spec *s, struct str name)
{
    for (size_t i = 0; i < s->resource_claims_count; i++)
        if (str_eq(s->resource_claims[i].name, name))
            return true;
    return false;
}

static void check_claims(struct pod_check *k, const struct field_path *path,
                         const struct core_v1_resource_requirements *r)
{
    for (size_t i = 0; i < r->claims_count; i++) {
        const struct core_v1_resource_claim *c = &r->claims[i];
        const struct field_path *at = PATH_INDEX(path, i);
        bool doubled = false;
        if (str_empty(c->name)) {
            field_required(k->errs, PATH(at, "name"), NULL);
            continue;
        }
        for (size_t j = 0; j < i; j++)
            doubled = doubled || (str_eq(r->claims[j].name, c->name) &&
                                  str_eq(r->claims[j].request, c->request));
        if (doubled)
            field_duplicate(k->errs, at, c->name);
        if (!claim_exists(k->spec, c->name))
            field_not_found(k->errs, PATH(at, "name"), c->name);
    }
}

static void check_hugepages_company(struct field_errors *errs, const struct field_path *path,
                                    const struct core_v1_resource_requirements *r)
{
    bool huge = false, plain = false;
    for (size_t i = 0; i < r->limits_count + r->requests_count; i++) {
        struct str name =
            i < r->limits_count ? r->limits[i].key : r->requests[i - r->limits_count].key;
        huge = huge || is_hugepages(name);
        plain = plain || str_eqc(name, "cpu") || str_eqc(name, "memory");
    }
    if (huge && !plain)
        field_forbidden(errs, path, "HugePages require cpu or memory");
}

void check_resources(struct pod_check *k, const struct field_path *path,
                     const struct core_v1_resource_requirements *r)
{
    check_quantities(k->errs, PATH(path, "limits"), r->limits, r->limits_count);
    for (size_t i = 0; i < r->requests_count; i++) {
        check_quantities(k->errs, PATH(path, "requests"), &r->requests[i], 1);
        check_request(k->errs, path, r, &r->requests[i]);
    }
    check_hugepages_company(k->errs, path, r);
    check_claims(k, PATH(path, "claims"), r);
}

/* --- of the whole pod ----------------------------------------------------------------- */

/* Containers together ask for no more than the pod, and none may use more. */
static void check_pod_sums(struct pod_check *k, const struct field_path *path,
                           const struct core_v1_resource_requirements *r)
{
    const struct core_v1_pod_spec *s = k->spec;
    for (size_t i = 0; i < r->requests_count; i++) {
        struct str key = r->requests[i].key;
        struct quantity sum, q = quantity_of(&r->requests[i].value);
        if (pod_aggregate(s, key, false, &sum) && quantity_cmp(&q, &sum) < 0)
            field_invalid(
                k->errs, PATH_KEY(PATH(path, "requests"), key),
                quantity_shown(&r->requests[i].value),
                "must be greater than or equal to aggregate container requests of " STR_FMT,
                STR_ARG(quantity_str(k->errs->arena, &sum)));
    }
    for (size_t c = 0; c < s->containers_count; c++)
        for (size_t i = 0; i < s->containers[c].resources.limits_count; i++) {
            const struct api_quantity_entry *own = &s->containers[c].resources.limits[i];
            const struct api_quantity_entry *all =
                find_quantity(r->limits, r->limits_count, own->key);
            if (all == NULL)
                continue;
            struct quantity x = quantity_of(&own->value), y = quantity_of(&all->value);
            if (quantity_cmp(&x, &y) > 0)
                field_invalid(
                    k->errs,
                    PATH(PATH_KEY(PATH_INDEX(PATH(path, "containers"), c), own->key), "limits"),
                    quantity_shown(&own->value),
                    "must be less than or equal to pod limits of " STR_FMT,
                    STR_ARG(quantity_shown(&all->value)));
        }
}

static void check_pod_names(struct field_errors *errs, const struct field_path *path,
                            const struct api_quantity_entry *e, size_t count)
{
    static const char *const supported[] = {"cpu", "memory", NULL};
    for (size_t i = 0; i < count; i++)
        if (!is_hugepages(e[i].key) && !is_listed(e[i].key, supported))
            field_not_supported(errs, PATH_KEY(path, e[i].key), e[i].key, supported);
}

void check_pod_resources(struct pod_check *k, const struct field_path *path)
{
    const struct core_v1_resource_requirements *r = k->spec->resources;
    if (r == NULL)
        return;
    if (r->claims_count != 0)
        field_forbidden(k->errs, PATH(path, "claims"),
                        "claims may not be set for Resources at pod-level");
    check_pod_names(k->errs, PATH(path, "limits"), r->limits, r->limits_count);
    check_pod_names(k->errs, PATH(path, "requests"), r->requests, r->requests_count);
    struct core_v1_resource_requirements plain = *r;
    plain.claims_count = 0;
    check_resources(k, path, &plain);
    check_pod_sums(k, path, r);
}
