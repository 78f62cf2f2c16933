/* pod_qos.c - the quality-of-service class that a pod's resources give it. */
#include "apiserver/kinds/pod_spec.h"

#include "api/core_v1.h"
#include "api/resource.h"
#include "lib/api/quantity.h"

#include <string.h>

struct sums {
    bool any;        /* A request or limit of CPU or memory above zero. */
    bool guaranteed; /* Every container limits both, and requests what it limits. */
};

static bool counts(struct str name)
{
    return str_eqc(name, "cpu") || str_eqc(name, "memory");
}

static const struct api_quantity_entry *find(const struct api_quantity_entry *e, size_t count,
                                             struct str key)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(e[i].key, key))
            return &e[i];
    return NULL;
}

static bool is_positive(const struct api_quantity_entry *e)
{
    struct quantity q;
    return e != NULL && quantity_parse(e->value.string, &q, NULL) == 0 && quantity_sign(&q) > 0;
}

static bool same(const struct api_quantity_entry *x, const struct api_quantity_entry *y)
{
    struct quantity p, q;
    return quantity_parse(x->value.string, &p, NULL) == 0 &&
           quantity_parse(y->value.string, &q, NULL) == 0 && quantity_cmp(&p, &q) == 0;
}

static void add(struct sums *s, const struct core_v1_resource_requirements *r)
{
    static const struct str names[] = {{"cpu", 3}, {"memory", 6}};
    for (size_t i = 0; i < r->requests_count; i++)
        s->any |= counts(r->requests[i].key) && is_positive(&r->requests[i]);
    for (size_t i = 0; i < r->limits_count; i++)
        s->any |= counts(r->limits[i].key) && is_positive(&r->limits[i]);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const struct api_quantity_entry *limit = find(r->limits, r->limits_count, names[i]);
        const struct api_quantity_entry *request = find(r->requests, r->requests_count, names[i]);
        if (!is_positive(limit) ||
            (request != NULL && is_positive(request) && !same(limit, request)))
            s->guaranteed = false;
    }
}

struct str pod_qos_class(const struct core_v1_pod_spec *spec)
{
    struct sums s = {.guaranteed = true};
    if (spec->resources != NULL &&
        (spec->resources->limits_count != 0 || spec->resources->requests_count != 0)) {
        add(&s, spec->resources);
    } else {
        for (size_t i = 0; i < spec->containers_count; i++)
            add(&s, &spec->containers[i].resources);
        for (size_t i = 0; i < spec->init_containers_count; i++)
            add(&s, &spec->init_containers[i].resources);
    }
    if (!s.any)
        return STR("BestEffort");
    return s.guaranteed ? STR("Guaranteed") : STR("Burstable");
}
