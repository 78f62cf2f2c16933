/* device_taints.c - see device_taints.h. */
#include "controllers/device_taints.h"

#include "api/resource_v1.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/base.h"

#define NS_PER_S 1000000000

typedef struct resource_v1_device_request_allocation_result result_t;

static bool tolerates(const struct resource_v1_device_toleration *t,
                      const struct resource_v1_device_taint *taint)
{
    if (!str_empty(t->effect) && !str_eq(t->effect, taint->effect))
        return false;
    if (!str_empty(t->key) && !str_eq(t->key, taint->key))
        return false;
    if (str_eqc(t->operator, "Exists"))
        return true;
    return !str_empty(t->key) && str_eq(t->value, taint->value);
}

static int64_t taint_time(const result_t *r, const struct resource_v1_device_taint *taint,
                          int64_t now_ns)
{
    int64_t seconds = INT64_MAX;
    for (size_t i = 0; i < r->tolerations_count; i++) {
        const struct resource_v1_device_toleration *t = &r->tolerations[i];
        if (!tolerates(t, taint))
            continue;
        if (!t->has_toleration_seconds)
            return DEVICE_EVICTION_NEVER;
        seconds = MIN_OF(seconds, MAX_OF(t->toleration_seconds, (int64_t)0));
    }
    int64_t since = taint->time_added != NULL ? time_to_ns(taint->time_added) : now_ns;
    if (seconds == INT64_MAX)
        seconds = 0;
    return since + MIN_OF(seconds, (int64_t)1 << 31) * NS_PER_S;
}

static bool is_of_pool(const struct resource_v1_resource_slice *s, const result_t *r)
{
    return str_eq(s->spec.driver, r->driver) && str_eq(s->spec.pool.name, r->pool);
}

static const struct resource_v1_device *find_device(const result_t *r,
                                                    struct api_object *const *slices, size_t count)
{
    const struct resource_v1_device *found = NULL;
    int64_t newest = INT64_MIN;
    for (size_t i = 0; i < count; i++) {
        const struct resource_v1_resource_slice *s = slices[i]->msg;
        if (!is_of_pool(s, r) || s->spec.pool.generation < newest)
            continue;
        if (s->spec.pool.generation > newest)
            found = NULL; /* What was found is outdated. */
        newest = s->spec.pool.generation;
        for (size_t k = 0; k < s->spec.devices_count; k++)
            if (str_eq(s->spec.devices[k].name, r->device))
                found = &s->spec.devices[k];
    }
    return found;
}

int64_t device_eviction_time(const struct resource_v1_allocation_result *allocation,
                             struct api_object *const *slices, size_t slice_count, int64_t now_ns)
{
    int64_t when = DEVICE_EVICTION_NEVER;
    for (size_t i = 0; i < allocation->devices.results_count; i++) {
        const result_t *r = &allocation->devices.results[i];
        const struct resource_v1_device *d = find_device(r, slices, slice_count);
        for (size_t k = 0; d != NULL && k < d->taints_count; k++)
            if (str_eqc(d->taints[k].effect, "NoExecute"))
                when = MIN_OF(when, taint_time(r, &d->taints[k], now_ns));
    }
    return when;
}
